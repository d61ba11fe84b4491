"""Verbs as functions: typed results, the same numbers as the command line, errors that the user can mend."""

import dataclasses
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
import tapetum.app
from support.files import listed
from tapetum.app.see.embed import EmbedOptions
from tapetum.app.shell.main import command
from tapetum.app.track.convert import ConvertOptions
from tapetum.app.track.live import TrackedLive
from tapetum.app.track.many import TrackManyOptions
from tapetum.app.track.track import Tracked, TrackOptions
from tapetum.app.verb import Listener
from tapetum.types import Tracks

Run = Callable[..., tuple[int, str, str]]


class Heard(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: dict[str, list[tuple[int, int | None]]] = {}

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        self.tasks.setdefault(task, []).append((done, total))


def functions() -> list[tuple[str, Callable]]:
    """Every function that is made of options, with its name."""
    found = []
    for module in pkgutil.walk_packages(tapetum.app.__path__, "tapetum.app."):
        for name, value in vars(importlib.import_module(module.name)).items():
            public = inspect.isfunction(value) and hasattr(value, "run") and not name.startswith("_")
            if public and value.__module__ == module.name:
                found.append((f"{module.name}.{name}", value))
    return found


def test_a_function_takes_the_fields_of_its_options() -> None:
    found = dict(functions())
    assert len(found) >= 17
    for name, function in found.items():
        [options, *_] = inspect.signature(function.run).parameters.values()
        expected = inspect.signature(options.annotation).parameters
        assert list(inspect.signature(function).parameters) == list(expected), name
        result = inspect.signature(function).return_annotation
        if isinstance(result, str):  # its classes are imported with the work, as those of live tracking are
            continue
        kinds = typing.get_args(result) or (result,)
        for kind in {*kinds} - {None, type(None)}:  # what serves until it is ended has none
            assert dataclasses.is_dataclass(kind), name
            assert kind.__dataclass_params__.frozen, name


def test_help_shows_what_a_caller_gives_and_nothing_of_the_command_line() -> None:
    assert "tapetum" not in str(inspect.signature(tapetum.convert)).partition("->")[0]
    for name in tapetum._FUNCTIONS:
        shown = str(inspect.signature(getattr(tapetum, name))).partition("->")[0]
        assert "tyro" not in shown, name
        assert "Constructor" not in shown, name
    assert {"ask", "track", "load", "video"} <= set(dir(tapetum))


def test_a_command_adds_nothing_to_the_options_but_what_it_prints() -> None:
    for name, options in {"track": TrackManyOptions, "convert": ConvertOptions, "embed": EmbedOptions}.items():
        own = {field.name for field in dataclasses.fields(command(name).options)}  # type: ignore[union-attr]
        shared = {field.name for field in dataclasses.fields(options)}
        assert own - shared <= {"doubt", "drop", "json", "lag", "online", "plan", "preview", "until"}


@pytest.mark.slow
def test_importing_the_package_or_a_verb_imports_no_torch() -> None:
    names = ", ".join(f"tapetum.app.{module.name}" for module in pkgutil.iter_modules(tapetum.app.__path__))
    code = f"import sys, tapetum, {names}; tapetum.track; sys.exit([n for n in ('torch', 'av') if n in sys.modules] or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
def test_track_gives_what_the_command_line_writes(clip: Path, tmp_path: Path, run: Run) -> None:
    done = tapetum.track(clip, grid=3, polish="no")
    assert isinstance(done, Tracked)
    assert (done.video, done.width, done.height, done.frame_rate, done.out) == (str(clip), 64, 48, 10, None)
    code, out, _ = run("track", clip, "--grid", 3, "--polish", "no", "--out", tmp_path / "out", "--json")
    assert code == 0
    written = Tracks.load(tmp_path / "out" / "tracks.npz")
    np.testing.assert_array_equal(done.tracks.xy, written.xy)
    np.testing.assert_array_equal(done.tracks.visible, written.visible)
    told, own = json.loads(out), done.as_json()
    assert told.keys() - own.keys() == {"overlay", "tracks", "table"}
    assert {k: v for k, v in told.items() if k in own and k != "seconds"} == {k: v for k, v in own.items() if k != "seconds"}


def test_points_may_be_numbers_texts_or_a_table(clip: Path, tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("t,x,y\n1,10,20\n")
    for asked in ({"query": [(1, 10, 20)]}, {"query": np.array([[1, 10, 20]])}, {"query": (("1,10,20",),)}, {"points": table}):
        assert tapetum.track(clip, model="static", **asked).tracks.queries.tolist() == [[1, 10, 20]]  # type: ignore[arg-type]


def test_nothing_is_written_unless_a_folder_is_named(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tapetum.track(clip, model="static")
    assert not list(tmp_path.iterdir())
    done = tapetum.track(str(clip), model="static", out="results")
    assert done.out == Path("results")
    assert listed(Path("results")) == ["overlay.mp4", "tracks.csv", "tracks.npz"]


def test_a_listener_hears_how_far_the_work_is(clip: Path, tmp_path: Path) -> None:
    heard = Heard()
    tapetum.track.run(TrackOptions(clip, grid=2, out=tmp_path / "out"), heard)
    assert heard.notes == []
    assert heard.tasks["tracking"][-1] == (6, 6)
    assert heard.tasks["drawing"] == [(number + 1, 6) for number in range(6)]


@pytest.mark.slow
def test_a_file_followed_live_gives_what_the_command_line_writes(clip: Path, tmp_path: Path, run: Run) -> None:
    looked_at: list[np.ndarray] = []

    def viewer(frame: np.ndarray) -> bool:
        looked_at.append(frame)
        return True

    done = tapetum.track_live(str(clip), grid=2, viewer=viewer)
    assert isinstance(done, TrackedLive)
    assert (done.tracks.frames, done.frames_dropped, len(done.latency), len(looked_at)) == (6, 0, 6, 6)
    assert run("track", clip, "--online", "--grid", 2, "--out", tmp_path / "out")[0] == 0
    np.testing.assert_array_equal(done.tracks.xy, Tracks.load(tmp_path / "out" / "tracks.npz").xy)
    short = tapetum.track_live(str(clip), grid=2, viewer=lambda frame: False)
    assert short.tracks.frames == 1


def test_vectors_are_those_of_the_command_line(tmp_path: Path, run: Run) -> None:
    for number, name in enumerate("ab"):
        Image.fromarray(np.full((40, 40, 3), 90 * number, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"c\.png"):
        made = tapetum.embed((tmp_path,))
    assert (made.vectors.dtype, len(made.vectors), made.files, made.failed) == (np.float32, 2, 3, 1)
    code, out, _ = run("embed", tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "table.npz")
    assert (code, out.split(": ")[1].split()[0]) == (0, "2")
    with np.load(tmp_path / "table.npz") as table:
        np.testing.assert_array_equal(table["embedding"], made.vectors)
        assert table["path"].tolist() == list(made.paths)
