"""The report of `tapetum bootstrap`: a row for each clip that was left out, with errors derived by hand."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tapetum.app.learn import bootstrap_report as bootstrap
from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.footage import FootageConfig, prepare_all
from tapetum.types import Tracks
from tapetum.video import write_video

SIZE, FRAMES = 64, 6


class Drifting:
    """Points are `step` pixels further right for each frame between theirs and the other, forward and back.

    So a point that goes to the last frame and back ends 2 * step * (frames - 1) pixels from where it began. In one clip, none
    is visible.
    """

    def __init__(self, step: float, lost_in: np.ndarray | None = None):
        self.step, self.lost_in = step, lost_in

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        away = np.abs(np.arange(len(video)) - queries[:, :1]) * self.step
        xy = queries[:, None, 1:] + np.stack([away, np.zeros_like(away)], axis=2)
        lost = self.lost_in is not None and np.array_equal(video, self.lost_in)
        visible = np.full(away.shape, not lost)
        return Tracks(xy=xy, visible=visible, confidence=np.ones(away.shape, np.float32), queries=queries)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run over nine clips of one film, and a broken file: the eighth clip was left out."""
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    texture = np.random.default_rng(0).integers(60, 255, (6, 16, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(texture).resize((SIZE + 2 * 9 * FRAMES, SIZE), Image.Resampling.BICUBIC))
    write_video(videos / "film.mp4", [wide[:, 2 * t : 2 * t + SIZE] for t in range(9 * FRAMES)], 25)
    (videos / "broken.mp4").write_bytes(b"no video")
    footage = prepare_all(videos, out / "footage", FootageConfig(size=SIZE, shortest=FRAMES, longest=FRAMES))
    assert len(footage) == 9
    (out / "run").mkdir()
    lines = [{"step": step, "loss": 1 / (1 + step), "metrics": {}, "grad_norm": 1.0, "lr": 0.1} for step in range(3)]
    (out / "run" / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return out


def write(run: Path, monkeypatch: pytest.MonkeyPatch, path: Path, before: Drifting, after: Drifting) -> str:
    """Write the report of a run from one tracker to another; its text."""
    trackers = {"before": before, "after": after}
    monkeypatch.setattr(bootstrap, "load", lambda model, device: trackers[str(model)])
    models = ("before", "after")
    bootstrap.write_bootstrap_report(path, run.parent / "videos", ["<said>"], run, models, None, lambda *numbers: None)
    return path.read_text()


def table_of(text: str) -> dict[str, Any]:
    return json.loads(text.partition('<script id="data" type="application/json">')[2].partition("</script>")[0])["table"]


def test_a_clip_that_was_left_out_has_the_errors_of_both_trackers(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Points end 2 * 2 * 5 pixels of 64, 80 of 256, from their start before, and 2 of 256 after."""
    text = write(run, monkeypatch, tmp_path / "r.html", Drifting(2.0), Drifting(0.05))
    table = table_of(text)
    assert [column["name"] for column in table["columns"]] == [column.name for column in bootstrap._COLUMNS]
    broken, clip = table["rows"]
    assert broken["cells"][0] == "broken.mp4"
    assert "not a video that can be read" in broken["trouble"]
    assert clip["cells"] == ["film.mp4", 7 * FRAMES, 80.0, 2.0, 0.0, 1.0]
    assert "trouble" not in clip
    image = Image.open(io.BytesIO(base64.b64decode(table["images"][1])))
    assert image.width / image.height == pytest.approx(3, abs=0.05)  # first, middle and last frame
    assert "&lt;said&gt;" in text


def test_a_clip_with_no_point_to_judge_comes_before_the_others(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "split", lambda footage: ([], [0, 8]))
    lost_in = bootstrap.FootageDataset(run / "footage")[8]
    text = write(run, monkeypatch, tmp_path / "r.html", Drifting(0.05), Drifting(0.05, lost_in))
    rows = [row["cells"][1:] for row in table_of(text)["rows"]]
    assert rows[1:] == [[8 * FRAMES, 2.0, None, 1.0, 0.0], [0, 2.0, 2.0, 1.0, 1.0]]


def test_a_page_that_cannot_be_written_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no/such/folder"):
        write(run, monkeypatch, tmp_path / "no" / "such" / "folder" / "r.html", Drifting(1), Drifting(1))
