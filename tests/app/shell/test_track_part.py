"""A part of a video, smaller frames, other overlays: what is asked for is done, in pixels and seconds of the whole video."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

import tapetum
from support.networks import TAPIR_NANO, save_tapir
from tapetum.systems.tap.layers import Backbone
from tapetum.types import Tracks
from tapetum.video import open_video, write_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tapir(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def test_a_part_is_tracked_as_if_it_were_the_video(run: Run, clip: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--start", "1", "--end", "0.5s", "--stride", "2", "--query", "3,20.5,20", "--model", model]
    code, stdout, stderr = run("track", clip, *options, "--out", out, "--json")
    assert (code, stderr) == (0, "")
    summary = json.loads(stdout)
    assert summary["frames"] == 2
    tracks = Tracks.load(out / "tracks.npz")
    assert tracks.numbers is not None
    assert (tracks.numbers.tolist(), tracks.times.tolist()) == ([1, 3], [0.1, 0.3])
    video = open_video(clip)[[1, 3]]
    alone = tapetum.load(model).track(video, [[1, 20.5, 20]])
    np.testing.assert_array_equal(alone.xy, tracks.xy)
    with (out / "tracks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["time_s"], row["video_frame"]) for row in rows] == [("0", "0.1", "1"), ("1", "0.3", "3")]
    assert len(open_video(out / "overlay.mp4")) == 2
    # drawn again on the whole video, on the frames that they are about
    code, stdout, stderr = run("show", out / "tracks.csv", clip, "--out", tmp_path / "again.mp4", "--json")
    assert (code, stderr, json.loads(stdout)["frames"]) == (0, "", 2)
    assert len(open_video(tmp_path / "again.mp4")) == 2


def test_the_beginning_of_a_video_is_a_part_too(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("track", clip, "--end", 4, "--model", "static", "--grid", 2, "--no-overlay", "--out", tmp_path)[0] == 0
    for name in ("tracks.npz", "tracks.csv"):
        assert run("show", tmp_path / name, clip, "--out", tmp_path / "a.mp4")[0] == 0
        assert len(open_video(tmp_path / "a.mp4")) == 4


def test_points_on_frames_that_are_left_out_are_refused(run: Run, clip: Path, tmp_path: Path) -> None:
    for options, hint in (
        (["--start", "2", "--query", "1,5,5"], "put it on frame 2 or 3"),
        (["--stride", "2", "--query", "3,5,5"], "put it on frame 2 or 4"),
    ):
        code, _, err = run("track", clip, *options, "--model", "static", "--out", tmp_path / "out")
        assert code == 2
        assert hint in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_grid_lies_on_the_first_frame_of_the_part(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("track", clip, "--start", 2, "--grid", 2, "--model", "static", "--out", tmp_path)[0] == 0
    assert Tracks.load(tmp_path / "tracks.npz").queries[:, 0].tolist() == [0] * 4


def test_smaller_frames_give_places_in_the_video(run: Run, clip: Path, model: Path, tmp_path: Path) -> None:
    queries = np.array([[0, 12.5, 20], [2, 64, 48]], np.float32)
    options = [part for t, x, y in queries for part in ("--query", f"{t:g},{x:g},{y:g}")]
    assert run("track", clip, "--resize", "32x16", *options, "--model", model, "--out", tmp_path)[0] == 0
    tracks = Tracks.load(tmp_path / "tracks.npz")
    np.testing.assert_array_equal(tracks.queries, queries)
    from tapetum.video.types import ResizedVideo

    small = tapetum.load(model).track(ResizedVideo(open_video(clip), 32, 16), queries * np.float32([1, 1 / 2, 1 / 3]))
    np.testing.assert_allclose(tracks.xy, small.xy * [2, 3], rtol=1e-6)
    assert (open_video(tmp_path / "overlay.mp4").width, open_video(tmp_path / "overlay.mp4").height) == (64, 48)


@pytest.mark.parametrize(("video", "resize"), [((240, 320), "64"), ((90, 70), "70x64"), ((240, 320), "16x64")])
@pytest.mark.parametrize("online", [False, True])
def test_smaller_frames_are_less_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: tuple[int, int], resize: str, online: bool
) -> None:
    work: list[int] = []
    forward = Backbone.forward

    def counted(self: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
        work.append(images.shape[0] * images.shape[2] * images.shape[3])
        return forward(self, images)

    monkeypatch.setattr(Backbone, "forward", counted)
    changes = {"causal": True, "second_pass": False, "polish": False} if online else {}  # with patches: at one size, always
    model = save_tapir(tmp_path / "nano.safetensors", TAPIR_NANO, **changes)
    write_video(tmp_path / "clip.mp4", np.zeros((3, *video, 3), np.uint8), 10)
    words = ("track", tmp_path / "clip.mp4", "--model", model, "--grid", 2, "--no-overlay", "--out", tmp_path / "out")
    counts = []
    for more in ((), ("--resize", resize)):
        work.clear()
        assert run(*words, *more, *["--online"] * online)[0] == 0
        counts.append(sum(work))
    assert counts[1] <= 0.45 * counts[0]  # 64x64 is the least at which this network looks; small videos are enlarged to 96x96


def test_overlays_as_they_are_asked_for(run: Run, clip: Path, tmp_path: Path) -> None:
    options = ["--numbers", "--radius", "2", "--trail", "0", "--rings", "no", "--scale", "2", "--fps", "5"]
    assert run("track", clip, "--model", "static", "--grid", 2, *options, "--out", tmp_path)[0] == 0
    drawn = open_video(tmp_path / "overlay.mp4")
    assert (len(drawn), drawn.width, drawn.height, drawn.frame_rate) == (3, 128, 96, 5)
    source = open_video(clip)
    for number in range(3):  # every other frame, at twice the size
        small = drawn[number].reshape(48, 2, 64, 2, 3).mean((1, 3))
        assert np.median(np.abs(small - source[2 * number])) < 12
    code, _, _ = run("show", tmp_path / "tracks.npz", clip, "--out", tmp_path / "a.gif", "--fps", "20", "--dither", "no")
    assert code == 0
    assert len(open_video(tmp_path / "a.gif")) == 12
    for bad in (["--radius", "0"], ["--trail", "-1"], ["--scale", "0"], ["--fps", "nan"]):
        code, _, err = run("show", tmp_path / "tracks.npz", clip, "--out", tmp_path / "b.mp4", *bad)
        assert (code, err.count("\n")) == (2, 1), bad
