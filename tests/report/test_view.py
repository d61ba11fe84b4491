"""The view of tracks in a notebook: at most 2 MB, alone in its frame, and it draws points where they are."""

import html
import re
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support import browser
from support.browser import browsing
from tapetum.core.errors import BadInput
from tapetum.report.view import MOST_BYTES, view_tracks
from tapetum.types import Tracks


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


def test_a_notebook_gets_a_frame_of_its_own() -> None:
    video = np.zeros((8, 100, 120, 3), np.uint8)
    view = moving().show(video)
    text = view._repr_html_()
    [inner] = re.findall(r"srcdoc='(.*)'></iframe>", text, re.S)
    assert html.unescape(inner) == view.page
    assert "'" not in inner
    assert "sandbox='allow-scripts'" in text
    assert "left \\u003cear>" in view.page


@pytest.mark.slow
def test_noise_and_many_points_stay_within_two_megabytes() -> None:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (90, 360, 640, 3), np.uint8)
    view = view_tracks(moving(3000, 90), video)
    assert 100_000 < len(view._repr_html_().encode()) <= MOST_BYTES == 2_000_000
    assert re.search(r"<p>\d+ of the frames are shown.</p>", view.page)
    assert re.search(r"<p>[\d,]+ of the points are shown.</p>", view.page)


def test_the_result_of_track_shows_itself_and_saves(clip: Path, tmp_path: Path) -> None:
    done = tapetum.track(clip, model="static", grid=2)
    page = done.show().save(tmp_path / "view.html").read_text()
    assert "4 points in 6 frames" in page
    assert len(re.findall(r"/9j/", page)) == 6  # how a JPEG begins in base64


def test_another_video_is_refused(clip: Path) -> None:
    with pytest.raises(BadInput, match="8 frames"):
        moving().show(clip)


@pytest.mark.slow
@pytest.mark.skipif(not browser.HERE, reason="there is no Chromium with its driver")
def test_scrubbing_draws_each_point_at_its_pixels(tmp_path: Path) -> None:
    video = np.zeros((8, 100, 120, 3), np.uint8)
    tracks = moving()
    path = tracks.show(video).save(tmp_path / "view.html")
    pixel = """const c = document.getElementById('frame'), s = c.width / 120, p = c.getContext('2d');
        return [...p.getImageData(Math.round(arguments[0] * s), Math.round(arguments[1] * s), 1, 1).data].slice(0, 3)"""
    scrub = """const s = document.getElementById('slider'); s.value = arguments[0]; s.dispatchEvent(new Event('input'));
        return document.getElementById('frame').dataset.frame + document.getElementById('time').textContent"""
    with browsing(tmp_path) as chromium:
        chromium.open(path)
        chromium.wait("return document.getElementById('frame').width > 100")
        for frame in (0, 3, 7, 5):
            assert chromium.run(scrub, frame) == f"{frame}frame {frame}"
            x, y = tracks.xy[0, frame].tolist()
            assert chromium.run(pixel, x, y) == [255, 255, 60]  # the first colour of points
            assert chromium.run(pixel, x + 8, y) == [0, 0, 0]
            x, y = tracks.xy[1, frame].tolist()
            assert chromium.run(pixel, x, y) == ([105, 75, 255] if frame < 7 else [0, 0, 0])  # hidden: a ring, open inside
        chromium.press("home")
        assert chromium.run("return document.getElementById('frame').dataset.frame") == "0"
        chromium.press("right", "right")
        assert chromium.run("return document.getElementById('frame').dataset.frame") == "2"
        hover = """const c = document.getElementById('frame'), b = c.getBoundingClientRect(), s = b.width / 120;
            c.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + 40.5 * s + 3, clientY: b.top + 30.5 * s}));
            return document.getElementById('tip').textContent"""
        assert chromium.run(hover) == "left <ear>: 40.5, 30.5, visible, confidence 0.90"
        assert chromium.errors() == []
