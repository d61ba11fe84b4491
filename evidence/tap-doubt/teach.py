"""Does a click teach? Clicks until a clip's average Jaccard is 0.9, with matching adapted to the clip's clicks, and without.

    python evidence/tap-doubt/teach.py photos.parquet FOLDER --more VIDEO ... --first 205 --last 210 --out teach.json

Clips are made as clips.py makes its training part, by numbers that the error model did not learn from, and stay in FOLDER. A
person clicks the most doubted wrong mark of a quarter of the points at a time (benchmarks/tap_doubt.py). After each round:

- untaught: `TapirTracker.correct`, no more.
- own features: the coarse features of each point with clicks are moved by a few steps of Adam, so that matching finds its
  clicks and those of its frames that are surely right.
- shared change: all coarse features x become x + x A B of their old length, A B of rank 4, learned in a few steps from the
  clicks of all points, each sought with the point's other clicks, and from frames that are surely right. All are tracked again.

The loss is the cross-entropy of matching's logits at the cell of each place. A point keeps its untaught track, to the bit,
unless its taught one has a lower mean `chance_wrong`: clicks cannot choose, since tracks pass through them exactly. Steps and
rates were chosen on clips 200 to 204 of the same making.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import tapetum
from clips import made
from tapetum.tracks.training.clips import TrackedClip

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from tap_doubt import clicks_until, teach_summary, teach_table

POINTS, RANK, SURE, CLICK_WEIGHT = 12, 4, 0.03, 4.0
OWN, SHARED = {"steps": 4, "rate": 0.01, "frames": 6}, {"steps": 6, "rate": 0.005, "frames": 4}
"""Steps and rate of Adam, and surely right frames of each point that take part."""


class Lesson:
    """A tracker whose features are computed once a clip, with places where a taught change enters."""

    def __init__(self):
        self.tracker = tapetum.load("tapir-nano")
        self.model, self.stored, self.own, self.change = self.tracker.model, {}, None, None
        self.model.requires_grad_(False)
        self.compute, self.trajectories = self.tracker._features, self.model.trajectories
        self.tracker._features, self.model.trajectories = self.features, self.taught_trajectories

    def features(self, frames, resolutions):
        """Compute the features of frames, or find them, and change their coarse maps as taught."""
        key = frames.tobytes()
        if key not in self.stored:
            self.stored[key] = self.compute(frames, resolutions)
        grids = self.stored[key]
        if self.change is None:
            return grids
        pyramids = []
        for fine, coarse, *more in grids.pyramids:
            levels = [fine, self.change(coarse)]
            for _ in more:
                levels.append(F.avg_pool2d(levels[-1][0].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)[None].contiguous())
            pyramids.append(tuple(levels))
        shared = grids.initial is grids.pyramids[0][1]
        return replace(grids, initial=pyramids[0][1] if shared else self.change(grids.initial), pyramids=tuple(pyramids))

    def taught_trajectories(self, features, points, known=None, **chunks):
        """Call the network with the own features of points as taught; what it was given last is kept."""
        if self.own is not None:
            levels = tuple((fine, coarse + self.own) for fine, coarse in points.levels)
            points = replace(points, initial=points.initial + self.own, levels=levels)
        self.last, self.maps = points.initial, features.initial[0]
        return self.trajectories(features, points, known, **chunks)

    def cells(self, clip, xy):
        """Cells of the coarse maps at places."""
        height, width = self.maps.shape[1:3]
        x, y = (np.asarray(xy) * (width / clip.shape[2], height / clip.shape[1])).astype(int).T
        return torch.from_numpy(y.clip(0, height - 1) * width + x.clip(0, width - 1))

    def losses(self, vectors, maps, cells):
        """Cross-entropy of matching at the cell of each place, in its own map."""
        matching, cost = self.model.matching, torch.einsum("sc,shwc->shw", vectors, maps)[:, None]
        logits = matching.position(F.relu(matching.trunk(cost)))[:, 0] * matching.temperature
        return F.cross_entropy(logits.flatten(1), cells, reduction="none")

    def learn(self, parameters, loss, settings):
        """A few steps of Adam."""
        optimizer = torch.optim.Adam(parameters, settings["rate"])
        with torch.enable_grad():
            for _ in range(settings["steps"]):
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()

    def own_features(self, video, tracks, corrections):
        """Correct, then teach each point with clicks its own coarse features."""
        tracks = self.tracker.correct(video, tracks, corrections)
        rows = np.flatnonzero(tracks.clicked.sum(1) > 1)
        clicks, points = all_clicks(tracks, rows)
        self.tracker.track(video, clicks, ids=points.tolist())
        places = [place for row in rows for place in known_places(tracks, row, OWN["frames"])]
        row, frame, weight = (np.array(each) for each in zip(*places, strict=True))
        who, weight, maps = torch.from_numpy(np.searchsorted(rows, row)), torch.tensor(weight).float(), self.maps[frame]
        cells = self.cells(video, tracks.xy[row, frame])
        start = self.last[0, [int(np.flatnonzero(points == each)[0]) for each in rows]]
        move = torch.zeros_like(start, requires_grad=True)
        self.learn([move], lambda: (self.losses((start + move)[who], maps, cells) * weight).sum() / len(places), OWN)
        self.own = move.detach()[np.searchsorted(rows, points)][None]
        taught = self.tracker.track(video, clicks, ids=points.tolist())
        self.own = None
        return better_of(tracks, taught, rows)

    def shared_change(self, video, tracks, corrections):
        """Correct, then teach all points one change of low rank."""
        tracks = self.tracker.correct(video, tracks, corrections)
        rows = np.arange(tracks.points)
        clicks, points = all_clicks(tracks, rows)
        frame = clicks[:, 0].astype(int)
        features = self.maps[frame].flatten(1, 2)[torch.arange(len(clicks)), self.cells(video, clicks[:, 1:])]
        sources, goals = [], []
        for number, row in enumerate(points):
            others = (points == row) & (np.arange(len(points)) != number)
            if others.any():
                sources.append(features[others].mean(0))
                goals.append((row, frame[number], CLICK_WEIGHT))
        for row in rows:
            sure = [place for place in known_places(tracks, row, SHARED["frames"]) if place[2] == 1]
            sources += [features[points == row].mean(0)] * len(sure)
            goals += sure
        row, frame, weight = (np.array(each) for each in zip(*goals, strict=True))
        source, weight, maps = torch.stack(sources), torch.tensor(weight).float(), self.maps[frame]
        cells, channels = self.cells(video, tracks.xy[row, frame]), maps.shape[-1]
        down = (torch.randn(channels, RANK, generator=torch.Generator().manual_seed(0)) / channels**0.5).requires_grad_()
        up = torch.zeros(RANK, channels, requires_grad=True)

        def change(x):
            return F.normalize(x + (x @ down) @ up, dim=-1) * x.norm(dim=-1, keepdim=True)

        self.learn([down, up], lambda: (self.losses(change(source), change(maps), cells) * weight).sum() / weight.sum(), SHARED)
        self.change = change
        taught = self.tracker.track(video, clicks, ids=points.tolist())
        self.change = None
        return better_of(tracks, taught, rows)


def all_clicks(tracks, rows):
    """Clicks (t, x, y) of points, the query first, and the point of each."""
    clicks, points = [], []
    for row in rows:
        others = np.flatnonzero(tracks.clicked[row] & (np.arange(tracks.frames) != tracks.queries[row, 0]))
        clicks += [tracks.queries[row], *((frame, *tracks.xy[row, frame]) for frame in others)]
        points += [row] * (len(others) + 1)
    return np.array(clicks, np.float32), np.array(points)


def known_places(tracks, row, most):
    """Point, frame and weight of a point's clicks and of some frames in which it is surely right."""
    sure = np.flatnonzero(tracks.visible[row] & (tracks.chance_wrong[row] < SURE) & ~tracks.clicked[row])
    some = sure[np.unique(np.linspace(0, len(sure) - 1, most).astype(int))] if len(sure) else []
    return [(row, frame, CLICK_WEIGHT) for frame in np.flatnonzero(tracks.clicked[row])] + [(row, frame, 1) for frame in some]


def better_of(tracks, taught, rows):
    """Replace tracks of points by taught ones where their mean chance of being wrong is lower; others stay to the bit."""
    lower = taught.chance_wrong.mean(1) < tracks.chance_wrong[rows].mean(1)
    arrays = {name: getattr(tracks, name).copy() for name in ("xy", "visible", "confidence", "error_px", "chance_wrong")}
    for name, array in arrays.items():
        array[rows[lower]] = getattr(taught, name)[lower]
    return replace(tracks, **arrays)


def stored_clip(path, clip_of):
    """Make a clip with some points that are visible in four frames or more, or read it."""
    if not path.exists():
        clip, rows, at = clip_of()
        often = clip.visible[rows].sum(1) > 3
        chosen = np.sort(np.random.default_rng(5).permutation(int(often.sum()))[: 2 * POINTS])
        rows, at = rows[often][chosen], at[often][chosen]
        np.savez(path, video=clip.video[0 : len(clip.video)], xy=clip.xy[rows], visible=clip.visible[rows], at=at)
    file = np.load(path)
    xy, visible, at = (file[name][::2] for name in ("xy", "visible", "at"))
    return TrackedClip(file["video"], xy.astype(np.float32), visible), at


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    parser.add_argument("--first", type=int, default=205)
    parser.add_argument("--last", type=int, default=210)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.part = "train"
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    lesson, clips = Lesson(), json.loads(given.out.read_text())["of clips"] if given.out.exists() else {}
    ways = {"untaught": lesson.tracker.correct, "own features": lesson.own_features, "shared change": lesson.shared_change}
    for name, clip_of in made(given):
        if Path(name).stem not in clips:
            clip, at = stored_clip(given.folder / name, clip_of)
            lesson.stored.clear()
            rounds = {way: clicks_until(clip, at, lesson.tracker.track, correct) for way, correct in ways.items()}
            clips[Path(name).stem] = {"points": len(at), "ways": rounds}
            print(name, rounds, flush=True)
            given.out.write_text(json.dumps({"of clips": clips}) + "\n")
    results = {"ways": teach_summary(clips), "of clips": clips}
    given.out.write_text(json.dumps(results) + "\n")
    print(teach_table(results))


if __name__ == "__main__":
    main()
