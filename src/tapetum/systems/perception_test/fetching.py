"""Download of the public files of the Perception Test into a folder.

    DIR/annotations/*.json          by task, or of all tasks
    DIR/videos/ID.mp4               DIR/audios/ID.wav
    DIR/features/video/ID.npy       DIR/features/audio/ID.npy
    DIR/lists/*.csv, *.json         id lists of the challenges; frames at which videos are cut for questions
    DIR/fetched/NAME.json           what NAME was: address, bytes, SHA-256, and the files that came of it
    DIR/.fetching/                  what has arrived so far

An archive is fetched (`tapetum.hub.download`, which resumes), compared with the SHA-256 of its first fetch, unpacked
(`tapetum.hub.unzip`) and removed. A call that was stopped loses nothing that has arrived or is unpacked.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, write_json
from tapetum.core.provenance import check
from tapetum.core.reading import read_json
from tapetum.hub.download import discard, download
from tapetum.hub.unzip import unpack
from tapetum.systems.perception_test.public_files import SOURCE, Public

Progress = Callable[[str, int, int | None], None]


def check_disk_space(files: Sequence[Public], out: Path) -> None:
    """Raise BadInput where the disk has no room for all that is to come: each file, and the largest one packed and unpacked."""
    sizes = [file.stated or 0 for file in files]
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
    try:
        listed = _note(file, out)["files"]
        return bool(listed) and all((out / name).stat().st_size == size for name, size in listed.items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def fetch(file: Public, out: Path, source: str = SOURCE, progress: Progress = lambda task, done, total: None) -> None:
    """Fetch a file, or what is in it, into the folder `out`; nothing is done where it is here.

    Raises BadInput: the server does not have it or cannot be reached, it is damaged, hostile, or no longer what it was when it
    was first fetched, or the folder cannot be written.
    """
    if is_here(file, out):
        return
    packed, target = out / ".fetching" / file.name, out / file.folder / file.name
    if not file.endings:
        check(target)
    most = 100 << 20 if not file.endings else 2 * file.stated + 10**9 if file.stated else 1 << 41  # stated sizes are rough
    record = download(
        f"{source.rstrip('/')}/{file.below}",
        packed,
        sha256=_note(file, out).get("sha256"),
        progress=lambda done, size: progress(f"fetching {file.name}", done, size),
        most=most,
    )
    try:
        if file.endings:
            listed = _unpacked(file, out, packed, progress)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            packed.replace(target)
            listed = {f"{file.folder}/{file.name}": record.size}
        note = out / "fetched" / f"{file.name}.json"
        note.parent.mkdir(exist_ok=True)
        write_json(note, {**asdict(record), "files": listed}, own=True)
        discard(packed)
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
        if not made:
            endings = " or ".join(file.endings)
            raise BadInput(f"{file.name} has no member that ends in {endings}; its publisher has changed it [empty]")
    except BadInput as error:
        if not str(error).endswith("[other-file]"):  # the archive is good, and what is in the way may be moved
            discard(packed)
        raise
    return {path.relative_to(out).as_posix(): path.stat().st_size for path in made}


def _note(file: Public, out: Path) -> dict[str, Any]:
    try:
        note = read_json(out / "fetched" / f"{file.name}.json")
        return note if isinstance(note, dict) else {}
    except (OSError, ValueError):
        return {}
