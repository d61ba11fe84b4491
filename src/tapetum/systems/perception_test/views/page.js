"use strict";
// The page's script: reads the element "data" (see page.py), plays the video and draws tracks over it in the frame that is shown.
// Everything else of the page is there without it.

const element = (id) => document.getElementById(id);
window.onerror = (message) => { element("problem").textContent = "error: " + message; };

const data = JSON.parse(element("data").textContent);
const film = element("film"), canvas = element("over"), draw = canvas.getContext("2d");
const slider = element("slider"), play = element("play");
const GAP = 1.6 * data.rate; // frames that a box is carried over from one annotation to the next
const off = new Set(); // numbers of tracks that are not shown
let frame = 0, wanted = null, only = null;

const layer = (name) => { const box = element("layer-" + name); return box ? box.checked : false; };
const shown = (track, number) => {
  if (off.has(number)) return false;
  if (track.question !== undefined) return only !== null && track.question === only.question;
  if (only !== null) return track.kind === "object" && !track.predicted && only.answers.includes(track.id);
  return layer((track.predicted ? "predicted-" : "true-") + track.kind);
};

// The place of a track in a frame: [numbers, whether it is annotated in this very frame, whether it is hidden]; null for none.
function placeOf(track, at) {
  const frames = track.frames;
  let low = 0, high = frames.length;
  while (low < high) { const middle = (low + high) >> 1; if (frames[middle] <= at) low = middle + 1; else high = middle; }
  const before = low - 1;
  if (before < 0) return null;
  const hidden = Boolean(track.hidden && track.hidden[before]);
  if (frames[before] === at) return [track.places[before], true, hidden];
  if (track.kind === "point" || low >= frames.length || frames[low] - frames[before] > GAP) return null;
  const share = (at - frames[before]) / (frames[low] - frames[before]);
  return [track.places[before].map((value, k) => value + share * (track.places[low][k] - value)), false, hidden];
}

const names = []; // places of names that are drawn in this frame
function name(text, x, places, colour) { // at the first of some heights at which it covers no other
  draw.font = "600 12px system-ui, sans-serif";
  const width = Math.min(draw.measureText(text).width + 8, canvas.clientWidth), height = 17;
  x = Math.max(0, Math.min(x, canvas.clientWidth - width));
  const free = (y) => !names.some(([a, b, c]) => x < a + c && a < x + width && Math.abs(b - y) < height);
  const y = places.map((each) => Math.max(0, Math.min(each, canvas.clientHeight - height))).find(free);
  if (y === undefined) return;
  names.push([x, y, width]);
  draw.fillStyle = "rgba(255,255,255,.88)";
  draw.fillRect(x, y, width, height);
  draw.fillStyle = colour;
  draw.fillRect(x, y, 3, height);
  draw.fillStyle = "#1d2730";
  draw.textBaseline = "middle";
  draw.fillText(text, x + 6, y + height / 2 + 0.5, canvas.clientWidth - 8);
}

function paint() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  names.length = 0;
  const named = [], drawn = new Set();
  let count = 0;
  data.tracks.forEach((track, number) => {
    if (!shown(track, number)) return;
    const found = placeOf(track, frame);
    if (found === null) return;
    count++;
    const [place, exact, hidden] = found;
    if (track.kind === "object") {
      const [x1, y1, x2, y2] = [place[0] * width, place[1] * height, place[2] * width, place[3] * height];
      for (const [colour, line] of [["rgba(255,255,255,.75)", 4], [track.colour, exact || track.predicted ? 2.5 : 1.4]]) {
        draw.strokeStyle = colour;
        draw.lineWidth = exact || track.predicted ? line : Math.min(line, 2.6);
        draw.setLineDash(track.predicted ? [7, 5] : hidden ? [2, 4] : []);
        draw.strokeRect(x1, y1, x2 - x1, y2 - y1);
      }
      const told = `${track.predicted ? "predicted " : ""}${track.id} ${track.label}${hidden ? " (hidden)" : ""}`;
      if (!track.predicted) drawn.add(track.id);
      if (!track.predicted || track.question !== undefined || !drawn.has(track.id)) named.push([told, x1, [y1 - 17, y2, y1], track.colour]);
    } else {
      const [x, y] = [place[0] * width, place[1] * height];
      draw.setLineDash([]);
      draw.beginPath();
      draw.arc(x, y, track.predicted ? 7 : 4.5, 0, 2 * Math.PI);
      if (!track.predicted) { draw.fillStyle = track.colour; draw.fill(); }
      draw.lineWidth = track.predicted ? 4 : 1.5;
      draw.strokeStyle = "#fff";
      draw.stroke();
      if (track.predicted) { draw.lineWidth = 2; draw.strokeStyle = track.colour; draw.stroke(); }
    }
  });
  if (layer("names")) named.forEach((each) => name(...each));
  document.body.dataset.frame = frame;
  document.body.dataset.drawn = count;
}

function tell() {
  const seconds = frame / data.rate;
  element("time").textContent = `${seconds.toFixed(2)} s of ${(data.frames / data.rate).toFixed(2)} s · frame ${frame} of ${data.frames}`;
  slider.value = frame;
  slider.setAttribute("aria-valuetext", `${seconds.toFixed(1)} seconds`);
  element("head").style.left = `${100 * (frame + 0.5) / data.frames}%`;
  document.querySelectorAll(".bar").forEach((bar) => bar.classList.toggle("now", bar.dataset.start <= seconds && seconds < bar.dataset.end));
  paint();
}

function at(number) { frame = Math.max(0, Math.min(data.frames - 1, number)); tell(); }

function seek(number) { // in the middle of the frame, so that no rounding shows the one before it
  wanted = Math.max(0, Math.min(data.frames - 1, Math.round(number)));
  film.currentTime = Math.min((wanted + 0.5) / data.rate, Math.max((film.duration || Infinity) - 0.001, 0));
  at(wanted);
}
const seekTime = (seconds) => seek(Math.floor(seconds * data.rate + 1e-6));

function follow() { // the frame that is on the screen, as exactly as the browser knows it
  if (film.requestVideoFrameCallback) {
    film.requestVideoFrameCallback((_, about) => {
      if (!film.paused) { wanted = null; at(Math.round(about.mediaTime * data.rate)); }
      follow();
    });
  } else {
    requestAnimationFrame(() => { if (!film.paused) { wanted = null; at(Math.floor(film.currentTime * data.rate + 0.01)); } follow(); });
  }
}

const toggle = () => { if (film.paused) { if (film.ended) seek(0); film.play(); } else film.pause(); };
film.addEventListener("play", () => { play.textContent = "Pause"; });
film.addEventListener("pause", () => { play.textContent = "Play"; if (wanted === null) at(Math.floor(film.currentTime * data.rate + 0.01)); });
film.addEventListener("error", () => { element("problem").textContent = "This browser cannot play the video; all else of the page works."; });
play.addEventListener("click", toggle);
element("back").addEventListener("click", () => { film.pause(); seek(frame - 1); });
element("next").addEventListener("click", () => { film.pause(); seek(frame + 1); });
element("speed").addEventListener("change", (event) => { film.playbackRate = Number(event.target.value); });
slider.addEventListener("input", () => seek(Number(slider.value)));

document.addEventListener("keydown", (event) => {
  const tag = event.target.tagName;
  if (event.ctrlKey || event.metaKey || event.altKey || tag === "SELECT") return;
  const step = event.shiftKey ? Math.round(data.rate) : 1;
  const moves = { ArrowLeft: frame - step, ArrowRight: frame + step, Home: 0, End: data.frames - 1 };
  if (event.key === " " && !["BUTTON", "SUMMARY", "INPUT"].includes(tag)) toggle();
  else if (event.key === "k") toggle();
  else if (event.key in moves) { film.pause(); seek(moves[event.key]); }
  else return;
  event.preventDefault();
});

document.querySelectorAll("[data-start]").forEach((bar) => bar.addEventListener("click", () => { film.pause(); seekTime(Number(bar.dataset.start)); }));
document.querySelectorAll("[data-seek]").forEach((each) => each.addEventListener("click", () => { film.pause(); seek(Number(each.dataset.seek)); }));
document.querySelectorAll(".lanes").forEach((lanes) => lanes.addEventListener("click", (event) => {
  if (event.target.closest(".bar")) return;
  const box = lanes.getBoundingClientRect();
  seek(Math.floor(data.frames * (event.clientX - box.left) / box.width));
}));
document.querySelectorAll("[id^=layer-]").forEach((box) => box.addEventListener("change", paint));
document.querySelectorAll("[data-track]").forEach((box) => box.addEventListener("change", () => {
  const number = Number(box.dataset.track);
  if (box.checked) off.delete(number); else off.add(number);
  paint();
}));
document.querySelectorAll("[data-question]").forEach((button) => button.addEventListener("click", () => {
  const question = Number(button.dataset.question), same = only !== null && only.question === question;
  only = same ? null : { question, answers: data.answers[question] };
  document.querySelectorAll("[data-question]").forEach((each) => each.setAttribute("aria-pressed", String(only !== null && each === button)));
  paint();
  if (!same) element("screen").scrollIntoView({ block: "nearest" });
}));

new ResizeObserver(paint).observe(canvas);
film.addEventListener("loadeddata", () => { document.body.dataset.ready = "yes"; tell(); });
const hash = parseInt(location.hash.slice(1)) || 0;
film.addEventListener("loadedmetadata", () => seek(hash), { once: true });
follow();
at(hash);
