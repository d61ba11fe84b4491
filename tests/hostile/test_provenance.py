"""Files of the user are never replaced: inputs of the command, what somebody else wrote, and what is no file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tapetum
from support.files import listed, make_image, write
from support.users_files import refused
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, whole_folder
from tapetum.core.finished import Rows
from tapetum.core.jobs import run_jobs
from tapetum.core.provenance import RECORD, guarded
from tapetum.systems.tap.bootstrap.task import claim_run, remove_scenes
from tapetum.tracks.training.clips import claim
from tapetum.train.launch import lock_folder
from tapetum.train.log import JsonLines

Run = Callable[..., tuple[int, str, str]]
MODEL = Path(__file__).parents[1] / "golden" / "paligemma_taught.safetensors"


def see(verb: str, source: object, out: object) -> list[object]:
    question = ["which animal?"] if verb == "ask" else []
    return [verb, source, *question, "--out", out, "--model", MODEL, "--tokens", 4]


@pytest.mark.parametrize(
    "case", ["their images", "json beside them", "the image itself", "a pipe", "a link to it", "an answers.json"]
)
def test_drawings_replace_no_file_of_the_user(run: Run, tmp_path: Path, case: str) -> None:
    images = tmp_path / "images"
    make_image(images / "b.png", (200, 30, 30))
    source, out = images, images
    if case == "json beside them":
        out = tmp_path / "out"
        out.mkdir()
        (out / "b.json").write_text("{}")
    elif case == "the image itself":
        source = out = images / "b.png"
    elif case == "a link to it":
        source, out = images / "b.png", tmp_path / "link.png"
        os.link(source, out)
    elif case == "a pipe":
        source, out = images / "b.png", tmp_path / "pipe.png"
        os.mkfifo(out)
    elif case == "an answers.json":
        out = tmp_path / "out"
        out.mkdir()
        (out / "answers.json").write_text("[]")
    refused(run, tmp_path, *see("caption", source, out))
    assert out.is_fifo() == (case == "a pipe")


def test_drawings_of_drawings_do_not_replace_them(run: Run, tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "b.png", (200, 30, 30))
    assert run(*see("caption", tmp_path / "images", tmp_path / "said"))[0] == 0
    refused(run, tmp_path, *see("caption", tmp_path / "said", tmp_path / "said"))
    assert run(*see("ask", tmp_path / "images", tmp_path / "said"))[0] == 0  # what tapetum made is made anew


def test_a_command_replaces_what_it_wrote_but_not_what_was_changed(run: Run, clip: Path, tmp_path: Path) -> None:
    words = ("track", clip, "--model", "static", "--grid", 2, "--out", tmp_path / "out")
    assert run(*words)[0] == 0
    shutil.copytree(tmp_path / "out", tmp_path / "copied")
    assert run(*words)[0] == 0
    assert run(*words[:-1], tmp_path / "copied")[0] == 0
    (tmp_path / "out" / "tracks.csv").write_text((tmp_path / "out" / "tracks.csv").read_text() + "# checked by hand\n")
    assert "tracks.csv is a file that tapetum did not write, or was changed since" in refused(run, tmp_path, *words)


@pytest.mark.parametrize("name", ["overlay.mp4", "tracks.npz", "tracks.csv"])
@pytest.mark.parametrize("live", [False, True])
def test_tracking_replaces_no_file_of_the_user(run: Run, clip: Path, tmp_path: Path, name: str, live: bool) -> None:
    shutil.copy(clip, tmp_path / "overlay.mp4")
    (tmp_path / name).touch()
    words = ("track", tmp_path / "overlay.mp4", "--model", "static", "--grid", 1, "--out", tmp_path)
    refused(run, tmp_path, *words, *(["--online"] if live else []))
    with pytest.raises(BadInput, match="choose another place to write to"):
        tapetum.track(tmp_path / "overlay.mp4", model="static", grid=1, out=tmp_path)


def test_several_videos_replace_no_file_of_the_user(run: Run, clip: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, tmp_path / name)
    (tmp_path / "out" / "a.mp4").mkdir(parents=True)
    for mine in ("videos.json", "a.mp4/summary.json"):
        (tmp_path / "out" / mine).write_text("mine")
    words = ("track", tmp_path / "a.mp4", tmp_path / "b.mp4", "--model", "static", "--grid", 1, "--out", tmp_path / "out")
    refused(run, tmp_path, *words)
    (tmp_path / "out" / "videos.json").unlink()
    assert run(*words)[0] == 2
    assert (tmp_path / "out" / "a.mp4" / "summary.json").read_text() == "mine"


def test_a_preview_replaces_no_file_of_the_user(run: Run, clip: Path, tmp_path: Path) -> None:
    words = ("track", clip, "--online", "--model", "static", "--grid", 1, "--out", tmp_path / "out", "--preview")
    (tmp_path / "mine.mjpeg").write_bytes(b"mine")
    assert run(*words, tmp_path / "mine.mjpeg")[0] == 2
    assert (tmp_path / "mine.mjpeg").read_bytes() == b"mine"
    for _ in range(2):
        assert run(*words, tmp_path / "made.mjpeg")[0] == 0


def test_followed_things_replace_no_video_of_the_user(run: Run, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "overlay.mp4")
    words = ("detect", tmp_path / "overlay.mp4", "square", "--track", "--tracker", "static", "--model", MODEL)
    refused(run, tmp_path, *words, "--out", tmp_path)


@pytest.mark.parametrize("name", ["instances.json", "objects.html"])
def test_discovered_objects_replace_no_file_of_the_user(run: Run, tmp_path: Path, name: str) -> None:
    make_image(tmp_path / "a.png", (200, 30, 30))
    (tmp_path / name).write_text("{}")
    refused(run, tmp_path, "discover", tmp_path / "a.png", "--out", tmp_path)


def test_what_appeared_meanwhile_is_kept_and_so_are_the_results(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with guarded({}), pytest.raises(BadInput, match=r"b is a file that tapetum did not write.*results are in .*out-1"):  # noqa: PT012, SIM117
        with whole_folder(out) as folder:
            for name in "ab":
                (folder / name).write_text("new")
            (out / "b").write_text("mine")
    assert listed(out) == ["b"]
    assert (out / "b").read_text() == "mine"
    assert listed(tmp_path / "out-1") == ["a", "b"]


def test_pipes_and_devices_are_not_replaced_outside_of_commands_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(BadInput, match="is a pipe, which a file would replace"), whole_file(tmp_path / "pipe.npz"):
        pass
    assert (tmp_path / "pipe.npz").is_fifo()


def test_lists_that_are_damaged_or_are_no_files_saybool(tmp_path: Path) -> None:
    def again() -> None:
        with guarded({}):
            write(tmp_path / "a")

    again()
    with open(tmp_path / RECORD, "ab") as file:
        file.write(b'\xff{"print"\n[1]\nnull\n{"print": []')
    again()
    again()
    for make in (lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to("elsewhere")):
        (tmp_path / "a").unlink(missing_ok=True)
        if (tmp_path / RECORD).is_dir():
            (tmp_path / RECORD).rmdir()
        else:
            (tmp_path / RECORD).unlink()
        make(tmp_path / RECORD)
        again()
        with pytest.raises(BadInput):
            again()


@pytest.mark.slow
def test_workers_guard_the_same_files(tmp_path: Path) -> None:
    mine, free = tmp_path / "mine", tmp_path / "free"
    mine.write_text("mine")
    with guarded({}):
        list(run_jobs(write, [str(free), str(tmp_path / "also")], bool, workers=2))
        with pytest.raises(BadInput, match="mine is a file that tapetum did not write"):
            list(run_jobs(write, [str(free), str(mine)], bool, workers=2))
    assert mine.read_text() == "mine"


def test_a_log_and_a_lock_of_the_user_stay_in_the_folder_of_a_run(tmp_path: Path) -> None:
    for text in ("2026-01-01 mine\n", '{"epoch": 1}\n', "cut off"):
        (tmp_path / "log.jsonl").write_text(text)
        with pytest.raises(BadInput, match=r"log\.jsonl is there and is no log of a run; move it"):
            JsonLines(tmp_path / "log.jsonl", 0)
        assert (tmp_path / "log.jsonl").read_text() == text
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n')  # of a run that was killed before its first checkpoint
    JsonLines(tmp_path / "log.jsonl", 0).close()
    assert not (tmp_path / "log.jsonl").read_bytes()
    (tmp_path / ".lock").write_text("mine")
    with lock_folder(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "mine"


def test_rows_are_not_kept_in_a_file_of_the_user(tmp_path: Path) -> None:
    for text in ("mine", "mine\n", "{", '{"settings'):
        (tmp_path / "rows").write_text(text)
        if text.startswith("{"):  # the first line, cut off when the process was killed
            Rows(tmp_path / "rows", {}).__exit__()
            assert not (tmp_path / "rows").exists()
            continue
        with pytest.raises(BadInput, match="does not hold rows"):
            Rows(tmp_path / "rows", {})
        assert (tmp_path / "rows").read_text() == text


def test_folders_of_the_user_stay_where_a_bootstrap_runs(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    for name in ("mine.npz", "clip-1.npz"):
        (tmp_path / "scenes" / name).touch()
    remove_scenes(tmp_path)
    assert listed(tmp_path / "scenes") == ["clip-1.npz", "mine.npz"]
    claim(tmp_path / "scenes", {})
    remove_scenes(tmp_path)
    assert listed(tmp_path / "scenes") == ["mine.npz"]
    (tmp_path / "best.json").write_text("mine")
    with guarded({}), pytest.raises(BadInput, match=r"best\.json is a file that tapetum did not write"):
        claim_run(tmp_path, "run", {"seed": 1}, tmp_path / "run" / "checkpoints")
    (tmp_path / "scenes" / "mine.npz").unlink()
    claim(tmp_path / "scenes", {})
    remove_scenes(tmp_path)
    assert not (tmp_path / "scenes").exists()
