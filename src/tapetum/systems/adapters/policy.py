"""A policy from `tapetum adapt` with LeRobot's interface: named observations in, an action out, as tensors.

LeRobot's loops call `reset` at the start of an episode and `select_action` at each step, with a batch

    observation.images.CAMERA   (b, 3, h, w), float 0..1, or uint8 0..255
    observation.state           (b, p), only for a policy that was trained with own="concat"

so they can run this policy too. It has no memory: an action depends on one observation.
"""

import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.heads import PolicyHead
from tapetum.systems.adapters.run import load_headed
from tapetum.systems.adapters.task import Headed
from tapetum.video.lerobot import STATE

IMAGES = "observation.images."
"""What the names of cameras begin with."""


class RobotPolicy:
    """A policy for loops with LeRobot's interface."""

    def __init__(self, headed: Headed):
        """Wrap a loaded policy; see `load`. Raises BadInput for one without actions."""
        if headed.about["task"] != "clone":
            raise BadInput(f"these weights are of {headed.about['task']}, and have no actions; give those of --task clone")
        self.headed = headed.eval()
        camera = str(headed.about.get("camera", ""))
        self.camera = camera if camera.startswith(IMAGES) else f"{IMAGES}{camera}"
        """Name of the image that it acts upon."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> "RobotPolicy":
        """Load a policy from a file written by `tapetum adapt --task clone`. Raises BadInput for any other file."""
        headed = load_headed(path)
        return cls(cast(Headed, headed.to(device)))

    def reset(self) -> None:
        """Begin an episode: nothing is remembered from one step to the next."""

    @torch.no_grad()
    def select_action(self, batch: Mapping[str, Any]) -> Float[Tensor, "b a"]:
        """Compute the actions for a batch of observations, in the units of the demonstrations, on the policy's device.

        Raises BadInput if the image or the state is missing, or has a wrong shape or range.
        """
        images = self.headed.prepare(self._images(batch))
        return cast(PolicyHead, self.headed.head).actions(self.headed(images, self._state(batch, images)))

    def _images(self, batch: Mapping[str, Any]) -> Tensor:
        names = [name for name in batch if name.startswith(IMAGES)]
        name = self.camera if self.camera in batch or len(names) != 1 else names[0]
        if name not in batch:
            raise BadInput(f"the observation has no {name}, which the policy acts upon; it has {', '.join(batch) or 'nothing'}")
        images = torch.as_tensor(batch[name])
        if images.ndim != 4 or images.shape[1] != 3:
            raise BadInput(f"{name} has shape {tuple(images.shape)}; wanted (batch, 3, rows, columns)")
        if images.is_floating_point():
            low, high = images.aminmax()
            if not (low >= 0 and high <= 1):
                raise BadInput(f"{name} has values from {low:g} to {high:g}; wanted floats 0..1, or uint8")
            images = (255 * images.float()).round()
        elif images.dtype != torch.uint8:
            raise BadInput(f"{name} is {images.dtype}; wanted floats 0..1, or uint8")
        return images.to(torch.uint8).movedim(1, -1)

    def _state(self, batch: Mapping[str, Any], images: Tensor) -> Float[Tensor, "b p"]:
        size = cast(PolicyHead, self.headed.head).own_norm.mean.numel()
        if not size:
            return images.new_zeros(len(images), 0)
        if STATE not in batch:
            raise BadInput(f"the observation has no {STATE}, with which the policy was trained (own='concat')")
        state = torch.as_tensor(batch[STATE]).to(images.device, torch.float32)
        if state.shape != (len(images), size):
            raise BadInput(f"{STATE} has shape {tuple(state.shape)}; wanted ({len(images)}, {size})")
        return state
