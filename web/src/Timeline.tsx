/** A line for each point: where it is seen, how sure the model is, where somebody marked it. */
import { useEffect, useRef } from "preact/hooks";
import { useCell, watchAll } from "./cell";
import * as state from "./state";
import { color, prepare, scheme } from "./theme";
import { isVisible, trackAt } from "./tracks";
import type { Point } from "./types";

const ROW = 18;
const BAR = 10;
const NAMES = 92;

export function Timeline() {
  const item = useCell(state.item)!;
  const list = useCell(state.project)?.points ?? [];
  const points = list.length;
  const tracks = useCell(state.tracks);
  const tracked = list.filter((point) => trackAt(tracks, point.id, point.queries[0]?.frame ?? 0)).length;
  const box = useRef<HTMLDivElement>(null);
  const ref = useRef<HTMLCanvasElement>(null);
  const spacer = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!box.current || !ref.current) return;
    const [scroller, canvas] = [box.current, ref.current];
    let waiting = 0;
    const soon = () => {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        draw(canvas, scroller.scrollTop);
      });
    };
    const sizes = new ResizeObserver(soon);
    sizes.observe(scroller);
    scroller.addEventListener("scroll", soon);
    let selected = state.selected.value;
    const show = () => {
      if (state.selected.value !== selected) reveal(scroller, (selected = state.selected.value));
      soon();
    };
    const end = watchAll([state.frame, state.project, state.tracks, state.selected, state.above, scheme], show);
    soon();
    return () => {
      sizes.disconnect();
      scroller.removeEventListener("scroll", soon);
      end();
    };
  }, [item]);
  useEffect(() => {
    if (spacer.current) spacer.current.style.height = `${points * ROW}px`;
  }, [points]);
  if (item.frames < 2) return null;

  const seek = (event: PointerEvent) => {
    const area = ref.current!.getBoundingClientRect();
    const [x, y] = [event.clientX - area.left, event.clientY - area.top];
    const row = Math.floor((y + box.current!.scrollTop) / ROW);
    const point = state.project.value?.points[row];
    if (point && event.type === "pointerdown") state.selected.value = point.id;
    state.playing.value = false;
    if (x >= NAMES) state.seek(((x - NAMES) / (area.width - NAMES)) * item.frames - 0.5);
  };
  return (
    <div class="timeline" ref={box}>
      <canvas
        ref={ref}
        role="img"
        aria-label={`Time line of ${points} points, of which ${tracked} are tracked`}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          seek(event);
        }}
        onPointerMove={(event) => event.buttons === 1 && seek(event)}
      />
      <div ref={spacer} />
      {points === 0 && <p class="soft">Each point gets a line here: where it is seen, and how sure the model is.</p>}
    </div>
  );
}

function reveal(scroller: HTMLElement, id: string | null): void {
  const row = state.project.value?.points.findIndex((point) => point.id === id) ?? -1;
  if (row < 0) return;
  if (row * ROW < scroller.scrollTop) scroller.scrollTop = row * ROW;
  const below = (row + 1) * ROW - scroller.clientHeight;
  if (below > scroller.scrollTop) scroller.scrollTop = below;
}

function draw(canvas: HTMLCanvasElement, top: number): void {
  const { c, width, height } = prepare(canvas);
  const points = state.project.value?.points ?? [];
  const frames = state.item.value?.frames ?? 1;
  const step = (width - NAMES) / frames;
  const first = Math.floor(top / ROW);
  c.font = "12px system-ui, sans-serif";
  for (let row = first; row < points.length && row * ROW - top < height; row++) {
    drawRow(c, points[row], row * ROW - top, step, width, frames);
  }
  c.fillStyle = color("accent");
  c.fillRect(NAMES + (state.frame.value + 0.5) * step - 1, 0, 2, height);
}

function drawRow(c: CanvasRenderingContext2D, point: Point, y: number, step: number, width: number, frames: number): void {
  if (point.id === state.selected.value) {
    c.fillStyle = color("chosen");
    c.fillRect(0, y, width, ROW);
  }
  c.fillStyle = color("ink");
  c.fillText(shortened(c, point.name, NAMES - 10), 4, y + 13);
  const base = y + (ROW + BAR) / 2;
  c.fillStyle = color("lane");
  c.fillRect(NAMES, base - BAR - 1, width - NAMES, BAR + 2); // an edge for white points too
  const { rows, data, frames: tracked } = state.tracks.value;
  const row = rows.get(point.id);
  if (row !== undefined) {
    c.fillStyle = point.color;
    for (let frame = 0; frame < Math.min(frames, tracked); frame++) {
      const start = (row * tracked + frame) * 4;
      if (Number.isNaN(data[start])) continue;
      const seen = isVisible(data[start + 2], data[start + 3] || 0, state.above.value);
      const high = seen ? Math.max(2, BAR * (data[start + 3] || 0)) : 2;
      c.globalAlpha = seen ? 1 : 0.45;
      c.fillRect(NAMES + frame * step, base - high, Math.max(step, 0.5) + 0.3, high);
    }
    c.globalAlpha = 1;
  }
  for (const query of point.queries) {
    const x = NAMES + (query.frame + 0.5) * step;
    c.beginPath();
    c.rect(x - 3.5, base - BAR / 2 - 3.5, 7, 7);
    c.fillStyle = query.hidden ? color("panel") : point.color;
    c.strokeStyle = color("ink");
    c.lineWidth = 1.5;
    c.fill();
    c.stroke();
  }
}

function shortened(c: CanvasRenderingContext2D, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  let kept = text;
  while (kept && c.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
