"""Whole runs of BootsTAP, made tiny: they stop, go on, leave out what they are told to, and end in a tracker."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tapetum
from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE, BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import TapirFamily
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.systems.tap.bootstrap.run import bootstrap
from tapetum.systems.tap.bootstrap.samples import check_clips, split
from tapetum.systems.tap.bootstrap.task import FootageTask
from tapetum.systems.tap.task import TrackingTask
from tapetum.systems.tap.types import TrackEstimate, Trajectories
from tapetum.tracks.training.clips import TrackedClip
from tapetum.train.launch_config import Launch

# whole runs -----------------------------------------------------------------------------------------------------------------


def files_of(run: Path) -> dict[str, bytes]:
    names = {f.name: f for f in (run / "run" / "checkpoints" / "step_00000006").glob("*.safetensors")}
    return {name: file.read_bytes() for name, file in {**names, "tracker": run / "tracker.safetensors"}.items()}


def log_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "run" / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


@pytest.fixture(scope="module")
def begun(videos: Path, recipe: BootstrapRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped after its first step."""
    out = tmp_path_factory.mktemp("begun")
    bootstrap(videos, recipe, Launch(out=out, workers=0, threads=1, minutes=0))
    return out


@pytest.mark.slow
def test_a_run_stops_goes_on_and_gives_a_tracker(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    whole = bootstrap(videos, recipe, Launch(out=tmp_path / "whole", workers=0, threads=1))
    assert bootstrap(videos, recipe, Launch(out=tmp_path / "cut", workers=0, threads=1, minutes=0)) is None
    cut = bootstrap(videos, recipe, Launch(out=tmp_path / "cut", workers=1, threads=1))
    assert whole is not None
    assert cut is not None
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "cut")
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "cut")
    assert replace(whole, file=cut.file) == cut
    scores = [line["eval"][DECIDING_SCORE] for line in log_of(tmp_path / "whole") if "eval" in line]
    assert len(scores) == 3
    assert whole.after[DECIDING_SCORE] == max([*scores, whole.before[DECIDING_SCORE]])
    tracker = tapetum.load(tmp_path / "whole")  # the folder is the tracker's name
    assert tracker.model.config == tapetum.load(recipe.model).model.config
    assert tracker.track(videos / "0.mp4", [[0, 10, 10]]).xy.shape == (1, 13, 2)
    assert not (tmp_path / "whole" / "scenes").exists()
    with pytest.raises(BadInput, match=r"is of a run with other settings: cycle False \(now True\); go on"):
        bootstrap(
            videos, replace(recipe, settings=replace(recipe.settings, cycle=True)), Launch(out=tmp_path / "cut", workers=0)
        )
    parts = {key.split("/")[0] for key in log_of(tmp_path / "whole")[-1]["metrics"]}
    assert parts == {"synthetic", "footage"}


@pytest.mark.parametrize(
    ("confidence", "hidden"), [(0.45, 0.01), (0.75, 0.01), *(((k + 0.5) / 10, (k - 0.5) / 10) for k in range(1, 10))]
)
def test_calling_more_points_visible_is_not_taken_for_better(confidence: float, hidden: float) -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(4, 28, (6, 5, 2)).astype(np.float32)
    visible = rng.random((6, 5)) < 0.6
    visible[:, 0] = True

    class Scored(TrackingTask):
        def checks(self) -> list[TrackedClip]:
            return [TrackedClip(np.zeros((5, 32, 32, 3), np.uint8), xy, visible)]

    class Right(nn.Module):
        """Knows all places, and which are seen, but how sure it is of them is as asked."""

        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(()))

        def forward(self, video: torch.Tensor, queries: torch.Tensor) -> Trajectories:
            sure = torch.from_numpy(np.where(visible, confidence, hidden)).float()[None]
            estimate = TrackEstimate(torch.from_numpy(xy)[None], -sure.logit(), torch.full_like(sure, -20.0))
            return Trajectories(estimate.tracks, estimate.occlusion, estimate.expected_dist, (estimate,))

    scores = Scored(32, 6).evaluate(Right(), 0)
    assert scores[DECIDING_SCORE] == pytest.approx(1)
    if hidden < 0.5:
        assert scores["average_jaccard"] == pytest.approx(float(confidence > 0.5), abs=1e-6)
    else:
        assert scores["average_jaccard"] < 1


@pytest.mark.slow
def test_weights_that_got_worse_are_not_kept(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    # a rate at which nothing survives: whatever the start was worth, the end is worth less
    out = bootstrap(videos, replace(recipe, lr=30.0, mixer_lr=1.0), Launch(out=tmp_path, workers=0, threads=1))
    assert out is not None
    ours, start = load_file(out.file), load_file(recipe.model)
    if out.step == 0:
        assert all(torch.equal(ours[name], start[name]) for name in start)
        assert out.after == out.before
    assert out.after[DECIDING_SCORE] >= out.before[DECIDING_SCORE]
    assert out.after[DECIDING_SCORE] >= out.last[DECIDING_SCORE]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"shrink": False, "cycle": True, "between": False, "second_pass": False},
        {"spoil": False, "proximity": False, "moving": 0.0, "teacher": "start"},
        {"requery": False, "synthetic": False, "matching": False},
        {"separate_moments": True, "stride": 1},
    ],
)
def test_every_ingredient_can_be_left_out(videos: Path, recipe: BootstrapRun, tmp_path: Path, change: dict) -> None:
    run = replace(recipe, settings=Ingredients(points=8, **change), steps=2, scored=1)
    out = bootstrap(videos, run, Launch(out=tmp_path, workers=0, threads=1))
    assert out is not None
    line = log_of(tmp_path)[-1]
    assert np.isfinite(line["loss"])
    assert any(key.endswith("frames_kept") for key in line["metrics"])
    assert any(key.startswith("synthetic/") for key in line["metrics"]) == run.settings.synthetic


@pytest.mark.slow
def test_the_mixer_learns_slowly(begun: Path, recipe: BootstrapRun) -> None:
    task = FootageTask(recipe, begun / "footage", begun)
    model = task.model()
    learning_rates = {id(p): group["lr_scale"] for group in task.parameter_groups(model) for p in group["params"]}
    assert {learning_rates[id(p)] for p in model.mixer.parameters()} == {0.2}
    assert {learning_rates[id(p)] for p in model.backbone.parameters()} == {1.0}
    assert len(learning_rates) == len(list(model.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize(("polish", "stride", "most"), [(True, 1, 1.06), (False, 3, 1.22)])
def test_a_step_costs_a_teachers_forward_and_a_students_forward_and_backward(
    videos: Path, recipe: BootstrapRun, tmp_path: Path, polish: bool, stride: int, most: float
) -> None:
    """With strides up to 3 the teacher sees 18 frames of the students' 10 in every step: 4.8 forward passes instead of 4."""
    settings = replace(
        recipe.settings, separate_moments=True, polish=polish, stride=stride
    )  # apart, so that the ledger tells them apart
    recipe = replace(recipe, settings=settings)
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1))
    per_step = json.loads((tmp_path / "run" / "ledger.json").read_text())["sessions"][0]["flops_per_step"]
    teacher = per_step["synthetic/forward"]  # the same network on a clip of the same size
    footage = per_step["footage/forward"] + per_step["footage/backward"]
    assert 0.98 < footage / (2 * teacher + per_step["synthetic/backward"]) < most


def test_extra_convolutions_begin_as_norms(recipe: BootstrapRun) -> None:
    larger = TapirFamily(replace(recipe, extra_convs=2)).start()
    assert larger.config.extra_convs == 2
    assert all(not block.narrow.weight.any() for block in larger.backbone.extra)
    known = tapetum.load(recipe.model).model.state_dict()
    assert all(torch.equal(larger.state_dict()[name], value) for name, value in known.items())


@pytest.mark.slow
def test_scored_clips_are_never_learned_from(begun: Path, recipe: BootstrapRun) -> None:
    footage = FootageDataset(begun / "footage")
    learned, held = split(footage)
    assert sorted(learned + held) == [0, 1, 2]
    assert held == [2]
    shown = FootageTask(recipe, begun / "footage", begun).samples()[0]
    assert {shown.numbers[shown.order(n)] for n in range(20)} == set(learned)
    names = [file.name.split("-", 1) for file in sorted((begun / "stills").iterdir())]
    assert [int(number) for number, _ in names] == [n for n in learned for _ in range(3)]  # not by shards, named after times
    assert [rest.rsplit("-", 2)[0] for _, rest in names][::3] == [Path(footage.clips[n].shard).stem for n in learned]
    twice = [check_clips(footage, held, 2, size=32, frames=5, seed=1) for _ in range(2)]
    for a, b in zip(*twice, strict=True):
        np.testing.assert_array_equal(a.video, b.video)
    one = FootageDataset(begun / "footage")
    one.clips = one.clips[:1]
    assert split(one) == ([0], [0])
