// Made videos: three balls over a table, drawn as PNGs, and the tracks of points on them.
import { crc32, deflateSync } from "node:zlib";

const BALLS = [
  { color: [214, 72, 60], size: 0.11, at: (u) => [0.18 + 0.6 * u, 0.35 + 0.1 * Math.sin(9 * u)] },
  { color: [70, 130, 210], size: 0.08, at: (u) => [0.75 - 0.4 * u, 0.6 + 0.15 * Math.cos(7 * u)] },
  { color: [90, 170, 90], size: 0.06, at: (u) => [0.4 + 0.08 * Math.cos(11 * u), 0.25 + 0.5 * u] },
];
const COLORS = ["#e8474c", "#3f8ee0", "#3fae5a", "#e89b25", "#a06ad8", "#20b2aa", "#e060a8", "#a8a020"];

export const colorOf = (number) => COLORS[number % COLORS.length];

function placeOf(item, ball, frame) {
  const [x, y] = BALLS[ball].at(frame / Math.max(1, item.frames - 1));
  return [x * item.width, y * item.height];
}

/** The track of a point with marks: with its ball, or still; float32 (frames, 4) as in tracks.bin. */
export function trackFrom(item, queries) {
  const seen = queries.filter((query) => !query.hidden);
  const [first] = seen;
  const size = Math.min(item.width, item.height);
  const ball = BALLS.findIndex((each, k) => {
    const [x, y] = placeOf(item, k, first.frame);
    return Math.hypot(first.x - x, first.y - y) < each.size * size;
  });
  const offset = (frame) => (ball < 0 ? [0, 0] : placeOf(item, ball, frame));
  const track = new Float32Array(item.frames * 4);
  for (let frame = 0; frame < item.frames; frame++) {
    const near = seen.reduce((a, b) => (Math.abs(b.frame - frame) < Math.abs(a.frame - frame) ? b : a));
    const [x, y] = offset(frame);
    const [x0, y0] = offset(near.frame);
    const sure = Math.max(0, Math.min(1, 0.75 + 0.4 * Math.sin(frame / 5 + first.x)));
    const mark = queries.filter((query) => query.frame <= frame).sort((a, b) => b.frame - a.frame)[0];
    track.set([near.x + x - x0, near.y + y - y0, mark?.hidden ? 0 : 1, sure], frame * 4);
  }
  return track;
}

export function makeFrame(item, frame, width) {
  const height = Math.max(1, Math.round((width * item.height) / item.width));
  const scale = item.width / width;
  const size = Math.min(item.width, item.height);
  const balls = BALLS.map((ball, k) => ({ ...ball, place: placeOf(item, k, frame), radius: ball.size * size }));
  const rows = Buffer.alloc(height * (1 + 3 * width));
  for (let row = 0, at = 0; row < height; row++) {
    at++;
    for (let column = 0; column < width; column++, at += 3) {
      const [x, y] = [(column + 0.5) * scale, (row + 0.5) * scale];
      const check = (Math.floor(x / 40) + Math.floor(y / 40)) % 2 ? 6 : 0;
      let color = [
        176 + check - (40 * y) / item.height,
        164 + check - (40 * y) / item.height,
        148 + check - (30 * y) / item.height,
      ];
      for (const { color: paint, place, radius } of balls) {
        const far = Math.hypot(x - place[0], y - place[1]) / radius;
        const shade = 1.15 - 0.5 * Math.hypot((x - place[0]) / radius + 0.4, (y - place[1]) / radius + 0.4);
        if (far < 1) color = paint.map((each) => Math.min(255, each * shade));
      }
      rows[at] = color[0];
      rows[at + 1] = color[1];
      rows[at + 2] = color[2];
    }
  }
  return png(width, height, 2, rows);
}

/** A mask of the first ball's place on the first frame, white on black. */
export function makeMask(width, height, clear = false) {
  const bytes = clear ? 2 : 1; // grey, and how opaque it is
  const rows = Buffer.alloc(height * (1 + bytes * width));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * (1 + bytes * width) + 1 + bytes * x;
      if (Math.hypot(x - 0.18 * width, y - 0.35 * height) < 0.11 * Math.min(width, height)) rows.fill(255, at, at + bytes);
    }
  }
  return png(width, height, clear ? 4 : 0, rows);
}

function png(width, height, kind, rows) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, kind], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows, { level: 1 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(name, content) {
  const body = Buffer.concat([Buffer.from(name, "latin1"), content]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(content.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}
