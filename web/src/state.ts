/** What the page shows. All of it is the server's, but for where one looks, which the address after # keeps. */
import { ApiError, get, request } from "./api";
import { Cell, watchAll } from "./cell";
import { list, loadItems } from "./list";
import { decode, NO_TRACKS, type Tracks } from "./tracks";
import type { AppState, Item, Job, Place, Project } from "./types";

export type Tab = "track" | "image" | "search";
export const TABS: Record<Tab, string> = { track: "Track", image: "Image", search: "Search" };

export const app = new Cell<AppState | null>(null);
export const item = new Cell<Item | null>(null);
export const frame = new Cell(0);
export const tab = new Cell<Tab>("track");
export const project = new Cell<Project | null>(null);
export const tracks = new Cell<Tracks>(NO_TRACKS);
export const places = new Cell<Place[]>([]);
/** Share of the visible places that is expected wrong; null where no errors are predicted. */
export const expectedShare = new Cell<number | null>(null);
/** Share below which nobody need look on. */
export const until = new Cell(0);
export const selected = new Cell<string | null>(null);
export const playing = new Cell(false);
export const tool = new Cell<"point" | "grid" | "words" | "mask">("point");
export const gridBox = new Cell<[number, number, number, number] | "whole" | null>(null);
export const crosshair = new Cell<{ x: number; y: number } | null>(null);
export const helping = new Cell(false);
export const choosing = new Cell(false);
/** What went wrong, and on which tab; shown there. */
export const problem = new Cell<{ text: string; tab: Tab } | null>(null);
/** Points are visible where their chance of being right is at least this; null follows the tracker. */
export const above = new Cell<number | null>(null);
export const notice = new Cell("");
export const connected = new Cell(true);
/** Jobs that events spoke of, by id. */
export const jobs = new Cell<ReadonlyMap<string, Job>>(new Map());

export function fail(error: unknown, on: Tab = tab.value): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  problem.value = { text: error instanceof Error ? error.message : String(error), tab: on };
}

/** Run something, and show the error if there is one. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  const begun = tab.value;
  try {
    return await work();
  } catch (error) {
    fail(error, begun);
    return undefined;
  }
}

export function path(id: string, rest: string): string {
  return `/api/items/${encodeURIComponent(id)}/${rest}`;
}

export function seek(to: number): void {
  const last = (item.value?.frames ?? 1) - 1;
  frame.value = Math.max(0, Math.min(last, Math.round(to)));
}

/** Play or pause; at the last frame play from the first. */
export function togglePlay(): void {
  const last = (item.value?.frames ?? 1) - 1;
  if (!playing.value && frame.value >= last) seek(0);
  playing.value = !playing.value && last > 0;
}

export async function loadApp(): Promise<void> {
  const read = get<AppState>("/api/state");
  const listed = loadItems(read); // begun at once: changes that are heard from here on come after it
  const [state] = await Promise.all([read, listed]);
  const tracker = app.value?.models.track;
  app.value = state;
  if (tracker !== undefined && tracker !== state.models.track) noteTracker(state.models.track);
  if (item.value) item.value = await readItem(item.value.id);
}

/** Another tracker was chosen, here or elsewhere. */
export function noteTracker(track: unknown): void {
  if (app.value) app.value = { ...app.value, models: { ...app.value.models, track } };
  void attempt(loadProject).then(() => refreshTracks());
}

/** An item, listed or not; null if it is gone. */
async function readItem(id: string): Promise<Item | null> {
  const listed = list.value.items.find((each) => each.id === id);
  if (listed) return listed;
  try {
    return await get<Item>(path(id, "").replace(/\/$/, ""));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

export async function choose(id: string, at = 0): Promise<void> {
  const found = list.value.items.find((each) => each.id === id) ?? (await attempt(() => readItem(id)));
  if (!found) return;
  if (item.value?.id !== id) {
    playing.value = false;
    project.value = null;
    tracks.value = NO_TRACKS;
    places.value = [];
    expectedShare.value = null;
    selected.value = null;
    crosshair.value = null;
    item.value = found;
    void attempt(loadProject);
  }
  seek(at);
}

export async function loadProject(): Promise<void> {
  const id = item.value?.id;
  if (!id) return;
  const loaded = await get<Project>(path(id, "project"));
  if (item.value?.id === id) setProject(loaded);
}

export function setProject(next: Project): void {
  const before = project.value;
  const points = next.points.map((point, k) => (point.name ? point : { ...point, name: `point ${k + 1}` }));
  project.value = { ...next, points };
  if (next.job) noteJob(next.job);
  if (selected.value && !next.points.some((point) => point.id === selected.value)) selected.value = null;
  if (before?.revision !== next.revision || before?.tracked_revision !== next.tracked_revision) refreshTracks();
}

/** Take over what is newer of a job; `project.job` follows. */
export function noteJob(job: Job): void {
  jobs.value = new Map(jobs.value).set(job.id, job);
  const now = project.value;
  if (now?.job?.id === job.id && now.job !== job) project.value = { ...now, job };
}

let waiting: ReturnType<typeof setTimeout> | undefined;
let reading = false;

/** Read tracks and doubtful places anew, soon, and not twice at once. */
export function refreshTracks(delay = 150): void {
  if (waiting !== undefined) return;
  waiting = setTimeout(async () => {
    waiting = undefined;
    if (reading) return refreshTracks(300);
    reading = true;
    await attempt(loadTracks);
    reading = false;
  }, delay);
}

interface Doubts {
  places: Place[];
  expected_share: number | null;
}

async function loadTracks(): Promise<void> {
  const id = item.value?.id;
  if (!id) return;
  if (!project.value?.points.length) {
    tracks.value = NO_TRACKS;
    places.value = [];
    expectedShare.value = null;
    return;
  }
  const [response, doubts] = await Promise.all([request(path(id, "tracks.bin")), get<Doubts>(path(id, "check"))]);
  const loaded = decode(response.headers.get("X-Points") ?? "", await response.arrayBuffer());
  if (item.value?.id !== id) return;
  tracks.value = loaded;
  places.value = doubts.places;
  expectedShare.value = doubts.expected_share;
}

/** Keep item, frame and tab in the address, so that a reload shows the same. */
export function keepAddress(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  watchAll([item, frame, tab, above], () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const parts = new URLSearchParams({ tab: tab.value });
      if (item.value) parts.set("item", item.value.id);
      if (item.value) parts.set("frame", String(frame.value));
      if (above.value !== null) parts.set("above", String(above.value));
      history.replaceState(null, "", `#${parts}`);
    }, 250);
  });
}

export function readAddress(): void {
  const parts = new URLSearchParams(location.hash.slice(1));
  const named = parts.get("tab");
  if (named && named in TABS) tab.value = named as Tab;
  const least = parts.get("above");
  above.value = least === null ? null : Math.max(0, Math.min(1, Number(least) || 0));
  const id = parts.get("item") ?? list.value.items[0]?.id;
  if (id) void choose(id, Number(parts.get("frame")) || 0);
}
