"""Objects of an image, from clusters of its features: of a network, or of colours and positions, which a network must beat.

Images are used whole, in their own shape (`tapetum.transfer.propagation`), so every cell corresponds to a position in them.

Objects are connected components that do not belong to the background:

    image --> map of features --k-means--> clusters --connected parts--> not too small, not the ground --> masks, best first

Source: Odin's object discovery (arXiv 2203.08777, section 3.1) ends with clusters. The choice of objects among them is ours:
the background is whatever takes up more than `GROUND` of the image's border; an object's score is the share of its outline
inside the image, times the distance of its features from the surrounding ones.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from scipy import ndimage
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder
from tapetum.layers.clustering import Metric
from tapetum.systems.odin.masks import kmeans, with_positions
from tapetum.systems.odin.model import Odin
from tapetum.transfer.propagation import Look, level_of, prepare_whole
from tapetum.types import Masks

_SIDE = 56
"""Cells along the longer side of a map of colours."""
_LEAST = 96
"""Pixels of the shorter side at least where none are asked for: things are smaller than the whole that a network learned."""


def rgb(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
    """Average the colours of cells."""
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float() / 255
    scale = _SIDE / max(image.shape[:2])
    size = [max(round(side * scale), 2) for side in image.shape[:2]]
    return F.interpolate(x, size=size, mode="area")[0]


def colours(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
    """Compute colours and positions, equally weighted: the baseline that a network must beat."""
    return with_positions(rgb(image)[None], 0.7)[0]


def positions(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
    """Compute positions only, regardless of the image content."""
    cells = rgb(image)
    rows, columns = (torch.arange(side) / max(cells.shape[1:]) for side in cells.shape[1:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


PLAIN: Mapping[str, Look] = {"colours": colours, "rgb": rgb, "xy": positions}
"""Those without a network, by name."""


def cluster_metric(look: Look) -> Metric:
    """Choose the metric in which maps are clustered: angles of features, distances of colours and positions."""
    return "l2" if look in PLAIN.values() else "cosine"


def network_map(model: Encoder | Odin, short_side: int | None = None, stride: int | None = None) -> Look:
    """Make the function that computes maps of images with a network.

    `short_side` is that of its inputs in pixels, by default that of its preprocessing, and at least 96. `stride` are pixels
    to a cell: by default the finest of a pyramid, and of an encoder its last two maps together, the coarser one enlarged.
    """
    encoder = model.encoder if isinstance(model, Odin) else model
    short = short_side or max(min(encoder.preprocessing.size), _LEAST)

    @torch.no_grad()
    def look(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "d h w"]:
        maps = encoder(prepare_whole(encoder, image, short)).maps
        if isinstance(model, Odin) and model.pyramid is not None:
            return model.levels(maps)[0 if stride is None else max(level_of(encoder, stride) - model.finest, 0)][0].float()
        return (_last_two(maps) if stride is None else maps[level_of(encoder, stride)])[0].float()

    return look


def _last_two(maps: tuple[Tensor, ...]) -> Tensor:
    """Concatenate the last two maps of an encoder, each channel-normalised, at the size of the finer one."""
    finer = maps[-2] if len(maps) > 1 else maps[-1]  # pyright: ignore[reportGeneralTypeIssues]
    parts = [F.normalize(F.interpolate(each, finer.shape[-2:], mode="bilinear"), dim=1) for each in maps[-2:]]
    return torch.cat(parts, 1)


GROUND = 0.3
"""Share of the border from which on a part is the ground."""


def find_objects(
    image: UInt8[np.ndarray, "h w 3"],
    look: Look,
    clusters: int = 6,
    least: float = 0.004,
    most: int = 12,
    seed: int = 0,
    features: Float[Tensor, "d h w"] | None = None,
) -> tuple[Masks, Int[np.ndarray, "h w"]]:
    """Find class-agnostic objects in an image: masks with scores, the best first, and each pixel's cluster.

    `look` computes maps, as `colours` or what `network_map` makes; `features` is that of the image, if already computed. More
    `clusters` split objects, fewer join them. An object covers `least` of the image or more; the best ones, at `most` so many,
    are returned. Raises BadInput for an image below 8 x 8 pixels, and more clusters than cells.
    """
    if min(image.shape[:2]) < 8:
        raise BadInput(f"an image is {image.shape[1]} x {image.shape[0]}; objects are sought in 8 x 8 pixels and more")
    features = (look(image) if features is None else features).cpu()
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (int(side) for side in features.shape[1:])
    ids = kmeans(features.flatten(1).T[None], clusters, metric=cluster_metric(look), generator=generator, seeds="spread")[0]
    cells = ids.view(rows, columns).numpy()
    candidates = _parts(cells, least)
    scores = [_score(part, features) for part in candidates]
    order = sorted(range(len(candidates)), key=lambda k: -scores[k])[:most]
    height, width = image.shape[:2]
    masks = np.stack([_enlarged(candidates[k], height, width) for k in order]) if order else np.zeros((0, height, width), bool)
    kept = [k for k, mask in enumerate(masks) if mask.any()]
    best = np.array([scores[order[k]] for k in kept], np.float32)
    return Masks(masks=masks[kept], labels=["object"] * len(kept), scores=best), enlarge(cells, height, width)


def _parts(cells: Int[np.ndarray, "h w"], least: float) -> list[np.ndarray]:
    """Find the connected parts of every cluster that are neither background nor too small, with holes filled."""
    border = np.ones(cells.shape, bool)
    border[1:-1, 1:-1] = False
    parts = []
    for cluster in np.unique(cells):
        mask = cells == cluster
        if (mask & border).sum() > GROUND * border.sum():
            continue
        labels, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
        for part in range(1, count + 1):
            own = ndimage.binary_fill_holes(labels == part)
            own = np.asarray(own)
            if own.mean() >= least and (own & border).sum() <= GROUND * border.sum():
                parts.append(own)
    return parts


def _score(part: np.ndarray, features: Float[Tensor, "d h w"]) -> float:
    ring = np.asarray(ndimage.binary_dilation(part, iterations=2), bool) & ~part
    if not ring.any():
        return 0.0
    rim = part & (np.asarray(ndimage.binary_erosion(part, border_value=1)) == 0)
    edge = np.zeros(part.shape, bool)
    edge[[0, -1]], edge[:, [0, -1]] = True, True
    inside = 1 - (part & edge).sum() / max((rim | (part & edge)).sum(), 1)
    vectors = F.normalize(features.flatten(1).T, dim=1).numpy()
    own, other = vectors[part.ravel()].mean(0), vectors[ring.ravel()].mean(0)
    apart = 1 - float(own @ other) / max(float(np.linalg.norm(own) * np.linalg.norm(other)), 1e-9)
    return float(inside * min(max(apart, 0.0), 1.0) ** 0.5)


def enlarge(cells: Int[np.ndarray, "h w"], height: int, width: int) -> Int[np.ndarray, "h2 w2"]:
    """Resize a map of numbers to an image's size: every pixel takes the number of the cell in which it begins."""
    rows = (np.arange(height) * cells.shape[0]) // height
    columns = (np.arange(width) * cells.shape[1]) // width
    return cells[rows][:, columns]


def _enlarged(part: np.ndarray, height: int, width: int) -> np.ndarray:
    x = torch.from_numpy(part)[None, None].float()
    return (F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)[0, 0] > 0.5).numpy()
