"""Random masking of inputs for masked auto-encoding.

Source: masked auto-encoding of HiP (arXiv 2202.10890). A mask is drawn over places within a group and is the same in all
groups, so that what is left is again one array: (b, g, m, e) becomes (b, g, kept, e).

What could be read of the paper does not give its ratio; from its figure it is about 0.85. Whether it drops what is hidden, as
here, or puts something in its place is not known either.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.systems.hip.config import HipConfig, Masked
from tapetum.systems.hip.grouping import Grouping, grouping


@dataclass(frozen=True)
class VisibleElements:
    """The places of each group that are not hidden."""

    places: Int[Tensor, "b h k"]
    """Rising; h is 1 where all groups share them, else the number of groups."""
    width: int
    """Places of a group."""

    @property
    def visible(self) -> Bool[Tensor, "b h m"]:
        """Compute the mask of elements that are visible."""
        shape = (*self.places.shape[:2], self.width)
        return torch.zeros(shape, dtype=torch.bool, device=self.places.device).scatter(2, self.places, True)

    def drop(self, x: Float[Tensor, "b g m e"]) -> Float[Tensor, "b g k e"]:
        """Compute what is kept of grouped inputs."""
        return x.gather(2, self.places[..., None].expand(-1, x.shape[1], -1, x.shape[3]))


def draw_mask(
    batch: int,
    groups: int,
    width: int,
    ratio: float,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    shared: bool = True,
) -> VisibleElements:
    """Draw a random mask that hides a fraction `ratio` of `width` places, but never all, of each example.

    `shared`: one mask for all groups, as in the paper; else one for each.
    """
    count = max(1, round(width * (1 - ratio)))
    chance = torch.rand(batch, 1 if shared else groups, width, generator=generator, device=device)
    return VisibleElements(chance.argsort(-1)[..., :count].sort(-1).values, width)


def plan_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> Grouping:
    """Find the groups that `inputs` have in `model`."""
    config: HipConfig = model.config  # type: ignore[assignment]
    lengths = {name: value.shape[1] for name, value in inputs.items() if name not in config.labels}
    return grouping(lengths, config.groups[0], config.flat)


def reconstruct_masked(
    model: nn.Module, inputs: Mapping[str, Tensor], settings: Masked, generator: torch.Generator | None = None
) -> tuple[dict[str, Tensor], dict[str, Bool[Tensor, "b _n"]]]:
    """Reconstruct the inputs of which a drawn mask hides a part; also tell which elements were hidden."""
    plan, value = plan_of(model, inputs), next(iter(inputs.values()))
    kept = draw_mask(
        len(value), plan.groups, plan.width, settings.ratio, generator=generator, device=value.device, shared=settings.shared
    )
    return model(inputs, kept).reconstruction, hidden_elements(plan, kept)


def hidden_elements(plan: Grouping, kept: VisibleElements) -> dict[str, Bool[Tensor, "b _n"]]:
    """Check of each element of each modality whether it is hidden."""
    hidden = ~kept.visible.expand(-1, plan.groups, -1)
    return {name: x[..., 0] for name, x in plan.ungroup(hidden[..., None]).items()}
