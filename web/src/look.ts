/** Questions to models about a frame, and their results in one form. */
import { isFailed } from "./actions";
import { get, post } from "./api";
import { Cell } from "./cell";
import { SHADES } from "./draw";
import { attempt, frame, item, jobs, path } from "./state";
import type { Job } from "./types";

export type Verb = "ask" | "caption" | "detect" | "segment" | "classify";

export interface LookResult {
  job: string;
  verb: Verb;
  item: string;
  frame: number;
  width: number;
  height: number;
  text: string;
  classes: { name: string; probability: number }[];
  /** Whether the best of labels that were given fits at all. */
  fits: boolean;
  boxes: { label: string; score: number; box: number[] }[];
  masks: { label: string; score: number; image: HTMLCanvasElement | null }[];
  model: string;
}

export const look = new Cell<{ job: Job; verb: Verb; item: string; frame: number } | null>(null);
export const lookResult = new Cell<LookResult | null>(null);

export async function askModel(verb: Verb, text: string, model: string): Promise<void> {
  const at = item.value;
  if (!at) return;
  const words = text.trim();
  const labels = words
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
  const body: Record<string, unknown> = { verb, frame: frame.value, ...(model && { model }) };
  if (verb === "classify") {
    if (labels.length) body.labels = labels;
  } else if (verb !== "caption") body.text = words;
  const asked = { verb, item: at.id, frame: frame.value };
  await attempt(async () => {
    const job = await post<Job>(path(at.id, "look"), body);
    lookResult.value = null;
    look.value = { job, ...asked };
    await finish(job.id, asked);
  });
}

async function finish(id: string, asked: { verb: Verb; item: string; frame: number }): Promise<void> {
  const job = await finished(id, (now) => {
    if (look.value?.job.id === id) look.value = { ...asked, job: now };
  });
  if (look.value?.job.id !== id || job.state === "cancelled") return;
  if (isFailed(job)) throw new Error(job.message || "The model failed.");
  lookResult.value = await readResult(job, asked);
}

/** Wait for a job; events tell of it, and so does asking, should one be missed. */
export async function finished(id: string, hear: (job: Job) => void): Promise<Job> {
  for (;;) {
    const job = await get<Job>(`/api/jobs/${encodeURIComponent(id)}`);
    hear(job);
    if (job.state !== "waiting" && job.state !== "running") return job;
    await new Promise<void>((wake) => {
      const timer = setTimeout(done, 2000);
      const end = jobs.watch(() => jobs.value.get(id) !== seen && done());
      const seen = jobs.value.get(id);
      function done() {
        clearTimeout(timer);
        end();
        wake();
      }
    });
  }
}

type Loose = Record<string, any>;

async function readResult(job: Job, asked: { verb: Verb; item: string; frame: number }): Promise<LookResult> {
  const result = (job.result ?? {}) as Loose;
  const image: Loose = result.images?.[0] ?? result;
  const at = item.value;
  const masks: Loose[] = image.masks ?? [];
  const drawn: unknown[] = Array.isArray(result.masks) ? result.masks : masks.map((each) => each.image ?? each.png);
  return {
    ...asked,
    job: job.id,
    width: image.width ?? at?.width ?? 1,
    height: image.height ?? at?.height ?? 1,
    text: image.answer ?? "",
    classes: image.classes ?? image.labels?.map((each: Loose) => ({ name: each.name, probability: each.share })) ?? [],
    fits: !image.labels || image.label !== null,
    boxes: image.boxes ?? [],
    masks: await Promise.all(
      masks.map(async (mask, k) => ({
        label: mask.label,
        score: mask.score,
        image: typeof drawn[k] === "string" ? await tinted(drawn[k], SHADES[k % SHADES.length]) : null,
      })),
    ),
    model: modelLine(job.model),
  };
}

/** Make of a mask (white on black, or on nothing) a layer of one colour. */
async function tinted(url: string, color: string): Promise<HTMLCanvasElement | null> {
  if (!url.startsWith("data:image/")) return null;
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const c = canvas.getContext("2d")!;
  c.drawImage(image, 0, 0);
  const pixels = c.getImageData(0, 0, canvas.width, canvas.height);
  const [r, g, b] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  for (let k = 0; k < pixels.data.length; k += 4) {
    const inside = pixels.data[k] > 127 && pixels.data[k + 3] > 127;
    pixels.data.set([r, g, b, inside ? 255 : 0], k);
  }
  c.putImageData(pixels, 0, 0);
  return canvas;
}

/** Say a model in one line, whether the server gives a text or parts. */
export function modelLine(model: unknown): string {
  if (typeof model === "string") return model;
  if (!model || typeof model !== "object") return "";
  const { name, line, text, about } = model as Loose;
  return [name, line ?? text ?? about].filter(Boolean).join(": ");
}
