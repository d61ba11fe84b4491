// Tracks points through a live video in a browser: a network on every frame, and patches beside it.
//
// The same as examples/live_cpp/live.cpp and as tapetum's `step`; what has a name there (follower.py, patches.py, polish.py,
// recent.py), where the algorithm is explained, has it here. Places are [x, y] in pixels of the network's frame.
const RADIUS = 9, LINE = 2 * RADIUS + 1, PIXELS = LINE * LINE; // of a patch
const SIDE = 256; // shorter side of the image that patches are cut from
const COARSE = 4; // pixels of it to one of the coarse image
const SPREAD = 6, CONTRAST = 2, STIFF = 4e-4, ITERATIONS = 4;
const AGE = 4; // frames after which the patches of a visible point are cut again
const ACCEPTED = 0.9, SURELY_SEEN = 0.95, FOUND = 0.7, SURELY = 0.95, EXACT = 0.9; // correlations
const NETWORK_REACH = 6, GUESS_REACH = 3, RECENT_REACH = 2, REACH = 4, BACK = 2, AGREED = 2, NEAR = 8; // pixels

const plus = (a, b) => [a[0] + b[0], a[1] + b[1]];
const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
const times = (a, by) => [a[0] * by, a[1] * by];
const norm = a => Math.hypot(a[0], a[1]);
const multiply = ([a, b, c, d], [e, f, g, h]) => [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const scale = (at, from, to) => [at[0] * to.width / from.width, at[1] * to.height / from.height];
const UPRIGHT = [1, 0, 0, 1];

// ---- images -------------------------------------------------------------------------------------------------------------

function reduced({ width, height }) {
  const factor = Math.min(1, SIDE / Math.min(width, height));
  return { width: Math.round(width * factor), height: Math.round(height * factor) };
}

// Shrinks bytes along one axis, of `inward` places of `stride` bytes in `outer` blocks, by a triangle filter as torch does.
function shrink(bytes, outer, inward, outward, stride) {
  if (inward === outward) return bytes;
  const ratio = inward / outward, taps = [];
  let most = 0, precision = 0;
  for (let i = 0; i < outward; ++i) {
    const centre = ratio * (i + 0.5), first = Math.max(Math.trunc(centre - ratio + 0.5), 0);
    const count = Math.min(Math.trunc(centre + ratio + 0.5), inward) - first;
    const weights = Array.from({ length: count }, (_, k) => Math.max(0, 1 - Math.abs((k + first - centre + 0.5) / ratio)));
    const sum = weights.reduce((a, b) => a + b);
    taps.push({ first, weights: weights.map(weight => weight / sum) });
    most = Math.max(most, ...taps[i].weights);
  }
  while (precision < 22 && Math.trunc(0.5 + most * (1 << (precision + 1))) < 1 << 15) ++precision;
  for (const tap of taps) tap.weights = tap.weights.map(weight => Math.trunc(0.5 + weight * (1 << precision)));
  const out = new Uint8ClampedArray(outer * outward * stride);
  for (let block = 0; block < outer; ++block)
    for (let i = 0; i < outward; ++i)
      for (let c = 0; c < stride; ++c) {
        let sum = 1 << (precision - 1), from = (block * inward + taps[i].first) * stride + c;
        for (const weight of taps[i].weights) sum += weight * bytes[from], from += stride;
        out[(block * outward + i) * stride + c] = sum >> precision;
      }
  return out;
}

// 1 4 6 4 1 along x, the border repeated; the result is transposed.
function blurred({ width, height, pixels }) {
  const out = new Float32Array(width * height);
  for (let y = 0; y < height; ++y)
    for (let x = 0; x < width; ++x) {
      const at = dx => pixels[y * width + clamp(x + dx, 0, width - 1)];
      out[x * height + y] = (at(-2) + at(2) + 4 * (at(-1) + at(1)) + 6 * at(0)) / 16;
    }
  return { width: height, height: width, pixels: out };
}

function grey(frame, size) {
  const { width, height } = reduced(size);
  const rows = shrink(frame, size.height, size.width, width, 3);
  const bytes = shrink(rows, 1, size.height, height, width * 3);
  const pixels = Float32Array.from({ length: width * height }, (_, i) => (bytes[3 * i] + bytes[3 * i + 1] + bytes[3 * i + 2]) / 3);
  return blurred(blurred({ width, height, pixels }));
}

// Means of blocks of COARSE x COARSE pixels, smaller ones at the right and at the bottom.
function coarse(image) {
  const width = Math.ceil(image.width / COARSE), height = Math.ceil(image.height / COARSE);
  const pixels = new Float32Array(width * height);
  for (let y = 0; y < height; ++y)
    for (let x = 0; x < width; ++x) {
      let sum = 0, count = 0;
      for (let v = COARSE * y; v < Math.min(COARSE * (y + 1), image.height); ++v)
        for (let u = COARSE * x; u < Math.min(COARSE * (x + 1), image.width); ++u, ++count) sum += image.pixels[v * image.width + u];
      pixels[y * width + x] = sum / count;
    }
  return { width, height, pixels };
}

// Central differences along x and along y; 0 on the border.
function slopes({ width, height, pixels }) {
  const across = new Float32Array(pixels.length), down = new Float32Array(pixels.length);
  for (let y = 0, k = 0; y < height; ++y)
    for (let x = 0; x < width; ++x, ++k) {
      if (x > 0 && x < width - 1) across[k] = (pixels[k + 1] - pixels[k - 1]) / 2;
      if (y > 0 && y < height - 1) down[k] = (pixels[k + width] - pixels[k - width]) / 2;
    }
  return [across, down].map(pixels => ({ width, height, pixels }));
}

// A frame of one colour, such as black, shows no point.
function isFlat(frame, { width, height }) {
  let sum = 0, squares = 0, count = 0;
  for (let y = 0; y < height; y += 8)
    for (let x = 0; x < width; x += 8)
      for (let c = 0; c < 3; ++c, ++count) {
        const value = frame[(y * width + x) * 3 + c];
        sum += value, squares += value * value;
      }
  return squares / count - (sum / count) ** 2 < 4;
}

// ---- patches ------------------------------------------------------------------------------------------------------------

const X = Float32Array.from({ length: PIXELS }, (_, i) => i % LINE - RADIUS);
const Y = Float32Array.from({ length: PIXELS }, (_, i) => Math.trunc(i / LINE) - RADIUS);
const WEIGHT = X.map((x, i) => Math.exp(-(x * x + Y[i] * Y[i]) / (2 * SPREAD * SPREAD)));
const TOTAL = WEIGHT.reduce((a, b) => a + b);
WEIGHT.forEach((weight, i) => WEIGHT[i] = weight / TOTAL);

// Bilinear samples on the patch's grid around a place, warped by `affine`; the image's border is repeated.
function sampled({ width, height, pixels }, at, [a, b, c, d], out = new Float32Array(PIXELS)) {
  for (let i = 0; i < PIXELS; ++i) {
    const x = clamp(at[0] + a * X[i] + b * Y[i] - 0.5, 0, width - 1), y = clamp(at[1] + c * X[i] + d * Y[i] - 0.5, 0, height - 1);
    const left = Math.min(Math.trunc(x), width - 2), top = Math.min(Math.trunc(y), height - 2);
    const u = x - left, v = y - top, k = top * width + left;
    out[i] = (1 - v) * ((1 - u) * pixels[k] + u * pixels[k + 1]) + v * ((1 - u) * pixels[k + width] + u * pixels[k + width + 1]);
  }
  return out;
}

function weighted(a, b) { // mean of their product
  let sum = 0;
  for (let i = 0; i < PIXELS; ++i) sum += a[i] * b[i] * WEIGHT[i];
  return sum;
}

// Makes the weighted mean 0 and the variance 1 (less, where contrast is low); gives the standard deviation that was there.
function standardise(samples) {
  let mean = 0;
  for (let i = 0; i < PIXELS; ++i) mean += samples[i] * WEIGHT[i];
  for (let i = 0; i < PIXELS; ++i) samples[i] -= mean;
  const deviation = Math.sqrt(weighted(samples, samples)), by = 1 / Math.max(deviation, CONTRAST);
  for (let i = 0; i < PIXELS; ++i) samples[i] *= by;
  return deviation;
}

// Solves the symmetric, positive definite `matrix` for all columns of `right`, in place (Cholesky).
function solve(matrix, right) {
  for (let i = 0; i < 6; ++i)
    for (let j = 0; j <= i; ++j) {
      let sum = matrix[i][j];
      for (let k = 0; k < j; ++k) sum -= matrix[i][k] * matrix[j][k];
      matrix[i][j] = i === j ? Math.sqrt(sum) : sum / matrix[j][j];
    }
  const column = new Float64Array(6);
  for (let p = 0; p < PIXELS; ++p) {
    for (let i = 0; i < 6; ++i) {
      column[i] = right[i][p];
      for (let k = 0; k < i; ++k) column[i] -= matrix[i][k] * column[k];
      column[i] /= matrix[i][i];
    }
    for (let i = 5; i >= 0; --i) {
      for (let k = i + 1; k < 6; ++k) column[i] -= matrix[k][i] * column[k];
      right[i][p] = column[i] /= matrix[i][i];
    }
  }
}

class Patch {
  constructor(image, at) {
    this.shape = sampled(image, at, UPRIGHT); // grey, with weighted mean 0 and variance 1
    const [across, down] = (image.slopes ??= slopes(image)).map(rise => sampled(rise, at, UPRIGHT));
    const deviation = standardise(this.shape), by = 1 / Math.max(deviation, CONTRAST);
    this.plain = deviation < CONTRAST; // too little contrast to be found again
    const moves = [across, down, ...[across, down].flatMap(rise => [X, Y].map(side => rise.map((value, i) => value * side[i])))];
    for (const move of moves) { // what changes brightness or contrast alone does not count
      let brightness = 0;
      for (let i = 0; i < PIXELS; ++i) brightness += (move[i] *= by) * WEIGHT[i];
      const contrast = weighted(move, this.shape);
      for (let i = 0; i < PIXELS; ++i) move[i] -= brightness + contrast * this.shape[i];
    }
    const normal = moves.map(one => moves.map(other => weighted(one, other)));
    for (let i = 0; i < 6; ++i) normal[i][i] += STIFF * (i < 2 ? 1 : RADIUS * RADIUS / 4);
    for (const move of moves) for (let i = 0; i < PIXELS; ++i) move[i] *= WEIGHT[i];
    solve(normal, moves);
    this.undoing = moves; // from a patch's differences to the warp that undoes them, to first order
  }

  // What an image shows at a place, with the slopes that this patch has.
  shown(image, at, affine) {
    const shape = sampled(image, at, affine);
    standardise(shape);
    return Object.assign(Object.create(Patch.prototype), this, { shape });
  }

  // The best fit in an image from several starts [place, reach] (inverse compositional Lucas-Kanade); score -1: not found.
  align(image, starts, warp) {
    let best = { at: [0, 0], affine: UPRIGHT, score: -1 };
    const here = new Float32Array(PIXELS), step = new Float64Array(6);
    for (const [start, reach] of starts) {
      let at = start, affine = warp;
      for (let iteration = 0; iteration < ITERATIONS; ++iteration) {
        standardise(sampled(image, at, affine, here));
        step.fill(0);
        for (let k = 0; k < 6; ++k) {
          const undo = this.undoing[k];
          for (let i = 0; i < PIXELS; ++i) step[k] += (here[i] - this.shape[i]) * undo[i];
        }
        const a = step[2] + 1, b = step[3], c = step[4], d = step[5] + 1, area = Math.max(a * d - b * c, 0.1);
        affine = multiply(affine, [d / area, -b / area, -c / area, a / area]);
        at = [at[0] - affine[0] * step[0] - affine[1] * step[1], at[1] - affine[2] * step[0] - affine[3] * step[1]];
      }
      standardise(sampled(image, at, affine, here));
      const score = weighted(here, this.shape), area = affine[0] * affine[3] - affine[1] * affine[2];
      const sound = !this.plain && norm(minus(at, start)) < reach && area > 0.2 && area < 5;
      const inside = at[0] > 0 && at[1] > 0 && at[0] < image.width && at[1] < image.height;
      if (sound && inside && score > best.score) best = { at, affine, score };
    }
    return best;
  }
}

// The patch of the query, which polishes the network's places (Anchors in Python). Places are those of `grey` images.
class Anchor {
  motion = [0, 0];
  affine = UPRIGHT;
  aligned = true;
  rough = null; // where the network put it in the last frame
  constructor(image, at) {
    this.patch = new Patch(image, at), this.at = at; // where the point was when it was last found
  }

  // Advances by one frame, in which the network puts the point at `now`; gives the place, and the correlation there.
  follow(image, now, recent) {
    const first = this.rough === null;
    let fit = { at: this.at, affine: this.affine, score: 1 };
    if (!first || this.patch.plain) {
      const guess = motion => [this.aligned ? plus(this.at, motion) : now, GUESS_REACH];
      const moved = first ? [0, 0] : minus(now, this.rough), followed = recent?.found ? recent.at : now;
      const starts = [[now, NETWORK_REACH], guess(moved), guess(this.motion), [followed, RECENT_REACH]];
      fit = this.patch.align(image, starts, this.affine);
    }
    const found = fit.score > ACCEPTED;
    this.motion = found && this.aligned && !first ? minus(fit.at, this.at) : [0, 0];
    if (found) this.at = fit.at, this.affine = fit.affine;
    this.aligned = found, this.rough = now;
    return [found ? this.at : now, fit.score];
  }
}

// Patches of a recent frame, which follow the point where the patch of the query no longer fits.
class RecentPatches {
  affine = UPRIGHT;
  score = 0; // correlation in the last frame
  found = true;
  age = 0; // frames since they were cut
  constructor(image, small, at, confidence, motion) {
    this.fine = new Patch(image, at), this.coarse = new Patch(small, times(at, 1 / COARSE));
    this.at = at, this.motion = motion;
    this.confidence = confidence; // of the point in the frame that they were cut from
  }

  // Advances from the frame `before` to `image`; a place that differs and leads back elsewhere is not found.
  follow(image, small, before) {
    const from = this.at, guess = plus(from, this.motion), wasFound = this.found;
    const far = this.coarse.align(small, [guess, from].map(at => [times(at, 1 / COARSE), REACH]), this.affine);
    const start = far.score > FOUND ? times(far.at, COARSE) : guess;
    const near = this.fine.align(image, [start, guess].map(at => [at, REACH]), this.affine);
    this.score = near.score, this.found = near.score > FOUND, ++this.age;
    if (this.found && near.score < SURELY)
      this.found = this.fine.shown(image, near.at, near.affine).align(before, [[from, BACK]], this.affine).score > -1;
    if (this.found) this.at = near.at, this.affine = near.affine;
    else if (wasFound) this.at = guess;
    this.motion = this.found && wasFound ? minus(this.at, from) : [0, 0];
  }
}

// ---- the loop -----------------------------------------------------------------------------------------------------------

export class Tracker {
  points = []; // { at, visible, confidence, anchor, recent }
  #features = new Float32Array(0);
  #state = new Float32Array(0);
  #before = null; // the image of the last frame

  // `ort` is onnxruntime-web, `session` one of the file of --program live.
  constructor(ort, session) {
    this.ort = ort, this.session = session;
    [this.shape, , this.featuresShape, this.stateShape] = session.inputMetadata.map(input => input.shape);
    this.size = { width: this.shape[1], height: this.shape[0] };
  }

  // Tracks all points into one more frame (bytes, height x width x 3), in which `fresh` ([[x, y], ...]) are new.
  async step(frame, fresh = []) {
    const image = grey(frame, this.size), small = coarse(image), flat = isFlat(frame, this.size);
    for (const at of fresh) {
      const anchor = new Anchor(image, scale(at, this.size, image));
      this.points.push({ at, visible: false, confidence: 0, anchor, recent: null }); // recent: once it is visible
    }
    if (!this.points.length) return this.points;
    const [places, confidences] = await this.#run(frame, fresh);
    this.points.forEach((point, i) => {
      point.at = [places[2 * i], places[2 * i + 1]], point.confidence = flat ? 0 : confidences[i];
      this.#follow(point, image, small, flat);
      point.visible = point.confidence > 0.5;
    });
    this.#before = image;
    return this.points;
  }

  // Follows the patches of a point that is where the network put it.
  #follow(point, image, small, flat) {
    const { anchor, recent } = point;
    recent?.follow(image, small, this.#before);
    const [exact, score] = anchor.follow(image, scale(point.at, this.size, image), recent);
    if (score > ACCEPTED) point.at = scale(exact, image, this.size);
    if (score > SURELY_SEEN && !flat) point.confidence = Math.max(point.confidence, Math.min(score, 1));
    if (recent?.found && !flat) this.#preferRecent(point);
    if (point.confidence > 0.5 && (!recent?.found || recent.age >= AGE)) { // cut again (renewed in Python)
      const at = scale(point.at, this.size, image), motion = recent?.found ? recent.motion : [0, 0];
      point.recent = new RecentPatches(image, small, at, point.confidence, motion);
    }
  }

  // Chooses between the place of a point and that of its recent patches.
  #preferRecent(point) {
    const { at, score, confidence } = point.recent, small = reduced(this.size);
    const apart = norm(minus(scale(point.at, this.size, small), at)), sure = Math.min(confidence, clamp(score, 0, 1));
    if (apart < AGREED) point.confidence = Math.max(point.confidence, sure);
    if (point.anchor.aligned || (point.confidence > 0.5 && (score <= EXACT || apart >= NEAR))) return;
    point.at = scale(at, small, this.size), point.confidence = Math.max(point.confidence, sure);
  }

  // One step of the network: places and confidences.
  async #run(frame, fresh) {
    const rows = this.points.length, { Tensor } = this.ort;
    const grown = (values, [, ...sides]) => { // new points have no past
      const all = new Float32Array(rows * sides.reduce((a, b) => a * b, 1));
      all.set(values);
      return new Tensor("float32", all, [rows, ...sides]);
    };
    const query = new Float32Array(2 * rows).fill(NaN);
    query.set(fresh.flat(), 2 * (rows - fresh.length));
    const out = await this.session.run({
      frame: new Tensor("uint8", frame.slice(), this.shape),
      query_xy: new Tensor("float32", query, [rows, 2]),
      features: grown(this.#features, this.featuresShape),
      state: grown(this.#state, this.stateShape),
    });
    this.#features = out.features_after.data, this.#state = out.state_after.data;
    return [out.xy.data, out.confidence.data];
  }
}
