"""The task of `tapetum bootstrap`: a run's network, its clips of footage and scenes, its folder, and which weights are kept.

OUT/run.json                    settings and footage of the run: a folder with checkpoints of another is refused
    footage/, footage.txt       clips of the videos, and what became of these
    stills/                     frames of the clips to learn from, of which scenes are painted
    scenes/                     rendered scenes, until the end
    before.json                 scores of the start
    best.json, best.safetensors the best weights so far
    run/                        checkpoints and logs of the training loop
    tracker.safetensors, outcome.json   the result
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.identity import source_label
from tapetum.core.provenance import check
from tapetum.core.reading import read_bytes, read_json
from tapetum.hub.registry import resolve
from tapetum.scenes import SceneConfig
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE, BootstrapRun
from tapetum.systems.tap.bootstrap.family import TapirFamily
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.systems.tap.bootstrap.showings import FootageSamples
from tapetum.systems.tap.bootstrap.task import BootstrapTask
from tapetum.systems.tap.bootstrap.unlabelled_scores import check_clips, split
from tapetum.tracks.training.clips import Joined, SceneClips, TrackedClip
from tapetum.tracks.training.data import FEW_CLIPS, TapSamples
from tapetum.tracks.training.image_clips import ImageClips
from tapetum.tracks.training.scores import score_clips
from tapetum.tracks.training.self_training import TrackerFamily
from tapetum.train.checkpoint import Place, checkpoints


class FootageTask(BootstrapTask):
    """A run's network and clips; by default of TAPIR's family."""

    def __init__(self, run: BootstrapRun, footage: Path, out: Path, family: TrackerFamily | None = None):
        super().__init__(run.size, run.settings, family or TapirFamily(run))
        self.run, self.footage, self.out = run, footage, out
        self._checks: list[TrackedClip] | None = None

    def samples(self) -> tuple[FootageSamples, TapSamples | None]:
        """Open clips to learn from, and scenes."""
        run, footage = self.run, FootageDataset(self.footage)
        shown = FootageSamples(footage, split(footage)[0], run.settings, size=run.size, frames=run.frames, seed=run.seed)
        if not run.settings.synthetic:
            return shown, None
        return shown, self._synthetic()

    def _synthetic(self) -> TapSamples:
        run = self.run
        images, part = (run.textures, run.part) if run.textures else (str(self.out / "stills"), "all")
        scenes = SceneClips(
            run.scenes,
            seed=run.seed,
            config=SceneConfig(size=(run.size, run.size), frames=max(24, run.frames)),
            textures=images,
            part=part,
            cache=self.out / "scenes",
        )
        cut_outs = ImageClips(run.image_clips, seed=run.seed, source=images, part=part, frames=run.frames)
        return TapSamples(
            Joined(scenes, cut_outs),
            size=run.size,
            points=run.settings.points,
            seed=run.seed,
            frames=run.frames,
            first=0.5,
            alterations=replace(FEW_CLIPS, motion=0.3),
        )

    def checks(self) -> list[TrackedClip]:
        """Make clips with known tracks, of footage that is left out."""
        run, footage = self.run, FootageDataset(self.footage)
        return check_clips(footage, split(footage)[1], run.checks, size=run.size, frames=run.frames, seed=run.seed)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Make the optimiser's groups."""
        return self.family.parameter_groups(model)

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score on the check clips (TAP-Vid, query-first). The best weights so far, by DECIDING_SCORE, are kept in a file."""
        if self._checks is None:
            self._checks = self.checks()
        track = partial(self.family.track, model)
        scores = score_clips(track, self._checks, size=self.size, points=self.settings.points)
        best = read_best(self.out)
        if step == 0 or best is None or scores[DECIDING_SCORE] > best["scores"][DECIDING_SCORE]:
            self.family.save(model, self.out / "best.safetensors")
            write_json(self.out / "best.json", {"step": step, "scores": scores})
        return scores

    def describe(self) -> Mapping[str, Any]:
        """Collect all that decides what is learned."""
        with_config = "steps", "clips", "lr", "seed", "bf16"
        run = {k: v for k, v in run_identity(self.run).items() if k not in with_config}
        return {"run": run, "footage": footage_identity(FootageDataset(self.footage))}


_SAVED_AS = {"separate_moments": "apart", "image_clips": "warped", "second_pass": "second_look"}
"""Settings that have another name where runs are recorded."""


def run_identity(run: BootstrapRun) -> dict[str, Any]:
    """Collect all of a run, its ingredients among the rest, as JSON has it; the weights by what is in them."""
    content = asdict(run)
    del content["preset"]
    content |= content.pop("settings")
    content["model"] = hashlib.sha256(read_bytes(resolve(run.model, "track")[0])).hexdigest()[:16]
    content["textures"] = source_label(run.textures)
    return json.loads(json.dumps({_SAVED_AS.get(name, name): value for name, value in content.items()}))


def footage_identity(footage: FootageDataset) -> dict[str, Any]:
    """Identify the clips of a folder among those of another."""
    clips = [f"{clip.shard} {clip.number}" for clip in footage.clips]
    digest = hashlib.sha256("\n".join(clips).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return {"videos": len(footage.records), "clips": len(clips), "digest": digest}


def claim_run(out: Path, part: str, content: Mapping[str, Any], saved: Place) -> None:
    """Record in run.json what this run is; where `out` holds scores of another one, they are deleted.

    Raises BadInput where that has checkpoints in `saved` already.
    """
    file = out / "run.json"
    known = read_json(file) if file.exists() else {}
    before = known.get(part, {})
    if before == content:
        return
    if checkpoints(saved):
        if not before:
            raise BadInput(
                f"{saved} has checkpoints, and no run.json in {out} says of which run they are; give the --out of that run, "
                "or --checkpoint-folder another folder"
            )
        changed = ", ".join(f"{k} {before.get(k)!r} (now {v!r})" for k, v in content.items() if before.get(k) != v)
        raise BadInput(
            f"{out} is of a run with other {'videos' if part == 'footage' else 'settings'}: {changed}; "
            "go on with those that it began with, or give --out another folder"
        )
    for name in ("before.json", "best.json", "best.safetensors"):
        check(out / name)
        (out / name).unlink(missing_ok=True)
    remove_scenes(out)
    write_json(file, {**known, part: content})


def remove_scenes(out: Path) -> None:
    """Remove the drawn scenes of a run, and their folder unless something else is in it."""
    if (out / "scenes" / "clips.json").is_file():
        for file in (out / "scenes" / "clips.json", *(out / "scenes").glob("*clip-[0-9]*.npz")):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            (out / "scenes").rmdir()


def read_best(out: Path) -> dict[str, Any] | None:
    """Read step and scores of the best weights so far."""
    file = out / "best.json"
    return read_json(file) if file.exists() else None


def write_stills(footage: FootageDataset, out: Path) -> None:
    """Write three frames of every clip to learn from, and nothing else, as images to paint scenes with.

    Their names are in the order of the clips, whatever their shards are called, which have names after the videos' times.
    """
    folder = out / "stills"
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for number in split(footage)[0]:
        clip = footage.clips[number]
        for at in (0, clip.frames // 2, clip.frames - 1):
            expected[folder / f"{number:06d}-{Path(clip.shard).stem}-{clip.number}-{at:03d}.jpg"] = number, at
    ours = {*folder.glob("*-*-[0-9][0-9][0-9].jpg"), *folder.glob(".*.tmp.jpg")}
    for file in ours - expected.keys():  # of clips that are no more, or half-written
        file.unlink()
    for file, (number, at) in expected.items():
        if not file.exists():
            image = BytesIO()
            Image.fromarray(footage[number][at]).save(image, "JPEG", quality=92)
            with whole_file(file, own=True) as temporary:
                temporary.write_bytes(image.getvalue())  # PIL itself does not tell of a full disk


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    with whole_file(file) as temporary:
        write_text(temporary, json.dumps(content, indent=1))
