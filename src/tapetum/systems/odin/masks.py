"""Masks as maps of ids: their sources, warping from one crop of an image to another, and the features inside of each.

Crops are boxes (top, left, height, width) in pixels of the source, with whether they are flipped left to right. DetCon crops
and flips ids as it does pixels; Odin (arXiv 2203.08777, section 3.2) takes ids of the spanning view, the smallest crop that
holds both views, to both.

Differs from DetCon's code, which resizes ids to full size and lets the cells of the map vote: ids are looked up at the centres
of the cells, which is the same where ids are no finer than cells.

Sources turn images into maps of ids (DetCon, arXiv 2103.10957, section 3.1):

    features      k-means of a network's map                       Odin
    projections   k-means of the projections of every cell         Odin, the other reading
    pixels        k-means of colours, or with `place_weight` of colours and positions: a control
    grid          squares: a control
    segments      Felzenszwalb and Huttenlocher's, by scikit-image  DetCon's default
    given         ids that come with the images: files, or the truth (an oracle)

k-means is of the features of each image by itself (Odin, arXiv 2203.08777, section 3.1). Differs from the paper, which could
not be read: distance, seeds and rounds are settings. With "cosine" (spherical k-means, the default) vectors and centres are
normalised. A centre that loses all its vectors stays unchanged.

Ids begin at 0; those of one image mean nothing in another.
"""

from collections.abc import Sequence
from importlib import util
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.devices import all_finite
from tapetum.core.errors import BadInput
from tapetum.layers.clustering import Metric, move_centres, nearest
from tapetum.systems.odin.model import Odin

if TYPE_CHECKING:
    from tapetum.systems.odin.recipes import OdinConfig

OUTSIDE = -1
"""The id of what lies outside of the map that ids come from."""


class Crops(NamedTuple):
    """b crops of b images."""

    box: Float[Tensor, "b 4"]
    """top, left, height, width in pixels of the source; the outer corner of its first pixel is (0, 0)."""
    flipped: Tensor
    """bool (b,): left and right are exchanged."""


def span_crops(first: Crops, second: Crops) -> Crops:
    """Compute the smallest crops that hold both; they are not flipped.

    >>> box = span_crops(Crops(torch.tensor([[1., 2., 3., 4.]]), torch.tensor([True])),
    ...                  Crops(torch.tensor([[2., 0., 5., 3.]]), torch.tensor([False]))).box
    >>> box.tolist()
    [[1.0, 0.0, 6.0, 6.0]]
    """
    low = torch.minimum(first.box[:, :2], second.box[:, :2])
    high = torch.maximum(first.box[:, :2] + first.box[:, 2:], second.box[:, :2] + second.box[:, 2:])
    return Crops(torch.cat([low, high - low], 1), torch.zeros_like(first.flipped))


def whole_crops(sizes: Sequence[tuple[int, int]]) -> Crops:
    """Make the crops that are whole images, of these sizes (rows, columns).

    >>> whole_crops([(80, 90)]).box.tolist()
    [[0.0, 0.0, 80.0, 90.0]]
    """
    box = torch.tensor([(0, 0, rows, columns) for rows, columns in sizes], dtype=torch.float32)
    return Crops(box, torch.zeros(len(sizes), dtype=torch.bool))


def warp(ids: Int[Tensor, "b h w"], source: Crops, target: Crops, size: tuple[int, int]) -> Int[Tensor, "b h2 w2"]:
    """Warp ids of the crop `source` to `size` (rows, columns) of the crop `target`; `OUTSIDE` where they are unknown."""
    rows = _cell_centres(size[0], target.box[:, 0], target.box[:, 2])  # (b, h2) in pixels of the source image
    columns = _cell_centres(size[1], target.box[:, 1], target.box[:, 3])
    columns = torch.where(target.flipped[:, None], columns.flip(1), columns)
    row, row_known = _cells(rows, source.box[:, 0], source.box[:, 2], ids.shape[1])
    column, column_known = _cells(columns, source.box[:, 1], source.box[:, 3], ids.shape[2])
    mirrored = torch.where(source.flipped[:, None], ids.shape[2] - 1 - column, column)
    batch = torch.arange(len(ids), device=ids.device)[:, None, None]
    warped = ids[batch, row[:, :, None], mirrored[:, None]]  # (b, h2, w2)
    return torch.where(row_known[:, :, None] & column_known[:, None], warped, OUTSIDE)


def _cell_centres(count: int, start: Tensor, length: Tensor) -> Tensor:
    centres = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5) / count
    return start[:, None] + centres * length[:, None]


def _cells(positions: Tensor, start: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Compute in which of `count` cells of a crop positions lie, and whether they lie in it at all."""
    along = (positions - start[:, None]) / length[:, None] * count
    slack = 1e-4  # a place on the very border is inside, whatever float32 makes of it
    known = (along >= -slack) & (along <= count + slack)
    return along.floor().long().clamp(0, count - 1), known


def pool_masks(
    features: Float[Tensor, "b d h w"], ids: Int[Tensor, "b h w"], regions: int
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
    """Average the features inside of each region 0 to `regions` - 1, and count its cells; an empty region is all zeros."""
    member = (ids.flatten(1)[:, None] == torch.arange(regions, device=ids.device)[:, None]).to(features.dtype)  # (b, k, n)
    cells = member.sum(-1)
    return member @ features.flatten(2).mT / cells.clamp(min=1)[..., None], cells


def sample_regions(cells: Float[Tensor, "b k"], count: int, generator: torch.Generator) -> Int[Tensor, "b r"]:
    """Draw `count` regions an image among those that have cells, with replacement, each as likely (DetCon's sampler).

    An image without any region draws evenly among all; what it draws is empty.
    """
    odds = (cells > 0).to(cells.dtype)
    odds = torch.where(odds.sum(1, keepdim=True) > 0, odds, torch.ones_like(odds))
    return torch.multinomial(odds, count, replacement=True, generator=generator)


STRIDE = 4
"""Pixels to a cell where masks are made of pixels or squares, as of the finest level of a pyramid."""
SEGMENTS = 256
"""Ids of segments."""


class MaskSource:
    """A maker of masks, as the config names it. Ids are 0 to `regions` - 1."""

    def __init__(self, config: "OdinConfig", network: Odin | None = None):
        """`network` computes the features; raises BadInput where they are clustered and there is none."""
        self.config, self.network = config, network if config.clusters_features else None
        self.regions = SEGMENTS if config.source == "segments" else config.clusters
        if config.clusters_features and network is None:
            raise BadInput(f"masks of {config.source} need a network; give one, or choose pixels, grid, segments or given")
        if config.source == "segments" and util.find_spec("skimage") is None:
            raise BadInput("segments need scikit-image: pip install scikit-image; or choose another source of masks")

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "b 3 h w"], given: Int[Tensor, "b h w"] | None, generator: torch.Generator | None
    ) -> Int[Tensor, "b h2 w2"]:
        """Compute the ids of prepared images; `given` are those that come with them."""
        if self.config.source == "given":
            return self._given(images, given)
        if self.config.source == "segments":
            return self._segments(images)
        if self.config.source == "grid":  # of squares, with equal numbers along both sides
            side = round(self.config.clusters**0.5)
            row, column = (torch.arange(size // STRIDE, device=images.device) for size in images.shape[-2:])
            row, column = row * side // len(row), column * side // len(column)
            return (row[:, None] * side + column).expand(len(images), -1, -1)
        if self.network is None:
            features = F.avg_pool2d(images, STRIDE)
        else:
            features = self.network(images)
            features = self.network.projected_map(features) if self.config.source == "projections" else features
        config, rows = self.config, with_positions(features, self.config.place_weight).flatten(2).mT
        ids = kmeans(rows, config.clusters, config.iterations, config.metric, generator, config.seeds)
        return ids.unflatten(1, features.shape[2:])  # (b, h2, w2)

    def _segments(self, images: Tensor) -> Tensor:
        """Felzenszwalb and Huttenlocher's segments (IJCV 2004), as DetCon makes them; ids wrap, as in its files."""
        from skimage.segmentation import felzenszwalb

        scale, out = self.config.segment_scale * images.shape[-2] * images.shape[-1] / 224**2, []
        for image in images.movedim(1, -1).float().cpu():
            low, high = image.min(), image.max()
            stretched = ((image - low) / (high - low).clamp(min=1e-6)).numpy()
            ids = felzenszwalb(stretched, scale=scale, min_size=max(round(scale), 1))
            out.append(torch.from_numpy(ids % SEGMENTS))
        return torch.stack(out).to(images.device)

    def _given(self, images: Tensor, given: Tensor | None) -> Tensor:
        if given is None:
            raise BadInput("masks are to be given with the images but none came; give them, or choose another source")
        if given.ndim != 3 or len(given) != len(images):
            raise BadInput(f"masks are {tuple(given.shape)} for {len(images)} images; give ids (images, rows, columns)")
        if int(given.min()) < 0 or int(given.max()) >= self.regions:
            raise BadInput(f"ids of masks are {int(given.min())} to {int(given.max())}; give 0 to {self.regions - 1}")
        return given


def with_positions(features: Float[Tensor, "b d h w"], weight: float) -> Float[Tensor, "b e h w"]:
    """Append two channels with each cell's row and column to a map; at weight 1 they vary as much as all others together."""
    if weight == 0:
        return features
    axes = [torch.linspace(-1, 1, side, device=features.device) for side in features.shape[-2:]]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    ratio = features.flatten(2).var(-1).sum(-1) / positions.flatten(1).var(-1).sum()
    return torch.cat([features, weight * ratio.sqrt()[:, None, None, None] * positions], 1)


_CACHED = 5 << 19
"""Bytes of vectors that go through all rounds together on a CPU, so that they stay in its cache; the result is the same."""


@torch.no_grad()
def kmeans(
    features: Float[Tensor, "b n d"],
    clusters: int,
    iterations: int = 10,
    metric: Metric = "cosine",
    generator: torch.Generator | None = None,
    seeds: Literal["random", "spread"] = "random",
) -> Int[Tensor, "b n"]:
    """Assign each vector the number of its cluster, 0 to `clusters` - 1, for each image by itself.

    Some centres may end up without vectors. `generator` is for the seeds: random (distinct vectors of the image) or spread
    (k-means++, Arthur and Vassilvitskii, 2007). Raises BadInput for features that are not finite, and too many clusters.
    """
    x = _checked(features, clusters, metric)
    centres = (_random_seeds if seeds == "random" else _plus_plus_seeds)(x, clusters, generator)
    at_once = len(x) if x.device.type != "cpu" else max(_CACHED // max(x[0].nbytes, 1), 1)
    pieces = zip(x.split(at_once), centres.split(at_once), strict=True)
    ids = []
    for own, own_centres in pieces:
        for _ in range(iterations):
            own_centres, _ = move_centres(own, nearest(own, own_centres, metric), own_centres, metric)
        ids.append(nearest(own, own_centres, metric))
    return torch.cat(ids)


def _random_seeds(x: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    order = torch.rand(x.shape[:2], generator=generator, device=x.device).topk(clusters, largest=False).indices
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))


def _plus_plus_seeds(x: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    draws = torch.rand(len(x), clusters, generator=generator, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    chosen = [x[rows, (draws[:, 0] * x.shape[1]).long()]]
    far = torch.full(x.shape[:2], torch.inf, dtype=x.dtype, device=x.device)
    for k in range(1, clusters):
        far = torch.minimum(far, (x - chosen[-1][:, None]).square().sum(-1))
        odds = torch.where(far.sum(1, keepdim=True) > 0, far, torch.ones_like(far)).cumsum(1)
        pick = torch.searchsorted(odds, draws[:, k : k + 1] * odds[:, -1:], right=True).clamp(max=x.shape[1] - 1)
        chosen.append(x[rows, pick[:, 0]])
    return torch.stack(chosen, 1)


def _checked(features: Tensor, clusters: int, metric: Metric) -> Tensor:
    if not 1 <= clusters <= features.shape[1]:
        raise BadInput(f"{clusters} clusters are asked of {features.shape[1]} vectors an image; give 1 to {features.shape[1]}")
    if not all_finite(features):
        raise BadInput("features for k-means hold values that are not finite; mend the images or the network")
    x = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    return F.normalize(x, dim=-1) if metric == "cosine" else x
