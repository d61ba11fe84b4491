"""Folders as they are on the Hub: tiny models of transformers, saved, whose config.json has no more than it has there."""

import json
from pathlib import Path
from typing import Any

import torch


def shaken(model: Any) -> Any:
    """The model with random weights, so that none is a neutral 0 or 1; a temperature stays above 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "mask_token" not in name and name != "temperature":
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def write_sparse_folder(model: Any, folder: Path, processor: Any = None) -> Path:
    """Save a model whose config leaves out what its parts have by default, as transformers 4 wrote it."""
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    usual = type(model.config)().to_dict()
    for part in ("text_config", "vision_config"):
        if part in content:
            content[part] = {key: value for key, value in content[part].items() if usual[part].get(key) != value}
    (folder / "config.json").write_text(json.dumps(content))
    return folder
