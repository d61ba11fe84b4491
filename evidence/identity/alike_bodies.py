"""How often a tracker exchanges points of alike bodies that cross, before and after `tapetum.tracks.identity`.

    python evidence/identity/alike_bodies.py [--clips 40] [--first 0] [--model tapir-nano] [--out FILE] [--show FOLDER]

Clips of 256x256, 72 frames at 24 a second: two to five bodies with the same texture, each with five named points, walk on
smooth curves over a textured ground; in all but every fourth clip they cross near the middle. The truth is exact. A point is on
another body in a frame if its track is visible, farther than 12 pixels from its own truth, and within 8 pixels of that of the
same part of another body. A swap is an exchange: two points of a part that are on each other's body at the same time; a jump is
one point alone that is on another's. Both are counted by runs of three frames and more. `exchanged` are the same tracks with
those of one part of two bodies exchanged on purpose, and `undone` what is made of these.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from tapetum.bench.baselines import load_tracker
from tapetum.tracks.identity import undo_swaps
from tapetum.types import Tracks

SIDE, FRAMES, RATE = 256, 72, 24.0
PARTS = {"nose": (26.0, 0.0), "left": (14.0, 9.0), "right": (14.0, -9.0), "back": (-4.0, 0.0), "tail": (-24.0, 3.0)}
"""Places on a body, in pixels along its heading and to its left."""
FAR, NEAR, LEAST = 12.0, 8.0, 3


def texture(rng: np.random.Generator, size: tuple[int, int], scale: float) -> np.ndarray:
    """Draw smooth noise in colour, uint8 (h, w, 3)."""
    noise = np.sum([gaussian_filter(rng.normal(size=(*size, 3)), (s, s, 0)) * s for s in (scale, 3 * scale)], 0)
    low, high = np.quantile(noise, (0.02, 0.98))
    return (255 * np.clip((noise - low) / (high - low), 0, 1)).astype(np.uint8)


def body_image(rng: np.random.Generator) -> Image.Image:
    """Draw a body that heads right, 72x36 with alpha, with marks at its parts."""
    rows, columns = np.mgrid[:36, :72] + 0.5
    along, left = columns - 36, 18 - rows
    inside = (along / 34) ** 2 + (left / (13 + 3 * (along < 8))) ** 2 < 1
    colour = texture(rng, (36, 72), 2.0) // 2 + np.uint8(rng.integers(20, 110, 3))
    for x, y in PARTS.values():
        spot = np.hypot(along - x, left - y) < 2.6
        colour[spot] = rng.integers(0, 256, 3)
    return Image.fromarray(np.dstack([colour, np.uint8(255 * inside)]), "RGBA")


def clip(seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Make a clip: frames, truth (parts, bodies, t, 2), and whether bodies cross."""
    rng = np.random.default_rng(seed)
    crossing, bodies = seed % 4 != 3, int(rng.integers(2, 6))
    ground, image = Image.fromarray(texture(rng, (SIDE, SIDE), 3.0)), body_image(rng)
    times = np.linspace(0, 1, FRAMES)
    angles = rng.uniform(0, 2 * np.pi) + np.arange(bodies) * 2 * np.pi / bodies + rng.uniform(-0.2, 0.2, bodies)
    middle = SIDE / 2 + rng.uniform(-14, 14, (bodies, 2))
    outward = np.stack([np.cos(angles), np.sin(angles)], 1)
    start = SIDE / 2 + 84 * outward
    turn = rng.uniform(-0.5, 0.5, bodies)
    end = SIDE / 2 - 84 * np.stack([np.cos(angles + turn), np.sin(angles + turn)], 1)
    if not crossing:  # each stays in its own part
        middle, end = SIDE / 2 + 66 * outward, SIDE / 2 + 84 * np.stack([np.cos(angles + 0.3), np.sin(angles + 0.3)], 1)
    pace = times[None] ** rng.uniform(0.8, 1.25, (bodies, 1))
    b = [(1 - pace) ** 2, 2 * pace * (1 - pace), pace**2]
    control = 2 * middle - (start + end) / 2  # the curve passes through the middle
    place = np.sum([weight[..., None] * point[:, None] for weight, point in zip(b, (start, control, end), strict=True)], 0)
    step = np.gradient(place, axis=1)
    heading = np.unwrap(np.arctan2(step[..., 1], step[..., 0]), axis=1) + 0.15 * np.sin(2 * np.pi * (3 * times + rng.random()))
    if not crossing:
        heading = angles[:, None] + 0.4 * np.sin(2 * np.pi * times)
    c, s = np.cos(heading), np.sin(heading)
    truth = np.stack([place + np.stack([c * x + s * y, s * x - c * y], -1) for x, y in PARTS.values()])
    frames = []
    for t in range(FRAMES):
        frame = ground.copy()
        for k in range(bodies):
            (x, y), cos, sin = place[k, t], c[k, t], s[k, t]
            matrix = (cos, sin, 36 - cos * x - sin * y, -sin, cos, 18 + sin * x - cos * y)
            drawn = image.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
            frame.paste(drawn, (0, 0), drawn)
        frames.append(np.asarray(frame))
    return np.stack(frames), truth, crossing


def runs(there: np.ndarray) -> int:
    """Count runs of at least `LEAST` frames."""
    edges = np.diff(np.pad(there.astype(int), (1, 1)))
    return int((np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0) >= LEAST).sum())


def count(tracks: Tracks, truth: np.ndarray) -> tuple[int, int, float]:
    """Count exchanges and jumps of points, and compute the share of visible point-frames within 8 pixels of the truth."""
    parts, bodies = truth.shape[:2]
    xy = tracks.xy.reshape(parts, bodies, FRAMES, 2)
    seen = tracks.visible.reshape(parts, bodies, FRAMES)
    off = np.linalg.norm(xy[:, :, None] - truth[:, None], axis=-1)  # of track a from the part of body b
    own = off[:, np.arange(bodies), np.arange(bodies)]
    on = (off < NEAR) & (own > FAR)[:, :, None] & seen[:, :, None]
    swaps = jumps = 0
    for part in range(parts):
        for a in range(bodies):
            for b in range(a):
                both = on[part, a, b] & on[part, b, a]
                swaps += runs(both)
                jumps += runs(on[part, a, b] & ~both) + runs(on[part, b, a] & ~both)
    return swaps, jumps, float((own < NEAR)[seen].mean())


def exchanged(tracks: Tracks, rng: np.random.Generator, bodies: int) -> Tracks:
    """Exchange the tracks of one part of two bodies from a frame on."""
    part, frame = int(rng.integers(len(PARTS))), int(rng.integers(FRAMES // 3, 2 * FRAMES // 3))
    a, b = part * bodies + rng.permutation(bodies)[:2]
    arrays = {name: getattr(tracks, name).copy() for name in ("xy", "visible", "confidence")}
    for array in arrays.values():
        array[[a, b], frame:] = array[[b, a], frame:]
    return Tracks(**arrays, queries=tracks.queries, names=tracks.names)


def measure(seeds: range, model: str, show: Path | None) -> Iterator[dict]:
    """Measure each clip: the tracker's own swaps, and one exchange made on purpose."""
    tracker = load_tracker(model)
    for seed in seeds:
        frames, truth, crossing = clip(seed)
        bodies = truth.shape[1]
        names = tuple(f"{part}@{body}" for part in PARTS for body in range(bodies))
        at = np.stack([np.zeros(len(names)), *truth[:, :, 0].reshape(-1, 2).T], 1).astype(np.float32)
        tracks = tracker.track(frames, at)
        tracks = Tracks(tracks.xy, tracks.visible, tracks.confidence, tracks.queries, names)
        fixed, swaps = undo_swaps(tracks)
        made = exchanged(tracks, np.random.default_rng(seed), bodies)
        mended, _ = undo_swaps(made)
        if show and seed < 3:
            strip = [Image.fromarray(frames[t]) for t in range(0, FRAMES, 9)]
            page = Image.new("RGB", (SIDE * len(strip), SIDE))
            for k, each in enumerate(strip):
                page.paste(each, (SIDE * k, 0))
            page.save(show / f"{seed}.png")
        names_of = ("swaps", "jumps", "within_8")
        yield {
            "seed": seed,
            "bodies": bodies,
            "crossing": crossing,
            "found": len(swaps),
            "before": dict(zip(names_of, count(tracks, truth), strict=True)),
            "after": dict(zip(names_of, count(fixed, truth), strict=True)),
            "exchanged": dict(zip(names_of, count(made, truth), strict=True)),
            "undone": dict(zip(names_of, count(mended, truth), strict=True)),
        }


def table(results: dict) -> str:
    """Write in Markdown what is counted a minute of video, with clips that cross and clips that do not apart."""
    titles = {
        "before": "as tracked",
        "after": "as tracked, after `--undo-swaps`",
        "exchanged": "one part exchanged on purpose",
        "undone": "the same, after `--undo-swaps`",
    }
    lines = ["| clips | tracks | swaps a minute | jumps a minute | visible points within 8 px |", "|---|---|---|---|---|"]
    for crossing in (True, False):
        rows = [row for row in results["rows"] if row["crossing"] == crossing]
        minutes = len(rows) * FRAMES / RATE / 60
        for name, title in titles.items():
            swaps, jumps = (sum(row[name][each] for row in rows) / minutes for each in ("swaps", "jumps"))
            within = np.mean([row[name]["within_8"] for row in rows])
            which = f"{len(rows)} that {'cross' if crossing else 'do not cross'}"
            lines.append(f"| {which} | {title} | {swaps:.1f} | {jumps:.1f} | {within:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path)
    options = parser.parse_args()
    rows = []
    for row in measure(range(options.first, options.first + options.clips), options.model, options.show):
        rows.append(row)
        print(row, flush=True)
        if options.out:
            options.out.write_text(json.dumps({"model": options.model, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
