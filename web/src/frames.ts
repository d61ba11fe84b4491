/** Frames as images, kept around the cursor. */
import { request } from "./api";
import { fail, path } from "./state";
import type { Item } from "./types";

const WIDTHS = [320, 640, 960, 1280, 1920, 2560, 3840];
const KEPT_PIXELS = 10e6; // 40 MB
const AHEAD = 10;
const BEHIND = 3;
const AT_ONCE = 3;

interface Entry {
  image: ImageBitmap | null;
  stop: AbortController;
}

const entries = new Map<string, Entry>();
let wanted: { key: string; url: string }[] = [];
let running = 0;
let tell: () => void = () => {};

/** Call `listener` whenever a frame has come. */
export function onFrame(listener: () => void): () => void {
  tell = listener;
  return () => {
    if (tell === listener) tell = () => {};
  };
}

export function widthFor(item: Item, pixels: number): number {
  return Math.min(item.width, WIDTHS.find((width) => width >= pixels) ?? WIDTHS[WIDTHS.length - 1]);
}

export function frameUrl(item: Item, frame: number, width: number): string {
  return path(item.id, `frames/${frame}.jpg?width=${width}`);
}

/** Give the frame if it is here, or one of another width; ask for it and those around it. */
export function frameImage(item: Item, frame: number, width: number): ImageBitmap | null {
  const order = [frame];
  for (let step = 1; step <= AHEAD; step++) {
    order.push(frame + step);
    if (step <= BEHIND) order.push(frame - step);
  }
  const near = order.filter((each) => each >= 0 && each < item.frames);
  wanted = near.map((each) => ({ key: `${item.id}/${each}/${width}`, url: frameUrl(item, each, width) }));
  drop(
    wanted.map((each) => each.key),
    width * width * (item.height / item.width),
  );
  fill();
  const exact = entries.get(wanted[0]?.key)?.image;
  if (exact) return exact;
  const other = WIDTHS.concat(item.width).map((each) => entries.get(`${item.id}/${frame}/${each}`)?.image);
  return other.find(Boolean) ?? null;
}

export function isHere(item: Item, frame: number, width: number): boolean {
  return Boolean(entries.get(`${item.id}/${frame}/${width}`)?.image);
}

function drop(near: string[], size: number): void {
  const needed = new Set(near);
  const most = Math.max(near.length + 2, Math.floor(KEPT_PIXELS / size));
  for (const [key, entry] of entries) {
    if (needed.has(key)) continue;
    if (!entry.image)
      entry.stop.abort(); // still on its way, and no longer near
    else if (entries.size > most) entry.image.close();
    else continue;
    entries.delete(key);
  }
}

function fill(): void {
  for (const { key, url } of wanted) {
    if (running >= AT_ONCE) return;
    if (!entries.has(key)) void load(key, url);
  }
}

async function load(key: string, url: string): Promise<void> {
  const entry: Entry = { image: null, stop: new AbortController() };
  entries.set(key, entry);
  running++;
  try {
    const response = await request(url, { signal: entry.stop.signal });
    const image = await createImageBitmap(await response.blob());
    if (entries.get(key) === entry) entry.image = image;
    else image.close();
  } catch (error) {
    const last = wanted[0]?.key === key;
    if (entry.stop.signal.aborted) entries.delete(key);
    else {
      setTimeout(() => entries.delete(key), 3000); // ask again, but not at once
      if (last) fail(error);
    }
  } finally {
    running--;
    fill();
    tell();
  }
}
