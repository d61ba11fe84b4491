"""Whole runs of TAPIR and of BootsTAP beside their twin: cut after every step, and by two processes; and frame by frame."""

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.forks import Forks
from support.precision import double_precision
from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import TapirFamily
from tapetum.systems.tap.bootstrap.samples import FootageSample
from tapetum.systems.tap.bootstrap.task import BootstrapTask
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.model import Tapir, places_of
from tapetum.systems.tap.task import TrackingTask
from tapetum.tracks.training.data import TapSample
from tapetum.train import TrainConfig, fit
from tapetum.train.launch import world_size
from tapetum.train.process_group import join_process_group
from twins import tapir as twin
from twins.loop import Settings
from twins.test_loop import compare

STEPS, MICRO, SIDE, FRAMES, POINTS = 3, 3, 40, 5, 3
BASE = TapirConfig(
    initial_resolution=(32, 48),
    iterations=2,
    stem_channels=4,
    channels=(5, 6, 7, 8),
    blocks_per_group=(1, 1, 2, 1),
    matching_channels=(3, 4, 5),
    mixer_width=8,
    mixer_blocks=2,
    mixer_expansion=2,
    softmax_temperature=5.0,
)
LABELS = {"requery": True, "cycle": False, "within": 150, "confident": 0.5, "proximity": True, "rebalance": 1.0, "weight": 0.7}
CASES: dict[str, tuple[TapirConfig, dict[str, Any], dict[str, Any] | None]] = {
    "twice": (
        replace(BASE, second_pass=True, pyramid_level=1, antialias=True, average_positions=False),
        {"matching": 0.3, "learn": 2},
        None,
    ),
    "causal": (replace(BASE, causal=True, extra_convs=2), {}, {**LABELS, "weight": 0.0}),
    "footage": (replace(BASE, second_pass=True), {"matching": 0.2}, LABELS),
    "cycle": (replace(BASE, refine_at_most=(32, 48), second_pass=True), {}, {**LABELS, "cycle": True, "confident": 0.0}),
    "apart": (replace(BASE, extra_convs=1), {}, {**LABELS, "requery": False, "proximity": False, "apart": True}),
}
"""The network, what is learned, and the settings of footage."""


def network(config: TapirConfig) -> Tapir:
    """Weights far from where they begin."""
    draw = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    model = Tapir(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((0.1 if "backbone" in name else 0.2) * torch.randn(parameter.shape, generator=draw))
        model.mixer.outward.bias[:2] += torch.tensor([4.0, -3.0])  # some tracks leave the image
        for _ in range(5):  # some are seen, and some surely
            clips = [model(one.video[None], one.queries[None]) for one in map(clip, range(4))]
            for number, logits in enumerate(zip(*((one.occlusion, one.expected_dist) for one in clips), strict=True)):
                model.matching.occlusion_out.bias[number] -= torch.cat(logits).median() + 0.5 + number
    return model


def images(draw: torch.Generator, frames: int) -> Tensor:
    """Frames [t, h, w, 3] of colours that run into each other, and grain."""
    colours = torch.rand(1, 3, 3, 6, 6, generator=draw) * 2 - 1
    smooth = torch.nn.functional.interpolate(colours, (frames, SIDE, SIDE), mode="trilinear")[0].permute(1, 2, 3, 0)
    return smooth + 0.2 * torch.randn(smooth.shape, generator=draw)


def clip(number: int) -> TapSample:
    """Some places are outside, some queries between frames, at the border or at a frame's corner."""
    draw = torch.Generator().manual_seed(number)
    queries = torch.rand(POINTS, 3, generator=draw) * torch.tensor([FRAMES - 1.0, SIDE, SIDE])
    queries[:2, 0] = queries[:2, 0].round()
    queries[number % POINTS, 1:] = torch.tensor([[0.0, SIDE], [SIDE, 3.0], [0.0, 0.0]])[number % 3]
    xy = queries[:, None, 1:] + 6 * torch.randn(POINTS, FRAMES, 2, generator=draw)
    xy[1:3] = SIDE / 2 + torch.randn(2, FRAMES, 2, generator=draw)
    return TapSample(images(draw, FRAMES), queries, xy, torch.rand(POINTS, FRAMES, generator=draw) < 0.3)


def footage(number: int, lost: bool = False) -> FootageSample:
    """Every frame, or every second one, of a longer clip; or maps so far off that no track comes back."""
    draw, stride = torch.Generator().manual_seed(1000 + number), 1 + number % 2
    maps = torch.eye(3) + torch.cat([0.1 * torch.randn(FRAMES, 2, 3, generator=draw), torch.zeros(FRAMES, 1, 3)], 1)
    maps[:, :2, 2] = maps[:, :2, 2] * 20 + 1000 * lost
    queries = torch.rand(POINTS, 3, generator=draw) * torch.tensor([0.0, SIDE, SIDE])
    queries[:, 0] = torch.randint(FRAMES, (POINTS,), generator=draw)
    video, frames, spoilt = images(draw, 2 * FRAMES - 1), torch.arange(FRAMES) * stride, images(draw, FRAMES)
    return FootageSample(video, frames, spoilt, maps, queries, torch.rand(POINTS, generator=draw), (stride * 4 + 1,))


class Samples:
    def __init__(self, case: str):
        self.footage, self.cycle = CASES[case][2] is not None, case == "cycle"

    def __getitem__(self, number: int) -> Any:
        return (
            {"synthetic": clip(number), "footage": footage(number, self.cycle and number // MICRO == 2)}
            if self.footage
            else clip(number)
        )


def task(case: str) -> Any:
    config, learned, settings = CASES[case]

    class Tracks(TrackingTask):
        def model(self) -> Tapir:
            return network(config)

        def dataset(self) -> Samples:  # pyright: ignore[reportIncompatibleMethodOverride]
            return Samples(case)

    class Family(TapirFamily):
        def learner(self) -> Tapir:
            return network(config)

    class Footage(BootstrapTask):
        def dataset(self) -> Samples:  # pyright: ignore[reportIncompatibleMethodOverride]
            return Samples(case)

    if settings is None:
        return Tracks(SIDE, POINTS, matching_weight=learned.get("matching", 0.0), refine_with_gradient=learned.get("learn"))
    own = {key: value for key, value in settings.items() if key != "apart"}
    made = Ingredients(polish=False, points=POINTS, separate_moments="apart" in settings, **own)
    family = Family(BootstrapRun(size=SIDE, frames=FRAMES, settings=made), matching_weight=learned.get("matching", 0.0))
    return Footage(SIDE, made, family)


def config(minutes: float | None = None) -> TrainConfig:
    return TrainConfig(
        steps=STEPS,
        batch_size=2 * MICRO,
        accumulation=2 // world_size(),
        optimizer="sgd",
        lr=0.02,
        weight_decay=0.1,
        clip_norm=5.0,
        ema_decay=0.6,
        ema_rising=False,
        checkpoint_every=1,
        log_every=1,
        keep_last=STEPS,
        tensorboard=False,
        threads=1,
        max_minutes=minutes,
    )


def choices(case: str) -> twin.Choices:
    c, learned, settings = CASES[case]
    return twin.Choices(
        side=SIDE,
        base=c.initial_resolution,
        sizes=((32, 48),) if c.refine_at_most else ((32, 48), (40, 40)),
        strides=c.strides,
        blocks=c.blocks_per_group,
        mixer=c.mixer_blocks,
        iterations=c.iterations,
        causal=c.causal,
        extra=c.extra_convs,
        pooled=c.pyramid_level,
        temperature=c.softmax_temperature,
        antialias=c.antialias,
        mean_place=c.average_positions,
        twice=c.second_pass,
        footage=settings,
        **learned,
    )


def batch(made: Any, numbers: list[int]) -> dict[str, Any]:
    """Collate what the twin gets."""
    items = made.collate([Samples.__getitem__(made.dataset(), number) for number in numbers])
    every = items if isinstance(items, dict) else {"synthetic": items}
    return {name: {f.name: getattr(one, f.name) for f in fields(one)} for name, one in every.items()}


def expected(case: str) -> twin.Training:
    made = task(case)
    start = {name: x.detach().numpy() for name, x in made.model().named_parameters()}
    settings = Settings(STEPS, "sgd", lr=0.02, decay=0.1, clip=5.0, averages={"ema": ("constant", 0.6)})
    run = twin.Training(start, settings, choices(case))
    for step in range(STEPS):
        firsts = (2 * MICRO * step, 2 * MICRO * step + MICRO)
        run.step([(batch(made, list(range(first, first + MICRO))),) for first in firsts])
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
    run = expected(case)
    moved = [np.abs(run.states[-1]["model"][name] - run.states[0]["model"][name]).max() for name in run.p]
    assert np.median(moved) > 1e-4
    kept = [log["footage/frames_kept"] for log in run.log if "footage/frames_kept" in log]
    assert all(0.05 < share < 0.95 for share in kept), kept
    compare(tmp_path, run, log=1e-5, rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_a_causal_clip_frame_by_frame_is_its_twins_whole() -> None:
    """Two points at a time, with the states of those before."""
    model, sample = network(CASES["causal"][0]), clip(5)
    p = {name: x.detach() for name, x in model.named_parameters()}
    whole = [point[-1].final for point in twin.track(p, choices("causal"), sample.video, sample.queries)]
    features = model.features(sample.video[None])
    points, known = model.query_features(features, sample.queries[None]), places_of(sample.queries[None], FRAMES)
    state, parts = None, []
    for t in range(FRAMES):
        one = model.trajectories(
            features.frames(t, t + 1),
            points,
            known[:, :, t : t + 1],
            query_chunk=2,
            frame_chunk=1,
            state=state,
            keep_state=True,
        )
        parts, state = [*parts, one], one.state
    for n, expected in enumerate(whole):
        for name, x in (("tracks", expected.xy), ("occlusion", expected.hidden), ("expected_dist", expected.far)):
            torch.testing.assert_close(torch.cat([getattr(part, name)[0, n] for part in parts]), x, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_two_processes_are_the_twin_too(tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path, errors=errors) == [0, 0], errors.read_text()
    for case in CASES:
        compare(tmp_path / case, expected(case), log=1e-5, rtol=1e-5, atol=1e-7)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with double_precision(), join_process_group("cpu"):
        for each in CASES:
            fit(task(each), config(), Path(sys.argv[1]) / each)
