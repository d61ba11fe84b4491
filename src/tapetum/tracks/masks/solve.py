"""An object's mask in one image, by colour and edges: a random walker with prior models (Grady, CVPR 2005 and PAMI 2006).

    colours of object and background   ──► histograms ──► log-odds of a pixel ──┐
    place: a click, box, mask or map    ──────────────► log-odds of a pixel ──┴► chance p_i, certainty g_i
    differences between neighbours     ──► weights w_ij

    minimise   Σ w_ij (x_i - x_j)² + Σ g_i (x_i - p_i)²   over x;   the mask is x > 1/2

The minimum is one sparse linear system, solved by conjugate gradients. It is solved in a window around the object, with at most
`SIDE` pixels to a side, and enlarged before the threshold.

Differs from the paper: the colour models are blurred histograms, learned again from the mask that they gave, as GrabCut does
(Rother et al., SIGGRAPH 2004); no pixel is fixed, but seeds have a high certainty.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter, label
from scipy.sparse import diags_array
from scipy.sparse.linalg import cg

SIDE = 192
"""Pixels of the longer side of a window in which a mask is solved."""
BINS = 16
"""Of each colour channel."""
SURE = 10.0
"""Certainty of a seed."""
MOST = 4.0
"""Log-odds that a colour gives at most."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What somebody says about one object in one frame; places are raster pixels."""

    frame: int = 0
    box: tuple[float, float, float, float] | None = None
    """x1, y1, x2, y2 around the object."""
    inside: tuple[tuple[float, float], ...] = ()
    """Clicks (x, y) on the object."""
    outside: tuple[tuple[float, float], ...] = ()
    """Clicks on what is not the object."""


class PromptableModel(Protocol):
    """What makes a mask of clicks and boxes: `outline`, or a network of the user's own."""

    def __call__(
        self, frame: UInt8[np.ndarray, "h w 3"], prompt: Prompt, before: Bool[np.ndarray, "h w"] | None, /
    ) -> Bool[np.ndarray, "h w"]:
        """Compute the mask of the object; `before` is the mask that the prompt corrects, if there is one."""
        ...


@dataclass(frozen=True)
class Crop:
    """A part of an image, and the size at which it is worked on."""

    x: int
    y: int
    width: int
    height: int
    size: tuple[int, int]
    """Height and width of what `crop` returns."""

    @classmethod
    def around(cls, corners: Float[np.ndarray, "4"], image: tuple[int, int], side: int = SIDE) -> "Crop":
        """Choose the window of x1, y1, x2, y2, as far as it lies in an image of (height, width)."""
        x, y = (max(0, min(int(v), most - 2)) for v, most in zip(np.floor(corners[:2]), image[::-1], strict=True))
        right, below = (min(most, int(v)) for v, most in zip(np.ceil(corners[2:]), image[::-1], strict=True))
        width, height = max(right - x, 2), max(below - y, 2)
        scale = min(1.0, side / max(width, height))
        return cls(x, y, width, height, (max(2, round(height * scale)), max(2, round(width * scale))))

    @property
    def scale(self) -> Float[np.ndarray, "2"]:
        """Compute the pixels of the crop to a pixel of the image, across and down."""
        return np.array([self.size[1] / self.width, self.size[0] / self.height])

    def crop(self, image: np.ndarray) -> Float[np.ndarray, "..."]:
        """Cut the window out of an image (h, w) or (h, w, 3), as float32."""
        part = image[self.y : self.y + self.height, self.x : self.x + self.width]
        return resized(part.astype(np.float32), self.size)

    def paste(self, chance: Float[np.ndarray, "r c"], image: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
        """Make a mask of an image of (height, width) from the chances of the crop's pixels."""
        mask = np.zeros(image, bool)
        there = resized(chance.astype(np.float32), (self.height, self.width)) > 0.5
        mask[self.y : self.y + self.height, self.x : self.x + self.width] = there
        return mask

    def inner(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Convert places in the image to places in the crop."""
        return (np.asarray(xy, float).reshape(-1, 2) - (self.x, self.y)) * self.scale

    def places(self) -> Float[np.ndarray, "r c 2"]:
        """Compute x, y in the image of the centre of each pixel of the crop."""
        rows, columns = np.indices(self.size) + 0.5
        return np.stack([columns, rows], -1) / self.scale + (self.x, self.y)


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize values (h, w) or (h, w, c) to (height, width)."""
    if values.shape[:2] == size:
        return values
    planes = values[..., None] if values.ndim == 2 else values
    big = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR))
        for plane in np.moveaxis(planes, -1, 0)
    ]
    return big[0] if values.ndim == 2 else np.stack(big, -1)


class ColourModel:
    """Log-odds that a pixel of a colour belongs to the object."""

    def __init__(self, crop: Float[np.ndarray, "r c 3"], object_weight: np.ndarray, background_weight: np.ndarray):
        """Learn from the pixels of a crop, each with its weight in the object and in the background."""
        bins = _bins(crop)
        self.odds = _logarithm(bins, object_weight) - _logarithm(bins, background_weight)
        scores = self(crop)
        hits = [
            float((w * (sign * scores > 0)).sum() / max(w.sum(), 1e-9))
            for w, sign in ((object_weight, 1), (background_weight, -1))
        ]
        self.worth = max(0.0, sum(hits) - 1)
        """0 where colours tell nothing, 1 where they tell all."""

    def __call__(self, crop: Float[np.ndarray, "r c 3"]) -> Float[np.ndarray, "r c"]:
        """Compute the log-odds of each pixel."""
        return np.clip(self.odds[_bins(crop)], -MOST, MOST)


def _bins(crop: np.ndarray) -> np.ndarray:
    parts = np.clip(crop * (BINS / 256), 0, BINS - 1).astype(np.int64)
    return (parts[..., 0] * BINS + parts[..., 1]) * BINS + parts[..., 2]


def _logarithm(bins: np.ndarray, weight: np.ndarray) -> np.ndarray:
    counts = np.bincount(bins.ravel(), weight.ravel(), BINS**3).reshape(BINS, BINS, BINS)
    counts = gaussian_filter(counts, 0.8).ravel()
    return np.log(counts / max(counts.sum(), 1e-9) + 0.02 / BINS**3)


def edge_weights(crop: Float[np.ndarray, "r c 3"], scale: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Compute the weights between neighbours across (r, c-1) and down (r-1, c); `scale` is a squared difference of colours."""
    across, down = (np.square(np.diff(crop, axis=axis)).sum(-1) for axis in (1, 0))
    scale = scale or max(float((across.sum() + down.sum()) / (across.size + down.size)), 1.0)
    return np.exp(-across / scale) + 1e-3, np.exp(-down / scale) + 1e-3


def walk(
    weights: tuple[np.ndarray, np.ndarray],
    chance: Float[np.ndarray, "r c"],
    certainty: Float[np.ndarray, "r c"],
    tolerance: float = 1e-3,
) -> Float[np.ndarray, "r c"]:
    """Solve for the chance that each pixel belongs to the object, given what is known of it alone, and how surely.

    `tolerance` is what remains of the system at most, as a fraction of its right side.
    """
    across, down = weights
    r, c = chance.shape
    total = certainty.astype(float).copy()
    total[:, :-1] += across
    total[:, 1:] += across
    total[:-1] += down
    total[1:] += down
    side = np.pad(across, ((0, 0), (0, 1))).ravel()[:-1]
    offsets: Any = [0, 1, -1, c, -c]
    system = diags_array([total.ravel(), -side, -side, -down.ravel(), -down.ravel()], offsets=offsets).tocsr()
    inverse = diags_array([1 / total.ravel()], offsets=offsets[:1])
    solved, _ = cg(system, (certainty * chance).ravel(), x0=chance.ravel(), rtol=tolerance, maxiter=300, M=inverse)
    return np.asarray(solved).reshape(r, c)


def signed_distance(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Compute the distance in pixels to a mask's outline, positive inside; minus infinity for an empty mask."""
    if not mask.any():
        return np.full(mask.shape, -np.inf)
    within = np.pad(mask, 1, mode="edge")  # an object may go on beyond the image
    full = np.full(within.shape, float(max(mask.shape)))
    inner, outer = (full if each.all() else np.asarray(distance_transform_edt(each)) for each in (within, ~mask))
    return np.where(mask, inner[1:-1, 1:-1] - 0.5, 0.5 - outer)


def solve(
    weights: tuple[np.ndarray, np.ndarray], odds: Float[np.ndarray, "r c"], seeds: Float[np.ndarray, "r c"]
) -> Float[np.ndarray, "r c"]:
    """Solve for the object, from the log-odds of its place and colours, and seeds (positive inside, negative outside)."""
    chance = 1 / (1 + np.exp(-np.clip(odds, -20, 20)))
    certainty = 0.01 + 0.25 * np.square(2 * chance - 1)
    sown = seeds != 0
    return walk(weights, np.where(sown, seeds > 0, chance), np.where(sown, SURE, certainty))


def sow(seeds: Float[np.ndarray, "r c"], xy: Float[np.ndarray, "n 2"], value: float, radius: float = 1.0) -> None:
    """Set the discs around places in a crop to a value."""
    reach = int(np.ceil(radius))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.stack([down, across], -1)[down**2 + across**2 <= radius**2]
    places = (np.floor(np.asarray(xy).reshape(-1, 2)[:, ::-1]).astype(int)[:, None] + disc).reshape(-1, 2)
    places = places[((places >= 0) & (places < seeds.shape)).all(1)]
    seeds[places[:, 0], places[:, 1]] = value


def connected(mask: Bool[np.ndarray, "h w"], xy: Float[np.ndarray, "n 2"], least: float = 0.2) -> Bool[np.ndarray, "h w"]:
    """Keep the parts of a mask on which a place lies, and others of at least this share of the largest; fill small holes."""
    parts: Any
    parts, count = label(mask)  # type: ignore[misc]
    if count > 1:
        sizes = np.bincount(parts.ravel())[1:]
        at = np.clip(np.asarray(xy, int).reshape(-1, 2), 0, (mask.shape[1] - 1, mask.shape[0] - 1))
        kept = np.concatenate([[False], sizes >= least * sizes.max()])
        kept[parts[at[:, 1], at[:, 0]]] = True
        kept[0] = False
        mask = kept[parts]
    parts, count = label(np.asarray(binary_fill_holes(mask)) & ~mask)  # type: ignore[misc]
    if count:
        small = np.bincount(parts.ravel()) < 0.002 * mask.sum()
        small[0] = False
        mask = mask | small[parts]
    return mask


def outline(
    frame: UInt8[np.ndarray, "h w 3"], prompt: Prompt, before: Bool[np.ndarray, "h w"] | None = None, /
) -> Bool[np.ndarray, "h w"]:
    """Compute the mask of an object from a box, from clicks, or from a mask that clicks correct, by colour and edges.

    A click alone says nothing of the object's size: masks of several sizes are solved, and the one whose outline runs along
    the strongest edges between the most different colours is taken.
    """
    if prompt.box is not None:
        x1, y1, x2, y2 = prompt.box
        return _solved(frame, prompt, np.array([(x1 + x2) / 2, (y1 + y2) / 2]), np.array([x2 - x1, y2 - y1]) / 2)[0]
    if before is not None and (before.any() or not prompt.inside):
        return _corrected(frame, prompt, before) if before.any() else before
    inside = np.array(prompt.inside, float)
    centre = (inside.min(0) + inside.max(0)) / 2
    spread = float(np.linalg.norm(inside - centre, axis=1).max())
    radii = np.hypot(*frame.shape[:2]) * np.geomspace(0.025, 0.4, 9)
    tried = [_solved(frame, prompt, centre, np.full(2, r)) for r in radii if r >= spread] or [
        _solved(frame, prompt, centre, np.full(2, 1.3 * spread))
    ]
    return max(tried, key=lambda pair: pair[1])[0]


def outline_map(
    frame: UInt8[np.ndarray, "h w 3"], odds: Float[np.ndarray, "r c"], region: Bool[np.ndarray, "r c"]
) -> Bool[np.ndarray, "h w"]:
    """Compute the mask of an object from a coarse map of it, by colour and edges; empty where the region is.

    Args:
        frame: the image.
        odds: log-odds of the object at each place of a grid over the image.
        region: the part of the grid that has the object; the mask ends near it.
    """
    image = frame.shape[:2]
    if not region.any() or min(image) < 2:
        return np.full(image, region.any())
    rows, columns = np.nonzero(region)
    cell = np.array(image[::-1]) / region.shape[::-1]
    low, high = np.array([columns.min(), rows.min()]) * cell, np.array([columns.max() + 1, rows.max() + 1]) * cell
    pad = 0.15 * (high - low) + 4
    window = Crop.around(np.concatenate([low - pad, high + pad]), image)
    crop = window.crop(frame)
    place = window.crop(resized(np.clip(1.5 * odds, -3, 3).astype(np.float32), image))
    weight, weights = 1 / (1 + np.exp(-2 * place)), edge_weights(crop)
    for _ in range(3):
        model = ColourModel(crop, weight, 1 - weight)
        chances = solve(weights, place + 2 * model.worth * model(crop), np.zeros(place.shape))
        weight = (chances > 0.5).astype(float)
    best = np.unravel_index(int(np.where(region, odds, -np.inf).argmax()), odds.shape)[::-1]
    mask = connected(np.asarray(chances > 0.5), window.inner((np.array(best) + 0.5) * cell))
    return window.paste(np.where(mask, chances, np.minimum(chances, 0.4)), image)


def _solved(
    frame: np.ndarray, prompt: Prompt, centre: np.ndarray, half: np.ndarray, rounds: int = 4
) -> tuple[Bool[np.ndarray, "h w"], float]:
    """Solve for an object in a box around `centre`, or about as large as a circle, and say how well its outline fits."""
    boxed, image = prompt.box is not None, frame.shape[:2]
    margin = 1.5 if boxed else 2.0
    window = Crop.around(np.concatenate([centre - margin * half - 4, centre + margin * half + 4]), image)
    crop = window.crop(frame)
    weights = edge_weights(crop)
    off = (window.places() - centre) / half
    if boxed:
        allowed = np.abs(off).max(-1) <= 1
        place = 1.5 - 2.0 * np.square(off).sum(-1)
    else:
        allowed = np.square(off).sum(-1) <= 1.6**2
        place = 1.5 - 2.5 * np.square(off).sum(-1)
    seeds = np.where(allowed, 0.0, -1.0)
    radius = 0.12 * float(half.min() * window.scale.min())
    sow(seeds, window.inner(np.array(prompt.outside)), -1, radius)
    sow(seeds, window.inner(np.array(prompt.inside)), 1, radius)
    weight = 1 / (1 + np.exp(-np.clip(3 * place, -20, 20)))
    weight = np.where(seeds != 0, seeds > 0, weight)
    for _ in range(rounds):
        model = ColourModel(crop, weight, 1 - weight)
        chances = solve(weights, np.maximum(place, -3) * (1 if boxed else 0.5) + model.worth * model(crop), seeds)
        weight = (chances > 0.5).astype(float)
    inner = window.inner(np.array(prompt.inside)) if prompt.inside else window.inner(centre[None])
    mask = connected(np.asarray(chances > 0.5), inner, 0.2 if boxed else 1.1)
    return window.paste(np.where(mask, chances, np.minimum(chances, 0.4)), image), _fit(mask, allowed, weights, model)


def _fit(mask: np.ndarray, allowed: np.ndarray, weights: tuple[np.ndarray, np.ndarray], model: ColourModel) -> float:
    """Score a mask: the mean strength of the edges along its outline, times what its colours tell."""
    if not mask.any():
        return -1.0
    cuts = [np.diff(mask, axis=axis) for axis in (1, 0)]
    limits = [np.diff(allowed, axis=axis) for axis in (1, 0)]
    strength = [np.where(limit, 0, 1 - w)[cut] for cut, w, limit in zip(cuts, weights, limits, strict=True)]
    along = np.concatenate(strength)
    return float(along.mean() if len(along) else 0) * model.worth


def _corrected(frame: np.ndarray, prompt: Prompt, before: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Change a mask around clicks: to each belongs what is near, and of its colour."""
    image, clicks = frame.shape[:2], np.array([*prompt.inside, *prompt.outside], float)
    rows, columns = np.flatnonzero(before.any(1)), np.flatnonzero(before.any(0))
    low = np.minimum([columns[0], rows[0]], clicks.min(0))
    high = np.maximum([columns[-1] + 1, rows[-1] + 1], clicks.max(0))
    pad = 0.25 * (high - low).max() + 4
    window = Crop.around(np.concatenate([low - pad, high + pad]), image)
    crop = window.crop(frame)
    earlier = window.crop(before) > 0.5
    reach = 0.35 * np.sqrt(max(int(earlier.sum()), 16))
    place = np.clip(signed_distance(earlier) / (0.1 * reach + 1), -4, 4)
    seeds = np.zeros(crop.shape[:2])
    spread = max(float(crop.std()), 8.0) * 0.5
    rows_, columns_ = np.indices(seeds.shape) + 0.5
    for xy, sign in ((prompt.inside, 1), (prompt.outside, -1)):
        for x, y in window.inner(np.array(xy)):
            away = np.hypot(columns_ - x, rows_ - y)
            colour = crop[away <= max(2.0, away.min())].mean(0)
            like = np.exp(-np.square(crop - colour).sum(-1) / (2 * spread**2)) * np.exp(-np.square(away / reach) / 2)
            place = place + sign * 9 * like
            seeds[away <= max(0.71, 0.04 * reach)] = sign
    weight = np.where(seeds != 0, seeds > 0, place > 0).astype(float)
    model = ColourModel(crop, weight, 1 - weight)
    chances = solve(edge_weights(crop), place + model.worth * model(crop), seeds)
    return window.paste(
        np.where(connected(chances > 0.5, window.inner(np.array(prompt.inside)), 0.1), chances, np.minimum(chances, 0.4)), image
    )
