"""Resolving weights: from a name, a file, a folder or another reference to the function that loads it.

Does not import torch itself.

A reference is one string (or a path), the same in Python and for every option of the command line:

    NAME                  published weights, by name (`tapetum weights list`)
    OWNER/NAME            a repository fetched from Hugging Face (`tapetum.hub.repositories`)
    FILE, FOLDER          one of our files; the folder of a run; a Hugging Face folder, described by its config.json;
                          a file of another library, recognised by the names of its tensors
    PREFIX:REST           the entries of an owner under `PREFIXES`: timm:NAME, timm:NAME=FILE, random:NAME; see
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
from tapetum.hub.registry import WEIGHTS_FILES, owners, resolve
from tapetum.hub.repositories import FOLDER_FILE, OPEN_CLIP_FILE, is_folder

_LONGEST_HEADER = 100 << 20
"""Bytes; the format of safetensors allows no more."""
_kept: dict[Any, Any] | None = None
"""Models by reference, device, dtype and files, the last used one last; None where each is loaded anew."""
_MOST_KEPT = 2


def keep_loaded() -> None:
    """Let `load` give the same model again in this process while its files are unchanged, for the last few references.

    For a process that only computes with models, and changes none.
    """
    global _kept
    _kept = {}


def keeps_loaded() -> bool:
    return _kept is not None


def load(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Any:
    """Load the weights of a reference; see `tapetum.load`."""
    if _kept is None or (key := _key_of(reference, device, dtype)) is None:
        return _load(reference, device, dtype)
    _kept[key] = _kept.pop(key) if key in _kept else _load(reference, device, dtype)  # the last used one last
    while len(_kept) > _MOST_KEPT:
        _kept.pop(next(iter(_kept)))
    return _kept[key]


def _key_of(reference: str | os.PathLike[str], *more: Any) -> Any:
    """What decides about a model; None for code, which may have changed, and for what has no file."""
    if is_reference(split_reference(os.fspath(reference), "encoder")[0], "encoder"):
        return None
    try:
        path, _ = resolve(reference)
    except BadInput:
        return None
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return os.fspath(reference), *map(str, more), *((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def _load(reference: str | os.PathLike[str], device: Any, dtype: Any) -> Any:
    if not isinstance(reference, str | os.PathLike) or not os.fspath(reference):
        given = "an empty text" if isinstance(reference, str) else type(reference).__name__
        raise BadInput(f"{given} is no name of weights and no file; give one, as in tapetum.load('tapir-nano')")
    dtype = check_dtype(dtype)
    loader = find_loader(reference)
    if device is not None:
        device = find_device(device)
    loaded = named(loader)(reference, device, dtype)
    if getattr(loaded, "error_model", loaded) is not None:  # it predicts its errors, or tracks nothing
        return loaded
    return named("tapetum.systems.tap.tracking.error_model:with_errors")(loaded, resolve(reference)[0])


def find_loader(reference: str | os.PathLike[str], verb: str | None = None, *, trackers: bool = True) -> str:
    """Find the loader of a reference, as "module:function" that takes it, device and dtype. Weights are not read, only names
    of tensors if nothing else identifies a file.

    Args:
        verb: of the command line, whose published names are accepted; None accepts weights for any.
        trackers: accept an .npy file as a tracker checkpoint; otherwise it is refused.

    Raises:
        BadInput: the name is unknown and not a file either, belongs to another verb, or its file is not on this machine.
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
    if weights is None:
        return _loader(path, trackers)
    if not (loader := weights.loader or _of_folder(path)):
        raise BadInput(f"{path / FOLDER_FILE} does not say what model it is of; give a repository of transformers or timm")
    return loader


def check_dtype(dtype: Any) -> Any:
    """Resolve the dtype of weights, a torch.dtype or its name; None stays. Raises BadInput for types that are not floats.

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
    """Check whether a folder holds weights: that of a run, or one with a model config."""
    return is_folder(folder) or any((folder / name).is_file() for name in WEIGHTS_FILES)


def named(dotted: str) -> Any:
    """Import the object that "module:name" refers to.

    >>> named("math:sqrt")(9.0)
    3.0
    """
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


def header_of(path: Path) -> dict[str, str]:
    """Read the text entries in the header of a safetensors file; empty if it has none or is another kind of file."""
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
    """Merge all owners' entries under a name into one table."""
    return {key: value for owner in owners() for key, value in getattr(owner, attribute, {}).items()}


def _of_folder(path: Path) -> str | None:
    """The loader of a folder whose config identifies the kind of model; None for a folder without one."""
    if not path.is_dir() or any((path / name).is_file() for name in WEIGHTS_FILES):
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
    """The loader of the first system that knows an entry of the header; else of the owner of the tensors' names."""
    headers = _joined("HEADERS")
    header = header_of(path)
    for key in header:
        if key in headers:
            return headers[key]
    if path.suffix == ".npy" and trackers:
        return headers[""]
    from tapetum.hub.state_dicts import names_in

    names = set[str]() if path.suffix == ".npy" else names_in(path)
    for owner in owners():
        recognises, loader = getattr(owner, "FOREIGN", (None, ""))
        if recognises is not None and named(recognises)(names):
            return loader
    some = sorted(names)
    shown = ", ".join(name[:60] for name in dict.fromkeys((some[0], some[len(some) // 2], some[-1]))) if some else "none"
    raise BadInput(
        f"{path} has {len(some)} tensors ({shown}), which are of no encoder that is recognised, and of no tracker; read are "
        "ViT, ResNet, NFNet and EfficientNet-Lite of timm and torchvision, all else of timm with its name, "
        f"timm:NAME={path}, your own class with its file, my_net.py:MyNet={path}, folders of transformers with their "
        "config.json, TAPIR and TAPNext"
    )
