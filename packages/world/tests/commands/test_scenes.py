"""`tapetum scenes images` and `episodes` write what other commands read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


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
