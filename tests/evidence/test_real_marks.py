"""Marks in a made video are scored on the marked frames alone, and written as a TAP-Vid pickle."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from support.scripts import ROOT, script
from tapetum.core.errors import BadInput
from tapetum.tracks.tapvid import read_entries
from tapetum.video import write_video

FRAMES, STEP, SIZE = 9, 2, (64, 32)


@pytest.fixture
def real_marks():
    return script("evidence/real-marks/real_marks.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A video of noise that moves by (STEP, 0) pixels a frame from its third frame on, and marks in frames 3, 5, 7."""
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0] + STEP * FRAMES, 3)).astype(np.uint8)
    start = STEP * FRAMES
    frames = [noise[:, start - STEP * t : start - STEP * t + SIZE[0]] for t in range(FRAMES)]
    write_video(tmp_path / "made.mp4", frames, 24)
    with (tmp_path / "marks.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "point", "frame", "x", "y", "visible"])
        for t in (3, 5, 7):
            writer.writerow(("made.mp4", "moves", t, 20.5 + STEP * t, 16.5, 1))
            late = (30.5, 8.5, 1) if t > 3 else ("", "", 0)
            writer.writerow(("made.mp4", "stays, visible later", t, *late))
    return tmp_path


def test_a_still_tracker_scores_what_its_distances_give(real_marks, folder: Path) -> None:
    arguments = ["--videos", str(folder), "--marks", str(folder / "marks.csv"), "--model", "static"]
    static = real_marks.main(arguments)["static"]
    (row,) = static["per_video"]
    assert (row["frames"], row["queries"]) == (5, 2)  # frames 3 to 7; the second point is first visible in frame 5
    # Evaluated are "moves" in frames 5 and 7, 16 and 32 pixels off at 256 (4 and 8 of a width of 64), and "stays" in frame 7.
    assert row["pts_within_16"] == pytest.approx(1 / 3)
    assert static["average_pts_within_thresh"] == pytest.approx(1 / 3)
    assert static["occlusion_accuracy"] == 1


def test_lucas_kanade_sees_the_frames_between_marks(real_marks, folder: Path) -> None:
    (marks,) = real_marks.read_marks(folder / "marks.csv")
    frames, size = real_marks.read_video(marks, [folder])
    calls = []

    class Watcher(real_marks.LucasKanade):
        def track(self, video, queries):
            calls.append((video.shape, queries[:, 0].tolist()))
            return super().track(video, queries)

    real_marks.score(Watcher(), marks, frames, size)
    assert size == SIZE
    assert calls == [((5, 256, 256, 3), [0.0, 2.0])]


def test_the_pickle_holds_the_marked_frames(real_marks, folder: Path) -> None:
    out = folder / "marks.pkl"
    real_marks.main(["--videos", str(folder), "--marks", str(folder / "marks.csv"), "--pickle", str(out)])
    (entry,) = read_entries(out)
    assert entry.video.shape == (3, SIZE[1], SIZE[0], 3)
    assert entry.points[0] * SIZE == pytest.approx(np.array([[26.5, 16.5], [30.5, 16.5], [34.5, 16.5]]), abs=1e-4)
    assert entry.occluded.tolist() == [[False] * 3, [True, False, False]]


def test_marks_with_holes_and_missing_videos_are_refused(real_marks, folder: Path) -> None:
    path = folder / "marks.csv"
    with pytest.raises(BadInput, match=r"none of the folders has made\.mp4"):
        real_marks.main(["--videos", str(folder / "elsewhere"), "--marks", str(path)])
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match="'stays, visible later' has no mark in frame 7"):
        real_marks.read_marks(path)


def test_the_committed_marks_can_be_read_and_lie_in_every_eighth_frame(real_marks) -> None:
    for marks in real_marks.read_marks(real_marks.MARKS):
        assert set(np.diff(marks.frames)) == {8}
        assert len(marks.points) >= 8
        assert (~marks.occluded).any(axis=1).all()
        assert (marks.xy[~marks.occluded] > 0).all()


def test_second_marks_are_compared_with_the_first(real_marks, folder: Path) -> None:
    again = folder / "again.csv"
    again.write_text("clip,point,frame,x,y\nmade.mp4,moves,5,33.5,20.5\nmade.mp4,moves,7,34.5,15.5\n", encoding="utf-8")
    distances = real_marks.distances_again(real_marks.read_marks(folder / "marks.csv"), again)
    assert distances == pytest.approx([5, 1])  # (3, 4) and (0, -1) from (30.5, 16.5) and (34.5, 16.5)


def test_clips_that_were_used_are_left_out_of_the_second_row(real_marks) -> None:
    results = json.loads(real_marks.MARKS.with_name("results.json").read_text())
    six = {"box.mp4", "cup.mp4", "teddy.mp4", "paragliding-launch.mp4", "05_default_juggle.mp4", "camel.mp4"}
    marked = {m.clip for m in real_marks.read_marks(real_marks.MARKS)}
    all_marked = marked | {m.clip for m in real_marks.read_marks(real_marks.MARKS.with_name("seven-clips.csv"))}
    with (ROOT / "evidence" / "bootstrap" / "footage.csv").open(encoding="utf-8", newline="") as file:
        footage = {row["video"] for row in csv.DictReader(file)}
    assert {clip for clip, uses in real_marks.USED.items() if real_marks.LEARNED in uses} == all_marked & footage
    assert len(footage) == 21
    assert set(real_marks.USED) == all_marked - six
    found = results["tapir-nano"]
    clean = real_marks.clean(found)
    assert {row["name"] for row in clean["per_video"]} == six
    means = [np.mean([row["average_jaccard"] for row in found["per_video"] if row["name"] in part]) for part in (six, marked)]
    assert clean["average_jaccard"] == pytest.approx(means[0])
    line = real_marks.table(results, ["tapir-nano"]).splitlines()[2]
    assert line.startswith(f"| `tapir-nano` | {means[1]:.3f} (")
    assert f" | {means[0]:.3f} (" in line


def test_the_page_says_how_far_two_readings_lie_apart(real_marks, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ROOT / "evidence" / "real-marks"
    real_marks.main(["--again", str(folder / "marked-again.csv")])
    again = capsys.readouterr().out.strip()
    with (folder / "seven-clips-twice.csv").open(encoding="utf-8", newline="") as file:
        apart = np.array(
            [
                np.hypot(float(row["x1"]) - float(row["x2"]), float(row["y1"]) - float(row["y2"]))
                for row in csv.DictReader(file)
                if row["x1"]
            ]
        )
    assert [f"{each:.2f}" for each in (*np.quantile(apart, (0.5, 0.9)), apart.max())] == ["0.32", "0.81", "1.84"]
    assert again in (ROOT / "docs" / "evidence" / "real-marks.md").read_text(encoding="utf-8")
