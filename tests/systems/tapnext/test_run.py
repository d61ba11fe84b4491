"""Whole runs of TAPNext, made tiny: they stop, go on bit for bit, hand weights on, and end in a tracker."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tapetum
from tapetum.core.errors import BadInput
from tapetum.systems.tapnext.recipes import TINY_RUN
from tapetum.systems.tapnext.run import train_tapnext
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.kubric import write_sequence
from tapetum.train.launch_config import Launch

KUBRIC = replace(TINY_RUN, phases=TINY_RUN.phases[1:], checks=1)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders in the layout of Kubric's tracks, 10 frames of noise."""
    folder, rng = tmp_path_factory.mktemp("kubric"), np.random.default_rng(0)
    for name in ("0000", "0001"):
        video = rng.integers(0, 256, (10, 40, 48, 3), dtype=np.uint8)
        xy = rng.uniform(2, 38, (8, 10, 2)).astype(np.float32)
        write_sequence(folder / name, TrackedClip(video, xy, rng.random((8, 10)) < 0.8))
    return folder


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a file."""
    return load_file(file)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    run = replace(TINY_RUN, cache=str(tmp_path / "clips"))
    whole = train_tapnext(run, Launch(out=tmp_path / "whole", workers=0, device="cpu"))
    assert whole == tmp_path / "whole" / "tapnext-tiny.safetensors"
    stops = 0
    while (made := train_tapnext(run, Launch(out=tmp_path / "parts", workers=0, minutes=0, device="cpu"))) is None:
        stops += 1
    assert stops == 2  # each call makes a step, and ends where a phase does
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(made)[name]), name
    rows = [json.loads(line) for line in (tmp_path / "whole" / "2-long" / "log.jsonl").read_text().splitlines()]
    assert 0 <= rows[-1]["eval"]["average_jaccard"] <= 1


def test_kubric_sequences_end_in_a_tracker(sequences: Path, tmp_path: Path) -> None:
    run = replace(KUBRIC, data=str(sequences), steps=1)
    made = train_tapnext(run, Launch(out=tmp_path / "run", workers=0, device="cpu"))
    assert made is not None
    assert {tensor.dtype for tensor in weights_of(made).values()} == {torch.float16}
    tracker = tapetum.load(made)
    assert tracker.model.config == replace(run.model, video_size=(32, 32))
    tracks = tracker.track(np.zeros((3, 40, 50, 3), np.uint8), [[0, 10, 12], [2, 20, 30]])
    assert tracks.xy.shape == (2, 3, 2)
    further = replace(run, start=str(made), model=replace(run.model, depth=1), name="more")
    again = train_tapnext(further, Launch(out=tmp_path / "more", workers=0, device="cpu"))
    assert again is not None
    assert tapetum.load(again).model.config.depth == 2  # the weights bring their sizes
    for name, tensor in weights_of(made).items():
        assert (weights_of(again)[name].float() - tensor.float()).abs().max() < 5e-3, name


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    launch = Launch(out=tmp_path / "run", workers=0)
    for changes, message in (
        ({"phases": ()}, "no phases"),
        ({"size": 60}, "--size is 60"),
        ({"occluded_weight": -1.0}, "occluded_weight"),
        ({"textures": str(tmp_path / "none")}, "none"),
        ({"data": str(tmp_path)}, "no folders of Kubric sequences"),
        ({"start": "tapir-nano"}, "tapir-nano"),
    ):
        with pytest.raises(BadInput, match=message):
            train_tapnext(replace(TINY_RUN, **changes), launch)
    assert not launch.out.exists()
