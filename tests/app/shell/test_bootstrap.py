"""What `tapetum bootstrap` says of a finished run: never better than its own figures."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.app.learn.bootstrap import Bootstrapped
from tapetum.hub.registry import TRACKER_FILE
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE
from tapetum.systems.tap.bootstrap.run import Outcome
from tapetum.video import write_video

CYCLE = {"median_px": None, "back_within_4px": 0.5}


@pytest.mark.parametrize(
    ("before", "after", "last", "step", "verdict", "better"),
    [
        (0.5521, 0.5524, 0.5523, 30, "0.552 before, 0.552 after; no different: the weights of step 30 are kept", False),
        (0.5524, 0.5526, 0.5523, 30, "0.552 before, 0.553 after; better: the weights of step 30 are kept", True),
        (0.552, 0.552, 0.5519, 0, "0.552 before, 0.552 after; no different at the end (0.552): the weights that it", False),
        (0.552, 0.552, 0.49, 0, "0.552 before, 0.552 after; worse at the end (0.490): the weights that it started from", False),
    ],
)
def test_better_is_said_of_what_is_printed(
    before: float, after: float, last: float, step: int, verdict: str, better: bool
) -> None:
    scores = ({DECIDING_SCORE: value} for value in (before, after, last))
    outcome = Outcome(Path("run/tracker.safetensors"), *scores, step, CYCLE, CYCLE)
    assert f"best threshold: {verdict}" in Bootstrapped(outcome, Path("run")).as_text()
    assert Bootstrapped(outcome, Path("run")).as_json()["better"] is better


OWN = """
import numpy as np
from tapetum.types import Tracks

class Still:
    def track(self, video, queries, *, progress=None):
        from tapetum.video import open_video

        shape = len(queries), len(open_video(video))
        xy = np.broadcast_to(np.asarray(queries, np.float32)[:, None, 1:], (*shape, 2))
        return Tracks(xy=xy, visible=np.ones(shape, bool), confidence=np.full(shape, 0.8, np.float32), queries=queries)
"""


def test_calibrate_makes_an_error_model_of_any_tracker(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapetum.app.learn.bootstrap.CALIBRATION_CLIPS", 8)
    (tmp_path / "own.py").write_text(OWN)
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((160, 64), Image.Resampling.BICUBIC))
    write_video(tmp_path / "clip.mp4", np.stack([wide[:, 4 * t : 4 * t + 64] for t in range(24)]), 25)
    own = f"{tmp_path / 'own.py'}:Still"
    given = "bootstrap", tmp_path / "clip.mp4", "--calibrate", "--model", own, "--size", "64", "--out", tmp_path / "out"
    code, out, err = run(*given, "--json")
    assert code == 0, err
    made = json.loads(out)
    assert made["errors"] == str(tmp_path / "own-errors.safetensors")
    assert 0 < made["wrong"] < 1
    query = "--query", "0,20,20", "--query", "0,40,50"
    code, out, err = run("track", tmp_path / "clip.mp4", *query, "--model", own, "--doubt", "--out", tmp_path / "t.csv")
    assert code == 0, err
    assert "of the visible places are wrong" in out
    assert "chance_wrong" in (tmp_path / "t.csv").read_text().splitlines()[0]
    (tmp_path / "out" / TRACKER_FILE).write_bytes(b"another")
    code, _, err = run(*given[:4], "tapir-nano", *given[5:])
    assert (code, "is another tracker than tapir-nano" in err) == (2, True)
    code, _, err = run(*given, "--report", tmp_path / "r.html")
    assert (code, "--calibrate teaches it nothing" in err) == (2, True)
    with (tmp_path / "own.py").open("a") as file:
        file.write("# changed")
    code, _, err = run("track", tmp_path / "clip.mp4", *query, "--model", own, "--out", tmp_path / "t.csv")
    assert (code, "predicts errors of another tracker" in err) == (2, True)
