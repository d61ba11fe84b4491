"""Files of the user are never replaced: inputs of the command, what somebody else wrote, and what is no file."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

import tapetum
from support.files import listed, picture, write
from tapetum.cli.known import commands_of, options_of
from tapetum.cli.main import VERBS, command
from tapetum.errors import BadInput
from tapetum.files import whole_file, whole_folder
from tapetum.provenance import OUTPUTS, RECORD, guarded
from tapetum.workers import over_processes

Run = Callable[..., tuple[int, str, str]]
MODEL = Path(__file__).parents[1] / "golden" / "paligemma_taught.safetensors"


def content(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder, but for lists of what tapetum wrote."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != RECORD}


def refused(run: Run, folder: Path, *words: object) -> str:
    """Run a command that must not touch anything in `folder`; give its one line."""
    before = content(folder)
    code, out, error = run(*words)
    assert (code, out, error.count("\n")) == (2, "", 1), error
    assert content(folder) == before
    return error


def commands() -> Iterator[tuple[str, type]]:
    def below(path: str, kind: type) -> Iterator[tuple[str, type]]:
        if not (inner := commands_of(kind)):
            yield path, kind
        for name, each in inner.items():
            yield from below(f"{path} {name}", each)

    for verb in VERBS:
        yield from below(verb, command(verb))


WRITING = {
    "track": "track FILE --out FILE",
    "show tracks": "show FILE FILE --out FILE",
    "show perception-test": "show perception-test v --annotations FILE --out FILE",
    "convert": "convert FILE FILE",
    "ask": "ask FILE what? --out FILE",
    "caption": "caption FILE --out FILE",
    "detect": "detect FILE cat --out FILE",
    "segment": "segment FILE cat --out FILE",
    "search": "search cat --index FILE --sheet FILE",
    "discover": "discover FILE --out FILE",
    "embed": "embed FILE --out FILE",
    "eval tapvid": "eval tapvid --data FILE --save-predictions FILE",
    "eval tapvid3d": "eval tapvid3d --gt FILE --predictions FILE --out FILE",
    "eval paligemma": "eval paligemma --task vqav2 --data FILE --save FILE",
    "eval longvideo": "eval longvideo --task nextqa --data FOLDER --model FILE --save FILE",
    "eval perception-test": "eval perception-test --task object --annotations FILE --predictions FILE --report FILE",
    "eval davis": "eval davis --data FOLDER --predictions FILE --save-predictions FILE",
    "submit": "submit perception-test --task object --annotations FILE --predictions FILE --out FILE",
    "tapvid3d make": "tapvid3d make drivetrack FILE --out FILE",
    "tapvid3d scenes": "tapvid3d scenes FILE --n 1 --textures FILE",
    "probe": "probe random:resnet-18 --data FILE --cache FILE",
    "study run": "study run --out FILE --pictures FILE",
    "study report": "study report FILE",
    "scenes make": "scenes make FILE --n 1 --textures FILE",
    "scenes pictures": "scenes pictures FILE --n 1 --textures FILE",
    "scenes episodes": "scenes episodes FILE --n 1 --textures FILE",
    "data shards": "data shards FILE --out FILE",
    "data demos": "data demos --task kitchen:knob --n 1 --out FILE",
    "data perception-test": "data perception-test --out FILE",
    "weights": "weights convert FILE --out FILE",
    "export": "export FILE FILE",
    "bootstrap": "bootstrap FILE --out FILE",
    "adapt learn": "adapt FILE --task classify --trunk FILE --out FILE",
}
"""A command line of each command that writes; FILE is the user's, and is aimed at as input and as result."""
INPUTS = """
    annotations beside check checks config correct data depth encoder episodes experiment eye features file files
    folder gt image index language libraries masks model name people pictures pixels plan points predictions
    proposals query raw recording reference region runs shards source start textures tokenizer tracker tracks
    train trunk video videos voc what codec
"""
"""Options that may name files to read."""
TRAINING = [path for path, kind in commands() if any(option.place[0] == "launch" for option in options_of(kind))]


def words_of(path: str) -> str:
    if path in WRITING:
        return WRITING[path]
    assert path in TRAINING, f"tapetum {path} writes: say in WRITING how"
    data = "--textures" if path.endswith("tap-nano") else "--data"
    return f"{path} {data} FILE --out FILE" + (" --encoder FILE" if path in ("train fcn", "train coco") else "")


def writes(path: str, kind: type) -> bool:
    given = {option.place[-1] for option in options_of(kind)} | set(getattr(kind, "__dataclass_fields__", ()))
    return bool(given & OUTPUTS)


@pytest.mark.parametrize("path", [path for path, kind in commands() if writes(path, kind)])
def test_no_command_replaces_a_file_that_it_is_given(run: Run, tmp_path: Path, path: str) -> None:
    file = tmp_path / "of the user.png"
    file.write_bytes(b"mine")
    places = {"FILE": file, "FOLDER": tmp_path}
    line = refused(run, tmp_path, *(places.get(word, word) for word in words_of(path).split()))
    assert f"{file}" in line
    assert line.endswith("choose another place to write to\n")
    assert listed(tmp_path) == [file.name]


def test_every_option_that_names_a_file_is_known_to_be_read_or_written() -> None:
    """An option that writes, and is not in OUTPUTS, would be guarded only when its file is put in place."""
    for path, kind in commands():
        types = get_type_hints(kind)
        for field in fields(kind):
            if "Path" in str(types[field.name]) and not is_dataclass(types[field.name]):
                assert field.name in OUTPUTS | set(INPUTS.split()), f"tapetum {path} --{field.name}: is it read or written?"
    assert not OUTPUTS & set(INPUTS.split())


@pytest.mark.parametrize("path", [*TRAINING, "bootstrap", "study run", "data shards"])
def test_results_of_training_are_no_data_next_time(run: Run, tmp_path: Path, path: str) -> None:
    data = tmp_path / "data"
    picture(data / "cat" / "1.png", (9, 9, 9))
    places = {"FILE": data, "--textures": "--textures"}
    words = [str(places.get(word, word)) for word in words_of(path).split()]
    words[words.index("--out") + 1] = data / "run"
    assert f"--out {data / 'run'} lies in {data}" in refused(run, tmp_path, *words)
    assert listed(data) == ["cat"]


SEEING = {"ask": "which animal?", "caption": None, "detect": "square", "segment": "square"}


def see(verb: str, source: object, out: object) -> list[object]:
    words = [verb, source, *([SEEING[verb]] if SEEING[verb] else []), "--out", out]
    return [*words, "--model", MODEL, "--tokens", 4]


@pytest.mark.parametrize("verb", SEEING)
@pytest.mark.parametrize(
    "case", ["their images", "json beside them", "the image itself", "a pipe", "a link to it", "an answers.json"]
)
def test_drawings_replace_no_file_of_the_user(run: Run, tmp_path: Path, verb: str, case: str) -> None:
    images = tmp_path / "images"
    picture(images / "b.png", (200, 30, 30))
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
    refused(run, tmp_path, *see(verb, source, out))
    assert not out.exists() or case != "a pipe" or out.is_fifo()


def test_drawings_of_drawings_do_not_replace_them(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "b.png", (200, 30, 30))
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
    assert "tracks.csv was not written by tapetum, or was changed since" in refused(run, tmp_path, *words)


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
    picture(tmp_path / "a.png", (200, 30, 30))
    (tmp_path / name).write_text("{}")
    refused(run, tmp_path, "discover", tmp_path / "a.png", "--out", tmp_path)


def test_what_appeared_meanwhile_is_kept_and_so_are_the_results(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with guarded({}), pytest.raises(BadInput, match=r"b was not written by tapetum.*results are in .*out-1"):  # noqa: PT012, SIM117
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
        list(over_processes(write, [str(free), str(tmp_path / "also")], bool, workers=2))
        with pytest.raises(BadInput, match="mine was not written by tapetum"):
            list(over_processes(write, [str(free), str(mine)], bool, workers=2))
    assert mine.read_text() == "mine"
