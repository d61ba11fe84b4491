"""What verbs share: progress on stderr, notes on stderr, folders of results that appear whole."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tapetum.errors import BadInput
from tapetum.files import cannot_write

if TYPE_CHECKING:
    from tapetum.types import Tracks
    from tapetum.video import Video


def progress() -> Progress:
    """Bars on stderr where that is a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def note(text: str) -> None:
    """A remark that is not a result."""
    print(f"tapetum: {text}", file=sys.stderr)


def print_json(content: dict[str, Any]) -> None:
    """The result of a verb for other programs, as one JSON object on stdout."""
    print(json.dumps(content, indent=2, allow_nan=False))


View = Literal["tracks", "rainbow"]
"""Ways to draw tracks."""


def write_overlay(path: Path, video: "Video", tracks: "Tracks", view: View = "tracks") -> None:
    """The video with its tracks drawn on it, with a bar while that goes on; raises `BadInput` as `write_video`."""
    from tapetum.tracks.rainbow import draw_rainbow
    from tapetum.video import draw_tracks, write_video

    with progress() as bars:
        frames = draw_rainbow(video, tracks) if view == "rainbow" else draw_tracks(video, tracks.xy, tracks.visible)
        write_video(path, bars.track(frames, tracks.frames, description="drawing"), video.rate)


@contextmanager
def results_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` whose files are moved into `out` on leaving; nothing is left if that fails.

    Raises `BadInput` at once where `out` is no folder or cannot be made, before any work is done for it.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder, or a name that is free")
    temporary = out / f".{os.getpid()}.tmp" if out.is_dir() else out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        _make(temporary, out)
        yield temporary
        _move(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make(temporary: Path, out: Path) -> None:
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(out, error) from error


def _move(temporary: Path, out: Path) -> None:
    try:
        if not out.is_dir():
            os.replace(temporary, out)
            return
        for file in temporary.iterdir():
            os.replace(file, out / file.name)
    except OSError as error:
        raise cannot_write(out, error) from error


@contextmanager
def downloads() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, where that is a terminal, for bytes that are here and bytes of the whole."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("fetching", total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)
