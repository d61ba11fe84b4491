/** Drawing of the view that turns. */
import type { View3D } from "./space";
import * as state from "./state";
import { color, prepare } from "./theme";

export interface Angles {
  turn: number;
  tilt: number;
  zoom: number;
}

export function drawSpace(canvas: HTMLCanvasElement, angles: Angles, view: View3D): void {
  const { c, width, height } = prepare(canvas);
  const scale = 0.62 * Math.min(width, height) * angles.zoom;
  const [ct, st, ci, si] = [Math.cos(angles.turn), Math.sin(angles.turn), Math.cos(angles.tilt), Math.sin(angles.tilt)];
  const project = ([u, v, w]: [number, number, number]): [number, number] => {
    const right = u * ct - w * st;
    const away = u * st + w * ct;
    return [width / 2 + scale * right, height / 2 + scale * (v * ci - away * si)];
  };
  const frame = Math.min(state.frame.value, view.frames - 1);
  view.outline(frame).forEach((line, k, all) => {
    const last = k === all.length - 1 || all.length > 3;
    c.strokeStyle = color(last && k ? "accent" : "soft");
    c.lineWidth = last && k ? 2 : 1;
    c.beginPath();
    for (const corner of line) c.lineTo(...project(corner));
    c.closePath();
    c.stroke();
  });
  for (const point of state.project.value?.points ?? []) {
    c.strokeStyle = c.fillStyle = point.color;
    c.lineWidth = point.id === state.selected.value ? 3.5 : 1.8;
    let before: [number, number] | null = null;
    for (let k = 0; k < view.frames; k++) {
      const placed = view.place(point.id, k);
      const now = placed && project(placed.at);
      if (now && before) {
        c.globalAlpha = placed.visible ? 1 : 0.3;
        c.beginPath();
        c.moveTo(...before);
        c.lineTo(...now);
        c.stroke();
      }
      before = now;
    }
    const placed = view.place(point.id, frame);
    c.globalAlpha = placed?.visible ? 1 : 0.3;
    if (placed) {
      c.beginPath();
      c.arc(...project(placed.at), 5, 0, 2 * Math.PI);
      c.fill();
    }
    c.globalAlpha = 1;
  }
}
