"""Images and films of an index: files on disk and at addresses, and fingerprints of their contents."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapetum.app.verb import File, Listener
from tapetum.core.addresses import RemoteFile, describe, is_address, list_files, name_at, temporary_copy
from tapetum.core.errors import BadInput
from tapetum.core.identity import fingerprint


@dataclass(frozen=True)
class MediaFile:
    """An image or a film."""

    name: str
    """Absolute path, or address."""
    remote: RemoteFile | None = None
    """Size and ETag or time of a file at an address."""

    def state(self) -> tuple[int, int] | None:
        """Read size and time of change (ns) of a file on disk; None for one at an address, or one that is gone."""
        try:
            about = os.stat(self.name) if self.remote is None else None
        except OSError:
            return None
        return None if about is None else (about.st_size, about.st_mtime_ns)

    def fingerprint(self) -> str:
        """Compute 16 hexadecimal digits that change with the content.

        Uses the bytes of a file on disk; for one at an address size and ETag (or time); only if the server gives neither is it
        copied and its bytes used. Raises BadInput if it does not exist or cannot be read.
        """
        if self.remote is None:
            try:
                return fingerprint(self.name)
            except OSError as error:
                raise BadInput(f"cannot read {self.name}: {error.strerror or error}") from error
        known = self.remote if self.remote.mark else describe(self.name)
        if known is None:
            raise BadInput(f"there is nothing at {self.name} any more")
        if known.mark:
            return hashlib.sha256(json.dumps([self.name, known.size, known.mark]).encode()).hexdigest()[:16]
        with temporary_copy(self.name) as path:
            return fingerprint(path)


def list_media(places: Sequence[File], listener: Listener) -> list[MediaFile]:
    """List images and films in folders, files and addresses; hidden and other files are skipped.

    Raises BadInput if there are none, or an address cannot be listed.
    """
    from tapetum.bench.image_jobs import files_below

    files: dict[str, MediaFile] = {}
    for place in places:
        if is_address(place):
            single = suffix_of(str(place)) in _endings()
            remote = [RemoteFile(str(place), None, "")] if single else list_files(str(place))
            files |= {each.address: MediaFile(each.address, each) for each in remote if suffix_of(each.address) in _endings()}
            continue
        inside = files_below(Path(place)) if Path(place).is_dir() else [Path(place)]
        paths = [os.path.abspath(file) for file in inside if file.suffix.lower() in _endings()]
        files |= {path: MediaFile(path) for path in paths}
    named = [file for name, file in files.items() if _is_text(name)]
    if len(named) < len(files):
        listener.note(f"{len(files) - len(named)} files have names that are no UTF-8, and are left out; rename them")
    if not named:
        raise BadInput(f"{', '.join(map(str, places))[:200]} has no image and no film in it; give a folder that has")
    return named


def suffix_of(name: str) -> str:
    """Find the extension of a path or an address, in lower case.

    >>> suffix_of("photos/A.JPG"), suffix_of("https://example.org/film.mp4?part=1")
    ('.jpg', '.mp4')
    """
    return Path(name_at(name) if is_address(name) else name).suffix.lower()


def below(place: File) -> str:
    """Compute the common prefix of the names of all files below a folder or an address."""
    return f"{str(place).rstrip('/')}/" if is_address(place) else os.path.join(os.path.abspath(place), "")


@contextmanager
def on_disk(name: str) -> Iterator[Path]:
    """Find a file, or copy one at an address for the duration of the block; messages of BadInput then name the address."""
    if not is_address(name):
        yield Path(name)
        return
    with temporary_copy(name) as path:
        try:
            yield path
        except BadInput as error:
            raise BadInput(str(error).replace(str(path), name)) from error


def _endings() -> frozenset[str]:
    from tapetum.video.images import IMAGES, VIDEOS

    return IMAGES | VIDEOS


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
