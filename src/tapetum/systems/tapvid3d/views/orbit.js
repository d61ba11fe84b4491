"use strict";
// The page's script: reads the element "data" (see html.py) and draws it. All drawing happens in the axes of the first camera,
// turned so that y is up and z comes towards the viewer.

const TRAIL = 10;
const NEAR = 1e-3; // of the distance to what is looked at: nothing nearer than this is drawn
const element = (id) => document.getElementById(id);
window.onerror = (message) => { element("status").textContent = "error: " + message; };

const data = JSON.parse(element("data").textContent);
const n = data.points, frames = data.frames;
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const bits = bytes(data.visible), tints = bytes(data.colours);
const visible = (frame, i) => (bits[(frame * n + i) >> 3] >> ((frame * n + i) & 7)) & 1;
const tint = (i, alpha) => `rgba(${tints[3 * i]},${tints[3 * i + 1]},${tints[3 * i + 2]},${alpha})`;

function apply(m, x, y, z) { // a 4x4 matrix row by row
  return [m[0] * x + m[1] * y + m[2] * z + m[3], m[4] * x + m[5] * y + m[6] * z + m[7], m[8] * x + m[9] * y + m[10] * z + m[11]];
}
const shown = (x, y, z) => { const p = apply(data.first, x, y, z); return [p[0], -p[1], -p[2]]; };

function unpacked() { // positions as shown, frame by frame
  const view = new DataView(bytes(data.places).buffer), places = new Float64Array(frames * n * 3);
  for (let k = 0; k < frames * n; k++) {
    const o = data.offset[k % n], s = data.step[k % n];
    places.set(shown(...[0, 1, 2].map((axis) => o[axis] + s * view.getUint16(6 * k + 2 * axis, true))), 3 * k);
  }
  return places;
}
const places = unpacked();
const place = (frame, i) => { const k = 3 * (frame * n + i); return [places[k], places[k + 1], places[k + 2]]; };

// What the view is centred on.
const low = [data.box[0][0], -data.box[1][1], -data.box[1][2]], high = [data.box[1][0], -data.box[0][1], -data.box[0][2]];
const middle = low.map((value, axis) => (value + high[axis]) / 2);
const radius = Math.hypot(...high.map((value, axis) => value - low[axis])) / 2 || 1;
const [h, w] = data.size, [fx, fy, cx, cy] = data.intrinsics;
const reach = 0.16 * radius * Math.min(1, fx / w); // depth of the camera's frustum
const corner = (frame, u, v, depth) => shown(...apply(data.poses[frame], (u - cx) / fx * depth, (v - cy) / fy * depth, depth));
const way = data.poses.map((pose) => shown(pose[3], pose[7], pose[11]));

const space = element("space"), draw = space.getContext("2d");
const inset = element("image"), small = inset.getContext("2d");
const slider = element("slider");
const home = () => ({ yaw: -0.5, pitch: 0.35, distance: 2.1 * radius, target: [...middle] });
let eye = home();
const on = { t: true, h: true, g: true, v: true };
let frame = Math.min(Math.max(parseInt(location.hash.slice(1)) || 0, 0), frames - 1);
let playing = false, started = 0, width = 0, height = 0, pointer = null, turn = null, waiting = false;

const images = data.images.map((uri) => { const image = new Image(); image.onload = redraw; image.src = uri; return image; });
const imageOf = (frame) => { const image = images[Math.floor(frame / data.every)]; return image && image.naturalWidth ? image : null; };

function look() {
  const [c, s] = [Math.cos(eye.yaw), Math.sin(eye.yaw)], [d, e] = [Math.cos(eye.pitch), Math.sin(eye.pitch)];
  turn = [[c, 0, s], [s * e, d, -c * e], [-s * d, e, c * d]]; // to the right, up, towards the viewer
}

function project(p) { // x, y on the canvas and the scale there; null where it lies behind the viewer
  const q = [p[0] - eye.target[0], p[1] - eye.target[1], p[2] - eye.target[2]];
  const depth = eye.distance - (turn[2][0] * q[0] + turn[2][1] * q[1] + turn[2][2] * q[2]);
  if (depth < NEAR * eye.distance) return null;
  const scale = 1.1 * Math.min(width, height) / depth;
  return [width / 2 + scale * (turn[0][0] * q[0] + turn[0][1] * q[1] + turn[0][2] * q[2]),
    height / 2 - scale * (turn[1][0] * q[0] + turn[1][1] * q[1] + turn[1][2] * q[2]), scale];
}

function line(points, style, thick = 1) {
  draw.strokeStyle = style;
  draw.lineWidth = thick;
  draw.beginPath();
  let joined = false;
  for (const p of points) {
    const q = project(p);
    if (q) joined ? draw.lineTo(q[0], q[1]) : draw.moveTo(q[0], q[1]);
    joined = q !== null;
  }
  draw.stroke();
}

function label(p, text, style) {
  const q = project(p);
  if (!q) return;
  draw.fillStyle = style;
  draw.fillText(text, q[0] + 4, q[1] - 4);
}

function nice(length) { // the largest of 1, 2, 5 x a power of ten that is no longer
  const power = 10 ** Math.floor(Math.log10(length));
  return power * (length >= 5 * power ? 5 : length >= 2 * power ? 2 : 1);
}
const cell = nice(radius / 2.5);
const tidy = (value) => +value.toPrecision(4);

function grid() {
  const y = low[1], [a, b, c, d] = [low[0], high[0], low[2], high[2]].map((v, k) => (k % 2 ? Math.ceil : Math.floor)(v / cell));
  const style = (k) => (k === 0 ? "#4b5765" : "#2b323b");
  for (let k = a; k <= b; k++) line([c, d].map((z) => [k * cell, y, z * cell]), style(k));
  for (let k = c; k <= d; k++) line([a, b].map((x) => [x * cell, y, k * cell]), style(k));
}

function axes() {
  const start = way[0], names = [["X", "#e06c66"], ["Y", "#7fbf6a"], ["Z", "#6c9fe0"]];
  names.forEach(([name, style], axis) => {
    const end = start.map((value, k) => value + (k === axis ? (axis ? -1 : 1) * 1.3 * reach : 0));
    line([start, end], style, 2);
    label(end, name, style);
  });
}

function warped(image) { // the frame's small image on the far side of the frustum, in strips that are nearly parallelograms
  const cells = 8, at = [];
  for (let v = 0; v <= cells; v++) for (let u = 0; u <= cells; u++) at.push(project(corner(frame, u / cells * w, v / cells * h, reach)));
  if (at.includes(null)) return;
  const iw = image.naturalWidth / cells, ih = image.naturalHeight / cells;
  draw.globalAlpha = 0.9;
  for (let v = 0; v < cells; v++) for (let u = 0; u < cells; u++) {
    const [p, q, r] = [at[v * (cells + 1) + u], at[v * (cells + 1) + u + 1], at[(v + 1) * (cells + 1) + u]];
    draw.save();
    draw.transform((q[0] - p[0]) / iw, (q[1] - p[1]) / iw, (r[0] - p[0]) / ih, (r[1] - p[1]) / ih, p[0], p[1]);
    draw.drawImage(image, u * iw, v * ih, iw, ih, 0, 0, iw * 1.03, ih * 1.03);
    draw.restore();
  }
  draw.globalAlpha = 1;
}

function camera() {
  if (data.world) line(way, "#5c6875", 1.5);
  if (data.world) line(way.slice(0, frame + 1), "#d7dde4", 1.5);
  const far = [[0, 0], [w, 0], [w, h], [0, h]].map(([u, v]) => corner(frame, u, v, reach)), centre = way[frame];
  const image = imageOf(frame);
  if (image) warped(image);
  line([...far, far[0]], "#f2f4f7", 1.5);
  far.forEach((p) => line([centre, p], "#aab4c0"));
  line([0.4, 0.5, 0.6].map((u, k) => corner(frame, u * w, k === 1 ? -0.15 * h : 0, reach)), "#f2f4f7", 1.5); // its upper side
}

function trails() {
  draw.lineCap = "round";
  for (let f = Math.max(frame - TRAIL, 0); f < frame; f++) {
    const alpha = 0.85 * (1 - (frame - f - 1) / TRAIL);
    for (let i = 0; i < n; i++) {
      if (visible(f, i) && visible(f + 1, i)) line([place(f, i), place(f + 1, i)], tint(i, alpha), 1.6);
    }
  }
}

function discs() {
  const seen = [];
  for (let i = 0; i < n; i++) {
    const q = project(place(frame, i));
    if (q && (on.h || visible(frame, i))) seen.push([i, ...q]);
  }
  seen.sort((a, b) => a[3] - b[3]); // the farthest first
  for (const [i, x, y, scale] of seen) {
    draw.beginPath();
    draw.arc(x, y, Math.min(Math.max(0.014 * radius * scale, 1.6), 14), 0, 2 * Math.PI);
    if (visible(frame, i)) {
      draw.fillStyle = tint(i, 1);
      draw.fill();
      draw.strokeStyle = "rgba(0,0,0,0.55)";
      draw.lineWidth = 1;
    } else {
      draw.strokeStyle = tint(i, 0.5);
      draw.lineWidth = 1.3;
    }
    draw.stroke();
  }
  return seen;
}

function nearest(seen) { // names the point below the mouse
  const found = pointer && seen.reverse().find(([, x, y]) => Math.hypot(x - pointer[0], y - pointer[1]) < 9);
  element("point").textContent = "";
  if (!found) return;
  const i = found[0], p = place(frame, i);
  element("point").textContent = `point ${data.ids[i]}: X ${tidy(p[0])}, Y ${tidy(-p[1])}, Z ${tidy(-p[2])} (${data.unit})` +
    (visible(frame, i) ? "" : ", hidden");
  draw.strokeStyle = "#fff";
  draw.lineWidth = 1.5;
  draw.beginPath();
  draw.arc(found[1], found[2], 11, 0, 2 * Math.PI);
  draw.stroke();
}

function overlay() { // the points in the camera's image
  inset.hidden = !on.v;
  if (!on.v) return;
  const ratio = window.devicePixelRatio || 1, high = Math.min(0.3 * height, 220, 0.4 * width * h / w);
  inset.height = Math.round(high * ratio);
  inset.width = Math.round(high * w / h * ratio);
  inset.style.height = high + "px";
  const scale = inset.height / h, image = imageOf(frame), pose = data.poses[frame];
  if (image) small.drawImage(image, 0, 0, inset.width, inset.height);
  const origin = way[frame], axis = (k) => shown(pose[k] + pose[3], pose[4 + k] + pose[7], pose[8 + k] + pose[11]);
  const sides = [0, 1, 2].map((k) => axis(k).map((value, j) => value - origin[j]));
  for (let i = 0; i < n; i++) {
    const p = place(frame, i).map((value, j) => value - origin[j]);
    const [x, y, z] = sides.map((side) => side[0] * p[0] + side[1] * p[1] + side[2] * p[2]);
    if (z <= 0 || !(on.h || visible(frame, i))) continue;
    small.beginPath();
    small.arc((fx * x / z + cx) * scale, (fy * y / z + cy) * scale, 2 * ratio, 0, 2 * Math.PI);
    small.fillStyle = small.strokeStyle = tint(i, visible(frame, i) ? 1 : 0.6);
    visible(frame, i) ? small.fill() : small.stroke();
  }
}

function paint() {
  waiting = false;
  const ratio = window.devicePixelRatio || 1;
  width = space.clientWidth;
  height = space.clientHeight;
  space.width = Math.round(width * ratio);
  space.height = Math.round(height * ratio);
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.font = "12px system-ui, sans-serif";
  look();
  if (on.g) grid();
  if (on.g) axes();
  camera();
  if (on.t) trails();
  nearest(discs());
  overlay();
  slider.value = frame;
  element("time").textContent = `frame ${frame} of ${frames}, ${(frame / data.rate).toFixed(2)} s`;
  if (element("status").textContent === "loading") element("status").textContent = "";
  document.body.dataset.drawn = frame;
}

function redraw() {
  if (!waiting) requestAnimationFrame(paint);
  waiting = true;
}

function show(next) {
  frame = Math.min(Math.max(next, 0), frames - 1);
  redraw();
}

function play(start) {
  playing = start && frames > 1;
  element("play").textContent = playing ? "pause" : "play";
  started = performance.now() - 1000 * frame / data.rate;
  if (playing) requestAnimationFrame(step);
}

function step(now) {
  if (!playing) return;
  const next = Math.floor(Math.max(now - started, 0) / 1000 * data.rate) % frames;
  if (next !== frame) show(next);
  requestAnimationFrame(step);
}

function move(event) {
  const [dx, dy] = pointer ? [event.clientX - pointer[0], event.clientY - pointer[1]] : [0, 0];
  pointer = [event.clientX, event.clientY];
  if (event.buttons && (event.shiftKey || event.buttons > 1)) {
    const scale = eye.distance / (1.1 * Math.min(width, height));
    eye.target = eye.target.map((value, axis) => value + scale * (turn[1][axis] * dy - turn[0][axis] * dx));
  } else if (event.buttons) {
    eye.yaw += 0.008 * dx;
    eye.pitch = Math.min(Math.max(eye.pitch + 0.008 * dy, -1.55), 1.55);
  }
  redraw();
}

function zoom(event) {
  event.preventDefault();
  eye.distance = Math.min(Math.max(eye.distance * Math.exp(0.0012 * event.deltaY), 0.01 * radius), 100 * radius);
  redraw();
}

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " ") play(!playing);
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    play(false);
    show(frame + (event.key === "ArrowLeft" ? -1 : 1));
  } else if (event.key === "Home" || event.key === "End") show(event.key === "Home" ? 0 : frames - 1);
  else if (event.key === "r") eye = home();
  else if (event.key in on) on[event.key] = !on[event.key];
  else return;
  event.preventDefault();
  redraw();
}

space.addEventListener("pointerdown", (event) => { space.setPointerCapture(event.pointerId); pointer = [event.clientX, event.clientY]; });
space.addEventListener("pointermove", move);
space.addEventListener("pointerleave", () => { pointer = null; redraw(); });
space.addEventListener("contextmenu", (event) => event.preventDefault());
space.addEventListener("wheel", zoom, { passive: false });
space.addEventListener("dblclick", () => { eye = home(); redraw(); });
slider.max = frames - 1;
slider.addEventListener("input", () => { play(false); show(+slider.value); });
element("play").addEventListener("click", () => { play(!playing); element("play").blur(); });
window.addEventListener("keydown", press);
window.addEventListener("resize", redraw);
element("what").innerHTML = `<b>${n}</b> tracks, <b>${frames}</b> frames; ` +
  `${data.world ? "the world" : "each frame's camera"}, grid of ${tidy(cell)} ${data.unit === "m" ? "m" : "(unit unknown)"}`;
redraw();
