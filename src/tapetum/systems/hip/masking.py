"""Random masking of inputs for masked auto-encoding, and drawings of what a network makes of them.

Source: masked auto-encoding of HiP (arXiv 2202.10890). A mask is drawn over places within a group and is the same in all
groups, so that what is left is again one array: (b, g, m, e) becomes (b, g, kept, e).

What could be read of the paper does not give its ratio; from its figure it is about 0.85. Whether it drops what is hidden or
puts something in its place is not known either: both are here.

Drawn are, as in its figures, inputs, what is left of them, what becomes of that; and how alike the codes of positions are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn

from tapetum.core.files import whole_file
from tapetum.systems.hip.config import HipConfig, Masked, Modality
from tapetum.systems.hip.grouping import Grouping, grouping
from tapetum.train.launch import is_main


@dataclass(frozen=True)
class VisibleElements:
    """The places of each group that are not hidden."""

    places: Int[Tensor, "b h k"]
    """Rising; h is 1 where all groups share them, else the number of groups."""
    width: int
    """Places of a group."""
    how: Literal["drop", "replace"] = "drop"
    """Hidden inputs are taken out, or lose their value and keep their position code."""

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
    how: Literal["drop", "replace"] = "drop",
) -> VisibleElements:
    """Draw a random mask that hides a fraction `ratio` of `width` places, but never all, of each example.

    `shared`: one mask for all groups, as in the paper; else one for each.
    """
    count = max(1, round(width * (1 - ratio)))
    chance = torch.rand(batch, 1 if shared else groups, width, generator=generator, device=device)
    return VisibleElements(chance.argsort(-1)[..., :count].sort(-1).values, width, how)


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
    drawn: Any = {"generator": generator, "device": value.device, "shared": settings.shared, "how": settings.how}
    kept = draw_mask(len(value), plan.groups, plan.width, settings.ratio, **drawn)
    return model(inputs, kept).reconstruction, hidden_elements(plan, kept)


def hidden_elements(plan: Grouping, kept: VisibleElements) -> dict[str, Bool[Tensor, "b _n"]]:
    """Check of each element of each modality whether it is hidden."""
    hidden = ~kept.visible.expand(-1, plan.groups, -1)
    return {name: x[..., 0] for name, x in plan.ungroup(hidden[..., None]).items()}


ROWS, SCALE = 8, 4
"""Examples in an image of reconstructions, and screen pixels of an element."""


def draw_progress(folder: Path, step: int, model: nn.Module, inputs: Mapping[str, Tensor], settings: Masked) -> None:
    """Draw `STEP-NAME.png` (inputs, what is left, what is found) and `STEP-NAME-codes.png` of each modality that is a
    image."""
    some = {name: value[:ROWS] for name, value in inputs.items()}
    generator = torch.Generator(next(iter(some.values())).device).manual_seed(0)
    reconstructed, hidden = reconstruct_masked(model, some, settings, generator)
    folder.mkdir(parents=True, exist_ok=True)
    for name, modality in model.modalities.items():  # type: ignore[union-attr, operator]
        if len(modality.shape) != 2 or modality.channels not in (1, 3) or name not in reconstructed:
            continue
        _save(reconstructions(some[name], hidden[name], reconstructed[name], modality), folder / f"{step:06d}-{name}.png")
        codes = model.positions[name]().detach()  # type: ignore[index, operator, union-attr]
        _save(similarity_sheet(codes, modality.shape), folder / f"{step:06d}-{name}-codes.png")


def reconstructions(
    inputs: Float[Tensor, "b n c"], hidden: Tensor, reconstructed: Float[Tensor, "b n c"], modality: Modality
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a row an example: the input, the input with what is hidden in grey, and what was found where it was hidden."""
    low, high = inputs.amin((0, 1)), inputs.amax((0, 1))
    middle = (low + high) / 2
    left = torch.where(hidden[..., None], middle, inputs)
    filled = torch.where(hidden[..., None], reconstructed.float(), inputs)
    rows = []
    for each in zip(inputs, left, filled, strict=True):
        panels = [((x - low) / (high - low).clamp(min=1e-6)).clamp(0, 1).reshape(*modality.shape, -1) for x in each]
        rows.append(np.concatenate([_framed(panel.detach().expand(-1, -1, 3).cpu().numpy()) for panel in panels], 1))
    return np.concatenate(rows, 0)


def similarity_sheet(codes: Float[Tensor, "n e"], shape: tuple[int, int], places: int = 5) -> UInt8[np.ndarray, "h w 3"]:
    """Draw `places` x `places` maps of the cosine between the code of one place and those of all; red is alike, blue
    opposed."""
    alike = cosines(codes).reshape(*shape, *shape).cpu().numpy()
    at = [np.linspace(0, n - 1, places + 2)[1:-1].round().astype(int) for n in shape]
    rows = [np.concatenate([_framed(_colours(alike[y, x])) for x in at[1]], 1) for y in at[0]]
    return np.concatenate(rows, 0)


def cosines(codes: Float[Tensor, "n e"]) -> Float[Tensor, "n n"]:
    """Compute the cosine similarity of all pairs of codes, their mean taken away."""
    codes = codes.float() - codes.float().mean(0)
    codes = codes / codes.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return codes @ codes.T


def neighbour_cosines(codes: Float[Tensor, "n e"], shape: tuple[int, int]) -> dict[str, float]:
    """Compute the mean cosine of codes side by side and one above the other; 0 is that of a random pair.

    >>> round(neighbour_cosines(torch.eye(6), (2, 3))["horizontal"], 6)
    -0.2
    """
    alike = cosines(codes)
    number = torch.arange(math.prod(shape)).reshape(shape)
    pairs = {"horizontal": (number[:, :-1], number[:, 1:]), "vertical": (number[:-1], number[1:])}
    return {name: float(alike[a.flatten(), b.flatten()].mean()) for name, (a, b) in pairs.items()}


def _colours(values: np.ndarray) -> np.ndarray:
    """-1..1 from blue over white to red, (h, w, 3) in 0..1."""
    v = values.clip(-1, 1)[..., None]
    red, blue = np.array([0.75, 0.1, 0.1]), np.array([0.1, 0.25, 0.75])
    return np.where(v > 0, 1 - v * (1 - red), 1 + v * (1 - blue))


def _framed(panel: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """0..1 to an image enlarged by `SCALE`, with a white edge."""
    large = (panel * 255).round().astype(np.uint8).repeat(SCALE, 0).repeat(SCALE, 1)
    return np.pad(large, ((0, SCALE), (0, SCALE), (0, 0)), constant_values=255)


def _save(image: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
    if is_main():
        with whole_file(path) as temporary:
            Image.fromarray(image).save(temporary, "PNG")
