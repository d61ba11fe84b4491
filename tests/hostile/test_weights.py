"""Weights from strangers: no code of theirs runs, and each is refused with one clear line."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

Run = Callable[..., tuple[int, str, str]]


class Evil:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def refuse(run: Run, clip: Path, tmp_path: Path) -> Callable[[Path], str]:
    """Give the file to `tapetum track` as weights; check that it is refused as it should be; give the line."""

    def call(weights: Path) -> str:
        code, stdout, stderr = run("track", clip, "--model", weights, "--out", tmp_path / "out")
        assert (code, stdout) == (2, ""), stderr
        assert stderr.startswith("tapetum: ")
        assert stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "harm").exists(), "code of the file was run"
        return stderr

    return call


def test_a_zip_checkpoint_with_a_foreign_class(refuse: Callable, tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"weight": torch.zeros(2), "evil": Evil(tmp_path / "harm")}, path)
    assert "not a file of weights alone" in refuse(path)


def test_a_jax_checkpoint_with_a_foreign_class(refuse: Callable, tmp_path: Path) -> None:
    path = tmp_path / "evil.npy"
    np.save(path, {"params": {"w": Evil(tmp_path / "harm")}}, allow_pickle=True)  # pyright: ignore
    assert "mkdir" in refuse(path)


def test_files_that_are_no_weights(refuse: Callable, tmp_path: Path) -> None:
    for name in ["w.pt", "w.npy", "w.safetensors", "w"]:
        for content in [b"", b"hello\n", b"PK\x03\x04" + bytes(50), bytes(range(256))]:
            path = tmp_path / name
            path.write_bytes(content)
            assert name in refuse(path)


def test_files_of_something_else(refuse: Callable, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    for content in [{}, {"weight": torch.zeros(2)}, [1, 2], torch.zeros(3), {"a": 1}]:
        torch.save(content, path)
        refuse(path)
    path.write_bytes(path.read_bytes()[:-500])
    refuse(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    refuse(path)
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    refuse(path)
    path.write_bytes(path.read_bytes()[:-3])
    refuse(path)
