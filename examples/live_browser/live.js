// The page: frames of a camera or a file into a Tracker, points from clicks, tracks onto the canvas.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { Tracker } from "./tracker.js";

const TRAIL = 40; // frames
const [view, video, status, problem] = ["view", "video", "status", "problem"].map(id => document.getElementById(id));
const canvas = view.getContext("2d", { willReadFrequently: true });
const complain = text => problem.textContent = text;
const failed = error => (busy = false, complain(`The network failed: ${error.message}`));

let following = false, tracker = null, fresh = [], trails = [], busy = false, again = false, frames = 0, milliseconds = [];

async function load() {
  if (typeof WebAssembly !== "object") return complain("This browser has no WebAssembly, which runs the network; use a newer one.");
  ort.env.wasm.proxy = true; // in a worker, so that the page answers meanwhile
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  const answer = await fetch("live.onnx");
  if (!answer.ok) return complain("live.onnx is not beside this page; write it with: tapetum export causal-tapir-nano live.onnx --program live");
  const session = await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()));
  const restart = () => {
    tracker = new Tracker(ort, session), fresh = [], trails = [], frames = 0;
  };
  restart();
  document.getElementById("clear").onclick = restart;
  Object.assign(view, tracker.size);
  const threads = self.crossOriginIsolated ? "" : ", on one thread: this server does not send the headers that more need (COOP, COEP)";
  status.textContent = `Ready${threads}. Choose a source, then click on what is to be followed.`;
}

// Draws the newest frame of the video, and tracks all points into it; then again if there was another meanwhile.
async function advance() {
  again = busy;
  if (busy || !tracker) return;
  busy = true;
  const { width, height } = tracker.size, begin = performance.now(), time = video.currentTime;
  canvas.drawImage(video, 0, 0, width, height);
  const { data } = canvas.getImageData(0, 0, width, height), frame = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; ++from) if (from % 4 < 3) frame[to++] = data[from];
  const now = fresh;
  fresh = [];
  draw(await tracker.step(frame, now));
  milliseconds = [...milliseconds.slice(-29), performance.now() - begin];
  const mean = milliseconds.reduce((a, b) => a + b) / milliseconds.length;
  status.textContent = `${tracker.points.length} points in ${++frames} frames, ${mean.toFixed(1)} ms each`;
  view.dataset.time = time;
  busy = false;
  if (again) await advance();
}

function draw(points) {
  canvas.lineWidth = 2;
  points.forEach(({ at, visible }, number) => {
    const trail = trails[number] = [...(trails[number] ?? []), visible ? at : null].slice(-TRAIL);
    canvas.strokeStyle = canvas.fillStyle = `hsl(${(number * 137) % 360} 90% 55%)`;
    canvas.beginPath();
    trail.forEach((place, k) => place && (trail[k - 1] ? canvas.lineTo(...place) : canvas.moveTo(...place)));
    canvas.stroke();
    canvas.beginPath();
    canvas.arc(...at, 4, 0, 7);
    visible ? canvas.fill() : canvas.stroke();
  });
}

function play(source) {
  complain("");
  Object.assign(video, source);
  video.onloadedmetadata = () => view.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
  video.onerror = () => complain("This browser cannot play that file; give H.264, VP9 or AV1 in MP4 or WebM.");
  const next = () => {
    video.requestVideoFrameCallback(next);
    advance().catch(failed);
  };
  if (!following) video.requestVideoFrameCallback(next);
  following = true;
  video.play().catch(() => {});
}

document.getElementById("file").onchange = ({ target }) => target.files[0] && play({ srcObject: null, src: URL.createObjectURL(target.files[0]) });
document.getElementById("camera").onclick = async () => {
  if (!navigator.mediaDevices) return complain("No camera: a browser gives it to pages of https:// or http://localhost alone.");
  try {
    play({ srcObject: await navigator.mediaDevices.getUserMedia({ video: true }) });
  } catch (error) {
    complain(`No camera: ${error.message}`);
  }
};
view.onclick = ({ offsetX, offsetY }) => {
  fresh.push([offsetX * view.width / view.clientWidth, offsetY * view.height / view.clientHeight]);
  if (video.paused || video.ended) advance().catch(failed);
};
load().catch(error => complain(`The network could not be loaded: ${error.message}`));
