"""Whole runs of Odin beside its twin: forms, sources of masks and networks that discover them; cut, and by two processes."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support.forks import Forks
from tapetum.data.samples import sample_generator
from tapetum.encoders.config import EncoderConfig
from tapetum.encoders.features import Encoder, Features
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import RECIPES
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.pretraining.data import ImageSource
from tapetum.train import TrainConfig, fit
from tapetum.train.process_group import join_process_group
from twins.loop import Settings
from twins.odin import Form, Images, Training
from twins.test_loop import compare

STEPS, BATCH, SIZE = 4, 6, 24
SMALL = {
    "pyramid_width": 5,
    "hidden_width": 7,
    "projection_width": 4,
    "clusters": 5,
    "target_decay": 0.6,
    "discovery_decay": 0.7,
}
CASES: dict[str, tuple[dict[str, Any], Form, tuple[str, float] | None]] = {
    "average": ({}, Form(5), ("constant", 0.7)),
    "copies": (
        {"form": "s", "local_negatives": False, "discovery": "copies", "discovery_every": 2, "metric": "l2"}
        | {"seeds": "spread", "place_weight": 0.5, "iterations": 2},
        Form(5, predicts=False, local=False, cosine=False, spread=True, place=0.5, rounds=2),
        ("periodic", 2),
    ),
    "projections": (
        {"source": "projections", "pyramid_width": 0, "discovery": "fixed"},
        Form(5, projections=True, pyramid=False),
        ("periodic", 2**40),
    ),
    "given": ({"source": "given", "clusters": 3}, Form(3), None),
}
"""The product's settings, the twin's, and how the network that discovers masks follows."""
RUN = TrainConfig(steps=STEPS, batch_size=BATCH, optimizer="sgd", lr=0.2, weight_decay=0.1, clip_norm=2.0, checkpoint_every=1)
RUN = replace(RUN, keep_last=STEPS, tensorboard=False, threads=1)
MASKS = np.random.default_rng(3).integers(0, 3, (24, 5, 6)).repeat(13, 1).repeat(12, 2)


class Patterns:
    """Images of stripes of many colours, by number."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, k: int) -> np.ndarray:
        coarse = np.random.default_rng(k).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        return coarse.repeat(13, 0).repeat(12, 1)

    def name(self, k: int) -> str:
        return f"pattern {k}"


class TwoMaps(Encoder):
    width, map_channels, strides, head = 6, (3, 6), (4, 8), None

    def __init__(self, config: EncoderConfig, preprocessing: Any) -> None:
        super().__init__(config, preprocessing)
        self.fine, self.coarse = nn.Conv2d(3, 3, 4, 4), nn.Conv2d(3, 6, 2, 2)

    def forward(self, images: Tensor) -> Features:
        fine = self.fine(images).tanh()
        coarse = self.coarse(fine).tanh()
        return Features(coarse.flatten(2).mT, (3, 3), coarse.mean((2, 3)), (fine, coarse))


class Wide(OdinTask):
    """All in 64 bits, with an encoder of two convolutions and weights far from where they begin."""

    def model(self) -> nn.Module:
        encoder = TwoMaps(self.run.architecture.config, self.run.architecture.preprocessing)
        model, draw = Odin(self.run.settings(), encoder).double(), torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        return model.train()

    def collate(self, items: Any) -> dict[str, Any]:
        batch = super().collate(items)
        return batch | {"views": [view.double() / 60 for view in batch["views"]]}


def task(case: str) -> Wide:
    run = RECIPES["small"]
    odin = replace(run.odin, **{**SMALL, **CASES[case][0]})
    run = replace(run, size=SIZE, batch_size=BATCH, micro_batch=BATCH, steps=STEPS, odin=odin)
    return Wide(run, ImageSource(Patterns()), MASKS if case == "given" else None)


def config(case: str, **others: Any) -> TrainConfig:
    made = task(case)
    return replace(RUN, averages=made.averages, find_unused_parameters=made.idle_parameters, **others)


def twin(case: str, processes: int = 1) -> Training:
    """Run the twin on the views that the product makes, and on the draws of where k-means begins."""
    made, (_, form, discovery) = task(case), CASES[case]
    averages = ({"target": ("cosine", 0.6)} if form.predicts else {}) | ({"discovery": discovery} if discovery else {})
    start = {name: x.detach().numpy() for name, x in made.model().named_parameters()}
    settings = Settings(STEPS, "sgd", lr=0.2, decay=0.1, clip=2.0, averages=averages)
    settings.own_decay = {"pyramid.output.1.weight": 0.0}  # without a gradient
    run = Training(start, settings, form)
    samples, each = made.dataset(), BATCH // processes
    for step in range(STEPS):
        parts = []
        for first in range(BATCH * step, BATCH * (step + 1), each):
            batch = made.collate([samples[number] for number in range(first, first + each)])
            draw = torch.Generator().manual_seed(int(sample_generator(made.run.seed, first).integers(2**32)))
            cells = (SIZE // (4 if form.pyramid else 8)) ** 2
            draws = torch.rand(each, form.clusters if form.spread else cells, generator=draw)
            boxes, flipped = batch["boxes"].double().tolist(), batch["flipped"].tolist()
            parts.append(Images(batch["views"], boxes, flipped, draws, batch.get("given")))
        run.step([tuple(parts)])
    return run


def check(out: Path, expected: Training) -> None:
    compare(out, expected)
    for line, figures in zip((out / "log.jsonl").read_text().splitlines(), expected.figures, strict=True):
        assert {name: json.loads(line)["metrics"][name] for name in figures} == pytest.approx(figures, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_its_twins_cut_after_a_step(case: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    cuts = [fit(task(case), config(case, max_minutes=m), tmp_path / "cut").state for m in (0, None)]
    torch.set_num_threads(before)
    assert cuts == ["stopped", "finished"]
    expected = twin(case)
    assert any(line["alive"] < 1 for line in expected.figures)  # some masks are in one view alone
    check(tmp_path / "cut", expected)


@pytest.mark.slow
def test_two_processes_are_the_twin_too(tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path, errors=errors) == [0, 0], errors.read_text()
    for case in CASES:
        check(tmp_path / case, twin(case, 2))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_process_group("cpu"):
        for each in CASES:
            fit(task(each), config(each), Path(sys.argv[1]) / each)
