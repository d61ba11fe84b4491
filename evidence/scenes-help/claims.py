"""Does the physical world help a tracker? Trains the small one further on facets, and on facets and bodies, equally long.

    python benchmarks/tap_cutouts.py make photos.parquet cutouts.pkl
    python evidence/scenes-help/claims.py draw FOLDER --textures photos.parquet
    python evidence/scenes-help/claims.py train FOLDER facets --textures photos.parquet
    python evidence/scenes-help/claims.py train FOLDER both --textures photos.parquet
    python evidence/scenes-help/claims.py score FOLDER --cutouts cutouts.pkl --textures photos.parquet \\
        --videos VIDEO ... --json OUT

Both start from `tapir-nano` (the recorded ones from its weights before the videos), take as many steps of the same batch, size,
points, so as many FLOPs; both see as many new clips, each as often; of both, half are of bodies. A run that was stopped goes
on. Start and ends are scored as they were trained (128x128 pixels, one look, no polish) and as the bundled tracker is used
(256, two looks, polish): on cut-outs, on episodes and facets that nobody trained on, with held-out textures, and by the cycle
error on real clips. Differences come with standard errors over the same videos.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import tapetum
from tapetum.bench.tapvid import evaluate
from tapetum.systems.tap.bootstrap.samples import CycleErrors, cycle_errors, grid
from tapetum.systems.tap.config import NANO
from tapetum.systems.tap.recipes import TAP_NANO, TapNano
from tapetum.systems.tap.run import train_tap_nano
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.tracks.training.clips import open_clips
from tapetum.tracks.training.facet_clips import SceneClips
from tapetum.train.launch_config import Launch
from tapetum_world.training.point_clips import EpisodeClips

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from tap_real import load

WORLDS = "facets", "both"
TRACKERS = "start", *WORLDS
START, SEED = "tapir-nano", 11
STEPS, CLIPS, POINTS, HELD_OUT = 200, 200, 64, 16
AS_TRAINED = replace(NANO, initial_resolution=(128, 128), iterations=2, refine_at_least=None, second_pass=False, polish=False)
USES = {"as-trained": AS_TRAINED, "as-bundled": NANO}
SCORES = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"


def recipe(given: argparse.Namespace, world: str) -> TapNano:
    """Make the config of a run in one world."""
    phase = replace(TAP_NANO["tap-nano"].phases[0], name="more", steps=STEPS, clips=CLIPS, points=POINTS, lr=3e-4, first=0.5)
    cache = str(given.folder / "clips")
    return TapNano(
        name=world, model=AS_TRAINED, start=START, phases=(phase,), textures=given.textures, cache=cache, world=world, seed=SEED
    )


def draw(given: argparse.Namespace) -> None:
    """Draw the clips before the runs, so that these cost what the network does."""
    for world in WORLDS:
        for clips in open_clips(recipe(given, world), CLIPS, part="train", cache=str(given.folder / "clips")):
            for k in range(len(clips)):
                clips[k]


def train(given: argparse.Namespace) -> None:
    """Train in one world; the same call goes on after a stop."""
    print(train_tap_nano(recipe(given, given.world), Launch(out=given.folder / given.world, threads=1, workers=given.workers)))


def held_out(given: argparse.Namespace) -> dict[str, Path]:
    """Write clips of episodes and facets that nobody trained on, as TAP-Vid files, once."""
    made = {"cut-outs": given.cutouts}
    for name, kind in (("episodes", EpisodeClips), ("facets", SceneClips)):
        file = given.folder / f"held-out-{name}.pkl"
        if not file.exists():
            entries = {}
            clips = kind(HELD_OUT, seed=2024, textures=given.textures, part="held-out")
            for k in range(HELD_OUT):
                clip = clips[k]
                rows = np.flatnonzero(clip.visible.any(1))[:POINTS]
                h, w = clip.video[:].shape[1:3]
                points = clip.xy[rows] / np.array([w, h], np.float32)
                entries[f"{name}-{k:03d}"] = TapVidEntry(f"{name}-{k:03d}", clip.video[:], points, ~clip.visible[rows])
            write_entries(file, entries)
        made[name] = file
    return made


def score(given: argparse.Namespace) -> None:
    """Score all that was trained, side by side; what was scored already is kept in the folder."""
    torch.set_num_threads(1)
    files, found = held_out(given), {}
    for use in given.use:
        rows = {
            name: _scored(given, name, use, files) for name in TRACKERS if name == "start" or _weights(given, name).exists()
        }
        if len(rows) == len(TRACKERS):
            found[use] = {data: _compare({name: row[data] for name, row in rows.items()}) for data in files}
            found[use]["real clips, cycle error"] = {name: row["cycles"] for name, row in rows.items()}
            print(use, json.dumps(found[use], indent=1), flush=True)
    if given.json and found:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def _weights(given: argparse.Namespace, name: str) -> Path:
    return given.folder / name / f"{name}.safetensors"


def _scored(given: argparse.Namespace, name: str, use: str, files: dict[str, Path]) -> dict:
    """Scores of each video by data set, and cycle errors."""
    kept = given.folder / f"score-{use}-{name}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    tracker = tapetum.load(START if name == "start" else _weights(given, name))
    tracker.model.config = USES[use]
    row: dict = {}
    for data, file in files.items():
        videos = evaluate(tracker, file, "first")["per_video"]
        row[data] = [{score: _rounded(video[score]) for score in SCORES} for video in videos]

    def track(video, queries):
        tracks = tracker.track(video, queries)
        return tracks.xy, tracks.visible

    errors = {}
    for path in given.videos:
        video, _ = load(path, 48)
        errors[path.stem] = cycle_errors(track, video, grid(video.shape[1:], 12))
    errors["all"] = CycleErrors(np.concatenate([e.error for e in errors.values()]))
    row["cycles"] = {clip: {k: _rounded(v) for k, v in e.summary().items()} for clip, e in errors.items()}
    kept.write_text(json.dumps(row))
    return row


def _compare(rows: dict[str, list[dict[str, float]]]) -> dict:
    """Means of each tracker, and the difference between the worlds with its standard error over the videos."""
    values = {name: {score: np.array([video[score] for video in row]) for score in SCORES} for name, row in rows.items()}
    told: dict = {name: {score: _rounded(v.mean()) for score, v in found.items()} for name, found in values.items()}
    gaps = {score: values["both"][score] - values["facets"][score] for score in SCORES}
    told["both minus facets"] = {
        score: {"mean": _rounded(gap.mean()), "standard_error": _rounded(gap.std(ddof=1) / np.sqrt(len(gap)))}
        for score, gap in gaps.items()
    }
    return told | {"videos": len(rows["both"])}


def _rounded(value: float) -> float:
    return round(float(value), 4)


def main() -> None:
    """Draw, train or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    drawer, trainer, scorer = (verbs.add_parser(name) for name in ("draw", "train", "score"))
    for verb, run in ((drawer, draw), (trainer, train), (scorer, score)):
        verb.add_argument("folder", type=Path)
        verb.add_argument("--textures")
        verb.set_defaults(run=run)
    trainer.add_argument("world", choices=WORLDS)
    trainer.add_argument("--workers", type=int, default=0)
    scorer.add_argument("--cutouts", type=Path, required=True)
    scorer.add_argument("--videos", type=Path, nargs="+", required=True)
    scorer.add_argument("--use", nargs="+", choices=USES, default=list(USES))
    scorer.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
