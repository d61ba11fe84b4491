/** What the page asks the server to do. Edits go one after the other, so that answers come in their order. */
import { post, request } from "./api";
import { Cell } from "./cell";
import { attempt, expectedShare, fail, frame, item, noteJob, path, places, project, seek, selected, setProject, until } from "./state";
import { isHidden } from "./tracks";
import type { Edit, Job, Place, Point, Project } from "./types";

let queue: Promise<unknown> = Promise.resolve();

function send(rest: string, content?: unknown): Promise<Project | undefined> {
  const id = item.value?.id;
  if (!id) return Promise.resolve(undefined);
  const work = queue.then(() =>
    attempt(async () => {
      const answer = await post<Project>(path(id, rest), content);
      if (item.value?.id === id) setProject(answer);
      return answer;
    }),
  );
  queue = work;
  return work;
}

export const edit = (content: Edit): Promise<Project | undefined> => send("edits", content);
export const undo = (): Promise<Project | undefined> => send("undo");
export const redo = (): Promise<Project | undefined> => send("redo");

export async function addPoint(x: number, y: number): Promise<void> {
  const before = new Set(project.value?.points.map((point) => point.id));
  const answer = await edit({ type: "add_point", frame: frame.value, x, y, name: freeName() });
  const added = answer?.points.find((point) => !before.has(point.id));
  if (added) selected.value = added.id;
}

/** The first "point N" beyond all that there are, so that names stay when points are deleted. */
function freeName(): string {
  const numbers = project.value?.points.map((point) => Number(/^point (\d+)$/.exec(point.name)?.[1] ?? 0)) ?? [];
  return `point ${Math.max(0, ...numbers) + 1}`;
}

/** Hide the selected point from this frame on; where it is hidden, show it from this frame on. */
export function hideOrShowSelected(): void {
  const point = selectedPoint();
  if (!point) return fail(new Error("No point is selected; select one, then hide it."));
  const type = isHidden(point, frame.value) ? "show_point" : "hide_point";
  void edit({ type, point: point.id, frame: frame.value });
}

export const selectedPoint = (): Point | undefined => project.value?.points.find((point) => point.id === selected.value);

export function deleteSelected(): void {
  if (!selected.value) return fail(new Error("No point is selected; select one, then delete it."));
  const points = project.value?.points ?? [];
  const at = points.findIndex((point) => point.id === selected.value);
  const next = points[at + 1] ?? points[at - 1];
  void edit({ type: "delete_point", point: selected.value }).then((answer) => {
    if (answer && next) selected.value = next.id;
  });
}

export async function track(): Promise<void> {
  const id = item.value?.id;
  await queue; // edits that are on their way belong to it
  if (!id || isBusy(project.value?.job) || project.value?.tracked_revision === project.value?.revision) return;
  const job = await attempt(() => post<Job>(path(id, "jobs"), { kind: "track" }));
  if (job && project.value && item.value?.id === id) {
    project.value = { ...project.value, job };
    noteJob(job);
  }
}

export async function cancel(job: Job): Promise<void> {
  await attempt(() => request(`/api/jobs/${encodeURIComponent(job.id)}`, { method: "DELETE" }));
}

export function isBusy(job: Job | null | undefined): boolean {
  return job?.state === "waiting" || job?.state === "running";
}

/** Whether a job ended before it was done, and nobody wanted that; its message says why. */
export function isFailed(job: Job | null | undefined): boolean {
  return job?.state === "failed" || job?.state === "interrupted";
}

/** Places that somebody went to, of the item that is open. */
export const visited = new Cell<ReadonlySet<string>>(new Set());
item.watch(() => (visited.value = new Set()));

const keyOf = (place: Place): string => `${place.point}/${place.frame}`;

/** The share of the visible places that is expected wrong besides those that somebody went to; null where none is predicted. */
export function shareLeft(): number | null {
  if (expectedShare.value === null) return null;
  const seen = places.value.filter((place) => visited.value.has(keyOf(place)));
  return Math.max(0, seen.reduce((left, place) => left - place.share, expectedShare.value));
}

/** Whether less is expected wrong than somebody asked for. */
export function isGoodEnough(): boolean {
  const left = shareLeft();
  return left !== null && left < until.value;
}

/** Go to the most doubtful place that nobody went to yet, until that is good enough; after the last one, to the first again. */
export function nextPlace(): void {
  const list = places.value;
  if (!list.length) return fail(new Error("There is no place to check; track the points first."));
  if (isGoodEnough()) return;
  let next = list.find((place) => !visited.value.has(keyOf(place)));
  if (!next) {
    visited.value = new Set();
    next = list[0];
  }
  goTo(next);
}

export function goTo(place: Place): void {
  visited.value = new Set([...visited.value, keyOf(place)]);
  selected.value = place.point;
  seek(place.frame);
}
