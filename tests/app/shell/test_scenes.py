"""`tapetum scenes make` writes what `tapetum eval tapvid` reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_images_and_episodes(run: Run, tmp_path: Path) -> None:
    code, stdout, _ = run("scenes", "images", tmp_path / "p", "--n", 1, "--size", 32, "--json")
    assert (code, json.loads(stdout)["images"]) == (0, 1)
    options = ["--n", 1, "--size", 32, "--seconds", 0.25, "--points", 4]
    code, stdout, _ = run("scenes", "episodes", tmp_path / "e", *options)
    assert code == 0
    assert str(tmp_path / "e" / "all_train.json") in stdout
    code, stdout, _ = run("eval", "tapvid", "--data", tmp_path / "e" / "tapvid", "--model", "static", "--json")
    assert (code, json.loads(stdout)["videos"]) == (0, 1)
    for verb, folder in (("images", "e"), ("episodes", "p")):
        code, stdout, stderr = run("scenes", verb, tmp_path / folder, "--n", 1)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1)
        assert "belongs to a run with what" in stderr


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_images_on_ray_are_the_same(run: Run, tmp_path: Path) -> None:
    options = ["--n", 2, "--size", 32]
    assert run("scenes", "images", tmp_path / "here", *options)[0] == 0
    code, _, stderr = run("scenes", "images", tmp_path / "ray", *options, "--engine", "ray")
    assert code == 0, stderr
    for name in ("images.jsonl", "images/000001.jpg", "shards/images-000000.tar"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
