/** Tracks of the points of an item, as tracks.bin has them. */
import type { Point } from "./types";

export interface Tracks {
  rows: Map<string, number>;
  frames: number;
  data: Float32Array;
}

export interface Place2D {
  x: number;
  y: number;
  visible: boolean;
  confidence: number;
  query: boolean;
}

export const NO_TRACKS: Tracks = { rows: new Map(), frames: 0, data: new Float32Array() };

export function decode(ids: string, body: ArrayBuffer): Tracks {
  const names = ids ? ids.split(",") : [];
  const data = new Float32Array(body); // little-endian, as every browser's machine is
  const frames = names.length ? Math.floor(data.length / 4 / names.length) : 0;
  return { rows: new Map(names.map((name, row) => [name, row])), frames, data };
}

/** Where a point is on a frame: its query there, else its track; null where nothing is known. */
export function placeOf(point: Point, tracks: Tracks, frame: number, above: number | null = null): Place2D | null {
  const query = point.queries.find((each) => each.frame === frame);
  const track = trackAt(tracks, point.id, frame, above);
  if (query) {
    const at = query.hidden && track ? track : query;
    return { x: at.x, y: at.y, visible: !query.hidden, confidence: 1, query: true };
  }
  return track;
}

/** Whether somebody has hidden a point on a frame: by the last mark before. */
export function isHidden(point: Point, frame: number): boolean {
  const marks = [...point.queries, ...point.returns.map((each) => ({ frame: each, hidden: false }))];
  const before = marks.filter((mark) => mark.frame <= frame).sort((a, b) => a.frame - b.frame);
  return before.at(-1)?.hidden ?? false;
}

export function trackAt(tracks: Tracks, id: string, frame: number, above: number | null = null): Place2D | null {
  const row = tracks.rows.get(id);
  if (row === undefined || frame < 0 || frame >= tracks.frames) return null;
  const start = (row * tracks.frames + frame) * 4;
  const [x, y, visible, confidence] = tracks.data.subarray(start, start + 4);
  if (Number.isNaN(x) || Number.isNaN(y)) return null;
  const sure = Number.isNaN(confidence) ? 0 : confidence;
  return { x, y, visible: isVisible(visible, sure, above), confidence: sure, query: false };
}

/** Whether a point counts as visible: as the tracker says, or where its chance is at least `above`, unless somebody hid it. */
export function isVisible(visible: number, confidence: number, above: number | null): boolean {
  return above === null ? visible >= 0.5 : confidence >= above && confidence > 0;
}
