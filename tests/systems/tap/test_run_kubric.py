"""The training on Kubric, made tiny: the paper's numbers, stops, and the same losses however the work is shared out."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import tapetum
from support.sharding import check_shards
from tapetum.core.errors import BadInput
from tapetum.systems.tap.recipes import RECIPES, TapKubric
from tapetum.systems.tap.run import KubricTask, train_tap_kubric
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.kubric import write_sequence
from tapetum.train.launch_config import Launch


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sequences of eight frames."""
    folder = tmp_path_factory.mktemp("kubric")
    for k in range(10):
        clip = make_clip(k, SceneConfig(size=(48, 48), frames=8), points=40)
        write_sequence(folder / f"{k:04d}", TrackedClip(clip.video, clip.truth.xy, clip.truth.visible))
    return folder


@pytest.fixture
def run(data: Path, tiny: Path) -> TapKubric:
    return TapKubric(
        data=str(data),
        start=str(tiny),
        steps=4,
        batch_size=4,
        micro_batch=1,
        size=32,
        frames=5,
        points=8,
        refine_with_gradient=4,
    )


@pytest.mark.slow
def test_numbers_of_the_paper(data: Path) -> None:
    run = TapKubric(data=str(data))
    assert (run.steps, run.batch_size, run.weight_decay) == (50_000, 256, 0.01)
    assert (run.lr, run.betas, run.warmup_steps, run.frames, run.points, run.size) == (1e-3, (0.9, 0.95), 1000, 24, 256, 256)
    public = replace(RECIPES["public"], data=str(data))
    assert (public.steps, public.batch_size, public.weight_decay) == (100_000, 512, 0.1)
    task = KubricTask(replace(run, model="causal-bootstapir"))
    assert task.config == tapetum.tap.build("causal-bootstapir").model.config
    assert (task.clips.names[0], task.clips.names[-1], task.held_out.names) == ("0000", "0008", ("0009",))
    with torch.device("meta"):
        groups = task.parameter_groups(task.model())
    assert [group.get("weight_decay") for group in groups] == [None, 0.0]


@pytest.mark.slow
def test_stop_go_on_and_finish(run: TapKubric, tmp_path: Path) -> None:
    whole = train_tap_kubric(run, Launch(out=tmp_path / "whole", workers=0, threads=1))
    assert train_tap_kubric(run, Launch(out=tmp_path / "cut", workers=0, threads=1, minutes=0)) is None
    cut = train_tap_kubric(run, Launch(out=tmp_path / "cut", workers=1, threads=1))
    assert whole is not None
    assert cut is not None
    assert whole.name == "tiny.safetensors"
    assert whole.read_bytes() == cut.read_bytes()
    assert tapetum.load(whole).model.config.mixer_width == 32
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert 0 <= log[-1]["eval"]["average_jaccard"] <= 1
    with pytest.raises(BadInput, match="is of a run with"):
        train_tap_kubric(replace(run, points=7), Launch(out=tmp_path / "cut", workers=0))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_frame_ends_training_with_one_line(run: TapKubric, tmp_path: Path, workers: int) -> None:
    scene = make_clip(0, SceneConfig(size=(48, 48), frames=8), points=40)
    write_sequence(tmp_path / "data" / "0000", TrackedClip(scene.video, scene.truth.xy, scene.truth.visible))
    for t in range(8):
        Image.new("RGB", (20 + t, 20)).save(tmp_path / "data" / "0000" / "frames" / f"{t:03d}.png")
    with pytest.raises(BadInput, match=r"0000/frames/00\d\.png is \d\dx20 pixels where the frames before are") as error:
        train_tap_kubric(replace(run, data=str(tmp_path / "data")), Launch(out=tmp_path / "run", workers=workers, threads=1))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_ddp_and_fsdp_equal_one_process_from_the_command_line(data: Path, tiny: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = {"steps": 4, "batch-size": 4, "micro-batch": 1, "size": 32, "frames": 5, "points": 40, "workers": 0, "threads": 1}
    options |= {"data": data, "weights": tiny}
    alone = [sys.executable, "-m", "tapetum.app.shell.main", "train", "tap-kubric"]
    alone += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    pair = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *alone[1:]]
    logs, tensors = [], []
    for name, start_with, more in (("one", alone, ()), ("ddp", pair, ()), ("fsdp", pair, ("--parallel", "fsdp"))):
        line = [*start_with, "--out", str(tmp_path / name), *more]
        result = subprocess.run(line, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"weights  {tmp_path / name / 'tiny.safetensors'}\n"
        logs.append([json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()])
        tensors.append(load_file(tmp_path / name / "tiny.safetensors"))
    for log in logs[1:]:
        for ours, theirs in zip(logs[0], log, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)
    for other in tensors[1:]:
        for name in tensors[0].keys() - {"matching.position.bias"}:  # added to logits before a softmax: all gradient is noise
            torch.testing.assert_close(tensors[0][name], other[name], rtol=1e-5, atol=1e-5)


def test_in_shards_it_is_the_same(run: TapKubric) -> None:
    task = KubricTask(run)
    check_shards(task, task.collate([task.dataset()[0]]), least=0.3, dtype=torch.float32)
