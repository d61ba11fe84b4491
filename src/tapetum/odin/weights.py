"""Files of Odin's network: a safetensors file whose header says config and encoder as JSON under the key "odin"."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tapetum.encoders.config import as_json, from_json
from tapetum.encoders.factory import describe, make
from tapetum.errors import BadInput
from tapetum.hub.headed import check_fit, read_headed, save_headed
from tapetum.odin.config import OdinConfig
from tapetum.odin.model import Odin

ODIN_FILE = "odin.safetensors"
"""Name of the network in the folder of a run."""


def save(model: Odin, path: str | os.PathLike[str]) -> None:
    """Write weights and configs, or nothing."""
    save_headed(model, path, "odin", {"config": asdict(model.config), "encoder": as_json(describe(model.encoder))})


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Odin:
    """Load a file that `save` wrote, or the folder of a run, in evaluation mode. Raises BadInput for anything else."""
    path = Path(name_or_path)
    path = path / ODIN_FILE if path.is_dir() else path
    about, tensors = read_headed(path, "odin", "network of tapetum train odin")
    try:
        config, found = OdinConfig(**about["config"]), from_json(about["encoder"])
        with torch.device("meta"):  # so that a config of absurd size asks for no memory
            wanted = Odin(config, make(found)).state_dict()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); train it again") from error
    check_fit(wanted, tensors, path)
    model = Odin(config, make(found))
    model.load_state_dict(tensors)
    return model.to(device=device, dtype=dtype).eval()
