"""Names of copies: a file copied from an address is named by its address, never by its place in the cache.

    ~/.cache/tapetum/folders/0f3c.../.address      the address, here s3://bucket/photos
                             0f3c.../photos/a.jpg  named s3://bucket/photos/a.jpg

`tapetum.data.remote_folder` makes the copies. The address lies beside them, so that all processes of a machine can read it.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tapetum.core.addresses import WEB, name_at
from tapetum.core.errors import BadInput, hide_secrets
from tapetum.core.files import cache_folder, whole_file
from tapetum.core.reading import read_bytes

CACHE_GB = 20.0
"""Gigabytes of copies that a machine keeps, where nothing else is said."""
EPISODES = re.compile(r"#(?:episode|camera)=[^/]*$")
"""What stands behind the address of a LeRobot data set, and names episodes of it."""
_ADDRESS, _LETTERS = ".address", 32
_ROOT = re.compile(r"/[0-9a-f]{32}(?=/)")
"""Ends the folder of a copy, wherever the cache is: processes of a cluster need not have the XDG_CACHE_HOME of the command."""
_LONGEST = 1 << 16
"""Bytes of a file that has an address."""
_used: list[str] = []
"""Copies that the commands of this process work on now."""


def copies_folder() -> Path:
    """Find the folder of all copies, with links resolved."""
    return Path(os.path.realpath(cache_folder("folders")))


def copy_root(address: str) -> Path:
    """Find the folder of the copy of an address."""
    return copies_folder() / _digest(address)


def copy_name(address: str) -> str:
    """Find the name of the copy in its folder.

    >>> copy_name("https://example.org/my%20photos"), copy_name("https://example.org")
    ('my photos', 'data')
    """
    return name_at(address) or "data"


def write_address(address: str) -> None:
    """Write the address into the folder of its copy, for `address_of`."""
    path = copy_root(address) / _ADDRESS
    if not path.exists():
        with whole_file(path, own=True) as temporary:
            temporary.write_bytes(address.encode("utf-8", "surrogateescape"))


def address_of(path: str | os.PathLike[str]) -> str | None:
    """Find the address of which a path is a copy, or is inside one; None for other paths."""
    text = os.fspath(path)
    for match in _ROOT.finditer(text):
        if (address := _written_address(text[: match.end()])) is not None:
            return _join(address, text[match.end() + 1 :])
    return None


def _join(address: str, below: str) -> str:
    """The address that corresponds to a path below the folder of a copy."""
    name = copy_name(address)
    episodes = EPISODES.search(below)
    below, behind = (below[: episodes.start()], episodes[0]) if episodes else (below, "")
    if below != name and not below.startswith(f"{name}/"):  # an image that JSON lines name lies beside them
        address, name, below = address.rpartition("/")[0], "", f"/{below}"
    inside = below.removeprefix(name)
    return address + (quote(inside) if address.startswith(WEB) else inside) + behind


def place_name(path: str | os.PathLike[str]) -> str:
    """Name a file or folder in results and messages: by its address if it is a copy, otherwise by its path.

    >>> place_name(Path("photos/a.jpg"))
    'photos/a.jpg'
    """
    return hide_secrets(address_of(path) or str(path))


def with_addresses(text: str) -> str:
    """Replace paths of copies in a message by their addresses."""
    folder = f"{copies_folder()}/"
    first, *others = text.split(folder)
    parts = [first]
    for other in others:
        root, rest = other[:_LETTERS], other[_LETTERS:].removeprefix("/")
        if (address := _written_address(folder + root)) is None:
            parts.append(folder + other)
        elif rest.startswith(name := copy_name(address)):
            parts.append(address + rest.removeprefix(name))
        else:
            parts.append(f"{address.rpartition('/')[0]}/{rest}")
    return hide_secrets("".join(parts))


@contextmanager
def using(copies: Iterable[str]) -> Iterator[None]:
    """Mark paths of copies as in use by commands of this process while the block runs."""
    _used.extend(own := list(copies))
    try:
        yield
    finally:
        for each in own:
            _used.remove(each)


def check_cluster(ray: Any) -> None:
    """Raise BadInput if a machine of the `ray` cluster does not see all copies in use (`using`).

    They are on the machine of the command; the others see them if XDG_CACHE_HOME is a shared folder.
    """
    if not _used:
        return
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # pyright: ignore[reportMissingImports]

    look = ray.remote(num_cpus=0)(_missing)
    for node in ray.nodes():
        if not node["Alive"] or not node["Resources"].get("CPU"):
            continue
        there = look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        if (missing := ray.get(there.remote(list(_used)))) is not None:
            raise BadInput(
                f"{place_name(missing)} was copied to this machine, and {node['NodeManagerHostname']} of the Ray cluster does "
                "not see the copy; set XDG_CACHE_HOME to a folder that all machines share, or leave --engine ray out"
            )


def _missing(copies: Sequence[str]) -> str | None:
    """The first that is missing on this machine."""
    return next((copy for copy in copies if not os.path.exists(EPISODES.sub("", copy))), None)


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:_LETTERS]


def _written_address(root: str) -> str | None:
    try:
        return _read_address(root)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _read_address(root: str) -> str:
    address = read_bytes(os.path.join(root, _ADDRESS), _LONGEST).decode("utf-8", "surrogateescape")
    if _digest(address) != os.path.basename(root):
        raise ValueError(f"{root} is the folder of another address")
    return address
