"""Masks that are computed once per copy of the discovery network: how often, after which copy, and after a stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from tapetum.core.errors import BadInput
from tapetum.systems.odin.masks import SegmentMasks, mask_source
from tapetum.systems.odin.recipes import RECIPES, OdinConfig, OdinRun
from tapetum.systems.odin.task import MaskCache, OdinTask
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.run import loop_config
from tapetum.train import StepContext, fit
from tapetum.train.launch_config import Launch


class Patterns:
    """Sixteen images of coarse squares of many colours, by number."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, k: int) -> np.ndarray:
        coarse = np.random.default_rng(k).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        return coarse.repeat(13, 0).repeat(12, 1)

    def name(self, k: int) -> str:
        return f"pattern {k}"


def run_of(**changes: Any) -> OdinRun:
    run = RECIPES["small"]
    sizes = {"pyramid_width": 8, "hidden_width": 16, "projection_width": 8, "clusters": 4, "cache_masks": True}
    odin = replace(run.odin, **{**sizes, "discovery": "copies", "discovery_every": 3, **changes})
    return replace(run, size=32, batch_size=8, micro_batch=8, steps=6, base_lr=0.05, change=("stem_width=4",), odin=odin)


def train(out: Path, run: OdinRun, steps: int | None = None) -> dict[str, torch.Tensor]:
    """Train in the folder `out`, or go on there, for so many steps in this call; the weights."""
    task = OdinTask(run, ImageSource(Patterns()))
    config = loop_config(task, Launch(out=out, device="cpu", threads=1, workers=0), tensorboard=False)
    made: list[float] = []

    def enough(seconds: float) -> bool:
        made.append(seconds)
        return len(made) == steps

    return fit(task, config, out, enough=enough).model.state_dict()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The masks that were computed: number of the image, and batches that the copy's projector had learned from."""
    numbers: list[tuple[int, int]] = []
    compute = MaskCache._compute

    def counted(cache: MaskCache, source: Any, image: torch.Tensor, number: int) -> torch.Tensor:
        numbers.append((number, int(source.network.projector[1].num_batches_tracked)))
        return compute(cache, source, image, number)

    monkeypatch.setattr(MaskCache, "_compute", counted)
    return numbers


@pytest.mark.slow
def test_masks_are_computed_once_per_copy_and_a_run_that_was_stopped_ends_the_same(
    computed: list[tuple[int, int]], tmp_path: Path
) -> None:
    """Six steps of 8 of 16 images, two views a step; the network is copied after the third."""
    whole = train(tmp_path / "whole", run_of())
    assert sorted(computed) == sorted([(k, copy) for k in range(16) for copy in (0, 6)])
    train(tmp_path / "stopped", run_of(), 2)
    computed.clear()
    again = train(tmp_path / "stopped", run_of())  # goes on with masks of the first copy, then of the second
    assert {copy for _, copy in computed} == {0, 6}
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name


def test_another_network_or_another_copy_has_masks_of_its_own() -> None:
    task = OdinTask(run_of(), ImageSource(Patterns()))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    first, other = (task.model().requires_grad_(False).eval() for _ in range(2))
    cache = MaskCache(seed=1)

    def ids(network: Any) -> torch.Tensor:
        return cache.look_up(mask_source(task.run.odin, network), network, images, (3, 9))

    before = ids(first)
    assert torch.equal(ids(first), before)
    assert not torch.equal(ids(other), before)
    assert torch.equal(ids(first), before)
    with torch.no_grad():  # as a copy does: other weights, and the count of batches that came with them
        for parameter, value in zip(first.parameters(), other.parameters(), strict=True):
            parameter.copy_(value)
        first.projector[1].num_batches_tracked.add_(6)
    assert torch.equal(ids(first), ids(other))
    assert torch.equal(cache.look_up(mask_source(task.run.odin, other), other, images[:1], (3,)), ids(other)[:1])


def test_segments_are_of_whole_images_and_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """DetCon's stored masks: those of the whole image, whatever is cut from it later."""
    made: list[int] = []
    segment = SegmentMasks.__call__
    monkeypatch.setattr(SegmentMasks, "__call__", lambda self, x, *rest: made.append(len(x)) or segment(self, x, *rest))
    task = OdinTask(run_of(source="segments", segment_scale=100.0), ImageSource(Patterns()))
    samples = task.dataset()
    for first in (0, 16):  # two epochs
        batch = task.collate([samples[first + k] for k in range(16)])
        assert batch["boxes"][2].tolist() == [[0, 0, 65, 72]] * 16
        ids, regions = task._discover(batch, StepContext(), 4)
        assert regions == 256
        assert all(int(each.min()) >= 0 for each in ids)  # views lie inside of the whole image
    assert made == [1] * 16


def test_settings_and_runs_that_cannot_cache_masks() -> None:
    for changes in ({"discovery": "average"}, {"source": "given"}):
        with pytest.raises(BadInput, match="cannot be cached"):
            OdinConfig(cache_masks=True, **changes)
    OdinConfig(cache_masks=True, source="pixels")
    task = OdinTask(run_of(), ImageSource(Patterns()))
    torch.manual_seed(0)
    network: Any = task.model()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(network.projector)
        with pytest.raises(BadInput, match="give --parallel ddp"):
            MaskCache(0).look_up(mask_source(task.run.odin, network), network, torch.zeros(1, 3, 32, 32), (0,))
    finally:
        dist.destroy_process_group()
