"""Whatever weights are: a name, a file, a folder or another reference to the function that loads it.

Imports no torch by itself.

A reference is one string (or a path), the same in Python and for every option of the command line:

    NAME                  weights known by name (`tapetum weights list`)
    OWNER/NAME            a repository of Hugging Face that was fetched (`tapetum.hub.repositories`)
    FILE, FOLDER          a file of ours; the folder of a run; a folder of Hugging Face, whose config.json says what it is;
                          a file of another library, recognised by the names of its tensors
    PREFIX:REST           what an owner has under `PREFIXES`: timm:NAME, timm:NAME=FILE, random:NAME; see
                          `tapetum.encoders.references`
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference, split_reference
from tapetum.core.reading import open_file, parse_json, read_json
from tapetum.hub.registry import ENCODER_FILE, OWNERS, TRACKER_FILE, VIDEO_FILE, resolve
from tapetum.hub.repositories import FOLDER_FILE, OPEN_CLIP_FILE, is_folder

_LONGEST_HEADER = 100 << 20
"""Bytes; the format of safetensors allows no more."""


def load(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Any:
    """Load the weights that a reference stands for; see `tapetum.load`."""
    if not isinstance(reference, str | os.PathLike) or not os.fspath(reference):
        given = "an empty text" if isinstance(reference, str) else type(reference).__name__
        raise BadInput(f"{given} is no name of weights and no file; give one, as in tapetum.load('tapir-nano')")
    dtype = check_dtype(dtype)
    loader = find_loader(reference)
    if device is not None:
        device = find_device(device)
    return named(loader)(reference, device, dtype)


def find_loader(reference: str | os.PathLike[str], verb: str | None = None, *, trackers: bool = True) -> str:
    """Find what loads a reference, as "module:function" that takes it, device and dtype. No weights are read for it, but names
    of tensors where nothing else says what a file is.

    Args:
        verb: of the command line, for which known names are wanted; None takes weights for any.
        trackers: an .npy file is taken for a checkpoint of a tracker; else it is refused.

    Raises:
        BadInput: the name is unknown and no file either, is of weights for another verb, or its file is not on this machine.
    """
    path = Path(reference)
    prefix, colon, _ = os.fspath(reference).partition(":")
    if colon and not path.exists() and prefix in (prefixes := _joined("PREFIXES")):
        return prefixes[prefix]
    if is_reference(split_reference(os.fspath(reference), "encoder")[0], "encoder"):
        return "tapetum.encoders.references:from_class"
    loader = _of_folder(path)
    if loader is not None:
        return loader
    path, weights = resolve(reference, verb)
    if weights is not None:
        return weights.loader or _of_repository(path)
    return _loader(path, trackers)


def check_dtype(dtype: Any) -> Any:
    """Find the type of weights that is meant, a torch.dtype or its name; None stays. Raises BadInput for what is no float.

    >>> check_dtype("bfloat16"), check_dtype(None)
    (torch.bfloat16, None)
    """
    if dtype is None:
        return None
    import torch

    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(resolved, torch.dtype) or not resolved.is_floating_point or resolved.itemsize < 2:
        raise BadInput(
            f"weights cannot be {str(dtype)[:80]}; give dtype float32, bfloat16, float16 or float64 of torch, or none"
        )
    return resolved


def is_weights(folder: Path) -> bool:
    """Check whether a folder stands for weights: that of a run, or one with the config of a model."""
    return is_folder(folder) or any((folder / name).is_file() for name in (TRACKER_FILE, ENCODER_FILE, VIDEO_FILE))


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
        with open_file(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
                return {}
            header = parse_json(file.read(length))
    except (OSError, ValueError):
        return {}
    entries = header.get("__metadata__") if isinstance(header, dict) else None
    return entries if isinstance(entries, dict) else {}


def _joined(attribute: str) -> dict[str, str]:
    """What all owners have under a name, in one table."""
    return {key: value for owner in OWNERS for key, value in getattr(import_module(owner), attribute, {}).items()}


def _of_repository(path: Path) -> str:
    """Find the loader of the folder of a repository. Raises BadInput where its config says nothing that is known."""
    loader = _of_folder(path)
    if loader is None:
        raise BadInput(f"{path / FOLDER_FILE} does not say what model it is of; give a repository of transformers or timm")
    return loader


def _of_folder(path: Path) -> str | None:
    """The loader of a folder whose config says what kind of model it is; None for a folder without one."""
    if not path.is_dir() or any((path / name).is_file() for name in (TRACKER_FILE, ENCODER_FILE, VIDEO_FILE)):
        return None
    if (path / OPEN_CLIP_FILE).is_file():
        return _joined("FOLDERS")["open_clip"]
    try:
        content = read_json(path / FOLDER_FILE)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    kind = content.get("model_type", "timm" if "architecture" in content else None)
    folders = _joined("FOLDERS")
    if kind is not None and str(kind) not in folders:
        raise BadInput(
            f"{path / FOLDER_FILE} says that the model is of type {str(kind)[:40]!r}; tapetum has {', '.join(sorted(folders))}"
        )
    return folders.get(str(kind))


def _loader(path: Path, trackers: bool) -> str:
    """The loader of the first system that knows an entry of the header; else that of the owner of the names of the tensors."""
    headers = _joined("HEADERS")
    header = header_of(path)
    for key in header:
        if key in headers:
            return headers[key]
    if path.suffix == ".npy" and trackers:
        return headers[""]
    from tapetum.hub.state_dicts import names_in

    names = set[str]() if path.suffix == ".npy" else names_in(path)
    for owner in OWNERS:
        recognises, loader = getattr(import_module(owner), "FOREIGN", (None, ""))
        if recognises is not None and named(recognises)(names):
            return loader
    some = sorted(names)
    shown = ", ".join(name[:60] for name in dict.fromkeys((some[0], some[len(some) // 2], some[-1]))) if some else "none"
    raise BadInput(
        f"{path} has {len(some)} tensors ({shown}), which are of no encoder that is recognised, and of no tracker; read are "
        "ViT, ResNet, Swin, NFNet and EfficientNet-Lite of timm and torchvision, where need be with their name, "
        f"timm:NAME={path} (docs/systems/encoders.md lists the names), folders of transformers with their config.json, "
        "TAPIR and TAPNext"
    )
