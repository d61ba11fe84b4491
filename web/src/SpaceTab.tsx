/** A turning view of the tracks: over time, as a track has no depth of its own here. */
import { useEffect, useRef } from "preact/hooks";
import { useCell, watchAll } from "./cell";
import * as state from "./state";
import { color, prepare, scheme } from "./theme";
import { trackAt } from "./tracks";
import { Transport } from "./TrackTab";

interface Angles {
  turn: number;
  tilt: number;
  zoom: number;
}

const START: Angles = { turn: -0.6, tilt: 0.35, zoom: 1 };
const KEYS: Record<string, [number, number] | undefined> = {
  ArrowLeft: [-0.1, 0],
  ArrowRight: [0.1, 0],
  ArrowUp: [0, -0.1],
  ArrowDown: [0, 0.1],
};

export function SpaceTab() {
  const item = useCell(state.item);
  const project = useCell(state.project);
  const points = project?.points ?? [];
  const ref = useRef<HTMLCanvasElement>(null);
  const angles = useRef<Angles>({ ...START });
  const soon = useRef(() => {});
  const ready = points.length > 0 && project?.tracked_revision != null;
  useEffect(() => {
    const canvas = ref.current;
    if (!canvas) return;
    let waiting = 0;
    soon.current = () => {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        draw(canvas, angles.current);
      });
    };
    const sizes = new ResizeObserver(() => soon.current());
    sizes.observe(canvas);
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY * 0.002));
    };
    canvas.addEventListener("wheel", wheel, { passive: false });
    const end = watchAll([state.frame, state.project, state.tracks, state.selected, scheme], () => soon.current());
    soon.current();
    return () => {
      sizes.disconnect();
      end();
    };
  }, [ready, item]);
  const turnBy = (turn: number, tilt: number) => {
    const now = angles.current;
    angles.current = { ...now, turn: now.turn + turn, tilt: Math.max(-1.5, Math.min(1.5, now.tilt + tilt)) };
    soon.current();
  };
  const zoomBy = (factor: number) => {
    angles.current.zoom = Math.max(0.3, Math.min(8, angles.current.zoom * factor));
    soon.current();
  };
  const press = (event: KeyboardEvent) => {
    const way = KEYS[event.key];
    if (way) turnBy(...way);
    else if (event.key === "+" || event.key === "=") zoomBy(1.2);
    else if (event.key === "-") zoomBy(1 / 1.2);
    else return;
    event.preventDefault();
  };
  const reset = () => {
    angles.current = { ...START };
    soon.current();
  };

  if (!item) return <p class="empty">Choose a video on the left.</p>;
  if (!ready) return <p class="empty">There are no tracks yet; put points on the Track tab and track them.</p>;
  return (
    <section class="centre" aria-label="Tracks in space">
      <p class="note">
        These tracks have no depth: they are shown over time instead, the first frame on the left. With depth:{" "}
        <code>tapetum track --3d</code>
      </p>
      <div class="stage">
        <canvas
          ref={ref}
          class="turning"
          tabIndex={0}
          role="application"
          aria-roledescription="turning view"
          aria-label={`Tracks of ${points.length} points over time; arrow keys turn the view, plus and minus zoom`}
          onKeyDown={press}
          onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
          onPointerMove={(event) => event.buttons === 1 && turnBy(event.movementX * 0.008, event.movementY * 0.008)}
        />
      </div>
      <div class="bar">
        <button type="button" onClick={reset}>
          Reset view
        </button>
        <span class="soft">Drag or use the arrow keys to turn, the wheel or + and − to zoom</span>
      </div>
      <Transport />
    </section>
  );
}

type Project = (x: number, y: number, frame: number) => [number, number];

function draw(canvas: HTMLCanvasElement, angles: Angles): void {
  const { c, width, height } = prepare(canvas);
  const item = state.item.value;
  if (!item) return;
  const { frames } = state.tracks.value;
  const size = Math.max(item.width, item.height);
  const scale = 0.62 * Math.min(width, height) * angles.zoom;
  const [ct, st, ci, si] = [Math.cos(angles.turn), Math.sin(angles.turn), Math.cos(angles.tilt), Math.sin(angles.tilt)];
  const project: Project = (x, y, frame) => {
    const [u, v, w] = [
      (x - item.width / 2) / size,
      (y - item.height / 2) / size,
      1.6 * (frame / Math.max(1, frames - 1) - 0.5),
    ];
    const right = u * ct - w * st;
    const away = u * st + w * ct;
    return [width / 2 + scale * right, height / 2 + scale * (v * ci - away * si)];
  };
  for (const frame of [0, frames - 1]) drawFrame(c, project, frame, color("soft"), 1);
  drawFrame(c, project, state.frame.value, color("accent"), 2);
  for (const point of state.project.value?.points ?? []) {
    c.strokeStyle = c.fillStyle = point.color;
    c.lineWidth = point.id === state.selected.value ? 3.5 : 1.8;
    let before: [number, number] | null = null;
    for (let frame = 0; frame < frames; frame++) {
      const at = trackAt(state.tracks.value, point.id, frame);
      const now = at && project(at.x, at.y, frame);
      if (now && before) {
        c.globalAlpha = at!.visible ? 1 : 0.3;
        c.beginPath();
        c.moveTo(...before);
        c.lineTo(...now);
        c.stroke();
      }
      before = now;
    }
    c.globalAlpha = 1;
    const at = trackAt(state.tracks.value, point.id, state.frame.value);
    if (!at) continue;
    c.beginPath();
    c.arc(...project(at.x, at.y, state.frame.value), 5, 0, 2 * Math.PI);
    c.fill();
  }
}

function drawFrame(c: CanvasRenderingContext2D, project: Project, frame: number, style: string, wide: number): void {
  const { width, height } = state.item.value!;
  c.strokeStyle = style;
  c.lineWidth = wide;
  c.beginPath();
  for (const [x, y] of [
    [0, 0],
    [width, 0],
    [width, height],
    [0, height],
  ])
    c.lineTo(...project(x, y, frame));
  c.closePath();
  c.stroke();
}
