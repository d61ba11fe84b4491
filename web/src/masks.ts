/** Clicks on objects and boxes around them, and the masks that a model makes of them. */
import { isBusy, isFailed } from "./actions";
import { post, request } from "./api";
import { Cell } from "./cell";
import { finished } from "./look";
import { attempt, frame, item, jobs, noteJob, path, project } from "./state";
import type { Box, Item, Job } from "./types";

export interface Prompt {
  frame: number;
  object: number;
  /** A place on the object or beside it, or a box around it. */
  at: [number, number] | Box;
  inside: boolean;
}

export const OBJECTS = 9;
export const prompts = new Cell<Prompt[]>([]);
export const object = new Cell(1);
export const model = new Cell("");
/** Jobs that made the masks of single frames since the whole video was last worked through. */
const previews = new Map<number, string>();
export const preview = new Cell<Job | null>(null);
/** Counts images that have come. */
export const arrived = new Cell(0);

const keyOf = (of: Item) => `tapetum-prompts-${of.id}`;

item.watch(() => {
  previews.clear();
  images.clear();
  preview.value = null;
  object.value = 1;
  prompts.value = item.value ? readPrompts(item.value) : [];
});

function readPrompts(of: Item): Prompt[] {
  try {
    return JSON.parse(localStorage.getItem(keyOf(of)) ?? "[]");
  } catch {
    return [];
  }
}

function setPrompts(next: Prompt[]): void {
  prompts.value = next;
  if (item.value) localStorage.setItem(keyOf(item.value), JSON.stringify(next));
}

export function addPrompt(at: [number, number] | Box, inside: boolean): void {
  const now: Prompt = { frame: frame.value, object: object.value, at, inside };
  // an object has one box in a frame
  const kept = prompts.value.filter((each) => at.length === 2 || each.at.length === 2 || each.frame !== now.frame || each.object !== now.object);
  setPrompts([...kept, now]);
  void showFrame(now.frame);
}

export function removeLast(): void {
  const last = prompts.value.at(-1);
  setPrompts(prompts.value.slice(0, -1));
  if (last) void showFrame(last.frame);
}

export function clearPrompts(): void {
  setPrompts([]);
  previews.clear();
  object.value = 1;
}

function describe(only: number | null): Record<string, unknown> {
  const given = prompts.value.filter((each) => only === null || each.frame === only);
  return {
    frame: only,
    clicks: given.filter((each) => each.at.length === 2).map((each) => [each.frame, ...each.at, each.inside ? "in" : "out", each.object]),
    boxes: given.filter((each) => each.at.length === 4).map((each) => [each.frame, ...each.at, each.object]),
    ...(model.value && { model: model.value }),
  };
}

/** Objects of a frame that have only places beside them, which is nothing to outline. */
function isWhole(of: number): boolean {
  const here = prompts.value.filter((each) => each.frame === of);
  return here.length > 0 && here.every((each) => each.inside || here.some((one) => one.object === each.object && one.inside));
}

/** Show the masks of one frame; of clicks that come meanwhile, the last decides. */
async function showFrame(of: number): Promise<void> {
  if (!isWhole(of)) previews.delete(of);
  if (!isWhole(of) || isBusy(preview.value)) return;
  const [at, asked] = [item.value!, prompts.value];
  await attempt(async () => {
    preview.value = await post<Job>(path(at.id, "masks"), describe(of));
    const end = await finished(preview.value.id, (job) => (preview.value = job));
    if (item.value?.id !== at.id) return;
    if (isFailed(end)) throw new Error(end.message || "The model failed.");
    if (end.state === "done") previews.set(of, end.id);
  });
  if (isBusy(preview.value)) preview.value = null; // it could not be asked for
  arrived.value++;
  if (item.value?.id === at.id && prompts.value !== asked) void showFrame(prompts.value.at(-1)?.frame ?? of);
}

/** Compute the masks through the whole video. */
export async function segmentAll(): Promise<void> {
  const at = item.value!;
  await attempt(async () => {
    const job = await post<Job>(path(at.id, "masks"), describe(null));
    if (project.value && item.value?.id === at.id) project.value = { ...project.value, masks: job };
    noteJob(job);
    await finished(job.id, noteJob);
    if (item.value?.id === at.id) previews.clear();
    arrived.value++;
  });
}

/** The job of the masks of the whole video, as far as it is known. */
export function wholeJob(): Job | null {
  const job = project.value?.masks;
  return (job && (jobs.value.get(job.id) ?? job)) ?? null;
}

const images = new Map<string, ImageBitmap | null>();
const KEPT = 40;

/** Give the masks of a frame if they are here, else ask for them. */
export function maskImage(of: number): ImageBitmap | null {
  const whole = wholeJob();
  const job = previews.get(of) ?? (whole && (whole.done > 0 || whole.state === "done") ? whole.id : null);
  if (!job) return null;
  const url = `/api/jobs/${encodeURIComponent(job)}/masks/${of}.png`;
  const key = job === whole?.id && isBusy(whole) ? `${url}#${whole.done}` : url; // it may come with the next step
  if (!images.has(key)) void load(key, url);
  return images.get(key) ?? null;
}

async function load(key: string, url: string): Promise<void> {
  images.set(key, null);
  if (images.size > KEPT) images.delete(images.keys().next().value!);
  try {
    images.set(key, await createImageBitmap(await (await request(url)).blob()));
    arrived.value++;
  } catch {
    // not computed yet, or gone
  }
}
