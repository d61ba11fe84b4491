"""Download of the public files of the Perception Test into a folder.

    DIR/annotations/*.json          by task, or of all tasks
    DIR/videos/ID.mp4               DIR/audios/ID.wav
    DIR/features/video/ID.npy       DIR/features/audio/ID.npy
    DIR/lists/*.csv, *.json         id lists of the challenges; frames at which videos are cut for questions
    DIR/fetched/NAME.json           what NAME was: address, bytes, SHA-256, and the files that came of it
    DIR/.fetching/                  what has arrived so far

An archive is fetched (going on where it stopped), compared with the SHA-256 that was recorded when it was first fetched,
unpacked (`tapetum.hub.unzip`) and removed. A call that was stopped, by Ctrl-C or otherwise, loses nothing that has arrived or
is unpacked.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, whole_file, write_text
from tapetum.core.provenance import check
from tapetum.core.reading import read_json
from tapetum.hub.download import Record, announced_size, download, record_of, sha256_of
from tapetum.hub.unzip import unpack
from tapetum.systems.perception_test.public_files import SOURCE, Public

_SLACK = 10**9
"""Bytes by which a file may be larger than twice what the README states."""
_LARGEST_LIST = 100 << 20
"""Bytes of a list of ids or of frames."""
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """A public file, how large it is, and whether it is here."""

    file: Public
    size: int | None
    """Bytes, as the server says, else as the README states; None where neither does."""
    here: bool


def plan_files(files: Sequence[Public], out: Path, source: str = SOURCE) -> list[PlannedFile]:
    """List how large files are and which are here already, without fetching anything.

    A server that does not state a size once is not asked again. Raises BadInput where the server has one no more.
    """
    planned, answers = [], True
    for file in files:
        here, size = is_here(file, out), None
        if here:
            size = _note(file, out).get("size")
        elif answers:
            size = announced_size(f"{source.rstrip('/')}/{file.below}")
            answers = size is not None
        planned.append(PlannedFile(file=file, size=size or file.stated, here=here))
    return planned


def check_disk_space(files: Sequence[PlannedFile], out: Path) -> None:
    """Raise BadInput where the disk has no room for all that is to come: each file, and the largest one packed and unpacked."""
    sizes = [each.size or 0 for each in files if not each.here]
    needed = sum(sizes) + max(sizes, default=0)
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise BadInput(
            f"{out} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed to fetch and unpack what was asked for; "
            "ask for fewer tasks or parts, or give --out on another disk [no-room]"
        )


def is_here(file: Public, out: Path) -> bool:
    """Check whether a file was fetched, and all that came of it is there with its size."""
    listed = _note(file, out).get("files")
    try:
        return bool(listed) and all((out / name).stat().st_size == size for name, size in dict(listed).items())
    except (OSError, ValueError, TypeError):
        return False


def fetch(
    file: Public,
    out: Path,
    source: str = SOURCE,
    progress: Progress = lambda task, done, total: None,
) -> None:
    """Fetch a file, or what is in it, into the folder `out`; nothing is done where it is here.

    Raises BadInput: the server does not have it or cannot be reached, it is damaged, hostile, or no longer what it was when it
    was first fetched, or the folder cannot be written.
    """
    if is_here(file, out):
        return
    packed, target = out / ".fetching" / file.name, out / file.folder / file.name
    if not file.endings:
        check(target)
    url = f"{source.rstrip('/')}/{file.below}"
    most = 1 << 41 if file.stated is None else 2 * file.stated + _SLACK  # what the README states is rough
    if not file.endings:
        most = _LARGEST_LIST
    record = download(url, packed, progress=lambda done, size: progress(f"fetching {file.name}", done, size), most=most)
    _compare(file, out, packed, record)
    try:
        if file.endings:
            listed = _unpacked(file, out, packed, progress)
        else:
            (out / file.folder).mkdir(parents=True, exist_ok=True)
            listed = {f"{file.folder}/{file.name}": record.size}
            packed.replace(target)
        note = out / "fetched" / f"{file.name}.json"
        note.parent.mkdir(exist_ok=True)
        with whole_file(note, own=True) as temporary:
            write_text(temporary, json.dumps({**asdict(record), "files": listed}, indent=0) + "\n")
        _remove(packed)
        if not any(packed.parent.iterdir()):
            packed.parent.rmdir()
    except OSError as error:
        raise cannot_write(out, error) from error


def _unpacked(file: Public, out: Path, packed: Path, progress: Progress) -> dict[str, int]:
    """Unpack what is wanted of an archive; give the paths below `out` and sizes."""

    def place(name: str) -> str | None:
        path = PurePosixPath(name)
        odd = path.name.startswith(".") or "__MACOSX" in path.parts
        return f"{file.folder}/{path.name}" if path.suffix.lower() in file.endings and not odd else None

    try:
        made = unpack(packed, out, place, progress=lambda done, total: progress(f"unpacking {file.name}", done, total))
    except BadInput as error:
        if not str(error).endswith("[other-file]"):  # the archive is good, and what is in the way may be moved
            _remove(packed)
        raise
    if not made:
        _remove(packed)
        raise BadInput(
            f"{file.name} has no member that ends in {' or '.join(file.endings)}; its publisher has changed it [empty]"
        )
    return {path.relative_to(out).as_posix(): path.stat().st_size for path in made}


def _compare(file: Public, out: Path, packed: Path, record: Record) -> None:
    """Raise BadInput where a file is not what it was when it was first fetched into this folder."""
    before = _note(file, out).get("sha256")
    digest = record.sha256 if record_of(packed) else sha256_of(packed)
    if before is not None and before != digest:
        _remove(packed)
        raise BadInput(
            f"{file.name} is not what was first fetched (SHA-256 {digest[:12]}, not {str(before)[:12]}): if its publisher has "
            f"changed it, remove {out / 'fetched' / file.name}.json and fetch again [other-sum]"
        )


def _note(file: Public, out: Path) -> dict[str, Any]:
    try:
        note = read_json(out / "fetched" / f"{file.name}.json")
        return note if isinstance(note, dict) else {}
    except (OSError, ValueError):
        return {}


def _remove(packed: Path) -> None:
    for ending in ("", ".json", ".part", ".part.version"):
        packed.with_name(packed.name + ending).unlink(missing_ok=True)
