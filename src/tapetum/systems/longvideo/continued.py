"""A video encoder, alone or with its text tower, with other settings and the same weights, from stage to stage.

Positions are stretched in time where the new table is longer (MC-ViT, arXiv 2402.05861, section 5.1: linear, all else as it
was); adapters and low-rank changes are added to weights that have none.
"""

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.inflation import plain_name
from tapetum.systems.longvideo.towers import VideoText
from tapetum.systems.longvideo.tubelets import stretch

_Model = TypeVar("_Model", VideoEncoder, VideoText)
_ADDED = "adapters", "lora"


def continued(model: _Model, **changes: Any) -> _Model:
    """Build a network with the weights of `model`, in evaluation mode, where fields of its `VideoConfig` are changed.

    Raises BadInput where weights do not fit: another width, another grid, or adapters that were learned and are to go.
    """
    old = model.config if isinstance(model, VideoEncoder) else model.config.video
    new = replace(old, **changes)
    if old.tune in _ADDED and new.tune != old.tune:
        raise BadInput(f"the weights have {old.tune} of their own, which tune {new.tune} has not; go on with {old.tune}")
    made: Any = VideoEncoder(new) if isinstance(model, VideoEncoder) else VideoText(replace(model.config, video=new))
    own = made.state_dict()
    names = {plain_name(name) if new.tune != old.tune else name: name for name in own}
    for name, value in model.state_dict().items():
        target = names.get(name)
        if name.endswith("tubelets.positions") and target is not None:
            value = _longer(value, old, new)
        if target is None or own[target].shape != value.shape:
            raise BadInput(
                f"the weights {name} {tuple(value.shape)} have no place in a network with {_said(changes)}; leave that out"
            )
        own[target] = value
    made.load_state_dict(own)
    return made.to(next(model.parameters()).device).eval()


def _longer(positions: Tensor, old: VideoConfig, new: VideoConfig) -> Tensor:
    """The table of positions for the new number of frames; a shorter one is its beginning."""
    if new.slots > old.slots:
        with torch.no_grad():
            return stretch(positions, new.slots)
    return positions[: new.slots]


def _said(changes: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items()) or "its own settings"
