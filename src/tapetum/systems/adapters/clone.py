"""Behaviour cloning: a policy learns from demonstrations (R3M, arXiv 2203.12601, whose recipe the paper follows)."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.encoders.batching import run_in_batches
from tapetum.encoders.features import Encoder, prepare
from tapetum.systems.adapters.data import Recorded, ShuffledExamples
from tapetum.systems.adapters.demos import Demonstrations
from tapetum.systems.adapters.recipes import AdaptRun
from tapetum.systems.adapters.task import AT_A_TIME, MEASURED_ON, AdaptTask, Headed, PolicyHead
from tapetum.systems.adapters.worlds.world import RobotWorld, try_out
from tapetum.train import StepContext


class DemonstrationFrames(ShuffledExamples):
    """Prepared frames of demonstrations, by number in a shuffled, endless order."""

    def __init__(self, demos: Demonstrations, preprocessing: Any, seed: int = 0, shift: int = 0):
        self.demos, self.preprocessing, self.seed, self.shift = demos, preprocessing, seed, shift

    def __len__(self) -> int:
        return len(self.demos)

    def plain(self, k: int) -> dict[str, Tensor]:
        return {
            "number": torch.tensor(k),
            "image": prepare(self.demos.frames[k][None], self.preprocessing)[0],
            "own": torch.from_numpy(self.demos.own[k]),
            "action": torch.from_numpy(self.demos.actions[k]),
        }


class CloneTask(AdaptTask):
    """Do what demonstrations show: the squared error of standardised actions."""

    def __init__(
        self,
        run: AdaptRun,
        trunk: Callable[[], Encoder],
        frames: DemonstrationFrames,
        world: RobotWorld | None,
        checks: DemonstrationFrames | None = None,
    ):
        """Train on `frames`; evaluate in `world`, or by the error on `checks`, if either is given."""
        super().__init__(run.for_images(len(frames)), trunk)
        self.frames, self.world, self.checks = frames, world, checks
        self.watched = "-error" if checks is not None else "success" if run.rollouts else ""
        demos = frames.demos
        self.about: dict[str, Any] = {
            "task": "clone",
            "world": demos.task,
            "camera": demos.camera,
            "pixels": int(demos.frames.shape[1]),
            "width": trunk().width,
            "actions": int(demos.actions.shape[1]),
            "own": int(demos.own.shape[1]) if run.own == "concat" or run.observe == "tracks" else 0,
            "hidden": [256, 256] if run.head == "mlp" else [],
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the world, which exists only in this process: workers need `collate`."""
        return {**self.__dict__, "world": None}

    def measure(self, model: Headed) -> None:
        """Measure features of frames spread over the demonstrations, and all actions."""
        demos = self.frames.demos
        rows = np.unique(np.linspace(0, len(demos) - 1, MEASURED_ON).astype(int))
        pooled = [
            run_in_batches(prepare(demos.frames[some], self.frames.preprocessing), lambda x: model.trunk(x).pooled, model.trunk)
            for some in np.array_split(rows, -(-len(rows) // AT_A_TIME))
        ]
        cast(PolicyHead, model.head).measure(torch.cat(pooled), torch.from_numpy(demos.own), torch.from_numpy(demos.actions))

    def dataset(self) -> Dataset:
        return self.frames if self.below is None else Recorded(self.frames, self.below, self.run.samples)

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        headed = cast(Headed, model)
        target = cast(PolicyHead, headed.head).action(batch["action"])
        return F.mse_loss(self.answer(headed, batch, batch["own"]), target), {}

    evaluates_whole = True

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Try the policy in its world, or measure the error of its standardised actions: predicting their mean gives 1."""
        if self.checks is not None:
            return {"error": self._error(cast(Headed, model))}
        if self.world is None or not self.run.rollouts:
            return {}
        tried = try_out(self.world, cast(Headed, model).act, self.run.rollouts)
        return {name: cast(float, tried[name]) for name in ("success", "low", "high", "any")}

    def _error(self, model: Headed) -> float:
        checks, device, total = cast(DemonstrationFrames, self.checks), next(model.head.parameters()).device, 0.0
        for rows in np.array_split(np.arange(len(checks)), -(-len(checks) // AT_A_TIME)):
            images = model.prepare(checks.demos.frames[rows])
            own, actions = (torch.from_numpy(values[rows]).to(device) for values in (checks.demos.own, checks.demos.actions))
            target = cast(PolicyHead, model.head).action(actions)
            total += float(F.mse_loss(model(images, own), target, reduction="sum"))
        return total / checks.demos.actions.size

    def describe(self) -> Mapping[str, Any]:
        return {**self.described(), "seeds": list(self.frames.demos.seeds), "frames": len(self.frames)}
