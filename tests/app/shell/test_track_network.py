"""The command line with a real network: a small one with random weights, read from a file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import tapetum
from tapetum.core.devices import processor
from tapetum.systems.tap import weights
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    weights.save(tapetum.tap.build("tapir-nano").model, path)
    return path


@pytest.mark.parametrize("shape", [(1, 16, 24, 3), (2, 1, 1, 3)])
def test_one_frame_and_one_pixel(run: Run, nano: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "clip.npy", np.full(shape, 100, np.uint8))
    code, _, stderr = run("track", tmp_path / "clip.npy", "--model", nano, "--grid", 1, "--out", tmp_path / "out")
    assert (code, stderr) == (0, "")
    assert Tracks.load(tmp_path / "out" / "tracks.csv").xy.shape == (1, shape[0], 2)


def test_auto_is_the_precision_that_the_processor_knows(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "tracks.npz"
    code, stdout, _ = run("track", clip, "--model", "static", "--query", "0,2,2", "--out", out, "--dtype", "auto", "--json")
    native = {"avx512_bf16", "amx_bf16"} & set(processor().features)
    assert (code, json.loads(stdout)["dtype"]) == (0, "bfloat16" if native else "float32")


@pytest.mark.slow
def test_lower_precision_and_compilation(
    run: Run, clip: Path, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr("tapetum.systems.tap.tracking.tracker.TapirTracker.compile", lambda self: compiled.append(self) or self)
    arguments = ["track", clip, "--model", nano, "--query", "0,20,20", "--out", tmp_path, "--dtype", "bfloat16", "--compile"]
    assert run(*arguments)[0] == 0
    assert next(compiled[0].model.parameters()).dtype == torch.bfloat16
    tracks = Tracks.load(tmp_path / "tracks.npz")
    direct = tapetum.load(nano, dtype=torch.bfloat16).track(str(clip), np.array([[0, 20, 20]], np.float32))
    np.testing.assert_array_equal(tracks.xy, direct.xy)
