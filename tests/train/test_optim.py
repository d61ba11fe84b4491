"""Optimisers, schedules, rules and freezing, each against something that knows it otherwise."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.train import Average, ParameterRule, Task, TrainConfig, fit
from tapetum.train.optim import Lars, build_optimizer, decay_groups, freeze, freeze_by_rules, ruled_groups, set_learning_rates
from tapetum.train.state import MovingAverage

CONFIG = TrainConfig(steps=6, batch_size=4, lr=0.05, weight_decay=0.1, clip_norm=None, threads=1, tensorboard=False)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()


def steps_of(model: nn.Module, optimizer: torch.optim.Optimizer, rates: list[float]) -> list[torch.Tensor]:
    """Weights after so many steps on noise."""
    generator = torch.Generator().manual_seed(1)
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = torch.randn(5, 3, dtype=torch.float64, generator=generator)
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def test_lars_is_lightlys_where_the_rate_does_not_change() -> None:
    lightly = pytest.importorskip("lightly.utils.lars")
    ours, theirs = network(), network()
    groups = [{"weight_decay": 0.1, **group} for group in decay_groups(theirs)]
    mine = Lars([{"weight_decay": 0.1, **group} for group in decay_groups(ours)], 0.3, momentum=0.9, trust_coefficient=0.01)
    other = lightly.LARS(groups, 0.3, momentum=0.9, trust_coefficient=0.01, eps=0.0)
    torch.testing.assert_close(steps_of(ours, mine, [0.3] * 5), steps_of(theirs, other, [0.3] * 5), rtol=1e-12, atol=1e-14)


def test_lars_moves_a_weight_that_is_zero() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    Lars([weight], 0.5, momentum=0.0).step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))


class Fits(Task):
    """Regression with a batch norm and dropout in the trunk."""

    def model(self) -> nn.Module:
        trunk = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4))
        return nn.ModuleDict({"trunk": trunk, "head": nn.Linear(4, 2)})

    def layers(self, model: nn.ModuleDict) -> list[list[nn.Module]]:
        return [[model["trunk"][0], model["trunk"][1]], [model["trunk"][3]]]

    def dataset(self) -> Any:
        class Noise:
            def __getitem__(self, number: int) -> torch.Tensor:
                return torch.randn(3)

        return Noise()

    def loss(self, model: nn.ModuleDict, batch: torch.Tensor, moment: Any) -> tuple[torch.Tensor, dict]:
        model.train()
        return (model["head"](model["trunk"](batch)) - batch[:, :2]).square().mean(), {"mode": float(model["trunk"].training)}


def test_frozen_parts_stay_as_they_are_whatever_calls_train(tmp_path: Path) -> None:
    config = replace(CONFIG, lr=0.1, rules=(ParameterRule(pattern="trunk.*", frozen=True),))
    before = torch.get_num_threads()
    result = fit(Fits(), config, tmp_path)
    torch.set_num_threads(before)
    start = fit(Fits(), replace(config, lr=1e-30, weight_decay=0.0), tmp_path / "still").model.state_dict()
    end = result.model.state_dict()
    assert {name for name in end if not torch.equal(end[name], start[name])} == {"head.weight", "head.bias"}
    assert int(end["trunk.1.num_batches_tracked"]) == 0
    assert '"mode": 0.0' in (tmp_path / "log.jsonl").read_text()
    for same in (copy.deepcopy(result.model), pickle.loads(pickle.dumps(freeze(nn.Sequential(nn.Dropout()))))):
        modes = [module.training for module in same.train()[0 if isinstance(same, nn.Sequential) else "trunk"].modules()]
        assert not any(modes)
    assert result.model["head"].train().training


def test_rules_say_who_learns_how_fast() -> None:
    model = Fits().model()
    rules = (
        ParameterRule(pattern="trunk.0.weight", lr_scale=3.0),
        ParameterRule(pattern="trunk.1.*", frozen=True),
        ParameterRule(pattern="trunk.*", weight_decay=0.7),
    )
    config = replace(CONFIG, layer_decay=0.5, rules=rules, final_weight_decay=0.3)
    freeze_by_rules(model, rules)
    optimizer = build_optimizer(ruled_groups(decay_groups(model), model, config, Fits().layers(model)), config)
    set_learning_rates(optimizer, 1.0, 0.2)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert found == {
        "trunk.0.weight": (0.75, 0.2),
        "trunk.0.bias": (0.25, 0.7),
        "trunk.3.weight": (0.5, 0.7),
        "trunk.3.bias": (0.5, 0.7),
        "head.weight": (1.0, 0.2),
        "head.bias": (1.0, 0.0),
    }
    with pytest.raises(BadInput, match=r"no parameter is named like 'trunks\.\*'; they are trunk\.0\.weight"):
        freeze_by_rules(model, (ParameterRule(pattern="trunks.*"),))
    with pytest.raises(BadInput, match="names no layers"):
        ruled_groups(decay_groups(model), model, replace(CONFIG, layer_decay=0.5))
    everything = (ParameterRule(pattern="*", frozen=True),)
    freeze_by_rules(model, everything)
    with pytest.raises(BadInput, match="freeze every parameter"):
        ruled_groups([{"params": list(model.parameters())}], model, replace(CONFIG, rules=everything))


def test_a_rule_of_no_decay_is_a_rule() -> None:
    model = network()
    config = replace(CONFIG, rules=(ParameterRule(pattern="0.*", weight_decay=0.0),))
    optimizer = build_optimizer(ruled_groups(decay_groups(model), model, config), config)
    set_learning_rates(optimizer, 1.0, 0.2)
    names = {id(p): name for name, p in model.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert (decays["0.weight"], decays["3.weight"]) == (0.0, 0.2)


def test_a_copy_of_a_while_ago_has_the_counters_of_then() -> None:
    model = nn.BatchNorm1d(2)
    average = MovingAverage(model, Average(name="a", schedule="periodic", every=3), steps=9)
    found = []
    for _ in range(7):
        model(torch.randn(4, 2))
        average.update(model)
        found.append(int(average.average["num_batches_tracked"]))
    assert found == [0, 0, 3, 3, 3, 6, 6]


def test_several_averages_teach_and_one_is_scored(tmp_path: Path) -> None:
    class Taught(Fits):
        teachers = ("slow", "copy")

        def loss(self, model: nn.ModuleDict, batch: torch.Tensor, moment: Any) -> tuple[torch.Tensor, dict]:
            slow, old = (moment.teachers[name]["head"].weight for name in self.teachers)
            loss, _ = super().loss(model, batch, moment)
            return loss, {"slow": slow.sum(), "copy": old.sum(), "own": model["head"].weight.sum(), "progress": moment.progress}

        def evaluate(self, model: nn.ModuleDict, step: int) -> dict[str, float]:
            return {"weight": float(model["head"].weight.sum())}

    averages = (Average(name="slow", decay=0.5, schedule="constant"), Average(name="copy", schedule="periodic", every=2))
    before, found = torch.get_num_threads(), {}
    for wanted in ("average", "copy", "model"):
        config = replace(CONFIG, averages=averages, eval_every=6, weights_to_score=wanted)
        result = fit(Taught(), config, tmp_path / wanted)
        lines = [json.loads(line) for line in (tmp_path / wanted / "log.jsonl").read_text().splitlines()]
        found[wanted] = lines[-1]["eval"]["weight"]
    torch.set_num_threads(before)
    told = [line["metrics"] for line in lines]
    assert [line["progress"] for line in told] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    slow = told[0]["own"]
    for k, line in enumerate(told):
        assert line["copy"] == pytest.approx(told[k - k % 2]["own"], abs=1e-6)
        assert line["slow"] == pytest.approx(slow, abs=1e-5)
        slow = (slow + told[min(k + 1, 5)]["own"]) / 2
    heads = {"average": result.averages["slow"]["head.weight"], "copy": result.averages["copy"]["head.weight"]}
    heads["model"] = result.model["head"].weight.detach()
    assert found == pytest.approx({name: float(head.sum()) for name, head in heads.items()}, abs=1e-5)
    with pytest.raises(
        BadInput, match="learns from the average slow of the weights: give TrainConfig averages with one named slow"
    ):
        fit(Taught(), CONFIG, tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimizer": "adam"}, "optimizer is 'adam'; it must be adamw, sgd or lars"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"trust_coefficient": 0.0}, "trust_coefficient is 0.0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"final_weight_decay": -1.0}, "final_weight_decay is -1.0"),
        ({"ema_decay": 0.5, "averages": (Average(name="ema"),)}, "averages are named ema, ema"),
        ({"weights_to_score": "slow"}, "weights_to_score is 'slow'"),
    ],
)
def test_bad_settings_are_refused(change: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        replace(CONFIG, **change)


def test_bad_averages_and_rules_are_refused() -> None:
    for settings, says in (
        ({"name": "model"}, "named 'model'"),
        ({"name": "a", "decay": 1.0}, "decay"),
        ({"name": "a", "every": 0}, "every"),
    ):
        with pytest.raises(BadInput, match=says):
            Average(**settings)
    for settings in ({"lr_scale": -1.0}, {"weight_decay": -1.0}):
        with pytest.raises(BadInput, match="it must be 0 or more"):
            ParameterRule(pattern="*", **settings)


def test_a_rule_may_let_a_part_warm_up_slowly() -> None:
    rules = (ParameterRule(pattern="0.*", warmup_steps=4, lr_scale=0.5), ParameterRule(pattern="3.bias", weight_decay=0.3))
    config = replace(CONFIG, rules=rules)
    model = network()
    optimizer = build_optimizer(ruled_groups(decay_groups(model), model, config), config)
    owner = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    slow, quick = owner[id(model[0].weight)], owner[id(model[3].weight)]
    assert slow is not owner[id(model[0].bias)]
    for step, share in enumerate((0.25, 0.5, 0.75, 1.0, 1.0)):
        set_learning_rates(optimizer, 0.2, 0.1, step)
        assert slow["lr"] == pytest.approx(0.2 * 0.5 * share)
        assert quick["lr"] == pytest.approx(0.2)
    with pytest.raises(BadInput, match="warmup_steps"):
        ParameterRule(pattern="*", warmup_steps=-1)
