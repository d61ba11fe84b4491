"""Sub-pixel polishing of tracks, by aligning the patch around each query with every other frame.

Source: Lucas & Kanade (IJCAI 1981), in the inverse compositional form of Baker & Matthews (IJCV 56, 2004, section 3.2). Not
part of TAPIR: a small network locates a point only to about a pixel; alignment is exact, but needs a starting position. From
frame to frame, away from the query, a patch of grey around the query is warped (six numbers, contrast and brightness aside)
onto the frame from three positions: the network's estimate, the previous position plus the network's motion, and the previous
position plus the last motion. The best correlation wins. If none is high, the point stays at the network's estimate, and the
next frame starts from the last warp that fitted. The patch is always the query's, so errors do not accumulate.

    query frame            frame t-1                      frame t
    [patch] - - - - - - -> [warp, place] + motions  ->  3 places -> aligned -> correlates? patch's place : network's place
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from tapetum.core.stages import stage
from tapetum.layers.sampling import constant, scale_xy
from tapetum.systems.tap.types import PointRows, Size

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.cues import TrackCues

SIDE = 256
"""Pixels of the shorter side of the images that patches are cut from; smaller videos stay as they are."""
RADIUS = 9
"""Pixels from the middle of a patch to its edge."""
SPREAD = 6.0
"""Pixels; standard deviation of the weight of a patch's pixels."""
ITERATIONS = 4
REACH = (6.0, 3.0, 3.0)
"""Pixels that alignment may move a place by: the network's, and the two guesses from the frame before."""
ACCEPTED = 0.9
"""Correlation from which on the aligned place is taken."""
SURELY_SEEN = 0.95
"""Correlation from which on a point counts as visible."""
CONTRAST = 2.0
"""Grey levels of 255; patches whose standard deviation is less are left to the network."""
STRETCH = (0.2, 5.0)
"""Least and largest area of the warp of a unit square."""
AT_A_TIME = 256
"""Points worked on at a time."""
IMAGES = 64
"""Grey images held at a time, since a video is read onwards only, and backwards in stretches."""
READ = 4
"""Frames read at a time."""

_STIFF = 4e-4
"""Added to the normal equations, for the affine part times RADIUS^2 / 4."""


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
    """1 4 6 4 1 along x."""
    return (rows[..., :-4] + rows[..., 4:] + 4 * (rows[..., 1:-3] + rows[..., 3:-1]) + 6 * rows[..., 2:-2]) / 16


def reduced(height: int, width: int) -> Size:
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
        """Find position, warp and correlation of each patch's best fit from c starting positions; -1 if none is valid.

        `reach` is how many pixels it may move away from each of the c positions.
        """
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


@dataclass(frozen=True)
class Anchors(PointRows):
    """The patches of n points, and how far they have been followed; never changed in place.

    Places are raster pixels of `grey` images.
    """

    patches: Patches
    xy: Float[Tensor, "n 2"]
    """Where a point was when it was last found."""
    affine: Float[Tensor, "n 2 2"]
    """The warp of its patch there."""
    motion: Float[Tensor, "n 2"]
    """Since the frame before, if it was found in both."""
    aligned: Bool[Tensor, " n"]
    """In the last frame."""
    rough: Float[Tensor, "n 2"]
    """Where the network put it in the last frame; NaN before the first."""

    @classmethod
    def at(cls, image: Float[Tensor, "y x"], places: Float[Tensor, "n 2"]) -> "Anchors":
        """Start points at positions (x, y) of an image, which is also the first to pass to `follow`."""
        return cls(
            Patches.cut(image, places),
            places,
            torch.eye(2, device=places.device).repeat(len(places), 1, 1),
            torch.zeros_like(places),
            torch.ones(len(places), dtype=torch.bool, device=places.device),
            torch.full_like(places, torch.nan),
        )

    def __len__(self) -> int:
        """Number of points."""
        return len(self.xy)

    def warped(self, index: Int[Tensor, " k"], affine: Float[Tensor, "k 2 2"]) -> "Anchors":
        """Continue some points with other warps, from the network's positions."""
        affine = self.affine.index_copy(0, index, affine)
        return replace(self, affine=affine, aligned=self.aligned.index_fill(0, index, False))

    def follow(
        self, image: Float[Tensor, "y x"], rough: Float[Tensor, "n 2"]
    ) -> tuple["Anchors", Float[Tensor, "n 2"], Float[Tensor, " n"]]:
        """Advance by one frame: gives the updated points, their positions in it, and each patch's correlation there (-1: not
        found).

        `rough` holds the network's positions.
        """
        if len(self) > AT_A_TIME:
            parts = [slice(k, k + AT_A_TIME) for k in range(0, len(self), AT_A_TIME)]
            done = [self.select(part).follow(image, rough[part]) for part in parts]
            anchors, places, scores = zip(*done, strict=True)
            return anchors[0].beside(*anchors[1:]), torch.cat(places), torch.cat(scores)
        first = self.rough.isnan().any(-1)
        was_aligned, moved = self.aligned[:, None], torch.where(first[:, None], 0.0, rough - self.rough)
        begun = torch.stack([rough, *(torch.where(was_aligned, self.xy + motion, rough) for motion in (moved, self.motion))], 1)
        xy, affine, score = self.patches.align(image, begun, self.affine)
        score = torch.where(first & ~self.patches.plain, 1.0, score)
        xy, affine = torch.where(first[:, None], self.xy, xy), torch.where(first[:, None, None], self.affine, affine)
        aligned = score > ACCEPTED
        kept = aligned[:, None]
        motion = torch.where(kept & was_aligned & ~first[:, None], xy - self.xy, 0.0)
        last, affine = torch.where(kept, xy, self.xy), torch.where(kept[..., None], affine, self.affine)
        after = replace(self, xy=last, affine=affine, motion=motion, aligned=aligned, rough=rough)
        return after, torch.where(kept, xy, rough), score


@stage("polish")
def polished(
    frames_of: Callable[[int, int], UInt8[np.ndarray, "t h w 3"]],
    queries: Float[Tensor, "n 3"],
    xy: Float[Tensor, "n t 2"],
    confidence: Float[Tensor, "n t"],
    device: torch.device | str = "cpu",
    cues: "TrackCues | None" = None,
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Align a network's tracks with the images: gives positions in raster pixels, and confidences, raised to the correlation
    where it is high.

    Points queried between two frames stay unchanged.

    Args:
        frames_of: frames begin..end-1 of the video, read twice in total.
        queries: (t, x, y) in raster pixels.
        cues: where to note how the patches fitted.
    """
    frames = xy.shape[1]
    xy, confidence = xy.clone(), confidence.clone()
    at = torch.where(queries[:, 0] == queries[:, 0].round(), queries[:, 0], -1).long()
    born: dict[int, Anchors] = {}
    for onward in (True, False):
        rows, active = torch.zeros(0, dtype=torch.long), None
        for begin in sorted(range(0, frames, IMAGES), reverse=not onward):
            end = min(begin + IMAGES, frames)
            if not ((at >= 0) & (at < end) if onward else at >= max(begin, 1)).any():
                continue
            images, size = [], (0, 0)
            for first in range(begin, end, READ):
                shown = frames_of(first, min(first + READ, end))
                size = (shown.shape[1], shown.shape[2])
                images.extend(grey(shown, device))
            small = reduced(*size)
            for t in sorted(range(begin, end), reverse=not onward):
                image = images[t - begin]
                new = torch.nonzero(at == t)[:, 0]
                if cues is not None:
                    cues.put_frame(t, image)
                if len(new):
                    if onward:
                        born[t] = Anchors.at(image, scale_xy(queries[new, 1:].to(device), size, small))
                        if cues is not None:
                            cues.put_queries(new, born[t])
                    rows = torch.cat([rows, new])
                    active = born[t] if active is None else active.beside(born[t])
                if active is not None:
                    rough = xy[rows, t].to(device)
                    active, places, score = active.follow(image, scale_xy(rough, size, small))
                    if cues is not None:
                        cues.put_patches(t, rows, active, score)
                    sure = confidence[rows, t].to(device)
                    exact, sure = prefer_polished(rough, sure, scale_xy(places, small, size), score)
                    xy[rows, t], confidence[rows, t] = exact.to(xy), sure.to(confidence)
    return xy, confidence


def polish_clip(
    frames: UInt8[Tensor, "t h w 3"],
    queries: Float[Tensor, "n 3"],
    xy: Float[Tensor, "n t 2"],
    confidence: Float[Tensor, "n t"],
) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
    """Compute the same as `polished` for a clip in memory, without making the host wait for an accelerator.

    All points are aligned in all frames, and masks select what counts; on a CPU this takes 1.5 to 1.8 times as long.
    """
    xy, confidence = xy.clone(), confidence.clone()
    images, size = grey_images(frames), (frames.shape[1], frames.shape[2])
    small, count = (images.shape[1], images.shape[2]), len(images)
    on_a_frame = (queries[:, 0] == queries[:, 0].round()) & (queries[:, 0] < count)
    at = torch.where(on_a_frame, queries[:, 0], -1).long()
    places = scale_xy(queries[:, 1:], size, small)
    start = Anchors.at(images[0], places)
    for t in range(1, count):
        start = replace(start, patches=Patches.cut(images[t], places).where(at == t, start.patches))
    for onward in (True, False):
        anchors = start
        for t in range(count) if onward else reversed(range(count)):
            passed = (at >= 0) & (at <= t) if onward else at >= t
            after, aligned, score = anchors.follow(images[t], scale_xy(xy[:, t], size, small))
            exact, sure = prefer_polished(xy[:, t], confidence[:, t], scale_xy(aligned, small, size), score)
            anchors = after.where(passed, anchors)
            xy[:, t] = torch.where(passed[:, None], exact, xy[:, t])
            confidence[:, t] = torch.where(passed, sure, confidence[:, t])
    return xy, confidence


def prefer_polished(
    xy: Float[Tensor, "n 2"], confidence: Float[Tensor, " n"], places: Float[Tensor, "n 2"], score: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Choose between the network's positions and confidences and, where correlation is high enough, the patches' positions and
    correlations."""
    sure = torch.maximum(confidence, score.clamp(max=1).to(confidence.dtype))
    return torch.where((score > ACCEPTED)[:, None], places, xy), torch.where(score > SURELY_SEEN, sure, confidence)


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
    """Central differences along x and along y; 0 on the border."""
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
