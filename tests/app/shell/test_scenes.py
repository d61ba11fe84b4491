"""`tapetum scenes make` writes what `tapetum eval tapvid` reads."""

import json
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pytest

from tapetum.app import commands
from tapetum.app.shell import main
from tapetum.core import plugins
from tapetum.hub import registry

Run = Callable[..., tuple[int, str, str]]


def test_scenes_can_be_scored(run: Run, tmp_path: Path) -> None:
    arguments = ["scenes", "make", tmp_path / "out", "--n", 1, "--seed", 3, "--size", 32, "--frames", 3]
    code, stdout, _ = run(*arguments)
    assert code == 0
    data = tmp_path / "out" / "tapvid.pkl"
    assert str(data) in stdout
    code, stdout, _ = run("eval", "tapvid", "--data", data, "--model", "static", "--json")
    assert code == 0
    result = json.loads(stdout)
    assert result["videos"] == 1
    assert result["per_video"][0]["frames"] == 3
    assert 0 <= result["average_jaccard"] <= 1
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert "exists already" in stderr


@pytest.mark.slow
def test_scenes_can_be_scored_in_space_with_true_depth(run: Run, tmp_path: Path) -> None:
    run("scenes", "make", tmp_path / "out", "--n", 1, "--seed", 3, "--size", 64, "--frames", 3)
    code, stdout, _ = run("eval", "tapvid3d", "--gt", tmp_path / "out", "--model", "tapir-nano", "--depth", "true", "--json")
    assert code == 0
    result = json.loads(stdout)
    assert (result["clips"], result["failed"]) == (1, [])
    assert result["scalings"]["median"]["average"]["average_jaccard"] > 0.3


def test_bad_options_are_one_line(run: Run, tmp_path: Path) -> None:
    for option in (["--n", 0], ["--n", 1, "--size", 0], ["--n", 1, "--frames", 0], ["--n", 1, "--textures", tmp_path]):
        code, stdout, stderr = run("scenes", "make", tmp_path / "out", *option)
        assert (code, stdout) == (2, ""), option
        assert stderr.count("\n") == 1, option
        assert not (tmp_path / "out" / "tapvid.pkl").exists()


def test_what_the_world_brings_is_one_line_without_it(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "comes with the package tapetum-world, which is not installed: pip install ./packages/world in a clone"
    found = util.find_spec
    for module in (plugins, registry, commands, main):
        monkeypatch.setattr(module, "installed", lambda kind: {})
    monkeypatch.setattr(plugins.util, "find_spec", lambda name, *more: None if name == "tapetum_world" else found(name, *more))
    registry.known.cache_clear()
    for name, words in {
        "scenes images": ("scenes", "images", "a", "--n", 1),
        "train paligemma-nano": ("train", "paligemma-nano", "--data", "a", "--out", "b"),
        "eval scenes": ("eval", "scenes", "--data", "a"),
        "mcvit-films": ("embed", clip, "--model", "mcvit-films", "--out", "a.npz"),
        "bodies": ("train", "tap-nano", "--world", "bodies", "--out", "b"),
        "ordered-events": ("train", "longvideo", "--data", "ordered-events", "--stage", "short", "--out", "b"),
    }.items():
        code, stdout, stderr = run(*words)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1), stderr
        assert f"{name} {missing}" in stderr
    registry.known.cache_clear()
