/** Keys of the page. They rest while somebody types in a field or a dialog is open. */
import { addPoint, deleteSelected, edit, hideOrShowSelected, nextPlace, redo, track, undo } from "./actions";
import { addPrompt } from "./masks";
import * as state from "./state";
import { FIT, view, zoomAt } from "./view";

export const KEYS: [string, string][] = [
  ["← →", "one frame back or on; with Shift ten"],
  ["Home End", "first or last frame"],
  ["Space", "play or pause"],
  ["t", "track the points"],
  ["n", "next place to look at"],
  ["[ ]", "select the point before or after"],
  ["h", "the selected point is hidden from this frame on; if it is hidden, it is back from this frame on"],
  ["Delete", "delete the selected point"],
  ["Ctrl Z", "undo; with Shift redo"],
  ["g", "grid of points: draw a box, or press g again for the whole frame"],
  ["w", "words: put points on the things that they name"],
  ["s", "masks: click on an object, or draw a box around it; Shift-click beside it"],
  ["c", "cross, moved by the arrow keys (Shift: ten pixels); Enter puts a point or a click there, m moves the selected one there"],
  ["+ − 0", "zoom in, out, fit; so does the wheel, and dragging pans"],
  ["Esc", "leave the cross, the grid, the selection"],
  ["?", "these keys"],
];

export function listenToKeys(): void {
  window.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    const typing = target.matches("input:not([type=range]):not([type=color]), select, textarea");
    if (typing || document.querySelector("dialog[open]")) return;
    const pressing = (event.key === " " || event.key === "Enter") && target.matches("button, summary, a, input");
    if (!pressing && act(event)) event.preventDefault();
  });
}

function act(event: KeyboardEvent): boolean {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "?") {
    state.helping.value = true;
    return true;
  }
  const tab = state.tab.value;
  if (event.altKey || !state.item.value || (tab !== "track" && tab !== "image")) return false;
  if (event.ctrlKey || event.metaKey) {
    if (tab !== "track" || (key !== "z" && key !== "y")) return false;
    void (key === "y" || event.shiftKey ? redo() : undo());
    return true;
  }
  const work = (tab === "track" && (moveCrosshair(event) ?? EDITING[key])) || MOVING[key];
  if (!work) return false;
  work(event);
  return true;
}

type Work = (event: KeyboardEvent) => void;

const stepBy =
  (direction: number): Work =>
  (event) => {
    state.playing.value = false;
    state.seek(state.frame.value + direction * (event.shiftKey ? 10 : 1));
  };

const MOVING: Record<string, Work | undefined> = {
  ArrowLeft: stepBy(-1),
  ArrowRight: stepBy(1),
  Home: () => state.seek(0),
  End: () => state.seek(Infinity),
  " ": state.togglePlay,
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  "0": () => (view.value = FIT),
};

const EDITING: Record<string, Work | undefined> = {
  t: () => void track(),
  n: nextPlace,
  h: hideOrShowSelected,
  Delete: deleteSelected,
  Backspace: deleteSelected,
  "[": () => select(-1),
  "]": () => select(1),
  g: () => {
    if (state.tool.value === "grid") state.gridBox.value = "whole";
    else state.tool.value = "grid";
  },
  w: () => (state.tool.value = "words"),
  s: () => (state.tool.value = "mask"),
  c: () => {
    const { width, height } = state.item.value!;
    state.crosshair.value = state.crosshair.value ? null : (view.value.centre ?? { x: width / 2, y: height / 2 });
  },
  Escape: () => {
    if (state.crosshair.value) state.crosshair.value = null;
    else if (state.tool.value !== "point") state.tool.value = "point";
    else state.selected.value = null;
  },
};

const ARROWS: Record<string, [number, number] | undefined> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function moveCrosshair(event: KeyboardEvent): Work | undefined {
  const at = state.crosshair.value;
  if (!at) return undefined;
  if (event.key === "Enter") return () => void (state.tool.value === "mask" ? addPrompt([at.x, at.y], !event.shiftKey) : addPoint(at.x, at.y));
  if (event.key === "m") {
    const point = state.selected.value;
    return () => point && void edit({ type: "move_point", point, frame: state.frame.value, ...at });
  }
  const way = ARROWS[event.key];
  if (!way) return undefined;
  const step = event.shiftKey ? 10 : 1;
  const { width, height } = state.item.value!;
  return () => {
    state.crosshair.value = {
      x: Math.max(0, Math.min(width - 0.5, at.x + way[0] * step)),
      y: Math.max(0, Math.min(height - 0.5, at.y + way[1] * step)),
    };
  };
}

function select(step: number): void {
  const points = state.project.value?.points ?? [];
  if (!points.length) return;
  const at = points.findIndex((point) => point.id === state.selected.value);
  const next = at < 0 ? (step > 0 ? 0 : points.length - 1) : (at + step + points.length) % points.length;
  state.selected.value = points[next].id;
}

function zoom(factor: number): void {
  const box = document.querySelector(".stage")?.getBoundingClientRect();
  if (box) zoomAt(state.item.value!, box.width, box.height, box.width / 2, box.height / 2, factor);
}
