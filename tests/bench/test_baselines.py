"""Trackers by name."""

from pathlib import Path

import pytest

import tapetum
from tapetum.bench.baselines import load_tracker, load_tracker3d
from tapetum.core.errors import BadInput


def test_trackers_by_name() -> None:
    assert type(load_tracker3d("static")).__name__ == "Static3D"
    with pytest.raises(BadInput, match="there is no depth nowhere"):
        load_tracker3d("tapir-nano", "nowhere")
    with pytest.raises(BadInput, match="nano-tapir"):
        load_tracker3d("nano-tapir")


TRACKER = '''
import numpy as np

from tapetum.types import Tracks


class MyTracker:
    """Every point drifts by half a pixel a frame."""

    def track(self, video, queries, *, progress=None):
        drift = (np.arange(len(video)) - queries[:, :1])[..., None] * 0.5
        xy = (queries[:, None, 1:] + drift).astype(np.float32)
        shown = np.ones(xy.shape[:2], bool)
        return Tracks(xy=xy, visible=shown, confidence=shown.astype(np.float32), queries=queries)


class Nothing:
    pass
'''


def test_a_tracker_of_ones_own_is_scored_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "own_tracker_file.py").write_text(TRACKER)
    made = tapetum.app.scenes.make(tmp_path / "scenes", n=1, size=64, frames=3)
    reference = f"{tmp_path}/own_tracker_file.py:MyTracker"
    scores = tapetum.evaluate_tapvid(data=str(made.tapvid), model=reference)
    assert scores.model == "own_tracker_file.py:MyTracker"
    assert scores.table["videos"] == 1
    with pytest.raises(BadInput, match="tracks nothing; give it a method track"):
        load_tracker(f"{tmp_path}/own_tracker_file.py:Nothing")
