"""A sweep of tiny points: rows, resuming after a kill, folders of something else, Ray."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.forks import Forks
from systems.pretraining.study.sweep_script import FEW, LONG, TINY, plan_source
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.study.fronts import mean_iou
from tapetum.systems.pretraining.study.plan import PlanSource, data_contents
from tapetum.systems.pretraining.study.results import read_results, results_table, write_results
from tapetum.systems.pretraining.study.sweep import POINTS, STUDY, TABLE, predict_study, run_study

SCRIPT = Path(__file__).with_name("sweep_script.py")


@pytest.mark.slow
def test_points_are_done_once_and_give_rows(tmp_path: Path) -> None:
    heard: list[str] = []
    out = tmp_path / "out"
    costs = predict_study(plan_source(FEW), out, heard.append)
    assert not out.exists()
    assert "2 points, 0 of them done" in heard[0]
    assert "FLOP of pre-training" in heard[0]
    first = run_study(costs, most=1)
    assert (len(first.rows), first.stopped) == (1, False)
    swept = run_study(predict_study(plan_source(FEW), out), say=heard.append)
    assert len(swept.rows) == 2
    untrained, byol = swept.rows
    assert (untrained["method"], untrained["flops"], untrained["cpu_seconds"]) == ("untrained", 0, 0)
    predicted = costs.points[1]
    assert byol["flops"] == byol["flops_spent"] == predicted.flops == byol["steps"] * byol["flops_per_step"]
    assert abs(byol["flops"] - 5e6) <= byol["flops_per_step"] / 2
    scored = byol["transfer_flops"]  # the ledger's, without what scores
    assert 0.8 * predicted.transfer_flops < scored < predicted.transfer_flops
    assert byol["co2_kg_low"] < byol["co2_kg"] < byol["co2_kg_high"]
    counts = np.load(out / POINTS / byol["name"] / "counts.npz")["counts"]
    assert counts.shape == (12, 7, 7)
    assert mean_iou(counts.sum(0)) == pytest.approx(byol["miou"])
    assert [json.loads(line) for line in (out / TABLE).read_text().splitlines()] == [untrained, byol]
    assert not list(out.rglob("checkpoints"))
    again = run_study(predict_study(plan_source(FEW), out))
    assert again.rows == swept.rows
    found = read_results(out)
    assert len(found.plan.points()) == 2
    assert "s, byol, curated " in results_table(found)


@pytest.mark.slow
def test_a_dense_probe_learns_the_head_alone(tmp_path: Path) -> None:
    """Its steps cost a forward pass and the gradients of the head, as predicted, and not three times the forward pass."""
    untrained = '[[grids]]\nsizes = ["s"]\nmethods = ["untrained"]\n'
    whole = predict_study(plan_source(untrained), tmp_path / "whole")
    frozen = PlanSource(plan=(TINY.format(minutes=2.0) + untrained).replace("[pixels]", "[pixels]\nfrozen = true"))
    costs = predict_study(frozen, tmp_path / "frozen")
    (row,) = run_study(costs).rows
    predicted = costs.points[0].transfer_flops
    assert predicted < 0.8 * whole.points[0].transfer_flops
    assert 0.5 * predicted < row["transfer_flops"] < predicted


METHOD = """
from torch import nn
from tapetum.data.views import supervised
from tapetum.systems.pretraining.heads import Learner
from tapetum.systems.pretraining.task import PretrainTask

class Own(PretrainTask):
    def views(self):
        return supervised(self.run.size)

    def learner(self, encoder):
        return Learner(encoder, mean=nn.Linear(encoder.width, 3))

    def method_loss(self, model, batch, context):
        features = model.encoder(batch["views"][0]).pooled
        return (model.heads["mean"](features) - batch["views"][0].mean((2, 3))).square().mean(), features, {}
"""
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Conv2d(6, 8, 1))

    def forward(self, images):
        return self.layers(images)
"""


def test_own_methods_and_encoders_are_points_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    (method := tmp_path / "study_method.py").write_text(METHOD)
    (net := tmp_path / "study_net.py").write_text(NET)
    own, out = f"{method}:Own", tmp_path / "out"
    sizes = f'[sizes.o]\nfamily = "own"\nencoder = "{net}:Net"\n[methods."{own}"]\nbase_lr = 2e-3\n'
    source = plan_source(f'{sizes}[[grids]]\nsizes = ["s", "o"]\nmethods = ["{own}"]\nbudgets = [4e5]\n')
    source = replace(source, contents=data_contents(source.read()))
    costs = predict_study(source, out)
    swept = run_study(costs)
    assert [row["name"] for row in swept.rows] == [f"{size}_study_method.py-Own_4e+05_curated_1" for size in "so"]
    for row, cost in zip(swept.rows, costs.points, strict=True):
        assert row["method"] == own
        assert row["flops"] == row["flops_spent"] == cost.flops > 0
    assert swept.rows[1]["parameters"] == 6 * 49 + 8 * 7
    found = read_results(out)
    write_results(found, out / "results.json")
    assert "study_method.py:Own" in results_table(found)
    assert {row["method"] for row in json.loads((out / "results.json").read_text())["front"]} == {own}
    net.write_text(f"{NET}\n")
    with pytest.raises(BadInput, match="own classes had other code"):
        predict_study(replace(source, contents=data_contents(source.read())), out)


@pytest.mark.slow
def test_a_killed_study_ends_as_if_nothing_had_happened(tmp_path: Path, forks: Forks) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    running = forks.start(SCRIPT, out, 0.0005, errors=tmp_path / "errors")
    folder = out / POINTS / "s_byol_6e+07_curated_1" / "pretrain" / "checkpoints"
    deadline = time.monotonic() + 600
    while not list(folder.glob("step_*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert list(folder.glob("step_*")), running.errors.read_text()
    assert not list(out.rglob("row.json"))
    (row,) = run_study(predict_study(plan_source(LONG, 0.0005), out)).rows
    sessions = json.loads((folder.parent / "ledger.json").read_text())["sessions"]
    assert len(sessions) >= 1
    (other,) = run_study(predict_study(plan_source(LONG, 0.0005), whole)).rows
    for name in ("miou", "knn", "linear", "loss", "spread", "flops", "steps"):
        assert row[name] == other[name], name
    assert sessions[-1]["steps"] < other["steps"]  # it did not begin anew


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_and_processes_give_the_same_rows(tmp_path: Path) -> None:
    grids = '[[grids]]\nsizes = ["s"]\nmethods = ["untrained"]\nseeds = [1, 2]\n'
    here = run_study(predict_study(plan_source(grids), tmp_path / "here")).rows
    there = run_study(predict_study(plan_source(grids), tmp_path / "there"), engine="ray").rows
    beside = run_study(predict_study(plan_source(grids), tmp_path / "beside"), workers=2).rows

    def measured(rows: Any) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]

    assert measured(here) == measured(there) == measured(beside)


def test_folders_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not empty and no study"):
        predict_study(plan_source(FEW), tmp_path)
    with pytest.raises(BadInput, match="is no folder of a study"):
        read_results(tmp_path)
    (tmp_path / STUDY).write_text(json.dumps({"plan": "other"}))
    with pytest.raises(BadInput, match="is of a study with another plan or other data"):
        predict_study(plan_source(FEW), tmp_path)
    (tmp_path / STUDY).write_text("{")
    with pytest.raises(BadInput, match="is no folder of a study"):
        predict_study(plan_source(FEW), tmp_path)


def test_a_study_without_a_finished_point_has_no_report(tmp_path: Path) -> None:
    (tmp_path / STUDY).write_text(json.dumps({"plan": plan_source(FEW).plan, "images": None, "pixels": None, "layout": None}))
    with pytest.raises(BadInput, match="no finished point yet"):
        read_results(tmp_path)
    place = tmp_path / POINTS / "s_byol_5e+06_curated_1"
    place.mkdir(parents=True)
    (place / "row.json").write_text("{}")
    with pytest.raises(BadInput, match=r"row\.json is no row of a study \(KeyError\)"):
        read_results(tmp_path)


def test_methods_that_do_not_fit_are_refused_before_anything_runs(tmp_path: Path) -> None:
    grids = '[[grids]]\nsizes = ["r"]\nmethods = ["mae"]\nbudgets = [5e6]\n[sizes.r]\nfamily = "r"\nencoder = "resnet-18"\n'
    with pytest.raises(BadInput, match="mae needs a ViT, whose patches it hides, and resnet-18 is none"):
        predict_study(plan_source(FEW + grids), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": "nowhere"}, "there is no nowhere"),
        ({"pixels": "nowhere"}, "there is no nowhere"),
        ({"pixels": "nowhere", "layout": "ade20k"}, "there is no folder nowhere; give one laid out as ade20k"),
        ({"pixels": "nowhere", "layout": "ade"}, "no layout 'ade' of pixels; it is one of parquet, ade20k"),
    ],
)
def test_data_that_are_not_there(tmp_path: Path, change: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        predict_study(PlanSource(plan=TINY.format(minutes=2) + FEW, **change), tmp_path / "out")
