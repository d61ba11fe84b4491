/** Drawing of points, their paths, and what a model found, over a frame. */
import type { LookResult } from "./look";
import type { Prompt } from "./masks";
import { placeOf, trackAt, type Tracks } from "./tracks";
import type { Point } from "./types";
import type { Transform } from "./view";

const PATH = 20;
const SHORT_PATH = 6;
const MANY = 400;
const TOO_MANY = 1500; // paths of so many points hide the image, and take longer than a frame lasts
const DOUBTFUL = 0.5;

export interface Scene {
  points: Point[];
  tracks: Tracks;
  frame: number;
  selected: string | null;
  /** Least chance of a visible point; null follows the tracker. */
  above: number | null;
  dragged: { id: string; x: number; y: number } | null;
  crosshair: { x: number; y: number } | null;
  box: [number, number, number, number] | null;
}

export function drawScene(c: CanvasRenderingContext2D, t: Transform, scene: Scene): void {
  const many = scene.points.length > MANY;
  const length = scene.points.length > TOO_MANY ? 0 : many ? SHORT_PATH : PATH;
  for (const point of scene.points) drawPath(c, t, point, scene, length);
  const radius = many ? 2 : 5;
  const last = scene.points.find((point) => point.id === scene.selected);
  const draw = many ? drawDot : drawPoint;
  for (const point of scene.points) if (point !== last) draw(c, t, point, scene, radius);
  if (last) drawPoint(c, t, last, scene, Math.max(radius, 6));
  if (scene.crosshair) drawCrosshair(c, t, scene.crosshair);
  if (scene.box) drawBox(c, t, scene.box, "#ffffff", "");
}

function drawPath(c: CanvasRenderingContext2D, t: Transform, point: Point, scene: Scene, length: number): void {
  let before = trackAt(scene.tracks, point.id, scene.frame, scene.above);
  for (let step = 1; step <= length && before; step++) {
    const at = trackAt(scene.tracks, point.id, scene.frame - step, scene.above);
    if (at && at.visible && before.visible) {
      c.globalAlpha = 0.8 * (1 - step / (length + 1));
      c.beginPath();
      c.moveTo(t.left + before.x * t.scale, t.top + before.y * t.scale);
      c.lineTo(t.left + at.x * t.scale, t.top + at.y * t.scale);
      for (const [width, shade] of [
        [4, "rgba(0,0,0,0.6)"], // a pale line on a pale frame needs an edge
        [2, point.color],
      ] as const) {
        c.lineWidth = width;
        c.strokeStyle = shade;
        c.stroke();
      }
    }
    before = at;
  }
  c.globalAlpha = 1;
}

/** One of many points: a small square, pale where it is hidden. */
function drawDot(c: CanvasRenderingContext2D, t: Transform, point: Point, scene: Scene, radius: number): void {
  const at = scene.dragged?.id === point.id ? { ...scene.dragged, visible: true } : placeOf(point, scene.tracks, scene.frame, scene.above);
  if (!at) return;
  const x = t.left + at.x * t.scale - radius;
  const y = t.top + at.y * t.scale - radius;
  c.globalAlpha = at.visible ? 1 : 0.35;
  c.fillStyle = "#000000";
  c.fillRect(x - 1, y - 1, 2 * radius + 2, 2 * radius + 2);
  c.fillStyle = point.color;
  c.fillRect(x, y, 2 * radius, 2 * radius);
  c.globalAlpha = 1;
}

function drawPoint(c: CanvasRenderingContext2D, t: Transform, point: Point, scene: Scene, radius: number): void {
  const at = placeOf(point, scene.tracks, scene.frame, scene.above);
  const dragged = scene.dragged?.id === point.id ? scene.dragged : null;
  if (!at && !dragged) return;
  const x = t.left + (dragged ?? at!).x * t.scale;
  const y = t.top + (dragged ?? at!).y * t.scale;
  const visible = dragged !== null || at!.visible;
  const shape = () => {
    c.beginPath();
    if (at?.query || dragged) c.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    else c.arc(x, y, radius, 0, 2 * Math.PI);
  };
  shape();
  c.lineWidth = visible ? 3 : 5;
  c.strokeStyle = "rgba(0,0,0,0.75)";
  c.stroke();
  c.strokeStyle = visible ? (isPale(point.color) ? "#000000" : "#ffffff") : point.color;
  c.fillStyle = point.color;
  if (visible) c.fill();
  c.setLineDash(at && at.confidence < DOUBTFUL ? [3, 3] : []);
  c.lineWidth = visible ? 1.5 : 2.5;
  c.stroke();
  c.setLineDash([]);
  if (point.id !== scene.selected) return;
  c.beginPath();
  c.arc(x, y, radius + 6, 0, 2 * Math.PI);
  c.lineWidth = 4;
  c.strokeStyle = "rgba(0,0,0,0.6)";
  c.stroke();
  c.lineWidth = 2;
  c.strokeStyle = "#ffffff";
  c.stroke();
  drawLabel(c, x + radius + 11, y + 4, at && !visible ? `${point.name} (hidden)` : point.name);
}

function isPale(color: string): boolean {
  const [r, g, b] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 200;
}

function drawLabel(c: CanvasRenderingContext2D, x: number, y: number, text: string, ground = "rgba(0,0,0,0.75)"): void {
  c.font = "13px system-ui, sans-serif";
  const width = c.measureText(text).width;
  const ratio = c.getTransform().a || 1;
  const left = Math.max(2, Math.min(x, c.canvas.width / ratio - width - 10));
  c.fillStyle = ground;
  c.fillRect(left - 4, y - 14, width + 8, 19);
  c.fillStyle = "#ffffff";
  c.fillText(text, left, y);
}

function drawCrosshair(c: CanvasRenderingContext2D, t: Transform, at: { x: number; y: number }): void {
  const x = t.left + at.x * t.scale;
  const y = t.top + at.y * t.scale;
  for (const [width, color] of [
    [4, "rgba(0,0,0,0.7)"],
    [1.5, "#ffffff"],
  ] as const) {
    c.lineWidth = width;
    c.strokeStyle = color;
    c.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      c.moveTo(x + 4 * dx, y + 4 * dy);
      c.lineTo(x + 16 * dx, y + 16 * dy);
    }
    c.stroke();
  }
}

export function drawBox(c: CanvasRenderingContext2D, t: Transform, box: readonly number[], color: string, label: string): void {
  const [x1, y1, x2, y2] = box;
  const rect = [t.left + x1 * t.scale, t.top + y1 * t.scale, (x2 - x1) * t.scale, (y2 - y1) * t.scale] as const;
  c.lineWidth = 4;
  c.strokeStyle = "rgba(0,0,0,0.6)";
  c.strokeRect(...rect);
  c.lineWidth = 2;
  c.strokeStyle = color;
  c.strokeRect(...rect);
  if (label) drawLabel(c, rect[0] + 4, Math.max(16, rect[1] - 6), label);
}

export const SHADES = ["#4e9ff5", "#f2b134", "#5ec962", "#e66ab3", "#9d8df1", "#f0743e", "#3fc6c6", "#c9d64b"];

export function drawResult(c: CanvasRenderingContext2D, t: Transform, result: LookResult): void {
  result.masks.forEach((mask) => {
    if (!mask.image) return;
    c.globalAlpha = 0.55;
    c.imageSmoothingEnabled = false;
    c.drawImage(mask.image, t.left, t.top, result.width * t.scale, result.height * t.scale);
    c.imageSmoothingEnabled = true;
    c.globalAlpha = 1;
  });
  result.boxes.forEach((each, k) => drawBox(c, t, each.box, SHADES[k % SHADES.length], each.label));
}

/** Colours of objects; the server draws their masks in the same (`APART`). */
const COLORS = ["#ffff3c", "#694bff", "#5ad2ff", "#d22d4b", "#780000", "#f07800", "#78e196", "#c31ea5", "#7896ff"];

/** Clicks and boxes of a frame: a plus on the object, a minus beside it. */
export function drawPrompts(c: CanvasRenderingContext2D, t: Transform, prompts: Prompt[], frame: number): void {
  for (const { frame: of, object, at, inside } of prompts) {
    if (of !== frame) continue;
    const color = COLORS[(object - 1) % COLORS.length];
    if (at.length === 4) {
      drawBox(c, t, at, color, "");
      continue;
    }
    const [x, y] = [t.left + at[0] * t.scale, t.top + at[1] * t.scale];
    const cross = new Path2D(`M${x - 6} ${y}h12${inside ? `M${x} ${y - 6}v12` : ""}`);
    for (const [width, shade] of [
      [6, "rgba(0,0,0,0.75)"],
      [3, color],
    ] as const) {
      c.lineWidth = width;
      c.strokeStyle = shade;
      c.stroke(cross);
    }
  }
}
