"""Whole runs: from images to the file of an encoder, stopped and gone on with."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import tapetum
from support import encoder_folders
from support.storage import web_server
from systems.pretraining.conftest import SETTINGS, tiny
from tapetum.app.score.probe import probe
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.recipes import PretrainRun, recipe, trained_encoder
from tapetum.systems.pretraining.run import Prediction, loop_config, predict, pretrain, run_task, task_for
from tapetum.systems.pretraining.scores import labelled_parts
from tapetum.train import StepContext
from tapetum.train.launch_config import Launch


def launch(out: Path, **changes: object) -> Launch:
    return Launch(out=out, **{"workers": 0, "threads": 1, **changes})


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_to_the_same_end(data: Path, tmp_path: Path) -> None:
    run, said = tiny("byol", data, steps=4), []
    whole = pretrain(run, launch(tmp_path / "whole"), said.append)
    assert whole is not None
    assert said[0] == "40 images of 2 classes"
    assert said[1].startswith("4 steps of 0.")
    assert " GFLOP (2 a multiply-add): " in said[1]
    assert said[2].startswith("views take ")
    elsewhere = {"checkpoint_folder": str(tmp_path / "elsewhere")}
    assert pretrain(run, launch(tmp_path / "part", minutes=0, **elsewhere), said.append) is None
    assert not (tmp_path / "part" / "encoder.safetensors").exists()
    assert not (tmp_path / "part" / "checkpoints").exists()
    assert len(said) == 6
    part = pretrain(run, launch(tmp_path / "part", workers=1, **elsewhere), said.append)  # workers change nothing
    assert said[6:] == ["40 images of 2 classes"]  # it has checkpoints, so its cost is not predicted again
    assert part is not None
    ours, theirs = load_file(part.encoder), load_file(whole.encoder)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    with pytest.raises(BadInput, match=r"is of a run with .*byol.decay 0.99 \(now 0.5\)"):
        pretrain(replace(run, byol=replace(run.byol, decay=0.5)), launch(tmp_path / "part", **elsewhere), said.append)
    assert whole.damaged == ()
    assert whole.collapsed_at is None


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kept"), [("dino", "teacher"), ("byol", "model"), ("mae", "model")])
def test_the_encoder_is_the_one_that_the_paper_evaluates(method, kept: str, data: Path, tmp_path: Path) -> None:
    made = pretrain(tiny(method, data, steps=2), launch(tmp_path), lambda text: None)
    assert made is not None
    encoder = tapetum.load(tmp_path)  # the folder of the run stands for it
    whole = load_file(tmp_path / "checkpoints" / "step_00000002" / f"{kept}.safetensors")
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, whole[f"encoder.{name}"]), name
    table = tapetum.embed((str(Path(__file__).parents[3] / "docs" / "images" / "demo.jpg"),), model=str(tmp_path))
    assert table.vectors.shape == (1, 64 if method == "mae" else 32)
    assert encoder.preprocessing.size == (16, 16)


def test_the_cost_is_said_before_the_first_step(data: Path, tmp_path: Path) -> None:
    """FLOPs are those that the loop then counts; of an encoder that is 3 x its forward pass for each view, and the heads."""
    task = task_for(tiny("simclr", data))
    found = predict(task, loop_config(task, launch(tmp_path)))
    from tapetum.account.flops import count_flops

    model = task.model()
    views = torch.zeros(16, 3, 16, 16)
    alone = count_flops(lambda: model.heads["projection"](model.encoder(views).pooled))
    logits = 3 * 2 * 16 * 16 * 16  # both views against all of both, forward and the gradients of either side
    assert found.flops_per_step == alone.total + logits
    assert found.flops == 6 * found.flops_per_step
    assert found.step_s > 0
    assert (task.damaged, task.collapsed_at) == (set(), None)


def test_several_processes_make_no_trial_steps(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapetum.systems.pretraining.run.fit", lambda *_, **__: SimpleNamespace(state="stopped"))
    said: list[str] = []
    for processes, lines in (("2", 1), ("1", 3)):
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", processes)
        said.clear()
        assert pretrain(tiny("byol", data, steps=4), launch(tmp_path / processes), said.append) is None
        assert len(said) == lines


def test_predictions_in_words() -> None:
    slow = Prediction(steps=1000, flops_per_step=2 * 10**9, step_s=0.1, views_s=0.4, workers=2)
    assert slow.seconds == pytest.approx(200)
    assert slow.lines() == [
        "1,000 steps of 2.0 GFLOP (2 a multiply-add): 2.00e+12 FLOP, about 3 min at 20 GFLOP/s",
        "views take 200% of the time of a step (2 more make them), which is what the run will wait for: give more --workers",
    ]
    alone = replace(slow, workers=0)
    assert alone.seconds == pytest.approx(500)
    assert alone.lines()[1] == "views take 400% of the time of a step (the process that trains makes them)"


def test_rates_and_warm_up_follow_the_batch(data: Path, tmp_path: Path) -> None:
    task = task_for(tiny("supervised", data, steps=None, epochs=20, base_lr=0.1, batch_size=8, warmup_epochs=50))
    config = loop_config(task, launch(tmp_path))
    assert (config.steps, config.warmup_steps, config.lr) == (100, 10, pytest.approx(0.1 * 8 / 256))
    assert config.scored_average is None
    published = replace(task.run, preset="vit", warmup_epochs=5)
    assert loop_config(task_for(published), launch(tmp_path)).warmup_steps == 25  # as given, not a tenth
    with pytest.raises(BadInput, match=r"--warmup-epochs 20 are 100 steps, and the run has 100; give fewer"):
        loop_config(task_for(replace(published, warmup_epochs=20)), launch(tmp_path))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (PretrainRun(method="simclr"), "there is no data; give --data"),
        (PretrainRun(method="simclr", data="nowhere", encoder="resnet-19"), "there is no encoder 'resnet-19'"),
        (PretrainRun(method="simclr", data="nowhere"), "there is no nowhere; give a folder of images"),
    ],
)
def test_runs_that_cannot_be_are_refused(run: PretrainRun, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        task_for(run)


def test_images_smaller_than_the_views_must_be_meant(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"views of 64 pixels are larger than the images of .* about 32; give --size 32, or --enlarge"
    ):
        task_for(recipe("simclr", str(data)))
    assert task_for(recipe("simclr", str(data), enlarge=True)).run.size == 64


def test_methods_say_what_they_lack(tmp_path: Path) -> None:
    from PIL import Image

    for k in range(2):
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / f"{k}.png")
    for method, words in (
        ("supervised", "supervised needs classes"),
        ("clip", "clip needs captions, and these images have neither"),
    ):
        with pytest.raises(BadInput, match=words):
            task_for(tiny(method, tmp_path))


def by_class(folder: Path) -> Path:
    """Noise of two brightnesses, a folder a class, of 15 images each."""
    rng = np.random.default_rng(0)
    for number in range(30):
        file = folder / ("dark", "light")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 60, (24, 24, 3)) + 100 * (number % 2)
        Image.fromarray(noise.astype(np.uint8)).save(file)
    return folder


@pytest.mark.slow
def test_neighbours_are_asked_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last score is that of the encoder which the run leaves, here the teacher's, by `tapetum probe`'s own way."""
    images, out = by_class(tmp_path / "images"), tmp_path / "run"
    run = tiny("dino", images, steps=4, probe_every=2, probe_images=20)
    made = pretrain(run, launch(out), lambda text: None)
    assert made is not None
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval" in line] == [2, 4]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with web_server(tmp_path, ranges=True) as (base, _):
        probed = probe(str(made.encoder), data=f"{base}/images", most=20)
    assert lines[-1]["eval"]["knn"] == pytest.approx(probed.neighbours, abs=1e-9)
    assert lines[-1]["eval"].keys() == {"knn", "rank_me", "alpha_req", "lidar"}
    changed = replace(run, probe_every=0, probe_images=10)
    assert pretrain(changed, launch(out), lambda text: None) is not None  # the same run all the same


def test_what_cannot_be_scored_is_said_before_the_first_step(tmp_path: Path) -> None:
    images, alone = by_class(tmp_path / "images"), tmp_path / "alone"
    alone.mkdir()
    (alone / "1.png").write_bytes((images / "dark" / "0.png").read_bytes())
    run = tiny("simclr", images, probe_every=2, probe_data=str(alone))
    with pytest.raises(BadInput, match="class"):
        pretrain(run, launch(tmp_path / "run"), lambda text: None)
    assert not (tmp_path / "run").exists()


def test_scores_need_one_place() -> None:
    run = replace(tiny("simclr", "a"), data=("a", "b"), probe_every=2)
    task: Any = SimpleNamespace(run=run, source=SimpleNamespace(labels=[0]))
    with pytest.raises(BadInput, match="names 2; say which with --probe-data"):
        labelled_parts(task)


@pytest.mark.parametrize(("write", "patch"), [("dinov2", 14), ("siglip2", 16)])
def test_dinov2_goes_on_from_a_folder_and_warms_heads_up_first(write: str, patch: int, data: Path, tmp_path: Path) -> None:
    """At another size than the weights have positions for; student and teacher begin as the weights are."""
    getattr(encoder_folders, write)(tmp_path / "published")
    begin = tapetum.load(tmp_path / "published")
    begin = getattr(begin, "image", begin).state_dict()
    settings = replace(SETTINGS["dinov2"]["dinov2"], head_epochs=0.2)  # 2 steps
    sizes = {"encoder": str(tmp_path / "published"), "change": (), "size": 2 * patch, "batch_size": 4}
    run = tiny("dinov2", data, **sizes, dinov2=settings)
    task: Any = task_for(run)
    assert task.head_steps == 2
    for steps, same in ((2, True), (4, False)):
        result = run_task(task_for(replace(run, steps=steps)), launch(tmp_path / f"run{steps}"), say=None)
        assert result is not None
        folder = next((tmp_path / f"run{steps}" / "checkpoints").iterdir())
        for file in ("model", "teacher"):
            state = load_file(folder / f"{file}.safetensors")
            encoder = {name.removeprefix("encoder."): x for name, x in state.items() if name.startswith("encoder.")}
            assert encoder.keys() == begin.keys() | {"mask_token"}
            assert all(torch.equal(encoder[name], begin[name]) for name in begin) == same, file
        kept = tapetum.load(result.encoder)
        assert kept.config == replace(trained_encoder(run.encoder).config, mask_token=True)
        assert all(x.isfinite().all() for x in kept.state_dict().values())


def test_a_vit_with_rotary_positions_and_registers_hides_patches(data: Path) -> None:
    change = ("patch=4", "rotary=dinov3", "positions=none", "registers=2", "layer_scale=1e-5")
    run = tiny("dinov2", data, change=change)
    task = task_for(run)
    model: Any = task.model()
    samples = task.dataset()
    batch = task.collate([samples[number] for number in range(8)])
    loss, _ = task.loss(model, batch, StepContext(teachers={"teacher": copy.deepcopy(model).eval()}))
    loss.backward()
    assert model.encoder.registers.grad.abs().sum() > 0
    rates = {id(p): group["lr_scale"] for group in task.parameter_groups(model) for p in group["params"]}
    slowest = pytest.approx(task.settings.layer_decay ** (1 + len(model.encoder.blocks)))
    assert rates[id(model.encoder.mask_token)] == rates[id(model.encoder.registers)] == slowest != 1
    for method in ("mae", "ijepa"):
        with pytest.raises(BadInput, match="rotary"):
            task_for(tiny(method, data, change=change))
