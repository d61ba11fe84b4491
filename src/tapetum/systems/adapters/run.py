"""Whole runs of adaptation: from data and a trunk to a file with adapters and head, which a robot's loop loads as a policy.

The policy has LeRobot's interface: its loops call `reset` at the start of an episode and `select_action` at each step, with a
batch

    observation.images.CAMERA   (b, 3, h, w), float 0..1, or uint8 0..255
    observation.state           (b, p), only for a policy that was trained with own="concat"
    tracks.CAMERA.xy, .visible  (b, 2 n) and (b, n), only for one that was trained with observe="tracks"; flat: x0, y0, x1, ...

It has no memory: an action depends on one observation.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.core.errors import BadInput, Remark
from tapetum.core.plugins import check_recorded, resolve_class, split_reference
from tapetum.core.reading import parse_json, read_text
from tapetum.data.remote_folder import local_data
from tapetum.encoders.architectures import check_side
from tapetum.encoders.factory import save as save_encoder
from tapetum.encoders.features import Encoder
from tapetum.encoders.references import load, relocated
from tapetum.hub.headed import blueprint
from tapetum.systems.adapters import files
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.clone import CloneTask, DemonstrationFrames
from tapetum.systems.adapters.data import ListedImages, listed, square
from tapetum.systems.adapters.demos import hold_out, read_demos, read_lerobot_demos, track_features
from tapetum.systems.adapters.own import own_task
from tapetum.systems.adapters.recipes import TASKS, AdaptRun
from tapetum.systems.adapters.task import AdaptTask, Headed, ImageTask, PolicyHead, make_head
from tapetum.systems.adapters.weaving import Proof
from tapetum.systems.adapters.worlds.world import RobotWorld, make_world
from tapetum.train import fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.rehearsal import say_time
from tapetum.video.episodes import parse_episode_address
from tapetum.video.lerobot import STATE


@dataclass(frozen=True, kw_only=True)
class FinishedAdapters:
    weights: Path
    """File of adapters and head; of the regime full, of the head, whose trunk is encoder.safetensors beside it."""
    scores: Mapping[str, float]
    """The last ones, and of success also mean and greatest of all (`success_mean`, `success_max`)."""
    proof: Proof | None
    """That the trunk has not changed, checked by the main process; None of the regime full."""
    parameters: Mapping[str, int]
    """How many numbers were learned, by section of the trunk, and of the head."""


def adapt(run: AdaptRun, launch: Launch, say: Callable[[str], None] = lambda text: None) -> FinishedAdapters | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. None if it was stopped.

    `say` gets lines about the data. Raises BadInput for anything the user can fix.
    """
    with local_data(run, ("data",)) as local:  # what is saved names the address
        task = make_task(local, say)
    steps = cast(int, task.run.steps)
    if run.steps is None:
        say(f"{steps:,} steps of {run.batch_size} images; --steps asks for another number")
    run = replace(run, steps=steps, patience=task.run.patience, evaluations=task.run.evaluations)
    try:
        config = train_config(
            run,
            launch,
            micro_batch=run.batch_size,
            workers=0,
            clip_norm=1.0,
            eval_every=-(-steps // run.evaluations) if run.evaluations else 0,
        )
        say_time(task, config, launch.out, say)
        result = fit(task, config, launch.out, began=launch.began)
        if result.state == "stopped":
            return None
        scores = _scores(launch.out)
        if not is_main():
            return FinishedAdapters(weights=launch.out, scores=scores, proof=None, parameters={})
        model = cast(Headed, result.model.eval())
        proof = model.trunk.verify() if isinstance(model.trunk, Adapted) else None
        return FinishedAdapters(weights=_save(run, model, launch.out), scores=scores, proof=proof, parameters=_counted(model))
    finally:
        if isinstance(task, CloneTask) and task.world is not None:
            task.world.close()


def make_task(run: AdaptRun, say: Callable[[str], None] = lambda text: None) -> AdaptTask:
    """Open the data of a run and make its task. Raises BadInput for unsuitable data or trunks."""
    if not run.data:
        raise BadInput("there is no DATA; give the folder of the data")
    trunk = trunk_maker(run, None)
    if run.task not in TASKS:
        own = own_task(run.task)(run, trunk)
        say(f"{len(own.train):,} images to learn from and {len(own.checks):,} to check on")
        return own
    if run.task != "clone":
        how = trunk().preprocessing
        train, checks = (listed(Path(run.data), run.task, split) for split in ("train", "val"))
        if train.classes != checks.classes:
            raise BadInput(f"{run.data}: there are {len(train.classes)} classes to learn and {len(checks.classes)} to check on")
        say(f"{len(train):,} images to learn from and {len(checks):,} to check on, {len(train.classes)} classes")
        return ImageTask(run, trunk, ListedImages(train, how, run.seed, run.shift), ListedImages(checks, how, run.seed))
    if parse_episode_address(run.data) is not None:
        return _from_lerobot(run, trunk, say)
    if run.observe == "tracks":
        raise BadInput(f"{run.data} is no data set of LeRobot, which may have tracks; leave --observe out")
    demos = read_demos(Path(run.data))
    trunk = trunk_maker(run, int(demos.frames.shape[1]))
    say(f"{len(demos.seeds)} demonstrations of {demos.task} by camera {demos.camera}, {len(demos):,} frames")
    world: RobotWorld | None = None
    if run.rollouts:
        world = make_world(demos.task, demos.camera, int(demos.frames.shape[1]))
        if (world.action_size, world.own_size) != (demos.actions.shape[1], demos.own.shape[1]):
            raise BadInput(
                f"the demonstrations have actions of {demos.actions.shape[1]} numbers and {demos.own.shape[1]} of "
                f"proprioception; {demos.task} has {world.action_size} and {world.own_size}: make them again, or give "
                "--rollouts 0"
            )
        world.horizon = demos.horizon
    return CloneTask(run, trunk, DemonstrationFrames(demos, trunk().preprocessing, run.seed, run.shift), world)


def _from_lerobot(run: AdaptRun, trunk: Callable[[], Encoder], say: Callable[[str], None]) -> CloneTask:
    how = trunk().preprocessing
    demos, checks = hold_out(read_lerobot_demos(run.data, how, columns=partial(_columns, run)))
    if run.own == "concat" and not demos.own.shape[1]:
        raise BadInput(f"{run.data} has no observation.state, which --own concat wants; leave it out")
    trunk = trunk_maker(run, int(demos.frames.shape[1]))
    to_check = f"{len(checks.seeds)} more to check on" if checks else "none to check on"
    say(f"{len(demos.seeds)} demonstrations of {demos.task} by camera {demos.camera}, {len(demos):,} frames; {to_check}")
    frames = DemonstrationFrames(demos, trunk().preprocessing, run.seed, run.shift)
    checked = None if checks is None else DemonstrationFrames(checks, trunk().preprocessing)
    task = CloneTask(run, trunk, frames, None, checked)
    if columns := _columns(run, demos.camera):
        task.about["columns"] = list(columns)
    return task


def _columns(run: AdaptRun, camera: str) -> tuple[str, ...]:
    """The features beside the image that the head of a run is told, where there are tracks among them."""
    if run.observe != "tracks":
        return ()
    return ((STATE,) if run.own == "concat" else ()) + track_features(camera)


def trunk_maker(run: AdaptRun, pixels: int | None) -> Callable[[], Encoder]:
    """Make a function that loads a run's trunk with its preprocessing; `pixels` is the data's, if the run does not say.

    Raises BadInput if it is not an encoder.
    """

    return partial(_load_trunk, run.trunk, run.pixels or pixels)


def _load_trunk(reference: str, pixels: int | None) -> Encoder:
    encoder = load(reference, text=False)
    encoder.preprocessing = square(encoder.preprocessing, pixels)
    check_side(encoder.config, encoder.preprocessing.size[0], "--pixels")
    return encoder


def _scores(out: Path) -> dict[str, float]:
    lines = [parse_json(line) for line in read_text(out / "log.jsonl").splitlines()]
    evaluations = [line["eval"] for line in lines if line.get("eval")]
    scores = dict(evaluations[-1]) if evaluations else {}
    if "success" in scores:
        successes = [entry["success"] for entry in evaluations]
        scores |= {"success_mean": sum(successes) / len(successes), "success_max": max(successes)}
    return scores


def _counted(model: Headed) -> dict[str, int]:
    counts: dict[str, int] = {}
    if isinstance(model.trunk, Adapted):
        for row in model.trunk.summary():
            counts[row.section] = counts.get(row.section, 0) + row.parameters
    else:
        counts["trunk"] = sum(p.numel() for p in model.trunk.parameters())
    return counts | {"head": sum(p.numel() for p in model.head.parameters())}


def _save(run: AdaptRun, model: Headed, out: Path) -> Path:
    path, head = out / "adapter.safetensors", (model.about, model.head)
    if not isinstance(model.trunk, Adapted):
        save_encoder(model.trunk, out / "encoder.safetensors")
        files.save(Adapted(model.trunk.cpu()), path, trunk="encoder.safetensors", head=head)
        return path
    about = {**asdict(run), "task": model.about["task"]}
    trained = json.dumps({key: value for key, value in about.items() if key in ("task", "data", "steps", "seed")})
    adapter = run.name if run.regime == "adapters" else None
    files.save(model.trunk, path, adapter, trunk=relocated(run.trunk, out), trained_on=trained, head=head)
    return path


def load_headed(path: str | os.PathLike[str], trunk: Any = None) -> Headed:
    """Load adapters and head from a run's file, with the trunk that it names, or a given one.

    For your own task, pass CLASS=FILE, as `my_task.py:MyTask=run/adapter.safetensors`. Raises BadInput for a file without a
    head, or of another trunk.
    """
    own, file = split_reference(os.fspath(path), "task")
    if file:
        resolve_class(own, "task")  # from here on its files can be read
        path = file
    stored = files.read(path)
    if file and stored.head is not None:
        record = {"reference": stored.head.get("task", ""), "fingerprint": stored.head.get("fingerprint", "")}
        if remark := check_recorded(record, own, "task", path):
            warnings.warn(remark, Remark, stacklevel=2)
    if stored.head is None:
        raise BadInput(f"{os.fspath(path)} holds adapters without a head; load it with tapetum.load")
    adapted = files.load(path, files.named_trunk(stored, path) if trunk is None else trunk)
    with blueprint(stored.head, len(stored.head_tensors), Path(path)):
        expected = make_head(stored.head).state_dict()
    head = make_head(stored.head)
    head.load_state_dict(files.fitting(expected, stored.head_tensors, files.HEAD, Path(path)))
    return Headed(adapted, head, stored.head).eval()


IMAGES = "observation.images."
"""What the names of cameras begin with."""


class RobotPolicy:
    """A policy for loops with LeRobot's interface."""

    def __init__(self, headed: Headed):
        """Wrap a loaded policy; see `load`. Raises BadInput for one without actions."""
        if headed.about["task"] != "clone":
            raise BadInput(f"these weights are of {headed.about['task']}, and have no actions; give those of --task clone")
        self.headed = headed.eval()
        camera = str(headed.about.get("camera", ""))
        self.camera = camera if camera.startswith(IMAGES) else f"{IMAGES}{camera}"
        """Name of the image that it acts upon."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> "RobotPolicy":
        """Load a policy from a file written by `tapetum adapt --task clone`. Raises BadInput for any other file."""
        headed = load_headed(path)
        return cls(cast(Headed, headed.to(device)))

    def reset(self) -> None:
        """Begin an episode: nothing is remembered from one step to the next."""

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Any]) -> Float[Tensor, "b a"]:
        """Compute the actions for a batch of observations, in the units of the demonstrations, on the policy's device.

        Raises BadInput if the image or the state is missing, or has a wrong shape or range.
        """
        images = self.headed.prepare(self._images(batch))
        return cast(PolicyHead, self.headed.head).actions(self.headed(images, self._state(batch, images)))

    def _images(self, batch: Mapping[str, Any]) -> Tensor:
        names = [name for name in batch if name.startswith(IMAGES)]
        name = self.camera if self.camera in batch or len(names) != 1 else names[0]
        if name not in batch:
            raise BadInput(f"the observation has no {name}, which the policy acts upon; it has {', '.join(batch) or 'nothing'}")
        images = torch.as_tensor(batch[name])
        if images.ndim != 4 or images.shape[1] != 3:
            raise BadInput(f"{name} has shape {tuple(images.shape)}; wanted (batch, 3, rows, columns)")
        if images.is_floating_point():
            low, high = images.aminmax()
            if not (low >= 0 and high <= 1):
                raise BadInput(f"{name} has values from {low:g} to {high:g}; wanted floats 0..1, or uint8")
            images = (255 * images.float()).round()
        elif images.dtype != torch.uint8:
            raise BadInput(f"{name} is {images.dtype}; wanted floats 0..1, or uint8")
        return images.to(torch.uint8).movedim(1, -1)

    def _state(self, batch: Mapping[str, Any], images: Tensor) -> Float[Tensor, "b p"]:
        size = cast(PolicyHead, self.headed.head).own_norm.mean.numel()
        if not size:
            return images.new_zeros(len(images), 0)
        names = self.headed.about.get("columns", [STATE])
        if missing := [name for name in names if name not in batch]:
            raise BadInput(f"the observation has no {missing[0]}, with which the policy was trained")
        parts = [torch.as_tensor(batch[name]).to(images.device, torch.float32).flatten(1) for name in names]
        columns = torch.cat(parts, 1) if len({len(part) for part in parts}) == 1 else parts[0]
        if columns.shape != (len(images), size):
            raise BadInput(f"{' and '.join(names)} have shape {tuple(columns.shape)}; wanted ({len(images)}, {size})")
        return columns
