"""Whole runs of HiP beside its twin: packing, masks of each kind, labels, classes; cut, and by two processes."""

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
from tapetum.data.samples import LOSS, mix_seed
from tapetum.systems.hip.config import HipConfig, Masked, Modality
from tapetum.systems.hip.data import TARGET, HipExamples, ModalityField, without_target
from tapetum.systems.hip.model import Hip
from tapetum.systems.hip.task import ClassTask, MaskedTask
from tapetum.train import Average, TrainConfig, fit
from tapetum.train.process_group import join_process_group
from twins.hip import Classes, Form, Masking, forward, linear, packed
from twins.loop import Settings
from twins.test_loop import compare

STEPS, BATCH = 3, 4
CONFIG = HipConfig(
    groups=(6, 2, 1, 2, 6),
    latents=(2, 3, 4, 3, 2),
    channels=(4, 6, 8, 6, 6),
    self_layers=(1, 2, 1, 0, 1),
    self_heads=(2, 3, 1, 2, 1),
    embedding=5,
)
FORM = Form(CONFIG.groups, CONFIG.self_heads, CONFIG.self_layers)
RUN = TrainConfig(steps=STEPS, batch_size=BATCH, lr=0.02, weight_decay=0.1, clip_norm=1.0, checkpoint_every=1)
RUN = replace(
    RUN, keep_last=STEPS, tensorboard=False, threads=1, averages=(Average(name="slow", schedule="constant", decay=0.6),)
)
SETTINGS = Settings(STEPS, lr=0.02, decay=0.1, clip=1.0, averages={"slow": ("constant", 0.6)})
CASES: dict[str, tuple[dict[str, Any], Masked | str | None]] = {
    "shared masks": ({}, Masked(ratio=0.3)),
    "masks of groups": ({"mask_padding": True, "regroup": "transpose_reshape"}, Masked(ratio=0.55, shared=False)),
    "classes": ({"mask_padding": True}, None),
    "elements": ({"regroup": "transpose_reshape"}, "sound"),
}


def examples() -> HipExamples:
    rng = np.random.default_rng(5)
    fields = {"image": ModalityField(rng.normal(size=(12, 3, 5, 2))), "sound": ModalityField(rng.normal(size=(12, 7, 1)))}
    return HipExamples(fields, ModalityField(rng.integers(-1, 3, (12, 7, 1))), seed=1)


def wide(model: nn.Module) -> nn.Module:
    """Give weights in 64 bits, far from where they begin."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return model


def doubled(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x if name == TARGET else x.double() for name, x in batch.items()}


class WideMasked(MaskedTask):
    def model(self) -> nn.Module:
        return wide(super().model())

    def loss(self, model: nn.Module, batch: Any, context: Any) -> Any:
        return super().loss(model, doubled(batch), context)


class WideClasses(ClassTask):
    def model(self) -> nn.Module:
        model = wide(super().model())
        for buffer in model.buffers():
            buffer.copy_(torch.linspace(0.5, 2, buffer.numel()))
        return model

    def loss(self, model: nn.Module, batch: Any, context: Any) -> Any:
        return super().loss(model, doubled(batch), context)


def task(case: str) -> WideMasked | WideClasses:
    changes, kind = CASES[case]
    config, every = replace(CONFIG, **changes), examples()
    if isinstance(kind, Masked):
        return WideMasked(config, every, every, kind)
    if kind is None:
        every.targets = np.random.default_rng(2).integers(-1, 3, 12)
    return WideClasses(config, every, every, 3, elements_of=kind, smoothing=0.1)


def twin(case: str, processes: int = 1) -> Masking:
    made, (changes, kind) = task(case), CASES[case]
    form = replace(FORM, mixed="regroup" in changes, masks_padding="mask_padding" in changes)
    model = made.model()
    start = {name: x.detach().numpy() for name, x in model.named_parameters()}
    settings = replace(SETTINGS, own_decay={n: 0.0 for n, x in model.named_parameters() if not x.requires_grad})
    if isinstance(kind, Masked):
        run = Masking(start, settings, form)
    else:
        run = Classes(start, settings, form, dict(model.named_buffers()), kind)
    every, each = made.dataset(), BATCH // processes
    for step in range(STEPS):
        parts = []
        for first in range(BATCH * step, BATCH * (step + 1), each):
            shown = [doubled(every[number]) for number in range(first, first + each)]
            inputs = [without_target(one) for one in shown]
            if isinstance(kind, Masked):
                draw = torch.Generator().manual_seed(mix_seed(0, LOSS, first))
                groups = packed({name: len(x) for name, x in inputs[0].items()}, CONFIG.groups[0])
                chance = torch.rand(each, 1 if kind.shared else len(groups), len(groups[0]), generator=draw)
                places = chance.argsort(-1)[..., : round((1 - kind.ratio) * len(groups[0]))]
                parts.append((inputs, places.sort(-1).values.tolist()))
            else:
                parts.append((inputs, [one[TARGET] for one in shown]))
        run.step([tuple(parts)])
    return run


def check(out: Path, expected: Masking) -> None:
    compare(out, expected)
    for line, figures in zip((out / "log.jsonl").read_text().splitlines(), expected.figures, strict=True):
        assert {name: json.loads(line)["metrics"][name] for name in figures} == pytest.approx(figures, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_its_twins_cut_after_a_step(case: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    cuts = [fit(task(case), replace(RUN, max_minutes=m), tmp_path / "cut").state for m in (0, None)]
    torch.set_num_threads(before)
    assert cuts == ["stopped", "finished"]
    check(tmp_path / "cut", twin(case))


@pytest.mark.parametrize("mixed", [False, True])
def test_labels_enter_and_leave_at_the_processor(mixed: bool) -> None:
    config = replace(CONFIG, labels=("class", "other"), regroup="transpose_reshape" if mixed else "reshape")
    modalities = {
        "sound": Modality((7,), 1),
        "image": Modality((3, 5), 2),
        "class": Modality((2,), 3),
        "other": Modality((1,), 2),
    }
    model, draw = wide(Hip(config, modalities)).eval(), torch.Generator().manual_seed(2)
    form = replace(FORM, mixed=mixed, labels=("class", "other"))
    for left_out in ((), ("other",), ("class", "sound")):
        names = [name for name in modalities if name not in left_out]
        batch = {name: torch.randn(3, m.length, m.channels, generator=draw).double() for name, m in modalities.items()}
        batch = {name: batch[name] for name in names}
        with torch.no_grad():
            out, p = model(batch), dict(model.named_parameters())
            for b in range(3):
                features, latents = forward(p, form, {name: x[b] for name, x in batch.items()})
                for name in names:
                    torch.testing.assert_close(out.features[name][b], features[name])
                    layer = f"{'label_' if name in form.labels else ''}unembed.{name}"
                    torch.testing.assert_close(out.reconstruction[name][b], linear(p, layer, features[name]))
                for product, own in zip(out.latents, latents, strict=True):
                    torch.testing.assert_close(product[b], torch.stack(own))


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
            fit(task(each), RUN, Path(sys.argv[1]) / each)
