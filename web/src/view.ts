/** Which part of the frame the canvas shows. Sizes are CSS pixels. */
import { Cell } from "./cell";
import type { Item } from "./types";

export interface View {
  /** 1 fits the whole frame. */
  zoom: number;
  /** Pixel of the video in the middle of the canvas; null is the middle of the frame. */
  centre: { x: number; y: number } | null;
}

export interface Transform {
  scale: number;
  left: number;
  top: number;
}

export const FIT: View = { zoom: 1, centre: null };
export const view = new Cell<View>(FIT);
const MOST = 40;

export function transformOf(item: Item, width: number, height: number): Transform {
  const { zoom, centre } = view.value;
  const scale = Math.min(width / item.width, height / item.height) * zoom;
  const x = centre?.x ?? item.width / 2;
  const y = centre?.y ?? item.height / 2;
  return { scale, left: width / 2 - x * scale, top: height / 2 - y * scale };
}

export function toVideo(t: Transform, x: number, y: number): { x: number; y: number } {
  return { x: (x - t.left) / t.scale, y: (y - t.top) / t.scale };
}

/** Zoom by a factor so that what is at (x, y) of the canvas stays there. */
export function zoomAt(item: Item, width: number, height: number, x: number, y: number, factor: number): void {
  const zoom = Math.max(1, Math.min(MOST, view.value.zoom * factor));
  if (zoom === 1) {
    view.value = FIT;
    return;
  }
  const before = transformOf(item, width, height);
  const held = toVideo(before, x, y);
  const scale = (before.scale / view.value.zoom) * zoom;
  view.value = { zoom, centre: kept(item, held.x + (width / 2 - x) / scale, held.y + (height / 2 - y) / scale) };
}

export function panBy(item: Item, t: Transform, dx: number, dy: number): void {
  if (view.value.zoom === 1) return;
  const { x, y } = view.value.centre ?? { x: item.width / 2, y: item.height / 2 };
  view.value = { zoom: view.value.zoom, centre: kept(item, x - dx / t.scale, y - dy / t.scale) };
}

function kept(item: Item, x: number, y: number): { x: number; y: number } {
  return { x: Math.max(0, Math.min(item.width, x)), y: Math.max(0, Math.min(item.height, y)) };
}
