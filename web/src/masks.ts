/** The mask of an object through the video that is open: its clicks and boxes, the job, and what is drawn. */
import { edit, isBusy } from "./actions";
import { get, post } from "./api";
import { Cell, watchAll } from "./cell";
import { drawBox } from "./draw";
import { app, attempt, frame, item, jobs, noteJob, path, project } from "./state";
import type { Box, Job, Prompt } from "./types";
import type { Transform } from "./view";

interface Masks {
  item: string;
  /** COCO's run-length text of each frame; null where it is not known yet. */
  runs: (string | null)[];
  /** Whether it is that of the clicks as they are now. */
  current: boolean;
  job: Job | null;
}

export const MASK_FORMATS: [string, string][] = [
  ["masks-coco", "COCO (run-length)"],
  ["masks-png", "PNG images (zip)"],
  ["masks-davis", "DAVIS (zip)"],
];
export const masks = new Cell<Masks | null>(null);
/** Whether clicks say what is not the object; Shift turns it round. */
export const outside = new Cell(false);
const [INSIDE, OUTSIDE] = ["#3ddc84", "#ff5a4d"];
const MOST_PIXELS = 1 << 26;

export const prompts = (): Prompt[] => project.value?.prompts ?? [];

export async function loadMasks(): Promise<void> {
  const id = item.value?.id;
  if (!id || !prompts().length) {
    masks.value = null;
    return;
  }
  const answer = await get<Omit<Masks, "item">>(path(id, "masks"));
  if (item.value?.id !== id || !prompts().length) return;
  if (answer.job) noteJob(answer.job);
  masks.value = { ...answer, item: id };
}

/** Read masks when clicks or the tracker have changed, and at each step of their job. */
export function watchMasks(): void {
  let key = "";
  watchAll([item, project, app, jobs], () => {
    const id = item.value?.id;
    const job = [...jobs.value.values()].filter((each) => each.kind === "mask" && each.item === id).at(-1);
    const now = JSON.stringify([id, prompts(), app.value?.models.track, job?.id, job?.state, job?.message]);
    if (now !== key) void attempt(loadMasks);
    else if (job && masks.value?.job?.id === job.id && masks.value.job !== job) masks.value = { ...masks.value, job };
    key = now;
  });
}

export function addPrompt(place: { x: number; y: number } | { box: Box }, turned = false): void {
  const side = "box" in place ? {} : { inside: outside.value === turned };
  void edit({ type: "prompt", frame: frame.value, ...place, ...side });
}

export async function computeMask(): Promise<void> {
  const id = item.value?.id;
  if (!id || !prompts().length || isBusy(masks.value?.job) || masks.value?.current) return;
  const job = await attempt(() => post<Job>(path(id, "jobs"), { kind: "mask" }));
  if (job) noteJob(job);
}

export function drawMask(c: CanvasRenderingContext2D, t: Transform): void {
  const { width, height } = item.value!;
  const layer = masks.value?.item === item.value!.id ? layerOf(masks.value.runs[frame.value], width, height) : null;
  if (layer) {
    c.globalAlpha = 0.5;
    c.imageSmoothingEnabled = false;
    c.drawImage(layer, t.left, t.top, width * t.scale, height * t.scale);
    c.imageSmoothingEnabled = true;
    c.globalAlpha = 1;
  }
  const here = prompts().find((each) => each.frame === frame.value);
  if (!here) return;
  if (here.box) drawBox(c, t, here.box, INSIDE, "");
  for (const [places, color] of [[here.inside, INSIDE], [here.outside, OUTSIDE]] as const) {
    for (const [x, y] of places) drawClick(c, t.left + x * t.scale, t.top + y * t.scale, color);
  }
}

/** A disc with a plus on the object, with a minus beside it. */
function drawClick(c: CanvasRenderingContext2D, x: number, y: number, color: string): void {
  c.beginPath();
  c.arc(x, y, 7, 0, 2 * Math.PI);
  c.fillStyle = color;
  c.fill();
  c.lineWidth = 2;
  c.strokeStyle = "#000000";
  c.stroke();
  c.fillStyle = "#000000";
  c.fillRect(x - 4, y - 1, 8, 2);
  if (color === INSIDE) c.fillRect(x - 1, y - 4, 2, 8);
}

let last: { text: string; layer: HTMLCanvasElement | null } | null = null;

/** Decode COCO's run-length text, down the columns and of nothing first, into a layer of one colour. */
function layerOf(text: string | null | undefined, width: number, height: number): HTMLCanvasElement | null {
  if (!text || width * height > MOST_PIXELS) return null;
  if (last?.text === text && last.layer?.width === width) return last.layer;
  const layer = document.createElement("canvas");
  [layer.width, layer.height] = [width, height];
  const c = layer.getContext("2d")!;
  const image = c.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const runs: number[] = [];
  let [value, shift, at] = [0, 0, 0];
  for (let k = 0; k < text.length && at < pixels.length; k++) {
    const group = text.charCodeAt(k) - 48;
    value |= (group & 31) << shift;
    shift += 5;
    if (group & 32) continue;
    if (group & 16 && shift < 32) value |= -1 << shift;
    const run = value + (runs.length > 2 ? runs[runs.length - 2] : 0);
    const end = Math.min(at + Math.max(run, 0), pixels.length);
    if (runs.length % 2) for (let p = at; p < end; p++) pixels[(p % height) * width + Math.floor(p / height)] = 0xfff5_9e4e;
    at = end;
    runs.push(run);
    [value, shift] = [0, 0];
  }
  c.putImageData(image, 0, 0);
  last = { text, layer };
  return layer;
}
