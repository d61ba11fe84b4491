"""Gradient caching: randomness is replayed, what does not repeat itself is refused, and memory stays that of a micro-batch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput, TapetumError
from tapetum.train import JointTask, StepContext, TrainConfig, fit
from tapetum.train.accumulation import GradientAccumulation, Gradients, Objective, make_accumulation
from tapetum.train.contrastive import info_nce
from tapetum.train.optim import build_optimizer, decay_groups
from tapetum.train.process_group import ProcessGroup
from tapetum.train.stream import Stream

WORLD = ProcessGroup(0, 1, torch.device("cpu"))
CONFIG = TrainConfig(steps=2, batch_size=12, accumulation=3, threads=1, tensorboard=False)


class Random(JointTask):
    """Every source of randomness: dropout, moment.generator, numpy; labels beside vectors; a parameter of the joint loss."""

    def model(self) -> nn.Module:
        model = nn.Module()
        model.encoder = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.4), nn.Tanh(), nn.Linear(8, 4))
        model.scale = nn.Parameter(torch.tensor(2.0))
        return model.double()

    def dataset(self) -> Any:
        class Noise:
            def __getitem__(self, number: int) -> tuple[Tensor, int]:
                return torch.randn(5, dtype=torch.float64), number

        return Noise()

    def embed(self, model: Any, batch: Any, context: StepContext) -> tuple[Tensor, Tensor, Tensor]:
        x, number = batch
        noise = torch.randn(x.shape, generator=context.generator, dtype=x.dtype)
        return model.encoder(x), model.encoder(x + noise + np.random.rand()), number

    def joint_loss(self, model: Any, embeddings: Any, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        first, second, number = embeddings
        second = second + 0.1 * torch.randn(second.shape, generator=context.generator, dtype=second.dtype)
        return info_nce(first, second * (1 + number[:, None] % 3), model.scale), {"sum": number.sum()}


def prepared(task: JointTask) -> tuple[GradientAccumulation, Gradients, Stream]:
    torch.manual_seed(0)
    objective = Objective(task, task.model().train(), CONFIG, WORLD.device)
    gradients = Gradients(build_optimizer(decay_groups(objective.model), CONFIG))
    return make_accumulation(objective, CONFIG, WORLD), gradients, Stream(task, CONFIG, 0, WORLD)


def test_randomness_is_replayed() -> None:
    """The same as one graph over all micro-batches, each with its own seed."""
    passes, gradients, stream = prepared(Random())
    told, checks = passes.run(stream, 1, {"": gradients})
    passes.check(checks)
    by_hand, wanted, stream = prepared(Random())
    objective = by_hand.objective
    parts = [objective("embed", stream.next(), 1, by_hand.seed(1, part)) for part in range(3)]
    with wanted:
        joined = tuple(torch.cat(leaves) for leaves in zip(*parts, strict=True))
        loss, metrics = objective("joint_loss", joined, 1, by_hand.seed(1, 0))
        loss.backward()
    assert told == {"loss": pytest.approx(float(loss.detach()), rel=1e-12), "sum": float(metrics["sum"])}
    with gradients, wanted:
        pass
    for ours, theirs in zip(gradients._kept, wanted._kept, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
        assert ours.abs().max() > 0


def test_what_does_not_repeat_itself_is_refused(tmp_path: Path) -> None:
    class Forgetful(Random):
        calls = 0

        def embed(self, model: Any, batch: Any, context: StepContext) -> Any:
            self.calls += 1
            return model.encoder(batch[0] + self.calls), model.encoder(batch[0]), batch[1]

    class Scalar(Random):
        def embed(self, model: Any, batch: Any, context: StepContext) -> Any:
            return model.encoder(batch[0]), model.scale

    passes, gradients, stream = prepared(Forgetful())
    with pytest.raises(TapetumError, match="embedded otherwise the second time"):
        passes.check(passes.run(stream, 0, {"": gradients})[1])
    before = torch.get_num_threads()
    with pytest.raises(BadInput, match="embed gave something that is not a tensor with an axis"):
        fit(Scalar(), CONFIG, tmp_path)
    torch.set_num_threads(before)


class Two(Random):
    """Two losses learned apart, without randomness; in every second step embeddings are frozen."""

    parts = ("one", "two")

    def model(self) -> nn.Module:
        model = super().model()
        model.encoder[1] = nn.Identity()
        model.frozen = nn.Linear(5, 4, dtype=torch.float64).requires_grad_(False)
        return model

    def dataset(self) -> Any:
        class Noise:
            def __getitem__(self, number: int) -> dict[str, Tensor]:
                return {name: torch.randn(5, dtype=torch.float64) * (1 if name == "one" else -1) for name in Two.parts}

        return Noise()

    def embed(self, model: Any, batch: Any, context: StepContext) -> dict[str, Tensor]:
        return {"found": (model.encoder if context.step % 2 else model.frozen)(batch)}

    def joint_loss(self, model: Any, embeddings: Any, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        return info_nce(embeddings["found"], embeddings["found"].flip(1), model.scale), {}


def test_losses_learned_apart_and_frozen_embeddings_are_cached_too(tmp_path: Path) -> None:
    before, found = torch.get_num_threads(), []
    for accumulation in (1, 3):
        config = replace(CONFIG, accumulation=accumulation, lr=0.1)
        found.append(fit(Two(), config, tmp_path / str(accumulation)).model.state_dict())
    torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


MEMORY = '''
import sys, torch
from torch import nn
from support.scripts import script
from tapetum.train import JointTask, TrainConfig, fit
from tapetum.train.contrastive import clip_loss


class Wide(nn.Module):
    """Elementwise layers on 4,096 numbers: nearly nothing to compute, and 16 KiB an example and layer to keep."""

    def __init__(self):
        super().__init__()
        self.scales = nn.Parameter(1 + 0.1 * torch.rand(10, 4096))

    def forward(self, x):
        for scale in self.scales.unbind():
            x = torch.tanh(x * scale)
        return x.unflatten(1, (16, -1)).mean(2)


class Views(JointTask):
    def model(self):
        return Wide()

    def dataset(self):
        return self

    def __getitem__(self, number):
        return torch.randn(1, 2) + 0.1 * torch.randn(2, 2)

    def embed(self, model, batch, moment):
        return tuple(model(view.repeat(1, 2048)) for view in batch.unbind(1))

    def joint_loss(self, model, embeddings, moment):
        return clip_loss(*embeddings, 10.0), {}


peak = script("evidence/hostile-videos/videos.py").peak_megabytes
common = dict(steps=1, threads=1, tensorboard=False)
fit(Views(), TrainConfig(batch_size=2, accumulation=2, **common), f"{sys.argv[1]}/first")  # what is imported late is there
losses, peaks = [], [peak()]
for accumulation in (64, 1):
    config = TrainConfig(batch_size=1024, accumulation=accumulation, **common)
    losses.append(fit(Views(), config, f"{sys.argv[1]}/{accumulation}").loss)
    peaks.append(peak())
print(*losses, *peaks)
'''


@pytest.mark.slow
def test_a_batch_of_1024_trains_in_the_memory_of_16(tmp_path: Path) -> None:
    """Mebibytes: undivided, 1,024 examples of two views keep 10 layers of 16 KiB each: 320; cached, a 64th of that."""
    run = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    cached, undivided, start, divided_peak, undivided_peak = map(float, run.stdout.split())
    assert cached == pytest.approx(undivided, rel=1e-6)
    assert divided_peak - start < 120
    assert undivided_peak - start > 300
