"""Adapters beside their twin: cloning in every regime, cut after a step, and by two processes; each form on small trunks."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from support.forks import Forks
from tapetum.encoders import build
from tapetum.encoders.features import Encoder
from tapetum.systems.adapters import Adapted, AdapterConfig, attach
from tapetum.systems.adapters.clone import CloneTask, DemonstrationFrames
from tapetum.systems.adapters.demos import Demonstrations
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.task import Headed
from tapetum.systems.adapters.worlds.world import Observation
from tapetum.train import TrainConfig, fit
from tapetum.train.process_group import join_process_group
from twins.adapters import Training, chain
from twins.loop import Settings
from twins.test_loop import compare

STEPS = 4
CASES: dict[str, dict[str, Any]] = {
    "all-series": {"own": "concat", "rank": 3},
    "middle-top-parallel": {"preset": "middle-top", "tokens": "parallel", "head": "linear"},
    "top": {"preset": "top", "own": "concat", "head": "linear"},
    "frozen": {"regime": "frozen"},
    "full": {"regime": "full", "head": "linear"},
}
RUN = TrainConfig(steps=STEPS, batch_size=6, optimizer="sgd", lr=0.02, weight_decay=0.4, clip_norm=3.0, checkpoint_every=1)
RUN = replace(RUN, keep_last=STEPS, tensorboard=False, threads=1, eval_every=1)
DRAW = np.random.default_rng(4)
DEMOS = Demonstrations(
    task="reach-disc",
    camera="top",
    frames=DRAW.integers(0, 256, (13, 11, 17, 3)).astype(np.uint8),
    own=DRAW.normal(2, 3, (13, 3)).astype(np.float32) * np.array([1, 0, 4], np.float32),  # one is constant
    actions=DRAW.normal(-1, 2, (13, 2)).astype(np.float32),
    episode=np.repeat([0, 1], [6, 7]),
    seeds=(0, 1),
    horizon=30,
)


def shaken(model: Any) -> Any:
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.4 * torch.randn(tensor.shape, generator=draw, dtype=torch.float64))
    return model


def trunk() -> Encoder:
    sizes = {"width": 12, "depth": 2, "heads": 2, "mlp_width": 16, "patch": 4, "image_size": (8, 12), "class_token": False}
    return shaken(build("vit-nano", pooling="mean", **sizes).double())


class Cloning(CloneTask):
    """All in 64 bits, with adapters that are far from 0."""

    def adapted(self) -> Adapted | Encoder:
        return shaken(super().adapted())

    def model(self) -> nn.Module:
        model: Any = super().model().double()
        shaken(model.head)
        return model


def task(case: str) -> Cloning:
    run = recipe("clone", "x", steps=STEPS, batch_size=6, lr=0.02, head_lr=0.01, weight_decay=0.4, **CASES[case])
    frames = DemonstrationFrames(DEMOS, trunk().preprocessing, seed=5)
    return Cloning(run, trunk, frames, None, DemonstrationFrames(DEMOS.some([1]), trunk().preprocessing))


def twin(case: str, processes: int = 1) -> Training:
    made, model = task(case), task(case).model()
    start = {name: x.detach().numpy() for name, x in model.named_parameters()}
    settings = Settings(STEPS, "sgd", lr=0.02, clip=3.0, decay=0.4)
    settings.own_decay = {name: 0.0 for name in start if name.startswith("head")}
    settings.scale = dict.fromkeys(settings.own_decay, 0.5)
    state = {name: x.detach() for name, x in trunk().state_dict().items()}
    run = Training(start, settings, state, CASES[case].get("tokens") == "parallel", processes)
    images = torch.cat([made.frames.plain(k)["image"][None] for k in range(13)])
    own = DEMOS.own if CASES[case].get("own") else DEMOS.own[:, :0]
    run.measure(images, torch.from_numpy(own), torch.from_numpy(DEMOS.actions))
    for step in range(STEPS):
        items = [made.frames[number] for number in range(6 * step, 6 * step + 6)]
        parts = [items] if processes == 1 else [items[:3], items[3:]]
        run.step([tuple(torch.stack([each[name] for each in part]) for name in ("image", "own", "action")) for part in parts])
        actions = run.act(images[6:], torch.from_numpy(DEMOS.own[6:])) - torch.from_numpy(DEMOS.actions[6:])
        run.log[-1]["error"] = float((actions / run.figures["action.deviation"]).square().mean())
    return run


def check(out: Path, expected: Training) -> None:
    errors = [line.pop("error") for line in expected.log]
    compare(out, expected)
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    np.testing.assert_allclose([line["eval"]["error"] for line in lines], errors, rtol=1e-4)


def digest(module: nn.Module) -> str:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for _, t in tensors)).hexdigest()


@pytest.mark.parametrize("case", CASES)
def test_a_policy_is_cloned_as_the_twin_clones_it(case: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    cuts = [fit(task(case), replace(RUN, max_minutes=m), tmp_path / "cut") for m in (0, None)]
    torch.set_num_threads(before)
    assert [each.state for each in cuts] == ["stopped", "finished"]
    expected = twin(case)
    check(tmp_path / "cut", expected)
    model: Any = cuts[1].model.eval()
    assert isinstance(model, Headed)
    action = model.act(Observation(frame=DEMOS.frames[2], own=DEMOS.own[2]))
    images = model.prepare(DEMOS.frames[2:3])
    np.testing.assert_allclose(action, expected.act(images, torch.from_numpy(DEMOS.own[2:3]))[0], rtol=1e-4, atol=1e-4)
    if isinstance(model.trunk, Adapted):
        assert digest(model.trunk.trunk) == digest(trunk())
        with torch.no_grad():
            assert torch.equal(model.trunk(images.double(), adapter=None).pooled, trunk().eval()(images.double()).pooled)


@pytest.mark.slow
def test_two_processes_are_the_twin_too(tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path / "two", errors=errors) == [0, 0], errors.read_text()
    check(tmp_path / "two", twin("all-series", 2))


FORMS: dict[str, tuple[AdapterConfig, Any, tuple[int, ...]]] = {
    f"{maps}-{kernel}-{k}{s}{p}{d}": (
        AdapterConfig(addresses=("0", "2"), maps=maps, kernel=side, scale=s == 2),  # pyright: ignore[reportArgumentType]
        [nn.Conv2d(3, 5, k, s, p, d), nn.Conv2d(5, 4, 3, padding=1)],
        (3, 7, 10),
    )
    for maps in ("parallel", "series", "bottleneck")
    for kernel, side in (("point", 1), ("square", 3))
    for k, s, p, d in ((3, 1, 1, 1), (3, 2, 0, 1), (3, 2, 1, 2), (5, 3, 1, 1))
    if maps != "bottleneck" or side == 1
} | {
    f"{tokens}-{scale}": (
        AdapterConfig(addresses=("0", "2"), tokens=tokens, scale=scale, rank=2),  # pyright: ignore[reportArgumentType]
        [nn.Linear(6, 5), nn.Linear(5, 4)],
        (3, 6),
    )
    for tokens in ("series", "parallel", "lora")
    for scale in (False, True)
}


@pytest.mark.parametrize("case", FORMS)
def test_an_adapter_of_each_form_learns_as_the_twins_does(case: str) -> None:
    """And no other adapter of the bank, nor the trunk, moves by a bit; what can be folded in gives the same."""
    config, layers, shape = FORMS[case]
    whole = shaken(nn.Sequential(layers[0], nn.Tanh(), layers[1]).double())
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before = digest(whole)
    bank = attach(whole, config, name="other", example=x[:1])
    bank.add("own", config)
    assert torch.equal(bank(x, adapter="own"), whole(x))
    shaken(bank)
    others = digest(bank.adapters["other"])
    bank.train_only("own").train()
    p = {name.removeprefix("adapters.own."): v.detach().clone() for name, v in bank.named_parameters() if ".own." in name}
    forms = [site.form for site in bank.sites("own")]
    described: list[dict[str, Any]] = [
        {"weight": each.weight.detach(), "bias": each.bias.detach(), "form": form, "name": name}  # pyright: ignore
        | ({n: getattr(each, n)[0] for n in ("stride", "padding", "dilation")} if isinstance(each, nn.Conv2d) else {})
        for each, form, name in zip(layers, forms, ("0", "2"), strict=True)
    ]
    optimizer = torch.optim.SGD(bank.parameters(), 0.05, weight_decay=0.3)
    for _ in range(3):
        optimizer.zero_grad()
        loss = bank(x).sin().square().mean()
        loss.backward()
        optimizer.step()
        own = {name: value.requires_grad_() for name, value in p.items()}
        mine = chain(described, own, x).sin().square().mean()
        pulls = torch.autograd.grad(mine, [*own.values()])
        torch.testing.assert_close(loss, mine)
        p = {name: (v - 0.05 * (g + 0.3 * v)).detach() for (name, v), g in zip(own.items(), pulls, strict=True)}
        for name, value in p.items():
            torch.testing.assert_close(bank.get_parameter(f"adapters.own.{name}").detach(), value)
    assert digest(whole) == digest(bank.detach()) == before
    assert digest(bank.adapters["other"]) == others
    bank.verify()
    with torch.no_grad():
        assert torch.equal(bank(x, adapter=None), whole(x))
        if bank.can_merge("own"):
            torch.testing.assert_close(bank.merge("own")(x), chain(described, p, x))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_process_group("cpu"):
        fit(task("all-series"), RUN, Path(sys.argv[1]))
