"""Files of video encoders, with or without a text tower: the config stands in the header under the key "longvideo"."""

import os
from pathlib import Path
from typing import Any

import torch

from tapetum.errors import BadInput
from tapetum.hub.headed import check_fit, read_headed, save_headed
from tapetum.hub.registry import known, resolve
from tapetum.longvideo.config import VideoConfig
from tapetum.longvideo.encoder import VideoEncoder
from tapetum.longvideo.towers import VideoText
from tapetum.longvideo.towers_config import VideoTextConfig, from_json, to_json

LONGVIDEO_FILE = "longvideo.safetensors"
"""Name of the network in the folder of a run."""


def save(model: VideoEncoder | VideoText, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
    """Write weights (rounded to `dtype`) and config, or nothing."""
    save_headed(model, path, "longvideo", to_json(model.config), dtype)


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> VideoEncoder | VideoText:
    """Load a known name, a file that `save` wrote, or the folder of a run, in evaluation mode; float32 by default.

    Raises BadInput: the file cannot be read, holds something else, or its tensors do not fit its config.
    """
    path = resolve(name_or_path)[0] if os.fspath(name_or_path) in known() else Path(name_or_path)
    path = path / LONGVIDEO_FILE if path.is_dir() else path
    about, tensors = read_headed(path, "longvideo", "video encoder")
    try:
        config = from_json(about)
        with torch.device("meta"):  # so that a config of absurd size asks for no memory
            wanted = _make(config).state_dict()
    except (ValueError, TypeError, KeyError, AttributeError, BadInput) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); save it again") from error
    check_fit(wanted, tensors, path)
    model = _make(config)
    model.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})
    return model.to(device=device, dtype=dtype).eval()


def _make(config: VideoConfig | VideoTextConfig) -> VideoEncoder | VideoText:
    return VideoEncoder(config) if isinstance(config, VideoConfig) else VideoText(config)
