"""tapetum track on several videos, here and on Ray, where workers are killed; tapetum bootstrap from the command line."""

import json
import os
import random
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.files import listed
from support.traced import memory_below
from tapetum.app.track import many
from tapetum.app.verb import Listener
from tapetum.core import identity
from tapetum.types import Tracks
from tapetum.video import write_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """Three videos, one of them deep, one that is none, and a text."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "deep").mkdir()
    for place in ("a.mp4", "b.mp4", "deep/a.mp4"):
        shutil.copy(clip, folder / place)
    (folder / "broken.mp4").write_bytes(clip.read_bytes()[:200])
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_a_folder_of_videos_is_tracked_one_by_one(folder: Path, tmp_path: Path, run: Run) -> None:
    code, out, errors = run("track", folder, "--model", "static", "--grid", 3, "--out", tmp_path / "out", "--json")
    assert code == 2
    assert "1 of 4 videos could not be tracked (" in errors
    assert errors.count("broken.mp4: ") == 1
    videos = json.loads(out)["videos"]
    assert [Path(video["video"]).relative_to(folder).as_posix() for video in videos] == [
        "a.mp4",
        "b.mp4",
        "broken.mp4",
        "deep/a.mp4",
    ]
    assert videos == json.loads((tmp_path / "out" / "videos.json").read_text())
    for name in ("a.mp4", "b.mp4", "deep/a.mp4"):
        assert Tracks.load(tmp_path / "out" / name / "tracks.npz").xy.shape == (9, 6, 2)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_many_summaries_take_no_memory_and_one_look_at_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [tmp_path / f"{number}.npy" for number in range(100)]
    for video in videos:
        video.touch()
    looks, glob = Counter[Path](), Path.glob
    out = tmp_path / "out"
    out.mkdir()
    (out / ".7.npy.1.tmp").touch()  # what a killed worker left
    (out / ".another.1.tmp").touch()

    def summaries(_: object, items: Sequence[object], *__: object, **___: object) -> Iterator[tuple[int, dict[str, Any]]]:
        with memory_below(1 << 22):
            for number in range(len(items)):
                yield number, {"video": str(number), "trouble": str(number) * 50_000}

    monkeypatch.setattr(Path, "glob", lambda path, pattern: looks.update([path]) or glob(path, pattern))
    monkeypatch.setattr("tapetum.core.jobs.run_jobs", summaries)
    made = many.track_many.run(many.TrackManyOptions(tuple(map(str, videos)), out=out), Listener())
    assert [summary["video"] for summary in made.videos] == [str(number) for number in range(100)]
    assert json.loads((out / "videos.json").read_text()) == list(made.videos)
    assert looks[out] == 1
    assert listed(out) == [".another.1.tmp", "videos.json"]


def test_what_is_done_is_not_done_again_unless_options_change(folder: Path, tmp_path: Path, run: Run) -> None:
    words = ["track", folder / "a.mp4", folder / "b.mp4", "--model", "static", "--out", tmp_path]
    assert run(*words, "--grid", 2)[0] == 0
    times = [(tmp_path / name / "tracks.npz").stat().st_mtime_ns for name in ("a.mp4", "b.mp4")]
    (tmp_path / "b.mp4" / "summary.json").unlink()  # as if it had been killed there
    code, out, _ = run(*words, "--grid", 2)
    assert code == 0
    assert out.startswith("tracked in 2 of 2 videos, 48 places\n")
    again = [(tmp_path / name / "tracks.npz").stat().st_mtime_ns for name in ("a.mp4", "b.mp4")]
    assert again[0] == times[0]
    assert again[1] > times[1]
    code, _, err = run(*words, "--grid", 3)
    assert (code, err.count("2 results that were kept there differ in grid; they are computed again")) == (0, 1)
    assert Tracks.load(tmp_path / "a.mp4" / "tracks.npz").points == 9


def test_a_video_of_the_same_name_size_and_time_is_tracked_again(tmp_path: Path, run: Run) -> None:
    words = ["track", tmp_path / "a.npy", tmp_path / "b.npy", "--model", "static", "--grid", 2, "--no-overlay"]
    for level in (0, 90):
        np.save(tmp_path / "a.npy", np.full((3, 40, 48, 3), level, np.uint8))
        np.save(tmp_path / "b.npy", np.zeros((3, 40, 48, 3), np.uint8))
        os.utime(tmp_path / "a.npy", ns=(10**18 + level, 10**18))
        identity._of_file.cache_clear()  # as in a process of its own
        code, _, err = run(*words, "--out", tmp_path / "out")
        assert code == 0
    assert "1 result that was kept there differs in video; it is computed again" in err


def test_what_nobody_expected_stops_no_other_video_and_leaves_its_traceback(folder: Path, tmp_path: Path, run: Run) -> None:
    videos = tmp_path / "in"
    shutil.copytree(folder, videos, ignore=shutil.ignore_patterns("broken.mp4"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "deep").write_text("a file where the folder of deep/a.mp4 would be")
    code, _, errors = run("track", videos, "--model", "static", "--grid", 2, "--out", out)
    assert code == 2
    assert "deep/a.mp4: FileExistsError: " in errors
    assert "Traceback" not in errors
    *done, failed = json.loads((out / "videos.json").read_text())
    assert failed["traceback"].startswith("Traceback")
    assert [row["points"] for row in done] == [4, 4]


def test_results_among_the_videos_are_not_videos(clip: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "._a.mp4"):
        shutil.copy(clip, folder / name)
    for _ in range(2):
        code, out, _ = run("track", folder, "--model", "static", "--grid", 2, "--out", folder / "tracks")
        assert code == 0
        assert out.startswith("tracked in 2 of 2 videos, 48 places\n")
    assert listed(folder / "tracks") == ["a.mp4", "b.mp4", "videos.json"]


def test_images_and_videos_in_one_folder_are_refused_but_for_results(clip: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((64, 64, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    shutil.copy(clip, folder / "._preview.mp4")
    for _ in range(2):
        assert run("track", folder, "--model", "static", "--grid", 2, "--out", folder / "out")[0] == 0
        assert Tracks.load(folder / "out" / "tracks.npz").frames == 3
    shutil.copy(clip, folder / "preview.mp4")
    code, _, errors = run("track", folder, "--model", "static", "--out", folder / "out")
    assert code == 2
    assert "has 3 images and 1 videos in it (preview.mp4); give the files of the videos" in errors


def test_what_a_video_is_tracked_with_may_change(clip: Path, tmp_path: Path, run: Run) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.fromarray(np.full((64, 64, 3), 40 * number, np.uint8)).save(images / f"{number}.png")
    points = tmp_path / "points.csv"
    points.write_text("t,x,y\n0,5,5\n")
    words = ["track", clip, images, "--model", "static", "--points", points, "--out", tmp_path / "out"]
    assert "2 of 2 videos, 9 places" in run(*words)[1]
    points.write_text("t,x,y\n0,5,5\n0,9,9\n")
    assert "2 of 2 videos, 18 places" in run(*words)[1]
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(images / "3.png")
    assert "2 of 2 videos, 20 places" in run(*words)[1]
    (tmp_path / "out" / "images" / "tracks.npz").unlink()
    assert "2 of 2 videos, 20 places" in run(*words)[1]
    assert (tmp_path / "out" / "images" / "tracks.npz").exists()


def test_names_of_results_stay_below_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert many.find_sources(["..", "z.mp4"]) == [(tmp_path.name, ".."), ("z.mp4", "z.mp4")]


def test_names_that_clash_and_no_video_are_refused(folder: Path, tmp_path: Path, run: Run) -> None:
    code, _, errors = run("track", folder / "a.mp4", folder / "deep" / "a.mp4", "--model", "static", "--out", tmp_path)
    assert code == 2
    assert "would both have their results in a.mp4" in errors
    code, _, errors = run("track", "--model", "static")
    assert code == 2
    assert "no video was given" in errors
    code, _, errors = run("track", folder / "a.mp4", folder / "b.mp4", "--online")
    assert code == 2
    assert "--online takes one" in errors


def workers_of(pid: int) -> list[int]:
    """Ray's workers that are doing something, among the descendants of a process."""
    import psutil

    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            title = " ".join(child.cmdline())
            if title.startswith("ray::") and "work" in title:  # the name of what is shared out; Ray has servants of its own
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_gives_every_video_once_although_workers_are_killed(tmp_path: Path, run: Run) -> None:
    videos = tmp_path / "in"
    videos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        frames = np.repeat(rng.integers(0, 255, (1, 64, 96, 3), dtype=np.uint8), 16, 0)
        write_video(videos / f"{number}.mp4", frames, 25)
    killed, done = [], threading.Event()

    def kill() -> None:
        dice = random.Random(0)
        while not done.wait(0.2) and len(killed) < 2:
            busy = workers_of(os.getpid())
            if busy and dice.random() < 0.6:
                killed.append(dice.choice(busy))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    words = ["--engine", "ray", "--model", "tapir-nano", "--grid", "3", "--json", "--out", tmp_path / "out"]
    code, out, errors = run("track", videos, *words)
    done.set()
    killer.join()
    assert code == 0, errors
    assert len(killed) == 2
    summaries = json.loads(out)["videos"]
    assert [Path(summary["video"]).name for summary in summaries] == [f"{n}.mp4" for n in range(5)]
    assert all("trouble" not in summary for summary in summaries)
    for number in range(5):
        assert Tracks.load(tmp_path / "out" / f"{number}.mp4" / "tracks.npz").xy.shape == (9, 16, 2)
        assert not list((tmp_path / "out" / f"{number}.mp4").glob(".*.tmp"))
    assert listed(tmp_path / "out") == sorted([*(f"{n}.mp4" for n in range(5)), "videos.json"])


def test_own_code_that_ends_the_program_in_other_processes_is_named(tmp_path: Path, run: Run, clip: Path) -> None:
    for number in range(2):
        shutil.copy(clip, tmp_path / f"{number}.mp4")
    (tmp_path / "leaving_tracker.py").write_text("class Leaves:\n    def track(self, *_, **__):\n        raise SystemExit(0)\n")
    words = ["--model", f"{tmp_path}/leaving_tracker.py:Leaves", "--grid", "2", "--workers", 2, "--out", tmp_path / "out"]
    code, _, errors = run("track", tmp_path / "0.mp4", tmp_path / "1.mp4", *words)
    assert code == 2
    assert "1.mp4: leaving_tracker.py:Leaves, line 3, in track: ended the program (exit 0); mend that code" in errors


@pytest.mark.slow
def test_two_processes_track_as_one(tmp_path: Path, run: Run, clip: Path) -> None:
    for number in range(2):
        shutil.copy(clip, tmp_path / f"{number}.mp4")
    videos = [tmp_path / "0.mp4", tmp_path / "1.mp4"]
    for name, workers in (("one", 1), ("two", 2)):
        words = ["--model", "tapir-nano", "--grid", "2", "--no-overlay", "--workers", workers, "--out", tmp_path / name]
        code, _, errors = run("track", *videos, *words)
        assert code == 0, errors
    for video in videos:
        one, two = (Tracks.load(tmp_path / name / video.name / "tracks.npz") for name in ("one", "two"))
        np.testing.assert_allclose(one.xy, two.xy, atol=1e-3)
    assert run("track", *videos, "--workers", 0, "--out", tmp_path / "three")[0] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_prepares_the_same_clips_as_one_process(tmp_path: Path) -> None:
    from tapetum.systems.tap.bootstrap.footage import FootageConfig, prepare_all, write_report

    videos = tmp_path / "in"
    videos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        wide = np.repeat(np.repeat(rng.integers(0, 255, (8, 40, 3), dtype=np.uint8), 6, 0), 6, 1)
        write_video(videos / f"{number}.mp4", np.stack([wide[:, 2 * t : 2 * t + 64] for t in range(30)]), 25)
    (videos / "text.mp4").write_text("hello")
    config = FootageConfig(size=32, shortest=6, longest=10)
    made = []
    for engine in ("local", "ray"):
        footage = prepare_all(videos, tmp_path / engine, config, engine=engine)
        clips = [(clip.video, clip.begin, clip.frames, int(footage[k].sum())) for k, clip in enumerate(footage.clips)]
        made.append((clips, write_report(footage, tmp_path / "report.txt")))
    assert made[0] == made[1]
    assert "12 clips of 120 frames from 5 videos" in str(made[0][1])


def test_bootstrap_says_what_is_wrong_in_one_line(tmp_path: Path, run: Run, clip: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "short").mkdir()
    write_video(tmp_path / "short" / "three.mp4", np.zeros((3, 32, 32, 3), np.uint8), 25)
    cases = [
        (["bootstrap", tmp_path / "missing"], "there is no folder"),
        (["bootstrap", tmp_path / "none"], "has no video in it"),
        (["bootstrap", tmp_path / "short"], "has no clip to learn from (1 too short)"),
        (["bootstrap", clip, "--size", 30], "size is 30; it must be a multiple of 8"),
    ]
    for number, (words, says) in enumerate(cases):
        code, out, errors = run(*words, "--out", tmp_path / f"out{number}")
        assert code == 2, (words, errors)
        assert says in errors.splitlines()[-1], errors
        assert "Traceback" not in errors
        assert out == ""
        assert (tmp_path / f"out{number}").exists() == ("no clip" in says)  # it says why, on disk too
