"""Files of Odin's network: a safetensors file whose header says config and encoder as JSON under the key "odin"."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from tapetum.encoders.architectures import as_json, from_json
from tapetum.encoders.factory import describe, make
from tapetum.hub.headed import load_headed, save_headed
from tapetum.hub.registry import known, resolve
from tapetum.systems.odin.config import OdinConfig
from tapetum.systems.odin.model import Odin

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
        config, architecture = OdinConfig(**about["config"]), from_json(about["encoder"])
        return lambda: Odin(config, make(architecture))

    return cast(Odin, load_headed(path, "odin", "network of tapetum train odin", maker)).to(device=device, dtype=dtype)
