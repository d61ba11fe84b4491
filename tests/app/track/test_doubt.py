"""`tapetum track --doubt`: what it lists, and the trackers that it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tapetum
from tapetum.app.track.point_tasks import Cut
from tapetum.app.track.track_files import span_lines
from tapetum.core.errors import BadInput
from tapetum.tracks.doubtful import Span
from tapetum.types import Tracks
from tapetum.video import open_video, write_video

Run = Callable[..., tuple[int, str, str]]


def still(frames: int = 4) -> np.ndarray:
    y, x = np.mgrid[:96, :128]
    image = np.stack([np.sin(x / 5) * np.cos(y / 7), np.sin(x * y / 300), np.cos(x / 9 + y / 4)], -1)
    return np.stack([(image * 100 + 128).astype(np.uint8)] * frames)


def test_a_still_clip_has_no_doubt_and_says_so() -> None:
    done = tapetum.track(still(), query=[(0, 40, 40), (0, 80, 50)], doubt=True)
    assert done.doubt == []
    assert done.as_json()["doubt"] == []
    assert done.as_text().splitlines()[-2] == "doubt    none"
    assert done.as_text().splitlines()[-1].startswith("expected 0.")
    assert done.tracks.error_px is not None
    plain = tapetum.track(still(), query=[(0, 40, 40)])
    assert plain.doubt is None
    assert "doubt" not in plain.as_json()
    assert "doubt" not in plain.as_text()


def test_noise_is_listed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 96, 128, 3), dtype=np.uint8)
    done = tapetum.track(noise, query=[(0, 40, 40), (0, 80, 50)], doubt=True, visible_above=0.0)
    assert done.doubt is not None
    assert {span.point for span in done.doubt} == {0, 1}
    assert done.as_json()["doubt"][0] == done.doubt[0]._asdict()
    some = tapetum.track(
        noise, query=[(0, 40, 40), (0, 80, 50)], doubt=True, visible_above=0.0, until=done.doubt[0].left + 1e-4
    )
    assert some.doubt == done.doubt[:1]
    assert some.as_text().endswith(f", {done.doubt[0].left:.1%} once these are right")


def test_errors_are_in_pixels_of_the_video_where_the_tracker_sees_smaller_frames() -> None:
    video = still(2)
    part = Cut(open_video(video), open_video(np.ascontiguousarray(video[:, ::2, ::2])))
    shape = np.ones((1, 2), bool)
    tracks = Tracks(np.ones((1, 2, 2)), shape, shape, [[0, 1, 1]], error_px=[[0, 3]], chance_wrong=[[0, 0.5]])
    whole = part.whole(tracks, [(0, 2, 2)])
    assert whole.error_px is not None and whole.chance_wrong is not None  # noqa: PT018
    assert whole.error_px.tolist() == [[0, 6]]
    assert whole.chance_wrong.tolist() == [[0, 0.5]]
    done = tapetum.track(video, query=[(0, 40, 40)], resize="64x48").tracks
    assert done.error_px is not None
    assert done.error_px[0, 1] > 0


@pytest.mark.parametrize("options", [{"until": 0.1}, {"doubt": True, "until": 2.0}])
def test_a_share_is_given_with_the_list_and_in_bounds(options: Any) -> None:
    with pytest.raises(BadInput, match="give it with --doubt, and a share from 0 to 1"):
        tapetum.track(still(), query=[(0, 40, 40)], **options)


@pytest.mark.parametrize("options", [{"model": "static"}, {"polish": "no"}, {"second_pass": "no"}, {"reference": still(1)}])
def test_without_predicted_errors_it_is_refused(options: Any) -> None:
    with pytest.raises(BadInput, match="--doubt needs predicted errors"):
        tapetum.track(still(), query=[(0, 40, 40)], doubt=True, **options)


def test_the_command_lists_them(tmp_path: Path, run: Run) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", still(), 10)
    given = "track", tmp_path / "a.mp4", "--query", "0,40,40", "--doubt"
    code, out, _ = run(*given, "--no-overlay", "--out", tmp_path / "out")
    assert code == 0
    assert "\ndoubt    " in out
    assert run("track", tmp_path / "a.mp4", "--query", "0,40,40", "--out", tmp_path / "t.csv")[1].count("doubt") == 0
    for more, message in (
        ("--online", "--doubt needs the whole video"),
        (tmp_path / "b.mp4", "--doubt lists the spans of one"),
    ):
        code, _, err = run("track", more, *given[1:])
        assert (code, message in err) == (2, True)


def test_lines_name_the_points() -> None:
    tracks = Tracks(np.ones((2, 1, 2)), np.ones((2, 1), bool), np.ones((2, 1)), np.zeros((2, 3)), names=("nose", ""))
    lines = span_lines([Span(0, 12, 20, 9.27, 0.6, 0.02), Span(1, 0, 0, 3, 0.5, 0.01)], tracks)
    assert lines[0] == "doubt    nose, frames 12 to 20: about 9.3 px off, wrong with a chance of 0.60"
    assert lines[1].startswith("doubt    point 1, frames 0 to 0")
