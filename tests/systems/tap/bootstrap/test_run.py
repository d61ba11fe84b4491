"""A folder of `tapetum bootstrap` is of one run: what belongs to another is refused or thrown away, nothing is half-written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tapetum.app.learn.bootstrap import Bootstrapped
from tapetum.app.shell.output import print_json
from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap import run as runs
from tapetum.systems.tap.bootstrap import samples
from tapetum.systems.tap.bootstrap.config import BootstrapRun
from tapetum.systems.tap.bootstrap.run import Outcome, bootstrap
from tapetum.systems.tap.bootstrap.samples import CycleErrors
from tapetum.systems.tap.weights import load, save
from tapetum.train.launch_config import Launch
from tapetum.video import write_video

Drift = Callable[..., np.ndarray]


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_scores_of_a_run_that_never_began_are_not_taken_for_those_of_another(
    videos: Path, recipe: BootstrapRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "out", tmp_path / "other" / Path(recipe.model).name  # weights of the same name
    other.parent.mkdir()
    network = load(Path(recipe.model))
    for parameter in network.parameters():
        parameter.data.mul_(0.5)
    save(network, other)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            bootstrap(videos, recipe, Launch(out=out, workers=0))
    assert (out / "before.json").exists()
    still = replace(recipe, model=str(other), lr=1e-12)  # learns nothing
    ours = bootstrap(videos, still, Launch(out=out, workers=0))
    alone = bootstrap(videos, still, Launch(out=tmp_path / "alone", workers=0))
    assert ours is not None
    assert alone is not None
    assert ours.before == alone.before
    start = load_file(other)
    assert all(((value - start[name]).abs() < 1e-4).all() for name, value in load_file(ours.file).items())


@pytest.mark.slow
def test_videos_that_come_later_are_refused_and_nothing_is_lost(
    videos: Path, recipe: BootstrapRun, tmp_path: Path, drift: Drift
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for video in videos.iterdir():
        (folder / video.name).symlink_to(video)
    launch = Launch(out=out, workers=0, checkpoint_folder=str(tmp_path / "elsewhere"))
    assert bootstrap(folder, recipe, replace(launch, minutes=0)) is None
    assert not (out / "run" / "checkpoints").exists()
    stills = sorted((out / "stills").iterdir())
    write_video(folder / "3.mp4", drift(3, 13), 25)
    with pytest.raises(BadInput, match=r"run with other videos: videos 3 \(now 4\), clips 3 \(now 4\), digest .*; go on"):
        bootstrap(folder, recipe, launch)
    with pytest.raises(BadInput, match=r"is of a run with other settings: seed 1 \(now 2\); go on"):
        bootstrap(folder, replace(recipe, seed=2), launch)
    with pytest.raises(BadInput, match=r"elsewhere has checkpoints, and no run\.json in .* says of which run they are; give"):
        bootstrap(folder, recipe, replace(launch, out=tmp_path / "new"))
    (folder / "3.mp4").unlink()
    (out / "stills" / ".a.123.tmp.jpg").write_bytes(b"half")  # by a process that was killed
    assert bootstrap(folder, recipe, launch) is not None
    assert sorted((out / "stills").iterdir()) == stills
    whole = bootstrap(videos, recipe, Launch(out=tmp_path / "whole", workers=0))
    assert whole is not None
    assert whole.file.read_bytes() == (out / "tracker.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"textures": "nowhere"}, "nowhere is neither a folder"),
        ({"extra_convs": -1}, "extra_convs"),
        ({"device": "foo"}, "there is no device 'foo'"),
        ({"clips": 3}, "3 clips a step do not divide into 2 processes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    videos: Path, recipe: BootstrapRun, tmp_path: Path, change: dict, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "clips" in change:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "0")
    device = change.pop("device", "auto")
    with pytest.raises(BadInput, match=says):
        bootstrap(videos, replace(recipe, **change), Launch(out=tmp_path / "out", workers=0, device=device))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_cycles_of_which_nothing_is_seen_at_the_end_have_no_pixels(
    videos: Path, recipe: BootstrapRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(samples, "cycle_errors", lambda track, video, queries: CycleErrors(np.full(len(queries), np.nan)))
    out = bootstrap(videos, recipe, Launch(out=tmp_path, workers=0))
    assert isinstance(out, Outcome)
    assert out.cycle_after == {"median_px": None, "mean_px": None, "judged": 0.0, "back_within_4px": 0.0}
    print_json(Bootstrapped(out, tmp_path).as_json())
    assert json.loads(capsys.readouterr().out)["cycle_before"]["median_px"] is None
    assert "no point to judge before, no point to judge after" in Bootstrapped(out, tmp_path).as_text()
