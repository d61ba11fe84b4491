// Made answers of models about a frame, in the form of the verbs' --json.
import { makeMask } from "./world.mjs";

/** Models of the machine, for questions. */
export const answering = [
  { name: "made-balls", remarks: ["model: made-balls; it knows three balls and nothing else"] },
  { name: "made-boxes", remarks: ["model: made-boxes"] },
];

/** Models of the machine and those that it can fetch. */
export const weights = [
  ["made-tracks", ["track"], "15 MB", 0.5, "here", ""],
  ["made-outlines", ["segment"], "156 MB", 1.5, "fetch", ""],
  ["made-answers", ["ask"], "4.3 GB", 6, "extra", "it needs transformers; run: pip install 'tapetum[vlm]'"],
].map(([name, tasks, size, memory_gb, state, needs]) => {
  const suits = state === "extra" ? [] : tasks;
  return { name, tasks, suits, size, licence: "Apache-2.0", memory_gb, score: null, state, needs };
});

/** The result and the model of a question; throws for the text "fail". */
export function lookAt(item, body) {
  if (body.text === "fail") throw new Error("the model ran out of memory; use a smaller image");
  const { width, height } = item;
  const row = {
    path: item.name,
    prompt: "",
    width,
    height,
    frames: 1,
    answer: "",
    score: 0.8,
    boxes: [],
    masks: [],
    malformed: 0,
  };
  const model = "made-up: knows three balls and nothing else";
  if (body.verb === "classify") {
    const names = body.labels ?? ["tabby", "Egyptian cat", "lynx"];
    if (body.labels) {
      const labels = names.map((name, k) => ({ name, share: 0.6 / (k + 1), probability: null, cosine: 0.2 }));
      const label = names[0] === "nothing" ? null : names[0];
      return { result: { images: [{ path: item.name, label, margin: null, others: 0, labels }], failed: [] }, model };
    }
    const classes = names.map((name, k) => ({ name, number: k, probability: 0.6 / (k + 1) }));
    return { result: { images: [{ path: item.name, classes }], failed: [] }, model };
  }
  if (body.verb === "ask") row.answer = "red";
  if (body.verb === "caption") row.answer = "three balls that move over a table";
  if (body.verb === "detect") {
    row.boxes = [0.1, 0.5].map((x, k) => ({
      label: body.text,
      score: 0.9 - 0.3 * k,
      box: [x * width, 0.2 * height, (x + 0.3) * width, 0.7 * height],
    }));
  }
  if (body.verb !== "segment") return { result: { images: [row], failed: [] }, model };
  row.masks = [{ label: body.text, score: 0.9, segmentation: {} }];
  return {
    result: { images: [row], failed: [], masks: [`data:image/png;base64,${makeMask(width, height).toString("base64")}`] },
    model,
  };
}
