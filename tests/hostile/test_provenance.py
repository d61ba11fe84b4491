"""Inputs of a command are never replaced, nor what is no file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tapetum
from support.files import listed, make_image, write
from support.users_files import refused
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.finished import Rows
from tapetum.core.jobs import run_jobs
from tapetum.core.provenance import guarded
from tapetum.systems.tap.bootstrap.task import remove_scenes
from tapetum.tracks.training.clips import claim
from tapetum.train.launch import lock_folder
from tapetum.train.log import JsonLines

Run = Callable[..., tuple[int, str, str]]
MODEL = Path(__file__).parents[1] / "golden" / "paligemma_taught.safetensors"


def see(verb: str, source: object, out: object) -> list[object]:
    question = ["which animal?"] if verb == "ask" else []
    return [verb, source, *question, "--out", out, "--model", MODEL, "--tokens", 4]


@pytest.mark.parametrize("case", ["their images", "the image itself", "a pipe", "a link to it"])
def test_drawings_replace_no_image_that_they_show(run: Run, tmp_path: Path, case: str) -> None:
    images = tmp_path / "images"
    make_image(images / "b.png", (200, 30, 30))
    source, out = images, images
    if case == "the image itself":
        source = out = images / "b.png"
    elif case == "a link to it":
        source, out = images / "b.png", tmp_path / "link.png"
        os.link(source, out)
    elif case == "a pipe":
        source, out = images / "b.png", tmp_path / "pipe.png"
        os.mkfifo(out)
    refused(run, tmp_path, *see("caption", source, out))
    assert out.is_fifo() == (case == "a pipe")


def test_drawings_of_drawings_do_not_replace_them(run: Run, tmp_path: Path) -> None:
    make_image(tmp_path / "images" / "b.png", (200, 30, 30))
    assert run(*see("caption", tmp_path / "images", tmp_path / "said"))[0] == 0
    refused(run, tmp_path, *see("caption", tmp_path / "said", tmp_path / "said"))
    assert run(*see("ask", tmp_path / "images", tmp_path / "said"))[0] == 0  # what tapetum made is made anew


@pytest.mark.parametrize("live", [False, True])
def test_tracking_does_not_replace_its_video(run: Run, clip: Path, tmp_path: Path, live: bool) -> None:
    shutil.copy(clip, tmp_path / "overlay.mp4")
    words = ("track", tmp_path / "overlay.mp4", "--model", "static", "--grid", 1, "--out", tmp_path)
    refused(run, tmp_path, *words, *(["--online"] if live else []))
    with pytest.raises(BadInput, match="choose another place to write to"):
        tapetum.track(tmp_path / "overlay.mp4", model="static", grid=1, out=tmp_path)


def test_pipes_and_devices_are_not_replaced_outside_of_commands_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(BadInput, match="is a pipe, which a file would replace"), whole_file(tmp_path / "pipe.npz"):
        pass
    assert (tmp_path / "pipe.npz").is_fifo()


@pytest.mark.slow
def test_workers_guard_the_same_files(tmp_path: Path) -> None:
    mine, free = tmp_path / "mine", tmp_path / "free"
    mine.write_text("mine")
    with guarded({"video": mine}):
        list(run_jobs(write, [str(free), str(tmp_path / "also")], bool, workers=2))
        with pytest.raises(BadInput, match="mine would be overwritten, and this command reads it"):
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
    (tmp_path / "scenes" / "mine.npz").unlink()
    claim(tmp_path / "scenes", {})
    remove_scenes(tmp_path)
    assert not (tmp_path / "scenes").exists()
