"""The view of tracks in a notebook: at most 2 MB, alone in its frame, and points are drawn where they are."""

import base64
import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tapetum
from tapetum.core.errors import BadInput
from tapetum.report.view import MOST_BYTES, view_tracks
from tapetum.types import Tracks
from tapetum.video import Video, open_video


def moving(points: int = 2, frames: int = 8) -> Tracks:
    """Points that go right, 10 pixels a frame; the second is hidden in the end."""
    t = np.arange(frames)
    xy = np.stack([np.stack([20.5 + 10 * t, np.full(frames, 30.5 + 40 * k % 320)], 1) for k in range(points)])
    visible = np.ones((points, frames), bool)
    visible[1:, -1] = False
    names = tuple(["left <ear>", "tail"][:points]) if points <= 2 else None
    confidence = np.where(visible, 0.9, 0.1)
    return Tracks(
        xy=xy, visible=visible, confidence=confidence, queries=np.column_stack([np.zeros(points), xy[:, 0]]), names=names
    )


def film_of(page: str, folder: Path) -> Video:
    [data] = re.findall(r'src="data:video/mp4;base64,([^"]*)"', page)
    (folder / "film.mp4").write_bytes(base64.b64decode(data))
    return open_video(folder / "film.mp4")


def test_a_notebook_gets_a_frame_of_its_own_that_runs_no_script() -> None:
    view = moving().show(np.zeros((8, 100, 120, 3), np.uint8))
    text = view._repr_html_()
    [inner] = re.findall(r"srcdoc='(.*)'></iframe>", text, re.S)
    assert html.unescape(inner) == view.page
    assert "'" not in inner
    assert " sandbox " in text
    assert "<script" not in view.page
    assert "default-src 'none'" in view.page


def test_the_film_draws_each_point_at_its_pixels(tmp_path: Path) -> None:
    tracks = replace(moving(), names=None)
    with film_of(tracks.show(np.zeros((8, 100, 120, 3), np.uint8)).page, tmp_path) as film:
        assert len(film) == 8
        for frame in (0, 3, 7):
            (x, y), image = tracks.xy[0, frame].astype(int), film[frame].astype(int)
            assert (image[y, x] > (200, 200, 0)).all()  # the first colour of points
            assert image[y + 12, x].max() < 30


@pytest.mark.slow
def test_noise_and_long_videos_stay_within_two_megabytes(tmp_path: Path) -> None:
    video = np.random.default_rng(0).integers(0, 256, (300, 360, 640, 3), np.uint8)
    view = view_tracks(moving(300, 300), video)
    assert 100_000 < len(view._repr_html_().encode()) <= MOST_BYTES == 2_000_000
    assert "<p>240 of the frames are shown.</p>" in view.page
    with film_of(view.page, tmp_path) as film:
        assert len(film) == 240


def test_the_result_of_track_shows_itself_and_saves(clip: Path, tmp_path: Path) -> None:
    done = tapetum.track(clip, model="static", grid=2)
    page = done.show().save(tmp_path / "view.html").read_text()
    assert "4 points in 6 frames" in page
    with film_of(page, tmp_path) as film:
        assert len(film) == 6


def test_another_video_is_refused(clip: Path) -> None:
    with pytest.raises(BadInput, match="8 frames"):
        moving().show(clip)
