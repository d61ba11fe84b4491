"""`tapetum track`, mostly with the tracker that needs no weights: what is written, where, and for which points."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from av import Packet, VideoFrame

import tapetum
from support.files import listed
from tapetum.app.track.track_files import FILES
from tapetum.types import Tracks
from tapetum.video import open_video
from tapetum.video.decode import FileDecoder

Run = Callable[..., tuple[int, str, str]]


def test_writes_overlay_and_tables_and_says_where(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "results"
    code, stdout, stderr = run("track", clip, "--model", "static", "--out", out)
    assert (code, stderr) == (0, "")
    assert listed(out) == ["overlay.mp4", "tracks.csv", "tracks.npz"]
    assert [file.name for file in out.parent.iterdir()] == ["results"]
    assert all(str(out / name) in stdout for name in ("overlay.mp4", "tracks.csv", "tracks.npz"))
    overlay, video = open_video(out / "overlay.mp4"), open_video(clip)
    assert (len(overlay), overlay.width, overlay.height, overlay.frame_rate) == (6, 64, 48, 10)
    assert np.abs(overlay[0].astype(int) - video[0]).max() > 40, "nothing was drawn"
    with np.load(out / "tracks.npz") as file:
        assert {name: file[name].shape for name in file.files} == {
            "xy": (100, 6, 2),
            "visible": (100, 6),
            "confidence": (100, 6),
            "queries": (100, 3),
            "times": (6,),
        }
    np.testing.assert_array_equal(Tracks.load(out / "tracks.csv").xy, Tracks.load(out / "tracks.npz").xy)


def test_the_grid_lies_at_the_centres_of_cells(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("track", clip, "--model", "static", "--out", tmp_path, "--grid", 2, "--frame", 3)[0] == 0
    queries = Tracks.load(tmp_path / "tracks.npz").queries
    assert queries.tolist() == [[3, 16, 12], [3, 48, 12], [3, 16, 36], [3, 48, 36]]


def test_queries_and_json(run: Run, clip: Path, tmp_path: Path) -> None:
    arguments = ["--query", "0,10.5,20", "--query", "5,1,2", "--query", "2.5,3,4", "--out", tmp_path, "--json"]
    code, stdout, _ = run("track", clip, "--model", "static", *arguments)
    assert code == 0
    summary = json.loads(stdout)
    assert (summary["points"], summary["frames"], summary["width"], summary["height"]) == (3, 6, 64, 48)
    assert Path(summary["tracks"]) == tmp_path / "tracks.npz"
    assert Tracks.load(summary["tracks"]).queries.tolist() == [[0, 10.5, 20], [5, 1, 2], [2.5, 3, 4]]


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("t,x,y\n1,10,20\n\n2,30,40\n", [[1, 10, 20], [2, 30, 40]]),
        ("x,y\n10,20\n", [[0, 10, 20]]),
        ("\ufeffname, Y, X, T\nnose,20,10,1\n", [[1, 10, 20]]),
    ],
)
def test_points_from_a_table(run: Run, clip: Path, tmp_path: Path, text: str, queries: list) -> None:
    table = tmp_path / "points.csv"
    table.write_text(text, encoding="utf-8")
    assert run("track", clip, "--model", "static", "--points", table, "--out", tmp_path / "out")[0] == 0
    assert Tracks.load(tmp_path / "out" / "tracks.npz").queries.tolist() == queries


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "polished"), [("auto", True), ("yes", True), ("no", False)])
def test_tracks_are_polished_as_asked(run: Run, clip: Path, tmp_path: Path, asked: str, polished: bool) -> None:
    assert run("track", clip, "--grid", 3, "--polish", asked, "--out", tmp_path)[0] == 0
    tracks = Tracks.load(tmp_path / "tracks.npz")
    expected = tapetum.load("tapir-nano").track(clip, tracks.queries, polish=polished)
    np.testing.assert_allclose(tracks.xy, expected.xy, atol=0.02)
    assert np.array_equal(tracks.xy[:, 0], tracks.queries[:, 1:]) == polished  # the patch lies exactly where it was cut


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "looks_again"), [("auto", True), ("no", False)])
def test_points_are_looked_for_again_as_asked(run: Run, clip: Path, tmp_path: Path, asked: str, looks_again: bool) -> None:
    assert run("track", clip, "--grid", 3, "--polish", "no", "--second-pass", asked, "--out", tmp_path)[0] == 0
    tracks, tracker = Tracks.load(tmp_path / "tracks.npz"), tapetum.load("tapir-nano")
    same, other = (
        tracker.track(clip, tracks.queries, polish=False, second_pass=look) for look in (looks_again, not looks_again)
    )
    np.testing.assert_allclose(tracks.xy, same.xy, atol=0.02)
    assert np.abs(tracks.xy - other.xy).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--view", "rainbow"], ["--model", "causal-tapir-nano"], ["--3d", "--model", "static"]])
def test_a_frame_is_decoded_once_for_check_network_polish_and_overlay(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    count: Counter[int | None] = Counter()
    decode = FileDecoder._decode

    def counted(self: FileDecoder, packet: Packet | None) -> list[VideoFrame]:
        frames = decode(self, packet)
        count.update(frame.pts for frame in frames)
        return frames

    monkeypatch.setattr(FileDecoder, "_decode", counted)
    both_ways = ["--query", "0,20,20", "--query", "3,30,20", "--query", "5,30,30"]  # the polish goes on from a query, and back
    assert run("track", clip, *both_ways, *options, "--out", tmp_path)[0] == 0
    assert sorted(count.values()) == [1] * 5 + [2], "only the first is decoded once more, for its size, when the file is opened"


def test_a_causal_model_has_no_second_pass(run: Run, clip: Path, tmp_path: Path) -> None:
    code, _, error = run("track", clip, "--model", "causal-tapir-nano", "--second-pass", "yes", "--out", tmp_path)
    assert code == 2
    assert "needs the future" in error


def test_the_default_folder_has_the_name_of_the_video(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "overlay  clip-tracks/overlay.mp4\n" in run("track", clip, "--model", "static")[1]  # named as it was given
    assert (tmp_path / "clip-tracks" / "overlay.mp4").is_file()


def test_a_second_run_replaces_its_files_and_leaves_others(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    for grid in (3, 2):
        assert run("track", clip, "--model", "static", "--out", tmp_path, "--grid", grid)[0] == 0
    assert Tracks.load(tmp_path / "tracks.npz").points == 4
    names = ["mine.txt", "overlay.mp4", "tracks.csv", "tracks.npz"]
    assert listed(tmp_path) == names


@pytest.mark.parametrize("ending", [".csv", ".npz", ".json", ".parquet", ".MP4", ".gif"])
def test_one_file_is_written_alone(run: Run, clip: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"t{ending}"
    code, stdout, stderr = run("track", clip, "--model", "static", "--grid", 2, "--out", out)
    assert (code, stderr) == (0, "")
    assert listed(tmp_path) == [out.name]
    assert stdout.splitlines()[-1].split() == [FILES[ending.lower()], str(out)]
    if ending in (".MP4", ".gif"):
        assert len(open_video(out)) == 6
    else:
        assert Tracks.load(out).xy.shape == (4, 6, 2)
    code, stdout, _ = run("track", clip, "--model", "static", "--grid", 2, "--out", out, "--json")
    assert str(out) in json.loads(stdout).values()


def test_one_file_is_refused_before_the_work_where_it_cannot_be(run: Run, clip: Path, tmp_path: Path) -> None:
    same = tmp_path / "same.npz"
    np.savez(same, np.zeros((3, 32, 32, 3), np.uint8))
    for words, message in (
        ((clip, "--out", tmp_path / "none" / "t.csv"), "there is no folder"),
        ((clip, "--out", tmp_path / "t.csv", "--3d"), "--3d writes several"),
        ((same, "--out", same), "this command reads it"),
        ((clip, same, "--out", tmp_path / "t.csv"), "is one file, and 2 videos"),
        ((clip, "--out", tmp_path / "t.csv", "--online"), "writes several"),
    ):
        code, _, err = run("track", *words, "--grid", 2)
        assert code == 2
        assert message in err
    assert not (tmp_path / "t.csv").exists()
    (tmp_path / "t.csv").mkdir()
    assert run("track", clip, "--model", "static", "--grid", 2, "--out", tmp_path / "t.csv")[0] == 0
    assert (tmp_path / "t.csv" / "tracks.npz").exists()


def test_videos_in_one_folder_have_folders_whatever_their_names_end_in(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(clip.read_bytes())
    assert run("track", clip, tmp_path / "other.mp4", "--model", "static", "--grid", 2, "--out", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "other.mp4" / "tracks.csv").exists()
