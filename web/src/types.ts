/** What the server answers; coordinates are pixels of the video, the centre of the first pixel is (0.5, 0.5). */

export interface Item {
  id: string;
  name: string;
  kind: "video" | "image";
  frames: number;
  fps: number;
  width: number;
  height: number;
  /** Sorts as the list does, before the names decide. */
  order: string;
}

/** Items of the folder, and how many it has. */
export interface ItemPage {
  items: Item[];
  /** The id after which more of them follow. */
  next: string | null;
  count: number;
  /** Files that are not read yet. */
  unread: number;
}

export interface ItemChange {
  changed: Item[];
  gone: string[];
  count: number;
  unread: number;
}

export interface AppState extends ItemPage {
  version: string;
  folder: string;
  models: Record<string, unknown>;
  limits: { upload_bytes: number };
  /** Formats of export whose packages are missing, and what installs them. */
  exports?: Record<string, string>;
}

export interface Query {
  frame: number;
  x: number;
  y: number;
  hidden: boolean;
}

export interface Point {
  id: string;
  name: string;
  color: string;
  queries: Query[];
  /** Frames on which it is back after it was hidden. */
  returns: number[];
}

export type Box = [number, number, number, number];

export interface Job {
  id: string;
  kind: string;
  item?: string;
  state: "waiting" | "running" | "done" | "failed" | "cancelled" | "interrupted";
  done: number;
  total: number;
  seconds_left: number | null;
  message: string;
  result?: unknown;
  model?: unknown;
}

export interface Project {
  revision: number;
  points: Point[];
  undo: number;
  redo: number;
  job: Job | null;
  tracked_revision: number | null;
  /** The last job of masks through the video. */
  masks: Job | null;
}

export interface Place {
  point: string;
  frame: number;
  reason: string;
  score: number;
  /** What of the visible places is expected wrong here; 0 where no errors are predicted. */
  share: number;
}

export interface Moment {
  item: string;
  name: string;
  start_s: number | null;
  stop_s: number | null;
  frame: number;
  cosine: number;
  /** Addresses of small images: of one second, or of the beginning, the best second and the end. */
  thumbnails: string[];
}

export type Edit =
  | { type: "add_point"; frame: number; x: number; y: number; name?: string; color?: string }
  | { type: "add_grid"; frame: number; rows: number; columns: number; box?: Box; name?: string }
  | { type: "move_point"; point: string; frame: number; x: number; y: number }
  | { type: "hide_point" | "show_point"; point: string; frame: number }
  | { type: "delete_point"; point: string }
  | { type: "edit_point"; point: string; name?: string; color?: string }
  | { type: "clear" };
