"""Files that are written to an address, through fsspec; what is read there: `tapetum.core.addresses`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapetum.core.addresses import join_address, list_files, open_system, reaching
from tapetum.core.errors import BadInput

_READ_ONLY = "http://", "https://"


def check_writable(address: str) -> None:
    """Write a small file below an address and remove it. Raises BadInput where that cannot be."""
    if address.lower().startswith(_READ_ONLY):
        raise BadInput(f"{address} cannot be written to; give a folder, or an address such as s3://bucket/folder")
    trial = join_address(address, "trial")
    write_at(trial, b"trial")
    with _writing(trial) as (system, path):
        system.rm_file(path)


def write_at(address: str, content: bytes) -> None:
    """Write a file, which is there whole or not at all. Raises BadInput where it cannot be written."""
    with _writing(address) as (system, path):
        system.pipe_file(path, content)


def remove_below(address: str, first: str) -> None:
    """Remove all files below an address, the one named `first` before the others."""
    files = (file.address for file in list_files(address))
    for file in sorted(files, key=lambda each: each != join_address(address, first)):
        with _writing(file) as (system, path):
            system.rm_file(path)


@contextmanager
def _writing(address: str) -> Iterator[tuple[Any, str]]:
    """Open the file system of an address; what it raises where nothing may be written becomes BadInput."""
    with reaching(address):
        opened = open_system(address)
        try:
            yield opened
        except PermissionError as error:
            keys = "check AWS_ACCESS_KEY_ID or the like"
            raise BadInput(f"{address} may not be written with the keys that are here; {keys}") from error
