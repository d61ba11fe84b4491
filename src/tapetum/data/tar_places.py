"""Tars that a source names, on the disk and at addresses, and their indexes."""

import itertools
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tapetum.core.addresses import RemoteFile, describe, is_address, list_files
from tapetum.core.errors import BadInput
from tapetum.core.remote_cache import RemoteCache
from tapetum.data.tar_index import TarIndex, index_of, remote_index_of

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Source = str | Path | Sequence[str | Path]
"""A tar, a folder of tars, a pattern such as train-{0000..0007}.tar, or a list of these: paths or addresses."""
_THREADS = 16
"""Questions that are put to a server at a time."""


def read_indexes(tars: Sequence[Path | RemoteFile], cache: RemoteCache) -> list[TarIndex]:
    """Read the index of each tar, those at addresses some at a time. Raises as `remote_index_of`."""
    remote = [tar for tar in tars if isinstance(tar, RemoteFile)]
    indexes = iter(_together(lambda tar: remote_index_of(tar, describe(f"{tar}.index"), cache), remote))
    return [next(indexes) if isinstance(tar, RemoteFile) else index_of(tar) for tar in tars]


def find_tars(source: Source) -> Sequence[Path | RemoteFile]:
    """Find the tars that `source` names, those of a folder sorted by name. Raises BadInput where there are none."""
    if isinstance(source, str) and is_address(source):
        return [tar for address in expand_braces(source) for tar in _remote_tars(address)]
    if not isinstance(source, str | Path):
        listed = [tar for one in source for tar in find_tars(one)]
        if not listed:
            raise BadInput("the list of shards is empty; give one tar or more")
        return listed
    if Path(source).is_dir():
        tars = sorted(path for path in Path(source).iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
        if not tars:
            packed = next((p.name for p in Path(source).iterdir() if re.search(r"\.tar\.\w+$|\.tgz$", p.name)), None)
            packed = packed if packed and not packed.endswith(".index") else None
            hint = f"; {packed} is compressed: unpack it to a plain .tar" if packed else "; give a folder with .tar files"
            raise BadInput(f"there is no .tar in {source}{hint}")
        return tars
    return [Path(source)] if Path(source).exists() else [Path(name) for name in expand_braces(str(source))]


def expand_braces(pattern: str) -> list[str]:
    """Expand the names of a pattern with numbers {from..to}, which keep the width of the first, or with choices {a,b}.

    >>> expand_braces("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    return ["".join(parts) for parts in itertools.product(*map(_choices, re.split(r"(\{[^{}]*\})", pattern)))]


def _choices(part: str) -> Sequence[str]:
    numbers = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part)
    if numbers:
        first, final = numbers.groups()
        if not 0 <= int(final) - int(first) < 1_000_000:
            raise BadInput(f"{part} is no range of shards; give the lower number first, such as {{0000..0007}}")
        return [f"{number:0{len(first)}}" for number in range(int(first), int(final) + 1)]
    return part[1:-1].split(",") if part.startswith("{") and "," in part else [part]


def _remote_tars(address: str) -> list[RemoteFile]:
    """The tar at an address, or those of the folder there, sorted by name, with their sizes."""
    if address.endswith(".tar"):
        tars = [file for file in (describe(address),) if file is not None]
    else:
        root = address.rstrip("/") + "/"
        inside = [file for file in list_files(root) if "/" not in file.address.removeprefix(root)]
        tars = [file for file in inside if file.address.endswith(".tar")]
        if any(file.size is None for file in tars):  # pages of links do not say it
            tars = [file for file in _together(describe, [file.address for file in tars]) if file is not None]
    if not tars:
        raise BadInput(f"there is no .tar at {address}; give the address of a tar, or of a folder with .tar files")
    unknown = next((tar for tar in tars if tar.size is None), None)
    if unknown is not None:
        raise BadInput(f"the server does not say how large {unknown} is; use one that does, or copy the files here")
    return tars


def _together(ask: Callable[[Item], Outcome], items: Sequence[Item]) -> list[Outcome]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(ask, items))
