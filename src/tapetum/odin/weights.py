"""Files of Odin's network: a safetensors file whose header says config and encoder as JSON under the key "odin"."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from tapetum.encoders.config import as_json, from_json
from tapetum.encoders.factory import describe, make
from tapetum.errors import BadInput
from tapetum.files import whole_file
from tapetum.odin.config import OdinConfig
from tapetum.odin.model import Odin

ODIN_FILE = "odin.safetensors"
"""Name of the network in the folder of a run."""


def save(model: Odin, path: str | os.PathLike[str]) -> None:
    """Write weights and configs, or nothing."""
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in model.state_dict().items()}
    about = {"config": asdict(model.config), "encoder": as_json(describe(model.encoder))}
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(to_bytes(tensors, {"odin": json.dumps(about)}))


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Odin:
    """Load a file that `save` wrote, or the folder of a run, in evaluation mode. Raises BadInput for anything else."""
    path = Path(name_or_path)
    path = path / ODIN_FILE if path.is_dir() else path
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("odin")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is no file of weights ({str(error)[:100]}); give the folder of a run of Odin") from error
    if text is None:
        raise BadInput(f"{path} holds no network of Odin; give the folder of a run of tapetum train odin")
    try:
        about = json.loads(text)
        config, found = OdinConfig(**about["config"]), from_json(about["encoder"])
        with torch.device("meta"):  # so that a config of absurd size asks for no memory
            wanted = Odin(config, make(found)).state_dict()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); train it again") from error
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors or name not in wanted or tensors[name].shape != wanted[name].shape:
            raise BadInput(f"the tensor {name!r} in {path} does not fit its config; train it again")
        if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise BadInput(f"the tensor {name!r} in {path} holds something else than finite numbers; get the file again")
    model = Odin(config, make(found))
    model.load_state_dict(tensors)
    return model.to(device=device, dtype=dtype).eval()
