"""Makes a TAP-Vid pickle of moving cut-outs over moving photographs, and scores pyramidal Lucas-Kanade on it.

    python benchmarks/tap_cutouts.py make photos.parquet cutouts.pkl --videos 40 [--size 480 --frames 18 --speed 2]
    python benchmarks/tap_cutouts.py lucas-kanade cutouts.pkl
    python benchmarks/tap_cutouts.py footage photos.parquet folder --videos 160 --seed 77

Drawn by OpenCV's warps in 2D, with nothing from `tapetum_world`, so that it is an independent check of a model trained there.
Only every tenth image is used (numbers 9, 19, ...): the share that `tapetum train tap-nano` holds out. `footage` writes such
videos of all other images, as mp4 files without their truth, for `tapetum bootstrap` to learn from.
"""

import argparse
import pickle
from pathlib import Path

import cv2
import numpy as np

from tapetum.data.textures import from_images
from tapetum.video import write_video

SIZE, FRAMES, SPEED = 256, 24, 1.0


def smooth(rng, amount):
    """A random smooth path over the clip that starts at 0 (frames,)."""
    knots = np.concatenate([[0], np.cumsum(rng.normal(0, amount, 3))])
    return np.interp(np.linspace(0, 3, FRAMES), range(4), knots) if rng.random() < 0.3 else cubic(knots)


def cubic(knots):
    t = np.linspace(0, 1, FRAMES)
    return sum(k * b for k, b in zip(knots, [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], strict=True))


def moves(rng, centre, target, shift, turn, zoom, skew):
    """Homographies (frames, 3, 3) from an image around `centre` to the frame around `target`."""
    shift *= SPEED
    x, y, a, s, k = smooth(rng, shift), smooth(rng, shift), smooth(rng, turn), np.exp(smooth(rng, zoom)), smooth(rng, skew)
    p, q = smooth(rng, 1e-4), smooth(rng, 1e-4)
    out = []
    for i in range(FRAMES):
        c, d = np.cos(a[i]) * s[i], np.sin(a[i]) * s[i]
        linear = np.array([[c, -d + k[i], 0], [d, c, 0], [p[i], q[i], 1]])
        to = np.array([[1, 0, target[0] + x[i]], [0, 1, target[1] + y[i]], [0, 0, 1]])
        out.append(to @ linear @ np.array([[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1]]))
    return np.stack(out)


def blob(rng, size):
    y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    angle = np.arctan2(y, x)
    edge = 0.75 + sum(rng.normal(0, 0.15 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(1, 6))
    return np.clip((np.clip(edge, 0.3, 0.97) - np.hypot(x, y)) * size / 2 + 0.5, 0, 1).astype(np.float32)


def warp(image, matrix, border):
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return cv2.warpPerspective(
        image, np.linalg.inv(half) @ matrix @ half, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border
    )


def layers_of(rng, draw):
    """Layers back to front: (image, alpha or None, homographies)."""
    photo = draw(rng)
    scale = rng.uniform(1.0, 1.6) * SIZE / min(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    h, w = photo.shape[:2]
    layers = [(photo, None, moves(rng, (w / 2, h / 2), (SIZE / 2, SIZE / 2), 30, 0.2, 0.12, 0.06))]
    for _ in range(int(rng.integers(2, 6))):
        size = int(rng.uniform(40, 130))
        cut = cv2.resize(draw(rng), (size, size), interpolation=cv2.INTER_AREA)
        target = rng.uniform(30, SIZE - 30, 2)
        layers.append((cut, blob(rng, size), moves(rng, (size / 2, size / 2), target, 70, 0.7, 0.25, 0.12)))
    return layers


def render(rng, layers):
    frames, noise, quality = [], rng.uniform(0, 12), int(rng.integers(30, 90))
    gain = 1 + smooth(rng, 0.05)
    for t in range(FRAMES):
        frame = warp(layers[0][0], layers[0][2][t], cv2.BORDER_REFLECT).astype(np.float32)
        for image, alpha, matrices in layers[1:]:
            a = warp(alpha, matrices[t], cv2.BORDER_CONSTANT)[..., None]
            frame = frame * (1 - a) + warp(image, matrices[t], cv2.BORDER_CONSTANT) * a
        frame = np.clip(frame * gain[t] + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
        data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        frames.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return np.stack(frames)


def apply(matrix, xy):
    p = np.concatenate([xy, np.ones((len(xy), 1))], 1) @ matrix.T
    return p[:, :2] / p[:, 2:]


def inside(layer, t, xy):
    """Whether a layer covers raster places xy (n, 2) in frame t."""
    _, alpha, matrices = layer
    local = apply(np.linalg.inv(matrices[t]), xy)
    h, w = alpha.shape
    at = np.clip(local, 0, [w - 1, h - 1]).astype(int)
    return (local >= 0).all(1) & (local < [w, h]).all(1) & (alpha[at[:, 1], at[:, 0]] > 0.5)


def truth(rng, layers, n):
    points, occluded = [], []
    while len(points) < n:
        t0, xy = int(rng.integers(FRAMES)), rng.uniform(0, SIZE, (1, 2))
        owner = max([0] + [k for k in range(1, len(layers)) if inside(layers[k], t0, xy)[0]])
        if owner == 0 and rng.random() < 0.5:
            continue
        local = apply(np.linalg.inv(layers[owner][2][t0]), xy)
        track = np.concatenate([apply(m, local) for m in layers[owner][2]])
        hidden = ((track < 0) | (track >= SIZE)).any(1)
        for k in range(owner + 1, len(layers)):
            hidden |= np.array([inside(layers[k], t, track[t : t + 1])[0] for t in range(FRAMES)])
        points.append(track / SIZE), occluded.append(hidden)
    return np.stack(points).astype(np.float32), np.stack(occluded)


def make(args):
    global SIZE, FRAMES, SPEED
    SIZE, FRAMES, SPEED = args.size, args.frames, args.speed
    every = from_images(args.source, part="held-out")
    data = {}
    for k in range(args.videos):
        rng = np.random.default_rng((args.seed, k))
        layers = layers_of(rng, every)
        video = render(rng, layers)
        points, occluded = truth(rng, layers, args.points)
        data[f"cutouts-{k:03d}"] = {"video": video, "points": points, "occluded": occluded}
    Path(args.out).write_bytes(pickle.dumps(data))


def footage(args):
    every = from_images(args.source, part="train")
    Path(args.out).mkdir(parents=True)
    for k in range(args.videos):
        rng = np.random.default_rng((args.seed, k))
        write_video(Path(args.out) / f"{k:03d}.mp4", render(rng, layers_of(rng, every)), 24)


def lucas_kanade(video, queries, tolerance=1.0):
    """Pyramidal Lucas-Kanade from each query both ways; a point whose way back misses by more than `tolerance` px is lost.

    Queries (n, 3) as (t, x, y) in raster pixels -> xy (n, t, 2), visible (n, t).
    """
    gray = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in video]
    options = {"winSize": (21, 21), "maxLevel": 3}
    xy = np.zeros((len(queries), len(video), 2), np.float32)
    visible = np.zeros((len(queries), len(video)), bool)
    for start in np.unique(queries[:, 0].astype(int)):
        rows = np.flatnonzero(queries[:, 0].astype(int) == start)
        for step in (1, -1):
            here = (queries[rows, 1:] - 0.5).astype(np.float32)[:, None]
            seen = np.ones(len(rows), bool)
            xy[rows, start], visible[rows, start] = here[:, 0], seen
            t = start
            while 0 <= t + step < len(video):
                there, ok, _ = cv2.calcOpticalFlowPyrLK(gray[t], gray[t + step], here, None, **options)
                back, ok2, _ = cv2.calcOpticalFlowPyrLK(gray[t + step], gray[t], there, None, **options)
                error = np.linalg.norm((back - here)[:, 0], axis=1)
                within = ((there[:, 0] >= -0.5) & (there[:, 0] < np.array(gray[t].shape[::-1]) - 0.5)).all(1)
                seen = seen & (ok[:, 0] == 1) & (ok2[:, 0] == 1) & (error < tolerance) & within
                here, t = there, t + step
                xy[rows, t], visible[rows, t] = here[:, 0], seen
    return xy + 0.5, visible


def score(args):
    from tapetum.bench.tapvid import evaluate
    from tapetum.types import Tracks

    class LucasKanade:
        def track(self, video, queries):
            xy, visible = lucas_kanade(video, queries)
            return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=np.float32(queries))

    result = evaluate(LucasKanade(), args.data, args.mode)
    print(result)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("source")
    maker.add_argument("out")
    maker.add_argument("--videos", type=int, default=40)
    maker.add_argument("--points", type=int, default=64)
    maker.add_argument("--seed", type=int, default=0)
    maker.add_argument("--size", type=int, default=SIZE)
    maker.add_argument("--frames", type=int, default=FRAMES)
    maker.add_argument("--speed", type=float, default=SPEED, help="of shifts, in pixels")
    maker.set_defaults(run=make)
    filmer = verbs.add_parser("footage")
    filmer.add_argument("source")
    filmer.add_argument("out")
    filmer.add_argument("--videos", type=int, default=160)
    filmer.add_argument("--seed", type=int, default=77)
    filmer.set_defaults(run=footage)
    scorer = verbs.add_parser("lucas-kanade")
    scorer.add_argument("data")
    scorer.add_argument("--mode", default="first")
    scorer.set_defaults(run=score)
    chosen = parser.parse_args()
    chosen.run(chosen)
