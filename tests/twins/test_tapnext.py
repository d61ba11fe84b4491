"""Whole runs of TAPNext beside its twin, cut after every step and by two processes; points that come frame by frame."""

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from support.forks import Forks
from support.precision import double_precision
from tapetum.systems.tapnext.config import TapNextConfig
from tapetum.systems.tapnext.model import TapNext, add_points
from tapetum.systems.tapnext.task import TapNextTask
from tapetum.tracks.training.data import TapSample
from tapetum.train import TrainConfig, fit
from tapetum.train.launch import world_size
from tapetum.train.process_group import join_process_group
from twins import tapnext as twin
from twins.loop import Settings
from twins.test_loop import compare

STEPS, MICRO, FRAMES, POINTS, SIZE = 3, 3, 5, 3, (16, 24)
BASE = TapNextConfig(
    image_size=(24, 32),
    video_size=SIZE,
    patch_size=(8, 8),
    width=16,
    depth=2,
    heads=2,
    mlp_width=12,
    lru_width=12,
    gate_blocks=3,
    gated_mlp_width=10,
    taps=3,
    head_width=7,
    bins=32,
    soft_argmax_radius=4,
)
CASES: dict[str, tuple[TapNextConfig, dict[str, Any]]] = {
    "torch": (BASE, {"layers": "all", "occluded_weight": 0.2, "public_losses": False}),
    "jax": (replace(BASE, variant="jax"), {"layers": "last", "occluded_weight": 0.0, "public_losses": False}),
    "public": (replace(BASE, image_size=SIZE), {"layers": "all", "occluded_weight": 0.2, "public_losses": True}),
}


def network(config: TapNextConfig) -> TapNext:
    """Weights far from where they begin."""
    draw = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    model = TapNext(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return model


def clip(number: int) -> TapSample:
    """Some places are outside, some queries between frames or at a corner; in one micro-batch nothing is seen."""
    draw, (height, width) = torch.Generator().manual_seed(number), SIZE
    queries = torch.rand(POINTS, 3, generator=draw) * torch.tensor([FRAMES - 1.0, width, height])
    queries[number % POINTS, 1:] = torch.tensor([[0.0, height], [width, 3.0], [0.2, 0.0]])[number % 3]
    xy = queries[:, None, 1:] + 4 * torch.randn(POINTS, FRAMES, 2, generator=draw)
    video = torch.rand(FRAMES, height, width, 3, generator=draw) * 2 - 1
    hidden = torch.rand(POINTS, FRAMES, generator=draw) < (1.0 if number // MICRO == 2 else 0.4)
    return TapSample(video, queries, xy, hidden)


class Clips:
    def __getitem__(self, number: int) -> TapSample:
        return clip(number)


def task(case: str) -> Any:
    config, learned = CASES[case]

    class Tracks(TapNextTask):
        def __init__(self) -> None:
            self.run = SimpleNamespace(**learned)  # pyright: ignore[reportAttributeAccessIssue]

        def model(self) -> TapNext:
            return network(config)

        def dataset(self) -> Clips:  # pyright: ignore[reportIncompatibleMethodOverride]
            return Clips()

        def describe(self) -> dict[str, Any]:
            return {}

    return Tracks()


def config(minutes: float | None = None) -> TrainConfig:
    return TrainConfig(
        steps=STEPS,
        batch_size=2 * MICRO,
        accumulation=2 // world_size(),
        lr=0.003,
        weight_decay=0.1,
        clip_norm=1.0,
        checkpoint_every=1,
        log_every=1,
        keep_last=STEPS,
        tensorboard=False,
        threads=1,
        max_minutes=minutes,
    )


def choices(case: str) -> twin.Choices:
    c, learned = CASES[case]
    return twin.Choices(
        image=c.image_size,
        patch=c.patch_size[0],
        width=c.width,
        depth=c.depth,
        heads=c.heads,
        bins=c.bins,
        radius=c.soft_argmax_radius,
        exact=c.variant == "torch",
        every=learned["layers"] == "all",
        hidden=learned["occluded_weight"],
        public=learned["public_losses"],
    )


def expected(case: str) -> twin.Training:
    made = task(case)
    start = {name: x.detach().numpy() for name, x in made.model().named_parameters()}
    run = twin.Training(start, Settings(STEPS, lr=0.003, decay=0.1, clip=1.0), choices(case))
    for step in range(STEPS):
        firsts = (2 * MICRO * step, 2 * MICRO * step + MICRO)
        batches = [made.collate([clip(number) for number in range(first, first + MICRO)]) for first in firsts]
        run.step([({f.name: getattr(one, f.name) for f in fields(one)},) for one in batches])
    return run


@pytest.fixture(autouse=True)
def _in_64_bits() -> Iterator[None]:
    with double_precision():
        yield


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_its_twins_cut_after_every_step(case: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    cuts = [fit(task(case), config(0), tmp_path).state for _ in range(STEPS)]
    torch.set_num_threads(before)
    assert cuts == ["stopped"] * (STEPS - 1) + ["finished"]
    compare(tmp_path, expected(case), log=1e-6, rtol=1e-6, atol=1e-8)


@torch.no_grad()
def test_points_that_come_frame_by_frame_are_their_twins() -> None:
    model, sample = network(BASE).eval(), clip(5)
    queries = torch.tensor([[0.0, 3.0, 4.0], [1.0, 20.0, 15.5], [2.0, 11.0, 9.0]])
    p = {name: x.detach() for name, x in model.named_parameters()}
    whole = twin.layers(p, choices("torch"), sample.video, queries, since=[0, 0, 2])[-1]
    state = model.start(queries[None, :2], SIZE, spare=True)
    for t in range(FRAMES):
        if t == 2:
            state = add_points(model, state, queries[None, 2:, 1:])
        state, made = model.step(state, sample.video[None, t : t + 1])
        count = 2 if t < 2 else 3
        for name, each in (("logits", whole[0]), ("image_xy", whole[1]), ("visible_logits", whole[2])):
            torch.testing.assert_close(getattr(made, name)[0, :, 0], each[:count, t], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_two_processes_are_the_twin_too(tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path, errors=errors) == [0, 0], errors.read_text()
    for case in CASES:
        compare(tmp_path / case, expected(case), log=1e-6, rtol=1e-6, atol=1e-8)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with double_precision(), join_process_group("cpu"):
        for each in CASES:
            fit(task(each), config(), Path(sys.argv[1]) / each)
