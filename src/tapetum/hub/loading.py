"""Whatever weights are: a name or a file to the function that loads it. Imports no torch by itself."""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tapetum.devices import find_device
from tapetum.files import named_path
from tapetum.hub.registry import FOLDER_FILE, OWNERS, resolve

_LONGEST_HEADER = 100 << 20
"""Bytes; the format of safetensors allows no more."""


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Any:
    """Load the weights of a known name or in a file; see `tapetum.load`."""
    loader = _of_folder(named_path(name_or_path))
    if loader is None:
        path, known = resolve(name_or_path)
        loader = known.loader if known else _loader(path)
    if device is not None:
        find_device(device)
    return named(loader)(name_or_path, device, dtype)


def named(dotted: str) -> Any:
    """Import what a "module:name" stands for.

    >>> named("math:sqrt")(9.0)
    3.0
    """
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


def header_of(path: Path) -> dict[str, str]:
    """Read the text entries in the header of a safetensors file; empty where it has none or is no such file."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
                return {}
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = header.get("__metadata__") if isinstance(header, dict) else None
    return entries if isinstance(entries, dict) else {}


def _of_folder(path: Path) -> str | None:
    """The loader of a folder whose config.json says what kind of model it is, if a system knows that kind."""
    try:
        content = json.loads((path / FOLDER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kind = content.get("model_type") if isinstance(content, dict) else None
    owners = [getattr(import_module(owner), "FOLDERS", {}) for owner in OWNERS]
    return next((folders[kind] for folders in owners if kind in folders), None)


def _loader(path: Path) -> str:
    """The loader of the first system that knows an entry of the header, else that of files from elsewhere (header "")."""
    headers: dict[str, str] = {}
    for owner in OWNERS:
        headers |= import_module(owner).HEADERS
    return next((headers[key] for key in header_of(path) if key in headers), headers[""])
