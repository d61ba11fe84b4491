"use strict";
// Draws the film of a report: frames as JPEG, points on a canvas over them. What `data.film` holds is said in film.py.
const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const TRAIL = 12, NEAR = 12; // frames of a path; CSS pixels within which the pointer is at a point
let goTo = () => {};

function startFilm(film) {
  const canvas = element("frame"), pen = canvas.getContext("2d"), tip = element("tip");
  const view = new DataView(bytes(film.places).buffer), states = bytes(film.states), count = film.names.length;
  const images = film.frames.map((jpeg) => {
    const image = new Image();
    image.onload = () => draw();
    image.src = "data:image/jpeg;base64," + jpeg;
    return image;
  });
  let shown = 0, chosen = null, timer = null;

  const place = (k, point) => {
    const at = 4 * (k * count + point);
    return [0, 1].map((axis) => film.low[axis] + film.step[axis] * view.getUint16(at + 2 * axis, true));
  };
  const visible = (k, point) => states[k * count + point] > 127;
  const confidence = (k, point) => (states[k * count + point] & 127) / 127;
  const name = (point) => film.names[point] || `point ${film.numbers[point]}`;
  const nearest = (frame) => film.indices.reduce((best, each, k) =>
    Math.abs(each - frame) < Math.abs(film.indices[best] - frame) ? k : best, 0);

  function draw() {
    const scale = (window.devicePixelRatio || 1) * canvas.clientWidth / film.width;
    canvas.width = Math.max(Math.round(film.width * scale), 1);
    canvas.height = Math.max(Math.round(film.height * scale), 1);
    if (images[shown].complete && images[shown].naturalWidth) pen.drawImage(images[shown], 0, 0, canvas.width, canvas.height);
    const radius = Math.max(3.5, canvas.width / 180);
    for (let point = 0; point < count; point++) if (point !== chosen) drawPoint(point, scale, radius);
    if (chosen !== null) drawPoint(chosen, scale, 1.6 * radius);
    element("slider").value = shown;
    const frame = film.indices[shown], seconds = film.times ? `, ${film.times[shown].toFixed(2)} s` : "";
    element("time").textContent = `frame ${film.labels[shown]}${seconds}`;
    canvas.dataset.frame = frame;
  }

  function drawPoint(point, scale, radius) {
    pen.strokeStyle = pen.fillStyle = film.colours[point];
    pen.lineWidth = Math.max(radius / 3, 1);
    for (let k = Math.max(shown - TRAIL, 0); k < shown; k++) {
      if (!visible(k, point) || !visible(k + 1, point)) continue;
      pen.globalAlpha = 1 - (shown - k) / (TRAIL + 1);
      pen.beginPath();
      pen.moveTo(...place(k, point).map((value) => value * scale));
      pen.lineTo(...place(k + 1, point).map((value) => value * scale));
      pen.stroke();
    }
    pen.globalAlpha = 1;
    const [x, y] = place(shown, point).map((value) => value * scale);
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.lineWidth = Math.max(radius / 2, 1.5);
    if (visible(shown, point)) {
      pen.save(); pen.strokeStyle = "#000b"; pen.stroke(); pen.restore(); pen.fill();
    } else { pen.stroke(); }
  }

  function show(k) {
    shown = Math.min(Math.max(k, 0), film.frames.length - 1);
    draw();
  }

  function play() {
    element("play").textContent = timer ? "Play" : "Pause";
    if (timer) { clearInterval(timer); timer = null; return; }
    if (shown === film.frames.length - 1) shown = -1;
    timer = setInterval(() => {
      show(shown + 1);
      if (shown === film.frames.length - 1) play();
    }, 1000 * film.seconds_a_frame);
  }

  function pointAt(event) {
    const box = canvas.getBoundingClientRect(), scale = box.width / film.width;
    let best = null, least = NEAR;
    for (let point = 0; point < count; point++) {
      const [x, y] = place(shown, point).map((value) => value * scale);
      const far = Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y);
      if (far < least) [best, least] = [point, far];
    }
    return best;
  }

  canvas.addEventListener("pointermove", (event) => {
    const point = pointAt(event);
    tip.hidden = point === null;
    if (point === null) return;
    const [x, y] = place(shown, point), state = visible(shown, point) ? "visible" : "hidden";
    tip.textContent = `${name(point)}: ${x.toFixed(1)}, ${y.toFixed(1)}, ${state}, confidence ${confidence(shown, point).toFixed(2)}`;
    const scale = canvas.clientWidth / film.width, left = x * scale + 10 + tip.offsetWidth > canvas.clientWidth;
    tip.style.left = `${Math.max(left ? x * scale - tip.offsetWidth - 10 : x * scale + 10, 0)}px`;
    tip.style.top = `${Math.max(y * scale - 30, 0)}px`;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => { const point = pointAt(event); chosen = point === chosen ? null : point; draw(); });
  element("slider").max = film.frames.length - 1;
  element("slider").addEventListener("input", (event) => show(Number(event.target.value)));
  element("play").addEventListener("click", play);
  element("stage").style.maxWidth = `min(100%, ${(60 * film.width / film.height).toFixed(2)}vh)`;
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, button") || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -film.frames.length, End: film.frames.length };
    if (event.key in steps) show(shown + steps[event.key]);
    else if (event.key === " ") play();
    else return;
    event.preventDefault();
  });
  window.addEventListener("resize", draw);
  goTo = (point, frame) => {
    const row = film.numbers.indexOf(point);
    chosen = row < 0 ? null : row;
    show(nearest(frame));
  };
  const list = element("places");
  for (const [point, frame, label, reason] of film.doubtful || []) {
    const item = document.createElement("li"), button = document.createElement("button");
    const why = Object.assign(document.createElement("span"), { className: "soft", textContent: ` ${reason}` });
    const row = film.numbers.indexOf(point);
    button.append(`${row < 0 ? `point ${point}` : name(row)}, frame ${label}`, why);
    button.addEventListener("click", () => goTo(point, frame));
    item.append(button);
    list.append(item);
  }
  draw();
}

if (data.film) startFilm(data.film);
