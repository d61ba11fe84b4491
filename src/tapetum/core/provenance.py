"""Guards the inputs of a running command: no result replaces a file that it reads, whatever name leads to it.

A pipe, a socket or a device is never replaced either. Outside of commands, as in a script that saves tracks, files are replaced
as usual in Python.
"""

import inspect
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tapetum.core.errors import BadInput
from tapetum.core.reading import kind_of

P = ParamSpec("P")
Result = TypeVar("Result")
Inputs = dict[tuple[int, int], str]
"""Device and number of each file that a command reads, and how it was named."""

OUTPUTS = frozenset(("out", "report", "save", "save_predictions", "sheet", "target", "preview", "cache", "map"))
"""Options, and arguments of Python functions, that name places to write; all others that name files name inputs."""
IN_PLACE = frozenset(("tracks", "config"))
"""Inputs that a command may replace: tracks that are corrected, the settings of a run that goes on."""
DATA = "data", "folder", "beside", "checks", "check", "textures", "episodes", "videos"
"""Inputs of training that may be folders of data."""
_GOES_ON = frozenset(("save", "cache", "preview"))
"""Outputs that are checked by what writes them: they are added to, or may be a pipe."""
_NAMES_ITS_FILES = "annotations", "ImageSets", "leftImg8bit", "train.txt"
"""What lies in a folder of COCO, VOC, Cityscapes or CamVid: lists of its files, so that nothing else in it is data."""
_running: list[Inputs] = []


@contextmanager
def guarded(given: Any, apart: Collection[str] = ()) -> Iterator[None]:
    """Guard the files of a command while the block runs.

    Args:
        given: its options: a dataclass, or a dict of arguments; nested dataclasses, lists and tuples are traversed.
        apart: names of options with data; no result may be written into their folders, because it would become data next time.

    Raises BadInput immediately if an output is an input, or is not a file.
    """
    places = list(_places(given))
    with _guarding({}):
        protect(path for name, path in places if name not in OUTPUTS and name not in IN_PLACE)
        for name, path in places:
            if name == "out":
                _refuse_inside(path, [folder for data, folder in places if data in apart])
            if name in OUTPUTS:
                (refuse_input if name in _GOES_ON else check)(path)
        yield


@contextmanager
def _guarding(*inputs: Inputs) -> Iterator[None]:
    count = len(_running)
    _running.extend(inputs)
    try:
        yield
    finally:
        del _running[count:]


def guarding_data(function: Callable[P, Result]) -> Callable[P, Result]:
    """Wrap a training function: it guards the files that its arguments name, and keeps results out of its data (`guarded`)."""
    signature = inspect.signature(function)

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Result:
        with guarded(signature.bind(*args, **kwargs).arguments, apart=DATA):
            return function(*args, **kwargs)

    return inner


def protect(paths: Iterable[str | Path]) -> None:
    """Register files as inputs of the running command, such as those in a folder that its options name."""
    for path in paths if _running else ():
        if (state := _state(path)) is not None and stat.S_ISREG(state.st_mode):
            _running[-1][state.st_dev, state.st_ino] = str(path)


def carried(work: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap work for other processes: it guards the files that this process guards now, and can be pickled if `work` can."""
    return partial(_guarded_work, work, tuple(_running))


def _guarded_work(work: Callable[..., Result], inputs: tuple[Inputs, ...], *args: Any) -> Result:
    with _guarding(*inputs):
        return work(*args)


def check(path: str | Path) -> None:
    """Raise BadInput if the content at `path` must not be replaced; see above."""
    if (state := _state(path)) is None or stat.S_ISDIR(state.st_mode):
        return  # whoever writes reports folders
    if not stat.S_ISREG(state.st_mode):
        raise BadInput(f"{path} is {kind_of(state.st_mode)}, which a file would replace; choose another place to write to")
    refuse_input(path)


def refuse_input(path: str | Path) -> None:
    """Raise BadInput if a running command reads the file at `path`."""
    state = _state(path)
    for inputs in _running if state is not None else ():
        if (name := inputs.get((state.st_dev, state.st_ino))) is not None:  # pyright: ignore[reportOptionalMemberAccess]
            read = "" if name == str(path) else f" as {name}"
            raise BadInput(f"{path} would be overwritten, and this command reads it{read}; choose another place to write to")


def _state(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _places(given: Any, name: str = "", lists: int = 2) -> Iterator[tuple[str, str | Path]]:
    """Names and values of possible paths, in at most `lists` nested lists; deeper ones are pixels."""
    if isinstance(given, str | Path):
        yield name, given
    elif is_dataclass(given) and not isinstance(given, type):
        for each in fields(given):
            yield from _places(getattr(given, each.name, None), each.name)
    elif isinstance(given, dict):
        for key, value in given.items():
            yield from _places(value, str(key))
    elif isinstance(given, list | tuple) and lists:
        for value in given:
            yield from _places(value, name, lists - 1)


def _refuse_inside(out: str | Path, data: Iterable[str | Path]) -> None:
    place = Path(os.path.realpath(out))
    for folder in data:
        named = any(os.path.exists(os.path.join(folder, mark)) for mark in _NAMES_ITS_FILES)
        if os.path.isdir(folder) and not named and place.is_relative_to(os.path.realpath(folder)):
            raise BadInput(
                f"--out {out} lies in {folder}, and what is written there would be data next time; choose another --out"
            )
