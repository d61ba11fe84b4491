"""Files that a running command may replace: only files that tapetum wrote, and none of its inputs.

While a command runs (`guarded`), every file that `tapetum.core.files` puts in place is recorded in `.tapetum` beside it: a line
of JSON with its name and a fingerprint of its content. An existing path is replaced only if

    it is a file                            a pipe, a socket or a device stays unchanged
    no input of a running command           whatever name leads to it
    its fingerprint is in `.tapetum`        otherwise someone else wrote it, or changed it since

Cache files, which nobody else writes, are written with `own=True` and are not recorded. Outside of commands, as in a script
that saves tracks, files are replaced as usual in Python.
"""

import hashlib
import inspect
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tapetum.core.errors import BadInput
from tapetum.core.reading import kind_of, open_file, parse_json

P = ParamSpec("P")
Result = TypeVar("Result")

RECORD = ".tapetum"
"""Name of the list of what tapetum wrote into a folder."""
OUTPUTS = frozenset(("out", "report", "save", "save_predictions", "sheet", "target", "preview", "cache", "map"))
"""Options, and arguments of Python functions, that name places to write; all others that name files name inputs."""
IN_PLACE = frozenset(("tracks", "config"))
"""Inputs that a command may replace where tapetum wrote them: tracks that are corrected, the settings of a run that goes on."""
DATA = "data", "folder", "beside", "checks", "check", "textures", "episodes", "videos"
"""Inputs of training that may be folders of data."""
_GOES_ON = frozenset(("save", "cache", "preview"))
"""Outputs that are checked by what writes them: they are added to, or may be a pipe."""
_NAMES_ITS_FILES = "annotations", "ImageSets", "leftImg8bit", "train.txt"
"""What lies in a folder of COCO, VOC, Cityscapes or CamVid: lists of its files, so that nothing else in it is data."""
_PART = 1 << 19
"""Bytes at each end of a file that its fingerprint covers."""
_UNFINISHED = re.compile(r"\.(.*\.)?\d+\.tmp(\.[^.]*)?")
"""Names under which `tapetum.core.files` writes what is not finished."""


@dataclass
class _Scope:
    """A running command."""

    inputs: dict[tuple[int, int], str] = field(default_factory=dict)
    """Device and number of each file that it reads, and how it was named."""


_running: list[_Scope] = []
_known: dict[tuple[int, int], tuple[int, set[str]]] = {}
"""Of each list by device and number: bytes of it that were read, and the fingerprints in them."""


@contextmanager
def guarded(given: Any, apart: Collection[str] = ()) -> Iterator[None]:
    """Guard the files of a command while the block runs.

    Args:
        given: its options: a dataclass, or a dict of arguments; nested dataclasses, lists and tuples are traversed.
        apart: names of options with data; no result may be written into their folders, because it would become data next time.

    Raises BadInput immediately if an output is an input, is not a file, or is a file that tapetum did not write.
    """
    scope, outputs, data = _Scope(), [], []
    for name, path in _places(given):
        if name in OUTPUTS:
            outputs.append((name, path))
            continue
        if name in apart:
            data.append(path)
        if name not in IN_PLACE:
            _add(scope, path)
    _running.append(scope)
    try:
        for name, path in outputs:
            if name == "out":
                _refuse_inside(path, data)
            if name in _GOES_ON:
                refuse_input(path)
            else:
                check(path)
        yield
    finally:
        _running[:] = [each for each in _running if each is not scope]


def guarding_data(function: Callable[P, Result]) -> Callable[P, Result]:
    """Wrap a training function: it guards the files that its arguments name, and keeps results out of its data (`guarded`)."""
    signature = inspect.signature(function)

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Result:
        with guarded(signature.bind(*args, **kwargs).arguments, apart=DATA):
            return function(*args, **kwargs)

    return inner


def protect(paths: Iterable[str | Path]) -> None:
    """Register files as inputs of the running command that its options do not name, such as those in a folder."""
    if _running:
        for path in paths:
            _add(_running[-1], path)


def carried(work: Callable[P, Result]) -> Callable[P, Result]:
    """Wrap work for other processes: it guards the files that this process guards now, and can be pickled if `work` can."""
    return _Carried(work, tuple(_running))


@dataclass(frozen=True)
class _Carried:
    work: Callable[..., Any]
    scopes: tuple[_Scope, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        mine = [each for each in self.scopes if each not in _running]
        _running.extend(mine)
        try:
            return self.work(*args, **kwargs)
        finally:
            _running[:] = [each for each in _running if not any(each is one for one in mine)]


def check(path: str | Path) -> None:
    """Raise BadInput if the content at `path` must not be replaced; see above."""
    if (state := _state(path)) is None or stat.S_ISDIR(state.st_mode):
        return  # whoever writes reports folders
    if not stat.S_ISREG(state.st_mode):
        raise BadInput(f"{path} is {kind_of(state.st_mode)}, which a file would replace; choose another place to write to")
    refuse_input(path)
    if _running and _fingerprint(Path(path)) not in _record_of(Path(path).parent):
        raise BadInput(
            f"{path} is a file that tapetum did not write, or was changed since; move it, or choose another place to write to"
        )


def refuse_input(path: str | Path) -> None:
    """Raise BadInput if a running command reads the file at `path`."""
    state = _state(path)
    for scope in _running if state is not None else ():
        if (name := scope.inputs.get((state.st_dev, state.st_ino))) is not None:  # pyright: ignore[reportOptionalMemberAccess]
            read = "" if name == str(path) else f" as {name}"
            raise BadInput(f"{path} would be overwritten, and this command reads it{read}; choose another place to write to")


def record(folder: Path, files: Mapping[str, Path], future: Path | None = None) -> None:
    """Record files in the list of `folder`, if a command runs: by name, with the path of their content until they are in place.

    Called before they are moved, so that no existing file is missing in the list whenever the process is killed. `future`:
    where the folder will be, with its list, if it does not exist yet.
    """
    if not _running or any(map(_UNFINISHED.fullmatch, (future or folder).parts)):
        return
    lines = [json.dumps({"file": name, "print": _fingerprint(file)}) + "\n" for name, file in files.items() if file.is_file()]
    with suppress(OSError):  # then the files cannot be replaced by the next command, which says so
        number = os.open(folder / RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            os.write(number, "".join(lines).encode())  # at once: others may write there too
        finally:
            os.close(number)


def _state(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _add(scope: _Scope, path: str | Path) -> None:
    if (state := _state(path)) is not None and stat.S_ISREG(state.st_mode):
        scope.inputs[state.st_dev, state.st_ino] = str(path)


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


def _fingerprint(path: Path) -> str | None:
    """Size and content, for a large file only its ends; the same wherever it is copied to."""
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            visited = hashlib.blake2b(file.read(_PART), digest_size=16)
            file.seek(max(size - _PART, min(size, _PART)))
            visited.update(file.read(_PART))
    except (OSError, ValueError):
        return None
    return f"{size}-{visited.hexdigest()}"


def _record_of(folder: Path) -> set[str]:
    """Fingerprints in the list of a folder; other lines are ignored."""
    with suppress(OSError), open_file(folder / RECORD) as file:
        state = os.fstat(file.fileno())
        read, prints = _known.get((state.st_dev, state.st_ino), (0, set[str]()))
        if state.st_size < read:
            read, prints = 0, set()
        file.seek(read)
        for line in file.read(state.st_size - read).splitlines():
            with suppress(ValueError, TypeError, KeyError):
                prints.add(str(parse_json(line)["print"]))
        _known[state.st_dev, state.st_ino] = state.st_size, prints
        return prints
    return set()
