"""`train_tapnext`: the phases of a run, one after the other, and its file of weights."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.reading import no_pipe
from tapetum.systems.tapnext import tracker, weights
from tapetum.systems.tapnext.model import TapNext
from tapetum.systems.tapnext.recipes import DRAWN_SIZE, PAPER_LOOP, TapNextRun
from tapetum.systems.tapnext.task import TapNextTask
from tapetum.tracks.training.clips import ClipDataset, JoinedClips, TrackedClip, check_run, open_clips, scored_clips
from tapetum.tracks.training.image_clips import ImageClips
from tapetum.tracks.training.recipes import ClipPhase, changed_phases
from tapetum.tracks.training.tracker_task import first_frames, split_sequences
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch
from tapetum.train.phases import fit_phases


def train_tapnext(run: TapNextRun, launch: Launch) -> Path | None:
    """Train through all phases in the folder `launch.out`; the same call resumes a stopped run. Returns the file of the
    finished float16 weights, or None if there is more to do. Raises BadInput for anything the user can fix."""
    phases = changed_phases(run, run.phases)
    check_run(run)
    check_fields(run, weight_decay="[0, inf)", **dict.fromkeys(("occluded_weight", "roll", "homography"), "[0, 1]"))
    config = run.model
    if run.start is not None:
        try:
            config = tracker.load(run.start).model.config
        except BadInput as error:
            raise BadInput(f"training cannot start from {run.start}: {error}") from error
    last = phases[-1].size
    config = replace(config, video_size=(last, last))
    if run.data is None:
        (clips_of, checks), scored = _scenes(run, phases), True
    else:
        clips, check_clips = split_sequences(run.data, run.checks)
        clips_of, checks, scored = lambda _: clips, partial(first_frames, check_clips, phases[-1].frames), len(check_clips) > 0

    def task(phase: ClipPhase, start: Path | None) -> TapNextTask:
        return TapNextTask(run, phase, config, clips_of(phase), checks, start)

    settings = loop_settings(run, phases) | ({} if scored else {"eval_every": 0})
    finished = fit_phases(phases, task, launch, run.seed, **settings)
    if finished is None:
        return None
    target = launch.out / f"{run.name}.safetensors"
    if is_main():
        network = TapNext(config)
        network.load_state_dict(load_file(no_pipe(finished)))
        weights.save(network, target, dtype=torch.float16)
    return target


def loop_settings(run: TapNextRun, phases: Sequence[ClipPhase]) -> dict[str, Any]:
    """Collect the settings of the loop that are not those of small trackers; a short run warms up for a tenth of it at most."""
    settings: dict[str, Any] = {"weight_decay": run.weight_decay, "bf16": run.bf16}
    if run.preset == "paper":
        warmup_steps = min(PAPER_LOOP["warmup_steps"], *(phase.steps // 10 for phase in phases))
        settings |= {**PAPER_LOOP, "warmup_steps": warmup_steps}
    return settings


ClipsOf = Callable[[ClipPhase], ClipDataset]
Checks = Callable[[], Sequence[TrackedClip]]


def _scenes(run: TapNextRun, phases: Sequence[ClipPhase]) -> tuple[ClipsOf, Checks]:
    """Clips of scenes to train on in a phase, and those to be scored on, all of one size and length, so that a cache helps."""
    size, frames = max(DRAWN_SIZE, *(phase.size for phase in phases)), max(24, *(phase.frames for phase in phases))

    def clips(phase: ClipPhase) -> ClipDataset:
        scenes = open_clips(run, phase.clips, part="train", cache=run.cache, size=size, frames=frames)
        images = ImageClips(
            phase.image_clips,
            seed=run.seed,
            source=run.textures,
            part="train",
            size=size,
            frames=frames,
            cache=None if run.cache is None else Path(run.cache) / "images",
        )
        return JoinedClips(*scenes, images)

    return clips, partial(scored_clips, run, size=size, frames=frames)
