"""Files of Odin's network, and the checkpoints that DetCon's authors released.

Ours is a safetensors file whose header says config and encoder as JSON under the key "odin". Theirs (arXiv 2103.10957;
google-deepmind/detcon) are ResNets as .npy of pickled arrays:

    {... {"res_net50/~/block_group_0/~/block_0/~/conv_0": {"w": array}, ...}      parameters, by module and leaf
     ... {"res_net50/~/initial_batchnorm/~/mean_ema": {"average": array}, ...}    state: the averages of batch norms

They are read without running code (`tapetum.hub.unpickle`); names are in `tapetum.encoders.tables.detcon`. The nesting of the
two mappings in a file does not matter: they are found by name, and those of a target network are skipped.

Differs from the files: projector, predictor and classifier are left out, and `hidden`, from which haiku makes an average.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders import factory
from tapetum.encoders.architectures import as_json, from_json
from tapetum.encoders.factory import describe, make
from tapetum.encoders.features import Encoder
from tapetum.hub.headed import load_headed, save_headed
from tapetum.hub.registry import known, resolve
from tapetum.hub.unpickle import load_npy
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import OdinConfig

ODIN_FILE = "odin.safetensors"
"""Name of the network in the folder of a run."""


def save(model: Odin, path: str | os.PathLike[str]) -> None:
    """Write weights and configs, or nothing."""
    save_headed(model, path, "odin", {"config": asdict(model.config), "encoder": as_json(describe(model.encoder))})


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Odin:
    """Load weights of a known name, a file that `save` wrote, or the folder of a run, in evaluation mode.

    Raises BadInput for anything else.
    """
    name = os.fspath(name_or_path)
    path = resolve(name)[0] if name in known() else Path(name)
    path = path / ODIN_FILE if path.is_dir() else path

    def maker(about: Any) -> Callable[[], Odin]:
        settings = {name: value for name, value in about["config"].items() if name != "cache_masks"}  # version 0.1.0 had it
        config, architecture = OdinConfig(**settings), from_json(about["encoder"])
        return lambda: Odin(config, make(architecture))

    return cast(Odin, load_headed(path, "odin", "network of tapetum train odin", maker)).to(device=device, dtype=dtype)


_FIRST = "initial_conv"
_DEEPEST = 6
_UNUSED = "/hidden", "var_ema/counter"


def convert_detcon(source: Path, target: Path, architecture: str) -> None:
    """Convert a checkpoint to our encoder file format; `architecture` is resnet-50, resnet-200 and so on."""
    factory.save(read_detcon(source, architecture), target)


def read_detcon(path: str | os.PathLike[str], architecture: str = "resnet-50") -> Encoder:
    """Read a checkpoint as an encoder, in evaluation mode.

    Raises BadInput if the file has no such network, or its tensors do not match the architecture; the message names one.
    """
    state = haiku_state(load_npy(path), Path(path))
    try:
        return factory.from_state(state, "detcon", architecture)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def load_detcon(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Encoder:
    """Load an encoder by its known name, in evaluation mode; see `tapetum.load`."""
    path, known = resolve(name_or_path)
    if path.suffix == ".npy":  # as published, put there by hand
        return read_detcon(path, known.architecture if known else "resnet-50").to(device=device, dtype=dtype)
    return factory.load(path, device, dtype)


def haiku_state(content: Any, path: Path) -> dict[str, Tensor]:
    """Read the network in what a checkpoint holds: its tensors in PyTorch's shapes, by module/leaf."""
    modules: dict[str, Mapping[str, Any]] = {}
    for mapping in _mappings(content, _DEEPEST):
        for name, leaves in mapping.items():
            if isinstance(name, str) and isinstance(leaves, Mapping):
                modules.setdefault(name, leaves)
    prefix = next((name.removesuffix(_FIRST) for name in modules if name.endswith(f"/{_FIRST}")), None)
    if prefix is None:
        raise BadInput(f"{path} holds no ResNet of DetCon's code (no module {_FIRST}); give one of its .npy files")
    state = {}
    for name, leaves in modules.items():
        if name.startswith(prefix) and not name.startswith(f"{prefix}logits"):
            for leaf, array in leaves.items():
                own = f"{name.removeprefix(prefix)}/{leaf}"
                if not own.endswith(_UNUSED):
                    state[own] = _turned(own, array, path)
    return state


def _mappings(content: Any, depth: int) -> Iterator[Mapping[Any, Any]]:
    """Give what is nested in a checkpoint, the parts of an online network alone where there is a target."""
    if depth and isinstance(content, Mapping):
        yield content
        for name, part in content.items():
            if "target" not in str(name):
                yield from _mappings(part, depth - 1)
    elif depth and isinstance(content, (list, tuple)):
        for part in content:
            yield from _mappings(part, depth - 1)


def _turned(name: str, array: Any, path: Path) -> Tensor:
    try:
        values = np.asarray(array)
        tensor = torch.from_numpy(np.array(values, np.int64 if values.dtype.kind in "iu" else np.float32))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path}: {name} is no array of numbers ({str(error)[:60]}); get the file again") from error
    if name.endswith("/w"):
        return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.mT
    return tensor.flatten() if tensor.ndim else tensor
