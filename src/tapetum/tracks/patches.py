"""Patches of grey around points, and their alignment with other images.

Source: Lucas & Kanade (IJCAI 1981), in the inverse compositional form of Baker & Matthews (IJCV 56, 2004, section 3.2): a patch
is warped onto an image by six numbers, contrast and brightness aside.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, wraps
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from tapetum.layers.sampling import constant, scale_xy

SIDE = 256
"""Pixels of the shorter side of the images that patches are cut from; smaller videos stay as they are."""
RADIUS = 9
"""Pixels from the middle of a patch to its edge."""
SPREAD = 6.0
"""Pixels; standard deviation of the weight of a patch's pixels."""
ITERATIONS = 4
REACH = (6.0, 3.0, 3.0)
"""Pixels that alignment may move a place by: the network's, and the two guesses from the frame before."""
CONTRAST = 2.0
"""Grey levels of 255; patches whose standard deviation is less are left to the network."""
STRETCH = (0.2, 5.0)
"""Least and largest area of the warp of a unit square."""
PATCH_FACTOR, PATCH_LEAST = 137.0, 0.02
"""Of `patch_covariance`: by what the residual's variance is multiplied, and the least standard deviation in pixels of the
image. `python evidence/live/covariance.py` fits the first so that 68 of 100 ellipses contain the true position."""
_STIFF = 4e-4
"""Added to the normal equations, for the affine part times RADIUS^2 / 4."""


def map_tensors(function: Callable[..., Tensor], tree: Any, *others: Any) -> Any:
    """Apply `function` to tensors at matching places of nested tuples and dataclasses; take anything else from `tree`."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, tuple):
        return tuple(map_tensors(function, *parts) for parts in zip(tree, *others, strict=True))
    if is_dataclass(tree):
        parts = ([getattr(one, f.name) for one in (tree, *others)] for f in fields(tree))
        return type(tree)(*(map_tensors(function, *part) for part in parts))  # pyright: ignore[reportCallIssue]
    return tree


class PointRows:
    """A frozen dataclass whose tensors, nested ones too, have a row for each point."""

    def select(self, index: Any) -> Self:
        """Select some of the points, by number, mask or slice."""
        return map_tensors(lambda x: x[index], self)

    def beside(self, *others: Self) -> Self:
        """Join these points, and then others."""
        return map_tensors(lambda *x: torch.cat(x), self, *others)

    def where(self, chosen: Bool[Tensor, " n"], other: Self) -> Self:
        """Select these points where `chosen`, and those of `other` elsewhere."""
        return map_tensors(lambda a, b: torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), a, b), self, other)


def grey(frames: UInt8[np.ndarray, "t h w 3"], device: torch.device | str = "cpu") -> Float[Tensor, "t y x"]:
    """Compute the images that patches are cut from: grey, 0..255, slightly blurred, the shorter side at most SIDE pixels."""
    return grey_images(torch.from_numpy(frames).to(device))


def grey_images(frames: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "t y x"]:
    """Compute the same as `grey`, on the device of the frames."""
    images = frames.permute(0, 3, 1, 2)
    size = reduced(images.shape[-2], images.shape[-1])
    if size != images.shape[-2:]:  # on a CPU bytes are filtered in a sixth of the time, and rounded to whole grey levels
        images = images if images.device.type == "cpu" else images.float()
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    images = images.float().mean(1, keepdim=True)
    wide = F.pad(images, (2, 2, 2, 2), mode="replicate")[:, 0]
    return _blurred(_blurred(wide).mT).mT.contiguous()


def _blurred(rows: Float[Tensor, "t y x"]) -> Float[Tensor, "t y x-4"]:
    return (rows[..., :-4] + rows[..., 4:] + 4 * (rows[..., 1:-3] + rows[..., 3:-1]) + 6 * rows[..., 2:-2]) / 16


def reduced(height: int, width: int) -> tuple[int, int]:
    """Compute height and width of the images that patches are cut from.

    >>> reduced(1080, 1920), reduced(200, 300)
    ((256, 455), (200, 300))
    """
    factor = min(1.0, SIDE / min(height, width))
    return (round(height * factor), round(width * factor))


def _exact(method: Callable[..., Any]) -> Callable[..., Any]:
    """Without autocast: products of positions in bfloat16 would be off by a pixel."""

    @wraps(method)
    def exact(self: Any, image: Tensor, *rest: Any) -> Any:
        with torch.autocast(image.device.type, enabled=False):
            return method(self, image, *rest)

    return exact


@dataclass(frozen=True)
class Patches(PointRows):
    """Patches around n points in the frames of their queries."""

    template: Float[Tensor, "n p"]
    """Grey, with weighted mean 0 and variance 1."""
    solve: Float[Tensor, "n p 6"]
    """From a patch's differences to the warp that undoes them, to first order."""
    plain: Bool[Tensor, " n"]
    """Too little contrast to be found again."""

    @classmethod
    @_exact
    def cut(cls, image: Float[Tensor, "y x"], places: Float[Tensor, "n 2"]) -> "Patches":
        """Cut patches around positions (x, y) of an image."""
        weight, (x, y, _) = _weight(image.device), _offsets(image.device).T
        upright = torch.eye(2, device=image.device).expand(len(places), 1, 2, 2)
        raw, across, down = (_sampled(p, places[:, None], upright)[:, 0] for p in (image, *_slopes(image)))
        deviation = ((raw - (raw * weight).sum(-1, keepdim=True)).square() * weight).sum(-1).sqrt()
        template = _standard(raw, weight)
        moves = torch.stack([across, down, across * x, across * y, down * x, down * y], -1)
        moves = moves / deviation.clamp(min=CONTRAST)[:, None, None]
        ignored = torch.stack(
            [torch.ones_like(template), template], -1
        )  # brightness and contrast, orthonormal under the weight
        moves = moves - ignored @ ((ignored * weight[:, None]).mT @ moves)
        stiff = constant([1, 1, *[RADIUS**2 / 4] * 4], image, torch.float32) * _STIFF
        weighted = (moves * weight[:, None]).mT
        # positive definite: nothing to check, for which the host would wait
        solve = torch.linalg.solve_ex(weighted @ moves + torch.diag(stiff), weighted).result.mT.contiguous()
        return cls(template, solve, deviation < CONTRAST)

    @_exact
    def align(
        self,
        image: Float[Tensor, "y x"],
        begun: Float[Tensor, "n c 2"],
        affine: Float[Tensor, "n 2 2"],
        reach: tuple[float, ...] = REACH,
    ) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2 2"], Float[Tensor, " n"]]:
        """Find position, warp and correlation of each patch's best fit from c starting positions, no farther than `reach`
        pixels from each; -1 if none is valid."""
        weight, template = _weight(image.device), self.template[:, None]
        xy, affine = begun, affine[:, None].expand(-1, begun.shape[1], -1, -1)
        for _ in range(ITERATIONS):
            step = (_standard(_sampled(image, xy, affine), weight) - template) @ self.solve
            a, b, c, d = (step[..., 2:] + constant([1, 0, 0, 1], step)).unbind(-1)
            inverse = torch.stack([d, -b, -c, a], -1) / (a * d - b * c).clamp(min=0.1)[..., None]
            affine = affine @ inverse.unflatten(-1, (2, 2))
            xy = xy - (affine @ step[..., :2, None])[..., 0]
        score = (_standard(_sampled(image, xy, affine), weight) * template * weight).sum(-1)
        area = affine[..., 0, 0] * affine[..., 1, 1] - affine[..., 0, 1] * affine[..., 1, 0]
        sound = ~self.plain[:, None] & ((xy - begun).norm(dim=-1) < constant(reach, xy))
        sound &= (area > STRETCH[0]) & (area < STRETCH[1])
        sound &= ((xy > 0) & (xy < constant([image.shape[1], image.shape[0]], xy))).all(-1)
        score, best = torch.where(sound, score, -1.0).max(1)
        row = torch.arange(len(best), device=best.device)
        return xy[row, best], affine[row, best], score

    @_exact
    def shown(self, image: Float[Tensor, "y x"], xy: Float[Tensor, "n 2"], affine: Float[Tensor, "n 2 2"]) -> "Patches":
        """Compute patches of what an image shows at these positions and warps, with the slopes of these patches."""
        shown = _standard(_sampled(image, xy[:, None], affine[:, None])[:, 0], _weight(image.device))
        return replace(self, template=shown)


def patch_covariance(
    patches: Patches,
    affine: Float[Tensor, "n 2 2"],
    score: Float[Tensor, " n"],
    size: tuple[int, int],
    factor: float = PATCH_FACTOR,
    least: float = PATCH_LEAST,
) -> Float[Tensor, "n 2 2"]:
    """Compute covariances (x, y) in pixels of a frame of (height, width) `size` where patches were aligned with this `score`:
    the residual's variance 2 (1 - correlation) times S S^T, with S the rows of `solve` that belong to the position."""
    solve = patches.solve[..., :2]
    residual = 2 * (1 - score.float()).clamp(min=0)
    inside = affine @ (solve.mT @ solve) @ affine.mT * (factor * residual)[:, None, None]
    inside = inside + least**2 * torch.eye(2, device=inside.device)
    to_frame = scale_xy(inside.new_ones(1, 2), reduced(*size), size)
    return inside * to_frame[:, :, None] * to_frame[:, None]


def _sampled(
    image: Float[Tensor, "y x"], xy: Float[Tensor, "n c 2"], affine: Float[Tensor, "n c 2 2"]
) -> Float[Tensor, "n c p"]:
    """Bilinear samples around positions, on the patch's grid warped by `affine`; the image's border is repeated outside it."""
    unit = constant([2 / image.shape[1], 2 / image.shape[0]], xy)
    maps = torch.cat([affine * unit[:, None], (xy * unit - 1)[..., None]], -1)  # n c 2 3
    places = (maps.flatten(0, 2) @ _offsets(image.device).T).unflatten(0, (-1, 2)).mT
    samples = F.grid_sample(image[None, None], places[None], padding_mode="border", align_corners=False)
    return samples[0, 0].unflatten(0, xy.shape[:2])


def _standard(patches: Float[Tensor, "*s p"], weight: Float[Tensor, " p"]) -> Float[Tensor, "*s p"]:
    """Normalised to weighted mean 0 and variance 1; patches of low contrast stay flat."""
    off = patches - (patches * weight).sum(-1, keepdim=True)
    return off / (off.square() * weight).sum(-1, keepdim=True).sqrt().clamp(min=CONTRAST)


def _slopes(image: Float[Tensor, "y x"]) -> tuple[Float[Tensor, "y x"], Float[Tensor, "y x"]]:
    across, down = torch.zeros_like(image), torch.zeros_like(image)
    across[:, 1:-1] = (image[:, 2:] - image[:, :-2]) / 2
    down[1:-1] = (image[2:] - image[:-2]) / 2
    return across, down


@cache
def _offsets(device: torch.device) -> Float[Tensor, "p 3"]:
    """(x, y) of a patch's pixels relative to its centre, and 1."""
    line = torch.arange(-RADIUS, RADIUS + 1.0, device=device)
    y, x = torch.cartesian_prod(line, line).T
    return torch.stack([x, y, torch.ones_like(x)], -1)


@cache
def _weight(device: torch.device) -> Float[Tensor, " p"]:
    weight = (-_offsets(device)[:, :2].square().sum(-1) / (2 * SPREAD**2)).exp()
    return weight / weight.sum()
