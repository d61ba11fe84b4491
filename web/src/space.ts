/** 3D tracks of the item that is open, and the places of points in the view that turns. */
import { get, post, request } from "./api";
import { Cell } from "./cell";
import { attempt, item, noteJob, path, tracks } from "./state";
import { trackAt } from "./tracks";
import type { Job } from "./types";

export interface SpaceAbout {
  /** Where depth comes from: adjust, static, or the name of a file of depth maps. */
  depth: string;
  /** Whether lengths are metres; else they have one unknown unit. */
  metric: boolean;
  /** Whether it is known how the camera moved. */
  moving: boolean;
  frames: number;
  intrinsics: [number, number, number, number];
  notes: string[];
}

export interface Space {
  about: SpaceAbout | null;
  depthFile: string | null;
  rows: Map<string, number>;
  /** (points, frames, 4): X, Y, Z in the axes of the first camera, visible. */
  places: Float32Array;
  /** (frames, 3, 4): from each camera to the first. */
  poses: Float32Array;
}

/** X, Y, Z about the middle of the view, whose half is 1; and whether the point is visible. */
export type Placed = { at: [number, number, number]; visible: boolean } | null;

export interface View3D {
  frames: number;
  place(point: string, frame: number): Placed;
  /** Closed lines: of frames, or of the camera. */
  outline(frame: number): [number, number, number][][];
}

export const space = new Cell<Space | null>(null);
export const spaceJob = new Cell<Job | null>(null);
const NOTHING = { rows: new Map<string, number>(), places: new Float32Array(), poses: new Float32Array() };

interface Answer {
  space: SpaceAbout | null;
  depth_file: string | null;
  job: Job | null;
}

export async function loadSpace(): Promise<void> {
  const id = item.value?.id;
  if (!id || item.value?.kind !== "video") return;
  const answer = await get<Answer>(path(id, "space"));
  let arrays = NOTHING;
  if (answer.space) {
    const response = await request(path(id, "tracks3d.bin"));
    const names = (response.headers.get("X-Points") ?? "").split(",").filter(Boolean);
    const numbers = new Float32Array(await response.arrayBuffer());
    const count = names.length * answer.space.frames * 4;
    const rows = new Map(names.map((name, row) => [name, row]));
    arrays = { rows, places: numbers.subarray(0, count), poses: numbers.subarray(count) };
  }
  if (item.value?.id !== id) return;
  spaceJob.value = answer.job;
  if (answer.job) noteJob(answer.job);
  space.value = { about: answer.space, depthFile: answer.depth_file, ...arrays };
}

export async function computeSpace(depth: string): Promise<void> {
  const id = item.value?.id;
  if (!id) return;
  const job = await attempt(() => post<Job>(path(id, "jobs"), { kind: "space", depth }));
  if (job && item.value?.id === id) spaceJob.value = job;
}

/** How many points of the project have 3D tracks as they are now. */
export function placedCount(now: Space | null): number {
  if (!now?.about) return 0;
  const step = now.about.frames * 4;
  return [...now.rows.values()].filter((row) => !Number.isNaN(now.places[row * step])).length;
}

/** Tracks in the image over time: the frames one behind the other. */
export function overTime(): View3D {
  const { width, height } = item.value!;
  const { frames } = tracks.value;
  const size = Math.max(width, height);
  const at = (x: number, y: number, frame: number): [number, number, number] => [
    (x - width / 2) / size,
    (y - height / 2) / size,
    1.6 * (frame / Math.max(1, frames - 1) - 0.5),
  ];
  const corners = (frame: number) => [at(0, 0, frame), at(width, 0, frame), at(width, height, frame), at(0, height, frame)];
  return {
    frames,
    place: (point, frame) => {
      const track = trackAt(tracks.value, point, frame);
      return track && { at: at(track.x, track.y, frame), visible: track.visible };
    },
    outline: (frame) => [corners(0), corners(frames - 1), corners(frame)],
  };
}

/** Tracks in space, about their middle; outliers do not count for the size. */
export function inSpace(now: Space): View3D {
  const { frames, intrinsics } = now.about!;
  const known: number[][] = [[], [], []];
  for (let k = 0; k < now.places.length; k += 4)
    if (now.places[k + 3] > 0.5) for (let axis = 0; axis < 3; axis++) known[axis].push(now.places[k + axis]);
  for (let k = 0; k < now.poses.length; k += 12) for (let axis = 0; axis < 3; axis++) known[axis].push(now.poses[k + 4 * axis + 3]);
  known.forEach((values) => values.sort((a, b) => a - b));
  const share = (values: number[], part: number) => values[Math.round(part * (values.length - 1))] ?? 0;
  const middle = known.map((values) => (share(values, 0.02) + share(values, 0.98)) / 2);
  const extent = Math.max(...known.map((values) => share(values, 0.98) - share(values, 0.02))) || 1;
  const about = (x: number, y: number, z: number): [number, number, number] => [
    (x - middle[0]) / extent,
    (y - middle[1]) / extent,
    (z - middle[2]) / extent,
  ];
  const [fx, fy, cx, cy] = intrinsics;
  const depth = 0.08 * extent;
  const cone = ([x, y]: number[]): [number, number, number] => [((x - cx) / fx) * depth, ((y - cy) / fy) * depth, depth];
  const corners = [
    [0, 0],
    [2 * cx, 0],
    [2 * cx, 2 * cy],
    [0, 2 * cy],
  ].map(cone);
  const moved = (frame: number, [x, y, z]: [number, number, number]): [number, number, number] => {
    const p = now.poses.subarray(12 * frame, 12 * frame + 12);
    const row = (k: number) => p[k] * x + p[k + 1] * y + p[k + 2] * z + p[k + 3];
    return about(row(0), row(4), row(8));
  };
  return {
    frames,
    place: (point, frame) => {
      const row = now.rows.get(point);
      const start = row === undefined || frame >= frames ? -1 : (row * frames + frame) * 4;
      if (start < 0 || Number.isNaN(now.places[start])) return null;
      const [x, y, z, visible] = now.places.subarray(start, start + 4);
      return { at: about(x, y, z), visible: visible > 0.5 };
    },
    outline: (frame) => {
      const tip = moved(frame, [0, 0, 0]);
      const rim = corners.map((corner) => moved(frame, corner));
      const way = Array.from({ length: now.about!.moving ? frames : 0 }, (_, k) => moved(k, [0, 0, 0]));
      return [[...way, ...way.slice().reverse()], rim, ...rim.map((corner) => [tip, corner])];
    },
  };
}

/** What to believe of the depth. */
export function describeDepth(about: SpaceAbout): string {
  if (about.depth === "adjust")
    return (
      "Depth by bundle adjustment of the tracks: right up to one unknown scale. Points that move by themselves have no depth " +
      "and are pale."
    );
  if (about.depth === "static") return "The static baseline: every point at the same depth, which nobody measured.";
  const unit = about.metric ? "in metres as these say" : "in an unknown unit";
  return `Depth from ${about.depth}, ${unit}, before the camera of each frame.`;
}
