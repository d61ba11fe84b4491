"""The public files of the Perception Test, from a server of our own that has small ones, and then misbehaves."""

import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.file_server import FileServer, serving
from support.files import listed
from tapetum.app.make.fetch_perception_test import PerceptionTestFetchOptions, fetch_perception_test
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.systems.perception_test import fetching
from tapetum.systems.perception_test.public_files import PARTS, SPLITS, TASKS, choose

Run = Callable[..., tuple[int, str, str]]


def zipped(members: dict[str, bytes], mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return buffer.getvalue()


VIDEOS = {f"videos/video_{k}.mp4": os.urandom(40_000) for k in range(3)}
FILES = {
    "/zip_data/point_tracking_valid_videos.zip": zipped({**VIDEOS, "README.txt": b"no", "__MACOSX/._video_0.mp4": b"no"}),
    "/zip_data/point_tracking_valid_annotations.zip": zipped({"point_tracking_valid.json": b"{}" * 500}),
    "/zip_data/grounded_question_valid_videos.zip": zipped({"video_0.mp4": VIDEOS["videos/video_0.mp4"]}),
    "/zip_data/grounded_question_valid_audios.zip": zipped({"a/video_0.wav": b"RIFF" * 10}),
    "/zip_data/grounded_question_valid_annotations.zip": zipped({"x/grounded_question_valid.json": b"{}"}),
    "/zip_data/action_localisation_valid_video_features.zip": zipped({"f/video_0.npy": b"\x93NUMPY"}),
    "/zip_data/sound_localisation_valid_audio_features.zip": zipped({"f/video_0.npy": b"\x93NUMPY!"}),
    "/misc/point_tracking_valid_id_list.csv": b"video_0,video_1\n",
    "/misc/grounded_question_valid_id_list.csv": b"video_0\n",
}
POINT = ("point_tracking_valid_annotations.zip", "point_tracking_valid_id_list.csv", "point_tracking_valid_videos.zip")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(dict(FILES)) as it:
        yield it


@pytest.fixture(autouse=True)
def large_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README states is looked at, and the files here are small."""
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda place: SimpleNamespace(free=1 << 50))


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fetch(server: FileServer, out: Path, *tasks: Any, **more: Any) -> Any:
    with pytest.warns(UserWarning, match="to fetch into"):
        return fetch_perception_test(out=out, tasks=tasks or ("point",), source=server.base, **more)


@pytest.mark.slow
def test_files_of_a_task_come_into_their_folders_once(server: FileServer, tmp_path: Path, run: Run) -> None:
    words = ("data", "perception-test", "--tasks", "point", "--out", tmp_path / "pt", "--source", server.base)
    code, out, err = run(*words)
    assert code == 0, err
    assert "to fetch into" in err.splitlines()[0]
    assert "point_tracking_valid_videos.zip 1.1 GB" in err.splitlines()[0]
    assert re.search(r"point_tracking_valid_annotations.zip +11\.1 MB +fetched", out)
    wanted = [f"videos/video_{k}.mp4" for k in range(3)]
    wanted += ["annotations/point_tracking_valid.json", "lists/point_tracking_valid_id_list.csv"]
    assert everything_in(tmp_path / "pt") == sorted([*wanted, *(f"fetched/{name}.json" for name in POINT)])
    assert (tmp_path / "pt/videos/video_2.mp4").read_bytes() == VIDEOS["videos/video_2.mp4"]
    note = json.loads((tmp_path / "pt/fetched/point_tracking_valid_videos.zip.json").read_text())
    packed = FILES["/zip_data/point_tracking_valid_videos.zip"]
    assert (note["sha256"], note["size"]) == (hashlib.sha256(packed).hexdigest(), len(packed))
    asked = len(server.asked)
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert [row["was_here"] for row in json.loads(out)["files"]] == [True] * len(POINT)
    assert len(server.asked) == asked == 3
    (tmp_path / "pt/videos/video_1.mp4").unlink()  # what is lost comes again
    assert run(*words)[0] == 0
    assert (tmp_path / "pt/videos/video_1.mp4").read_bytes() == VIDEOS["videos/video_1.mp4"]
    assert len(server.asked) == asked + 1


def test_sizes_are_said_and_nothing_is_fetched(server: FileServer, tmp_path: Path, run: Run) -> None:
    words = ("data", "perception-test", "--tasks", "point", "--out", tmp_path / "pt", "--source", server.base, "--sizes")
    code, out, _ = run(*words)
    assert code == 0
    assert out.count("to fetch") == 4
    assert not (tmp_path / "pt").exists()
    code, out, _ = run(*words, "--json")
    found = json.loads(out)
    assert found["bytes"] == 11_100_000 + 1_100_000_000
    assert {row["name"]: row["bytes"] for row in found["files"]}[POINT[2]] == 1_100_000_000
    assert server.asked == []


@pytest.mark.slow
def test_two_tasks_share_a_video_and_parts_have_their_folders(server: FileServer, tmp_path: Path) -> None:
    parts = ("annotations", "lists", "videos", "audios")
    fetch(server, tmp_path, "point")
    fetch(server, tmp_path, "grounded", parts=parts)  # video_0 is in both zips, and the same
    assert (tmp_path / "audios/video_0.wav").exists()
    fetch(server, tmp_path, "action", "sound", parts=("features",))
    assert (tmp_path / "features/audio/video_0.npy").read_bytes() == b"\x93NUMPY!"
    assert (tmp_path / "features/video/video_0.npy").read_bytes() == b"\x93NUMPY"
    server.files["/zip_data/grounded_question_valid_videos.zip"] = zipped({"video_0.mp4": b"another"})
    server.sums.clear()
    (tmp_path / "fetched/grounded_question_valid_videos.zip.json").unlink()
    with pytest.raises(BadInput, match=r"video_0.mp4 is there already, and is another file.*\[other-file\]"):
        fetch(server, tmp_path, "grounded", parts=parts)


def test_stopped_by_the_user_nothing_is_lost(server: FileServer, tmp_path: Path) -> None:
    """Once in the middle of a download, once in the middle of unpacking."""

    class Stops(Listener):
        def __init__(self, task: str, bytes_: int):
            self.task, self.bytes = task, bytes_

        def progress(self, task: str, done: int, total: int | None) -> None:
            if task == self.task and done >= self.bytes:
                raise KeyboardInterrupt

    archive = POINT[2]
    asked = PerceptionTestFetchOptions(out=tmp_path, tasks=("point",), source=server.base)
    server.faults = [0, 0, -60_000]  # the last part of the third file does not come at first
    with pytest.raises(KeyboardInterrupt):
        fetch_perception_test.run(asked, Stops(f"fetching {archive}", 1000))
    part = tmp_path / ".fetching" / f"{archive}.part"
    have = part.stat().st_size
    assert 0 < have < len(FILES[f"/zip_data/{archive}"])
    with pytest.raises(KeyboardInterrupt):
        fetch_perception_test.run(asked, Stops(f"unpacking {archive}", 50_000))
    assert server.asked[-1] == f"bytes={have}-"
    assert 1 <= len(listed(tmp_path / "videos")) < 3
    count = len(server.asked)
    fetch_perception_test.run(asked, Listener())
    assert len(server.asked) == count, "what was fetched whole is not fetched again to be unpacked"
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 3
    assert not (tmp_path / ".fetching").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_command_and_the_next_goes_on(tmp_path: Path) -> None:
    content = zipped({"videos/a.mp4": os.urandom(12_000_000)})
    with serving({**FILES, "/zip_data/point_tracking_valid_videos.zip": content}) as server:
        server.slow = 0.05
        words = ["data", "perception-test", "--tasks", "point", "--parts", "videos", "--out", str(tmp_path)]
        command = [sys.executable, "-m", "tapetum.app.shell.main", *words, "--source", server.base]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        part = tmp_path / ".fetching" / f"{POINT[2]}.part"
        for _ in range(12_000):
            if part.exists() and part.stat().st_size > 1_000_000:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 130, err
        assert 1_000_000 < part.stat().st_size < len(content)
        server.slow = 0.0
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert server.asked[-1] is not None
    assert (tmp_path / "videos/a.mp4").stat().st_size == 12_000_000


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (zipped({"../video_9.mp4": b"evil"}), "escape"),
        (zipped({"video_9.mp4": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "link"),
        (zipped({"video_9.mp4": bytes(5 << 20)}), "bomb"),
        (FILES["/zip_data/point_tracking_valid_videos.zip"][:-100], "damaged"),
        (b"<html>quota</html>", "damaged"),
        (zipped({"notes.txt": b"nothing"}), "empty"),
    ],
)
def test_a_bad_zip_is_named_and_leaves_nothing(content: bytes, name: str, server: FileServer, tmp_path: Path) -> None:
    server.files[f"/zip_data/{POINT[2]}"] = content
    server.sums.clear()
    with pytest.raises(BadInput, match=rf"\[{name}\]"):
        fetch(server, tmp_path / "in" / "pt", parts=("videos",))
    left = [name for name in everything_in(tmp_path) if not name.endswith(".lock")]
    assert left == []


def test_a_transfer_that_is_cut_off_without_a_length_is_found_damaged(server: FileServer, tmp_path: Path) -> None:
    server.length, server.faults = False, [-3000]
    server.sums.clear()
    with pytest.raises(BadInput, match=r"\[damaged\]"):
        fetch(server, tmp_path, parts=("videos",))
    fetch(server, tmp_path, parts=("videos",))
    assert len(listed(tmp_path / "videos")) == 3


def test_dropped_connections_and_servers_that_ignore_ranges(server: FileServer, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.faults = [-50_000, 503]
    fetch(server, tmp_path / "a", parts=("videos",))
    assert server.asked[-1] == server.asked[-2] != None  # noqa: E711
    server.ranges, server.faults = False, [-50_000]
    fetch(server, tmp_path / "b", parts=("videos",))
    assert (tmp_path / "b/videos/video_0.mp4").read_bytes() == VIDEOS["videos/video_0.mp4"]


def test_a_wrong_sum_is_refused(server: FileServer, tmp_path: Path) -> None:
    """Where the file is fetched again, it has that of the first time."""
    path = f"/zip_data/{POINT[2]}"
    changed = zipped({"videos/video_0.mp4": b"other"})
    fetch(server, tmp_path, parts=("videos",))
    (tmp_path / "videos/video_0.mp4").unlink()
    server.files[path], server.sums = changed, {}
    with pytest.raises(BadInput, match="is not what it should be"):
        fetch(server, tmp_path, parts=("videos",))
    (tmp_path / f"fetched/{POINT[2]}.json").unlink()
    fetch(server, tmp_path, parts=("videos",))
    assert (tmp_path / "videos/video_0.mp4").read_bytes() == b"other"


def test_a_full_disk_is_said_before_anything_is_fetched(server: FileServer, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(BadInput, match=r"GB free.*\[no-room\]"):
        fetch(server, tmp_path)
    assert server.asked == []
    assert everything_in(tmp_path) == []


def test_every_split_and_task_has_files_and_none_twice() -> None:
    for split in SPLITS:
        for task in TASKS:
            if task == "mcqa-2025" and split != "valid":
                with pytest.raises(BadInput, match="of the split valid alone"):
                    choose(split, [task], PARTS)
                continue
            names = [file.name for file in choose(split, [task], PARTS)]
            assert len(names) == len(set(names))
            assert any(name.endswith("videos.zip") or "videos_c" in name or "unified" in name for name in names), (split, task)
            assert any("annotations" in name or "unified" in name for name in names), (split, task)
    everything = {file.name for file in choose("valid", [], PARTS)}
    assert {"valid_videos.zip", "valid_annotations.zip", "valid_audios.zip", "cut_frame_mapping_valid.json"} <= everything
    assert "sot_valid_videos_challenge2023.zip" not in everything  # these videos are among all of the split
    assert {file.name for file in choose("valid", ["object", "mcqa"], ("videos",))} == {"valid_videos.zip"}
    assert {file.name for file in choose("valid", ["object", "point"], ("videos",))} == {
        "sot_valid_videos_challenge2023.zip",
        "point_tracking_valid_videos.zip",
    }
    assert {file.name for file in choose("test", ["action"], ("annotations",))} == {"test_annotations.zip"}
    with pytest.raises(BadInput, match="publishes no features of point in the split valid"):
        choose("valid", ["point"], ("features",))
    with pytest.raises(BadInput, match="has no task 'points'"):
        choose("valid", ["points"], PARTS)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("source", ["", "http://[::1", "nowhere", "file:///tmp", "http://a\nb"])
def test_a_source_that_is_no_address_is_one_line(run: Run, tmp_path: Path, source: str) -> None:
    code, _, err = run("data", "perception-test", "--source", source, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert ("is no address to fetch from" if source else "an empty word") in err
