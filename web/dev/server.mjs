// A small server that answers as tapetum serve does, with made videos and tracks: to develop the page, and to test it alone.
//   node dev/server.mjs [PORT] [FOLDER OF STATIC FILES]
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { answering, lookAt, weights } from "./models.mjs";
import { colorOf, makeFrame, makeMask, trackFrom } from "./world.mjs";

const port = Number(process.argv[2] ?? 8766);
const here = dirname(fileURLToPath(import.meta.url));
const files = process.argv[3] ?? join(here, "../../src/tapetum/desk/web/static");
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css" };
const policy =
  "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; " +
  "frame-ancestors 'none'";
const step = Number(process.env.STEP_MS ?? 120); // between two steps of a job

const items = [
  { id: "v1", name: "three balls.mp4", kind: "video", frames: 60, fps: 24, width: 640, height: 360 },
  { id: "v2", name: "a tall clip with a long name.mp4", kind: "video", frames: 40, fps: 12, width: 270, height: 480 },
  { id: "i1", name: "still.png", kind: "image", frames: 1, fps: 0, width: 320, height: 240 },
].map((item, k) => ({ ...item, order: String(k) }));
const projects = new Map(items.map((item) => [item.id, emptyProject()]));
const jobs = new Map();
const listeners = new Set();
let count = 0;

function emptyProject() {
  return { revision: 0, states: [[]], position: 0, job: null, masks: null, tracked_revision: null, tracks: new Map() };
}

class Refused extends Error {
  constructor(status, message, more = {}) {
    super(message);
    Object.assign(this, { status, more });
  }
}

const points = (project) => project.states[project.position];

function shown(project) {
  const { revision, position, states, tracked_revision } = project;
  const [job, masks] = [project.job, project.masks].map((id) => id && jobs.get(id).shown);
  return { revision, points: points(project), undo: position, redo: states.length - 1 - position, job, masks, tracked_revision };
}

function announce(message) {
  for (const response of listeners) response.write(`data: ${JSON.stringify(message)}\n\n`);
}

function changed(item) {
  announce({ project: { item, revision: projects.get(item).revision } });
}

const listed = (text) => ({ items: items.filter((each) => each.name.includes(text)), next: null, count: items.length, unread: 0 });

const newId = (kind) => `${kind}${++count}`;

function edited(list, edit, item) {
  const next = structuredClone(list);
  const point = next.find((each) => each.id === edit.point);
  if ("point" in edit && !point) throw new Refused(404, "there is no such point; reload the page");
  const put = (x, y) => {
    const id = newId("p");
    next.push({
      id,
      name: edit.name ?? `point ${next.length + 1}`,
      color: colorOf(count),
      queries: [{ frame: edit.frame, x, y, hidden: false }],
      returns: [],
    });
  };
  const mark = (query) => {
    point.queries = point.queries.filter((each) => each.frame !== query.frame).concat(query);
  };
  if (edit.type === "add_point") put(edit.x, edit.y);
  else if (edit.type === "add_grid") {
    const [x1, y1, x2, y2] = edit.box ?? [0, 0, item.width, item.height];
    for (let r = 0; r < edit.rows; r++) {
      for (let c = 0; c < edit.columns; c++)
        put(x1 + ((c + 0.5) / edit.columns) * (x2 - x1), y1 + ((r + 0.5) / edit.rows) * (y2 - y1));
    }
  } else if (edit.type === "move_point") mark({ frame: edit.frame, x: edit.x, y: edit.y, hidden: false });
  else if (edit.type === "hide_point") {
    const { x, y } = point.queries[0];
    mark({ frame: edit.frame, x, y, hidden: true });
  } else if (edit.type === "show_point") {
    point.queries = point.queries.filter((each) => each.frame !== edit.frame || !each.hidden);
    point.returns.push(edit.frame);
  } else if (edit.type === "edit_point") {
    if (edit.name !== undefined) point.name = edit.name;
    if (edit.color !== undefined) point.color = edit.color;
  } else if (edit.type === "delete_point") next.splice(next.indexOf(point), 1);
  else if (edit.type === "clear") next.length = 0;
  else throw new Refused(400, `there is no edit ${edit.type}`);
  if (next.length > 4096) throw new Refused(400, "a project has at most 4096 points; add fewer");
  return next;
}

function begin(kind, item, total, finish) {
  const job = { id: newId("j"), kind, item, state: "running", done: 0, total, seconds_left: null, message: "" };
  const entry = { shown: job, result: {} };
  jobs.set(job.id, entry);
  const turn = () => {
    if (entry.shown.state !== "running") return;
    const done = entry.shown.done + 1;
    entry.shown = { ...entry.shown, done, seconds_left: ((total - done) * step) / 1000 };
    if (done >= total) {
      try {
        entry.result = finish() ?? {};
        entry.shown = { ...entry.shown, state: "done", seconds_left: 0 };
      } catch (error) {
        entry.shown = { ...entry.shown, state: "failed", message: error.message, seconds_left: null };
      }
    } else setTimeout(turn, step);
    announce({ job: entry.shown });
  };
  setTimeout(turn, step);
  announce({ job });
  return job;
}

function beginTracking(item) {
  const project = projects.get(item.id);
  if (!points(project).length) throw new Refused(409, "there are no points; add some");
  const [revision, list] = [project.revision, points(project)];
  const job = begin("track", item.id, 10, () => {
    for (const point of list) project.tracks.set(point.id, trackFrom(item, point.queries));
    project.tracked_revision = revision;
    setTimeout(() => changed(item.id));
  });
  project.job = job.id;
  return job;
}

function places(item) {
  const project = projects.get(item.id);
  const found = [];
  const all = points(project).length * item.frames;
  for (const point of points(project)) {
    const track = project.tracks.get(point.id);
    const marked = new Set(point.queries.map((query) => query.frame));
    for (let frame = 0; track && frame < item.frames; frame++) {
      const sure = track[frame * 4 + 3];
      if (sure < 0.5 && !marked.has(frame)) found.push({ point: point.id, frame, reason: "likely wrong", score: 1 - sure, share: (1 - sure) / all });
    }
  }
  const share = found.reduce((sum, place) => sum + place.share, 0);
  return { places: found.sort((a, b) => b.score - a.score).slice(0, 30), expected_share: found.length ? share : null };
}

function look(item, body) {
  const needed = { ask: "a question", detect: "what to look for", segment: "what to look for" }[body.verb];
  if (needed && !body.text) throw new Refused(400, `${body.verb} needs a text: ${needed}`);
  return begin("look", item.id, 4, () => lookAt(item, body));
}

function search(query) {
  if (query.get("text") === "fail") throw new Refused(409, "the folder has no index; make one in the terminal: tapetum index FOLDER");
  const results = [0, 12, 24, 36].map((frame, k) => {
    const item = items[k === 3 ? 1 : 0];
    const thumbnails = [`data:image/png;base64,${makeFrame(item, frame, 128).toString("base64")}`];
    return { item: item.id, name: item.name, start_s: frame / 24, stop_s: (frame + 12) / 24, frame, cosine: 0.31 - 0.04 * k, thumbnails };
  });
  const remarks = ["model: made-colours; it compares colours alone"];
  return { model: "made-colours", remarks, results: query.get("text") === "nothing" ? [] : results };
}

const trackers = [
  { name: "made-tracks", about: "bundled; knows where the balls go", missing: null },
  { name: "made-large", about: "2.5 GB, Apache-2.0", missing: "made-large is not on this machine; fetch it" },
];
let tracker = trackers[0].name;

async function answer(request, response, url) {
  const parts = url.pathname.split("/").filter(Boolean);
  const send = (content) => response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(content));
  if (parts[0] !== "api") {
    const name = url.pathname === "/" ? "index.html" : parts.at(-1);
    const content = await readFile(join(files, name)).catch(() => null);
    if (!content) throw new Refused(404, "there is no such page");
    return response.writeHead(200, { "Content-Type": types[extname(name)], "Content-Security-Policy": policy }).end(content);
  }
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [, kind, id, what, name] = parts;
  if (kind === "state") {
    const models = {
      track: tracker,
      words: "made-up",
      classify: "made-up",
      answer: "made-up: knows three balls",
    };
    return send({ version: "0.0", folder: "/videos/made", ...listed(""), models, limits: { upload_bytes: 2 ** 28 }, exports: { sleap: "sleap needs h5py; install it" } });
  }
  if (kind === "upload") {
    const made = { ...items[0], id: newId("v"), name: url.searchParams.get("name") };
    items.push(made);
    projects.set(made.id, emptyProject());
    announce({ items: { changed: [made], gone: [], count: items.length, unread: 0 } });
    return send(made);
  }
  if (kind === "events") {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" }).write(": here\n\n");
    listeners.add(response);
    return request.on("close", () => listeners.delete(response));
  }
  if (kind === "jobs") {
    const entry = jobs.get(id);
    if (what === "file" && entry)
      return response.writeHead(200, { "Content-Disposition": 'attachment; filename="made-overlay.mp4"' }).end("film");
    if (!entry) throw new Refused(404, "there is no such job; reload the page");
    if (what === "masks.zip") return response.writeHead(200, { "Content-Disposition": 'attachment; filename="made-masks.zip"' }).end("zip");
    if (what === "masks") {
      const { width, height } = items.find((each) => each.id === entry.shown.item);
      return response.writeHead(200, { "Content-Type": "image/png" }).end(makeMask(width, height, true));
    }
    if (request.method === "DELETE" && entry.shown.state === "running") {
      entry.shown = { ...entry.shown, state: "cancelled", seconds_left: null };
      announce({ job: entry.shown });
    }
    return send({ ...entry.shown, ...entry.result });
  }
  if (kind === "models") {
    const masks = weights.filter((each) => each.tasks.includes("segment") && each.state === "here");
    const outline = masks.map(({ name }) => ({ name, remarks: [`model: ${name}`] }));
    const missing = { words: "no model reads labels; fetch one", masks: "no model outlines what is clicked; fetch one" };
    return send({ answer: answering, classify: [answering[0]], words: [], masks: outline, missing });
  }
  if (kind === "weights" && request.method === "GET") return send({ weights, job: null });
  if (kind === "weights") {
    const fetched = weights.find((each) => each.name === JSON.parse(Buffer.concat(chunks).toString()).name);
    return send(begin("fetch", "", 10, () => void (fetched.state = "here")));
  }
  if (kind === "trackers") {
    if (request.method === "POST") tracker = JSON.parse(Buffer.concat(chunks).toString()).name;
    return send({ chosen: tracker, trackers });
  }
  if (kind === "search") return send(search(url.searchParams));
  if (kind === "items" && !id) return send(listed(url.searchParams.get("text")));

  const item = items.find((each) => each.id === id);
  if (!item) throw new Refused(404, "there is no such video; reload the page");
  const project = projects.get(item.id);
  const body = request.method === "POST" && chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
  if (!what) return send(item);
  if (what === "frames") {
    const image = makeFrame(item, parseInt(name), Number(url.searchParams.get("width")) || item.width);
    return response
      .writeHead(200, { "Content-Type": "image/png", "Cache-Control": "private, max-age=3600, immutable" })
      .end(image);
  }
  if (what === "project") return send(shown(project));
  if (what === "edits") {
    const next = edited(points(project), body, item);
    project.states = [...project.states.slice(0, project.position + 1), next];
    project.position++;
  } else if (what === "undo" || what === "redo") {
    const to = project.position + (what === "undo" ? -1 : 1);
    if (!project.states[to]) throw new Refused(409, `there is nothing to ${what}`);
    project.position = to;
  }
  if (["edits", "undo", "redo"].includes(what)) {
    project.revision++;
    changed(item.id);
    return send(shown(project));
  }
  if (what === "jobs" && body.kind === "export") return send(begin("export", item.id, 4, () => {}));
  if (what === "jobs") return send(beginTracking(item));
  if (what === "masks") {
    const job = begin(body.frame === null ? "masks" : "mask", item.id, body.frame === null ? item.frames : 1, () => {});
    if (body.frame === null) project.masks = job.id;
    return send(job);
  }
  if (what === "look") return send(look(item, body));
  if (what === "check") return send(places(item));
  if (what === "tracks.bin") {
    const list = points(project);
    const unknown = new Float32Array(item.frames * 4).fill(NaN);
    const rows = list.map((point) => Buffer.from((project.tracks.get(point.id) ?? unknown).buffer));
    return response.writeHead(200, { "X-Points": list.map((point) => point.id).join(",") }).end(Buffer.concat(rows));
  }
  if (what === "export") {
    const format = url.searchParams.get("format");
    if (format === "parquet") throw new Refused(400, "parquet needs pyarrow; install tapetum[tables]");
    const lines = [...project.tracks].flatMap(([point, track]) =>
      Array.from({ length: item.frames }, (_, t) => `${point},${t},${track[t * 4]},${track[t * 4 + 1]}`),
    );
    return response
      .writeHead(200, { "Content-Disposition": `attachment; filename="made.${format}"` })
      .end(["point,frame,x,y", ...lines].join("\n"));
  }
  throw new Refused(404, "there is no such address");
}

createServer((request, response) => {
  answer(request, response, new URL(request.url, "http://localhost")).catch((error) => {
    const status = error.status ?? 500;
    response
      .writeHead(status, { "Content-Type": "application/json" })
      .end(JSON.stringify({ error: error.message, ...error.more }));
  });
}).listen(port, "127.0.0.1", function () {
  console.log(`http://127.0.0.1:${this.address().port}/`);
});
