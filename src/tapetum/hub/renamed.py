"""Names that tensors and config fields in files of ours had in earlier versions, and the names that they have now.

A file is read by the names of today: readers of our own files pass what they read through here. Files of other libraries have
tables of their own.
"""

from collections.abc import Mapping
from typing import Any

TENSORS = {"eye": "vision_encoder", "picture": "image", "pictures": "images", "picture_projection": "image_projection"}
TENSORS |= {"tell": "dense_head"}
TENSORS |= {"looks": "cross_attention", "remembering": "memory_bank"}
TENSORS |= {"halve": "downsample", "branch": "pyramid", "measure": "regress"}
"""Parts of the dotted names of tensors, each with its name of today."""
PAIRS = {"language.table": "language.token_embedding", "decoder.table": "decoder.token_embedding"}
"""Two parts of a dotted name, each with its names of today."""
FIELDS = {"eye": "vision_encoder", "picture": "image", "picture_size": "image_size", "second_look": "second_pass"}
FIELDS |= {"rate": "frame_rate"}
"""Fields of configs, each with its name of today."""
INSIDE = {"preparations": {"rate": "sample_rate"}}
"""Fields that have another name of today anywhere below one of these."""
OPTIONS = {"rate": ("base-lr", "frame-rate"), "trust": ("trust-coefficient",), "schedule": ("preset",)}
"""Options in files of settings, each with its names of today in the recipes that have it."""
SETTINGS = (
    ("drops", "milestones"),
    ("trust", "trust_coefficient"),
    ("task.rate", "task.base_lr"),
    ("task.rate", "task.frame_rate"),
    ("task.trust", "task.trust_coefficient"),
)
"""Settings of runs in checkpoints, each with a name of today; which of several, the run that goes on says."""
VALUES = {"pictures": "images"}
"""Values of fields that choose among names, each with its name of today."""


def current_name(name: str) -> str:
    """Compute the name that a tensor has today.

    >>> current_name("eye.blocks.0.norm.weight")
    'vision_encoder.blocks.0.norm.weight'
    """
    name = ".".join(TENSORS.get(part, part) for part in name.split("."))
    for old, new in PAIRS.items():
        name = name.replace(f"{old}.", f"{new}.")
    return name


def current_tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Rename tensors (or what stands for them) to the names that they have today."""
    return {current_name(name): tensor for name, tensor in tensors.items()}


def current_config(config: Any, fields: Mapping[str, str] = FIELDS) -> Any:
    """Rename the fields of a config that was read as JSON to the names that they have today, at every depth.

    >>> current_config({"eye": {"picture_size": [8, 8]}, "prefix_mask": "pictures"})
    {'vision_encoder': {'image_size': [8, 8]}, 'prefix_mask': 'images'}
    >>> current_config({"rate": 4.0, "preparations": {"audio": {"rate": 8000.0}}})
    {'frame_rate': 4.0, 'preparations': {'audio': {'sample_rate': 8000.0}}}
    """
    if isinstance(config, dict):
        return {
            fields.get(name, name): current_config(value, {**fields, **INSIDE.get(name, {})}) for name, value in config.items()
        }
    if isinstance(config, list):
        return [current_config(value, fields) for value in config]
    return VALUES.get(config, config) if isinstance(config, str) else config
