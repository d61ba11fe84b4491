"""BootsTAP: self-training of a tracker on unlabelled video; the task, and the folder of a run.

Source: BootsTAP (arXiv 2402.00847, section 3). The teacher is an average of the student's own weights over time:

    clip, clean    --teacher--> p_T(t), hidden_T(t)   of a point q1 asked for on frame t1
      |                              |
      | every n-th frame, JPEG,      | any frame t2 of the student's in which the teacher sees the point
      | shrunk into a moving window  v
      v                          (t2, p_T(t2)) through the same map
    clip, spoilt   --student--> p_S(t), hidden_S(t), how sure  -->  losses against p_T, hidden_T

So any query on a track must give the whole track. Two masks exclude the teacher's errors: the student, from (t2, p_T(t2)), must
find its way back to q1 on t1 (the cycle); and a frame counts only if it is nearer to the teacher's query than to the student's
(proximity). Every step also trains on synthetic clips with exact tracks. Each difference from the paper is a setting
(`config.Ingredients`). A track whose query is on t2 = t1 keeps all its frames. Networks and losses are those of a
`TrackerFamily`: TAPIR's are in `family`.

    OUT/run.json                        settings and footage of the run: a folder with checkpoints of another is refused
        footage/, footage.txt           clips of the videos, and what became of these
        stills/, scenes/                frames of the clips to learn from, of which scenes are painted; these, until the end
        before.json                     scores of the start
        best.json, best.safetensors     the best weights so far
        run/                            checkpoints and logs of the training loop
        tracker.safetensors, outcome.json   the result
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_json
from tapetum.core.identity import source_label
from tapetum.core.provenance import check
from tapetum.core.reading import read_bytes, read_json
from tapetum.hub.registry import resolve
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE, BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import (
    TapirFamily,
    invert_maps,
    keep_mask,
    pseudo_labels,
    teach,
    warp_queries,
    warp_tracks,
)
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.systems.tap.bootstrap.samples import (
    FootageSample,
    FootageSamples,
    PairedSamples,
    check_clips,
    collate_footage,
    split,
)
from tapetum.tracks.training.clips import JoinedClips, TrackedClip, open_clips
from tapetum.tracks.training.data import FEW_CLIPS, TapSample, TapSamples, collate
from tapetum.tracks.training.image_clips import ImageClips
from tapetum.tracks.training.recipes import SceneRun
from tapetum.tracks.training.self_training import FootageTargets, TrackerFamily
from tapetum.tracks.training.tracker_task import score_clips
from tapetum.train import StepContext, Task
from tapetum.train.checkpoint import CheckpointStore


class BootstrapTask(Task):
    """Joint training of a tracker of any family on footage and synthetic clips of `size` x `size` pixels."""

    def __init__(self, size: int, settings: Ingredients, family: TrackerFamily):
        self.size, self.settings, self.family = size, settings, family
        self.teachers = ("ema",) if settings.teacher == "average" else ()
        both = settings.synthetic and settings.separate_moments
        self.parts = ("synthetic", "footage") if both else ()
        self._start: nn.Module | None = None

    def model(self) -> nn.Module:
        return self.family.learner()

    def samples(self) -> tuple[FootageSamples, torch.utils.data.Dataset[TapSample] | None]:
        """Open samples of footage, and of synthetic clips if they are used too."""
        raise NotImplementedError

    def dataset(self) -> PairedSamples:
        """Pair samples of both kinds, by name."""
        return PairedSamples(*self.samples())

    def collate(self, items: Sequence[Mapping[str, TapSample | FootageSample]]) -> dict[str, TapSample | FootageSample]:  # type: ignore[override]
        batch: dict[str, TapSample | FootageSample] = {}
        for name in items[0]:
            samples = [item[name] for item in items]
            footage = [sample for sample in samples if isinstance(sample, FootageSample)]
            batch[name] = collate_footage(footage) if footage else collate(samples)  # type: ignore[arg-type]
        return batch

    def loss(
        self, model: nn.Module, batch: TapSample | FootageSample | Mapping[str, TapSample | FootageSample], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of one kind of sample; or of both, summed, if they share one optimiser."""
        if isinstance(batch, TapSample):
            return self.family.clip_loss(model, batch)
        if isinstance(batch, FootageSample):
            return self.footage_loss(model, batch, context.teachers.get("ema") or self._started(model))
        total, logs = torch.zeros(()), {}
        for name, part in batch.items():
            if name == "footage" and self.settings.weight == 0:
                continue
            loss, part_logs = self.loss(model, part, context)
            total = total + loss * (self.settings.weight if name == "footage" else 1.0)
            logs |= {f"{name}/{key}": value for key, value in part_logs.items()} | {f"{name}/loss": loss.detach()}
        return total, logs

    def footage_loss(
        self, model: nn.Module, batch: FootageSample, teacher: nn.Module
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the student's losses against the teacher's pseudo-labels, which carry no gradient."""
        settings, family = self.settings, self.family
        with torch.no_grad():
            labels = pseudo_labels(teach(family, teacher, batch), batch.queries, batch.draw, self.size, settings)
        place = warp_queries(batch.maps, labels.frame, labels.place)
        queries = torch.cat([labels.frame[..., None].float(), place.clamp(0, self.size)], -1)
        predictions = family.predict(model, batch.spoilt, queries)
        with torch.no_grad():
            final = family.final(predictions)
            student = final._replace(tracks=warp_tracks(invert_maps(batch.maps), final.tracks))
            mask = keep_mask(labels, student, batch.queries, self.size, settings, causal=family.causal)
            counted = mask * ~labels.occluded
            error = (student.tracks - labels.xy).norm(dim=-1)
        targets = FootageTargets(
            self.size, queries, labels.xy, warp_tracks(batch.maps, labels.xy), labels.occluded, mask, batch.maps
        )
        loss, logs = family.footage_loss(model, predictions, targets)
        return loss, {
            **logs,
            "tracks_kept": mask.any(-1).float().mean(),
            "frames_kept": mask.mean(),
            "teacher_sees": (~labels.occluded).float().mean(),
            "within_2px": ((error < 2) * counted).sum() / counted.sum().clamp(min=1),
        }

    def _started(self, model: nn.Module) -> nn.Module:
        if self._start is None:
            self._start = self.model().to(next(model.parameters()).device).requires_grad_(False).eval()
        return self._start


class FootageTask(BootstrapTask):
    """A run's network and clips; by default those of the TAPIR family."""

    def __init__(self, run: BootstrapRun, footage: Path, out: Path, family: TrackerFamily | None = None):
        super().__init__(run.size, run.settings, family or TapirFamily(run))
        self.run, self.footage, self.out = run, footage, out
        self._checks: list[TrackedClip] | None = None

    def samples(self) -> tuple[FootageSamples, TapSamples | None]:
        run, footage = self.run, FootageDataset(self.footage)
        shown = FootageSamples(footage, split(footage)[0], run.settings, size=run.size, frames=run.frames, seed=run.seed)
        if not run.settings.synthetic:
            return shown, None
        return shown, self._synthetic()

    def _synthetic(self) -> TapSamples:
        run = self.run
        images, part = (run.textures, run.part) if run.textures else (str(self.out / "stills"), "all")
        return TapSamples(
            made_clips(run, images, part, self.out / "scenes"),
            size=run.size,
            points=run.settings.points,
            seed=run.seed,
            frames=run.frames,
            first=0.5,
            alterations=replace(FEW_CLIPS, motion=0.3),
        )

    def checks(self) -> list[TrackedClip]:
        run, footage = self.run, FootageDataset(self.footage)
        return check_clips(footage, split(footage)[1], run.checks, size=run.size, frames=run.frames, seed=run.seed)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return self.family.parameter_groups(model)

    evaluates_whole = True
    watched = DECIDING_SCORE

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score on the check clips (TAP-Vid, query-first). Saves the best weights so far, by DECIDING_SCORE."""
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
        with_config = "steps", "clips", "lr", "seed", "bf16"
        run = {k: v for k, v in run_identity(self.run).items() if k not in with_config}
        return {"run": run, "footage": footage_identity(FootageDataset(self.footage))}


def made_clips(run: BootstrapRun, images: str, part: str, cache: Path | None = None) -> JoinedClips:
    """Open a run's clips with exact tracks, made of a part of some images: scenes, and cut-outs over moving images."""
    frames = max(24, run.frames)
    scenes = open_clips(
        SceneRun(textures=images, seed=run.seed), run.scenes, part=part, cache=cache, size=run.size, frames=frames
    )
    return JoinedClips(*scenes, ImageClips(run.image_clips, seed=run.seed, source=images, part=part, frames=run.frames))


_SAVED_AS = {"separate_moments": "apart", "image_clips": "warped", "second_pass": "second_look"}
"""Settings that have another name where runs are recorded."""


def run_identity(run: BootstrapRun) -> dict[str, Any]:
    """Collect everything about a run, including its ingredients, as JSON types; weights are identified by their contents."""
    content = asdict(run)
    del content["preset"], content["patience"]
    content |= content.pop("settings")
    content["model"] = hashlib.sha256(read_bytes(resolve(run.model, "track")[0])).hexdigest()[:16]
    content["textures"] = source_label(run.textures)
    return json.loads(json.dumps({_SAVED_AS.get(name, name): value for name, value in content.items()}))


def footage_identity(footage: FootageDataset) -> dict[str, Any]:
    """Compute an identity that tells the clips of a folder from those of another."""
    clips = [f"{clip.shard} {clip.number}" for clip in footage.clips]
    digest = hashlib.sha256("\n".join(clips).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return {"videos": len(footage.records), "clips": len(clips), "digest": digest}


def claim_run(out: Path, part: str, content: Mapping[str, Any], saved: Path) -> None:
    """Record this run's identity in run.json and delete scores of another run in `out`. Raises BadInput if that has checkpoints
    in `saved`."""
    file = out / "run.json"
    known = read_json(file) if file.exists() else {}
    before = known.get(part, {})
    if before == content:
        return
    if CheckpointStore(saved).checkpoints():
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
    """Remove the drawn scenes of a run, and their folder unless it contains anything else."""
    if (out / "scenes" / "clips.json").is_file():
        for file in (out / "scenes" / "clips.json", *(out / "scenes").glob("*clip-[0-9]*.npz")):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            (out / "scenes").rmdir()


def read_best(out: Path) -> dict[str, Any] | None:
    """Read the step and scores of the best weights so far."""
    file = out / "best.json"
    return read_json(file) if file.exists() else None


def write_stills(footage: FootageDataset, out: Path) -> None:
    """Write three frames of every training clip, and nothing else, as images to paint scenes with, named by the order of the
    clips."""
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
