/** The frame on a canvas, with what is drawn over it; points are put and moved here. */
import { useEffect, useRef } from "preact/hooks";
import { addPoint, edit } from "./actions";
import { useCell, watchAll } from "./cell";
import { drawPrompts, drawResult, drawScene } from "./draw";
import { frameImage, isHere, onFrame, widthFor } from "./frames";
import { lookResult } from "./look";
import * as masks from "./masks";
import * as state from "./state";
import { placeOf } from "./tracks";
import { FIT, panBy, toVideo, transformOf, view, zoomAt } from "./view";

const NEAR = 12;
const STILL = 4;

type Gesture =
  | { kind: "point"; id: string; x: number; y: number; moved: boolean }
  | { kind: "pan"; x: number; y: number; moved: boolean }
  | { kind: "box"; x: number; y: number; box: [number, number, number, number] };

class Stage {
  width = 1;
  height = 1;
  gesture: Gesture | null = null;
  fingers = new Map<number, { x: number; y: number }>();
  dragged: { id: string; x: number; y: number } | null = null;
  #frameOfPaint = 0;
  #played = 0;

  constructor(
    readonly canvas: HTMLCanvasElement,
    readonly overlay: "tracks" | "look",
  ) {}

  paintSoon = () => {
    this.#frameOfPaint ||= requestAnimationFrame((now) => {
      this.#frameOfPaint = 0;
      this.paint();
      if (state.playing.value) this.play(now);
    });
  };

  get pixels(): number {
    return this.width * window.devicePixelRatio * view.value.zoom;
  }

  play(now: number): void {
    const item = state.item.value;
    if (!item) return;
    const step = 1000 / (item.fps || 25);
    const next = state.frame.value + 1;
    if (next >= item.frames) {
      state.playing.value = false;
      return;
    }
    if (now - this.#played >= step - 4 && isHere(item, next, widthFor(item, this.pixels))) {
      this.#played = Math.max(this.#played + step, now - step);
      state.frame.value = next;
    }
    this.paintSoon();
  }

  paint(): void {
    const c = this.canvas.getContext("2d")!;
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.width, this.height);
    const item = state.item.value;
    if (!item) return;
    const t = transformOf(item, this.width, this.height);
    const frame = state.frame.value;
    const image = frameImage(item, frame, widthFor(item, this.pixels));
    c.imageSmoothingEnabled = t.scale < 4;
    if (image) c.drawImage(image, t.left, t.top, item.width * t.scale, item.height * t.scale);
    c.imageSmoothingEnabled = true;
    this.canvas.dataset.shown = image ? `${item.id}/${frame}` : "";
    if (this.overlay === "look") {
      const result = lookResult.value;
      if (result && result.item === item.id && result.frame === frame) drawResult(c, t, result);
      return;
    }
    const mask = masks.maskImage(frame);
    c.imageSmoothingEnabled = false;
    if (mask) c.drawImage(mask, t.left, t.top, item.width * t.scale, item.height * t.scale);
    c.imageSmoothingEnabled = true;
    if (this.masks) drawPrompts(c, t, masks.prompts.value, frame);
    drawScene(c, t, {
      points: state.project.value?.points ?? [],
      tracks: state.tracks.value,
      frame,
      selected: state.selected.value,
      above: state.above.value,
      dragged: this.dragged,
      crosshair: state.crosshair.value,
      box: this.gesture?.kind === "box" ? this.gesture.box : null,
    });
  }

  at(event: PointerEvent | WheelEvent): { x: number; y: number } {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  pointAt(x: number, y: number): string | null {
    const item = state.item.value!;
    const t = transformOf(item, this.width, this.height);
    let best: string | null = null;
    let least = NEAR;
    for (const point of state.project.value?.points ?? []) {
      const place = placeOf(point, state.tracks.value, state.frame.value);
      if (!place) continue;
      const favour = point.id === state.selected.value ? 3 : 0;
      const far = Math.hypot(t.left + place.x * t.scale - x, t.top + place.y * t.scale - y) - favour;
      if (far < least) [best, least] = [point.id, far];
    }
    return best;
  }

  down = (event: PointerEvent) => {
    const item = state.item.value;
    if (!item || event.button > 1) return;
    const { x, y } = this.at(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, { x, y });
    if (this.fingers.size > 1) {
      this.gesture = null;
      this.dragged = null;
      return;
    }
    state.playing.value = false;
    const edits = this.overlay === "tracks" && event.button === 0;
    const id = edits && !this.boxes ? this.pointAt(x, y) : null;
    if (id) {
      state.selected.value = id;
      this.gesture = { kind: "point", id, x, y, moved: false };
    } else if (edits && this.boxes) {
      const { x: vx, y: vy } = this.within(x, y);
      this.gesture = { kind: "box", x, y, box: [vx, vy, vx, vy] };
    } else this.gesture = { kind: "pan", x, y, moved: event.button === 1 };
  };

  get boxes(): boolean {
    return state.tool.value === "grid" || this.masks;
  }

  get masks(): boolean {
    return state.tool.value === "mask";
  }

  within(x: number, y: number): { x: number; y: number } {
    const item = state.item.value!;
    const at = toVideo(transformOf(item, this.width, this.height), x, y);
    return { x: Math.max(0, Math.min(item.width, at.x)), y: Math.max(0, Math.min(item.height, at.y)) };
  }

  move = (event: PointerEvent) => {
    const item = state.item.value;
    if (!item) return;
    const { x, y } = this.at(event);
    const finger = this.fingers.get(event.pointerId);
    const t = transformOf(item, this.width, this.height);
    if (finger && this.fingers.size === 2) {
      const [other] = [...this.fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const before = Math.hypot(finger.x - other.x, finger.y - other.y);
      const now = Math.hypot(x - other.x, y - other.y);
      if (before > 1) zoomAt(item, this.width, this.height, (x + other.x) / 2, (y + other.y) / 2, now / before);
      this.fingers.set(event.pointerId, { x, y });
      return;
    }
    const g = this.gesture;
    if (!g || !finger) {
      if (event.pointerType === "mouse" && this.overlay === "tracks") {
        this.canvas.classList.toggle("over-point", !this.boxes && this.pointAt(x, y) !== null);
      }
      return;
    }
    if (g.kind === "box") {
      const at = this.within(x, y);
      const [x1, y1] = Object.values(this.within(g.x, g.y));
      g.box = [Math.min(x1, at.x), Math.min(y1, at.y), Math.max(x1, at.x), Math.max(y1, at.y)];
    } else {
      g.moved ||= Math.hypot(x - g.x, y - g.y) > STILL;
      if (g.moved && g.kind === "point") this.dragged = { id: g.id, ...this.within(x, y) };
      if (g.moved && g.kind === "pan") {
        panBy(item, t, x - finger.x, y - finger.y);
      }
    }
    this.fingers.set(event.pointerId, { x, y });
    this.paintSoon();
  };

  up = (event: PointerEvent) => {
    if (!this.fingers.delete(event.pointerId)) return;
    const g = this.gesture;
    const item = state.item.value;
    this.gesture = null;
    if (!g || !item || event.type === "pointercancel") {
      this.dragged = null;
    } else if (g.kind === "point" && this.dragged) {
      const { id, x, y } = this.dragged;
      void edit({ type: "move_point", point: id, frame: state.frame.value, x, y }).then(() => {
        this.dragged = null;
        this.paintSoon();
      });
    } else if (g.kind === "box") {
      const [x1, y1, x2, y2] = g.box;
      if (this.masks) {
        const { scale } = transformOf(item, this.width, this.height);
        const isClick = Math.max(x2 - x1, y2 - y1) * scale <= STILL;
        masks.addPrompt(isClick ? [x1, y1] : g.box, isClick ? !event.shiftKey : true);
        return;
      }
      state.gridBox.value = x2 - x1 > 2 && y2 - y1 > 2 ? g.box : "whole";
    } else if (g.kind === "pan" && !g.moved && this.overlay === "tracks") {
      const at = toVideo(transformOf(item, this.width, this.height), g.x, g.y);
      if (at.x >= 0 && at.y >= 0 && at.x < item.width && at.y < item.height) void addPoint(at.x, at.y);
    }
    this.paintSoon();
  };

  wheel = (event: WheelEvent) => {
    const item = state.item.value;
    if (!item) return;
    event.preventDefault();
    const { x, y } = this.at(event);
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    zoomAt(item, this.width, this.height, x, y, Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)));
  };
}

export function Viewer({ overlay }: { overlay: "tracks" | "look" }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const item = useCell(state.item);
  const tool = useCell(state.tool);
  const zoom = useCell(view).zoom;
  const points = useCell(state.project)?.points.length ?? 0;
  useEffect(() => {
    const canvas = ref.current!;
    const stage = new Stage(canvas, overlay);
    const sizes = new ResizeObserver(([entry]) => {
      stage.width = Math.max(1, entry.contentRect.width);
      stage.height = Math.max(1, entry.contentRect.height);
      stage.paintSoon();
    });
    sizes.observe(canvas.parentElement!);
    canvas.addEventListener("wheel", stage.wheel, { passive: false });
    canvas.addEventListener("pointerdown", stage.down);
    canvas.addEventListener("pointermove", stage.move);
    canvas.addEventListener("pointerup", stage.up);
    canvas.addEventListener("pointercancel", stage.up);
    const shown = [state.item, state.frame, state.project, state.tracks, state.selected, state.playing, view, lookResult];
    const ends = [watchAll([...shown, state.crosshair, state.above, state.tool, state.jobs, masks.arrived, masks.prompts], stage.paintSoon), onFrame(stage.paintSoon)];
    stage.paintSoon();
    return () => {
      sizes.disconnect();
      ends.forEach((end) => end());
    };
  }, [overlay]);
  const about = item
    ? `Frame of ${item.name}, ${points} ${points === 1 ? "point" : "points"}. Keys: press question mark for help.`
    : "No video is open";
  return (
    <div class="stage">
      <canvas
        ref={ref}
        class={tool === "grid" || tool === "mask" ? "grid-tool" : undefined}
        tabIndex={0}
        role="application"
        aria-roledescription="frame"
        aria-label={about}
      />
      {zoom > 1 && (
        <button type="button" class="fit" onClick={() => (view.value = FIT)} aria-keyshortcuts="0">
          {`${Math.round(100 * zoom)} %, fit`}
        </button>
      )}
    </div>
  );
}
