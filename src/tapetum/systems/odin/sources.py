"""Sources of an image's masks: images in, maps of ids out (DetCon, arXiv 2103.10957, section 3.1).

    features      k-means of a network's map                       Odin
    projections   k-means of the projections of every cell         Odin, the other reading
    pixels        k-means of colours, or with `place_weight` of colours and positions: a control
    grid          squares: a control
    segments      Felzenszwalb and Huttenlocher's, by scikit-image  DetCon's default
    given         ids that come with the images: files, or the truth (an oracle)

k-means is of the features of each image, all images of a batch at once (Odin, arXiv 2203.08777, section 3.1). Differs from the
paper, whose settings could not be read: distance, seeds, rounds and restarts are settings. With "cosine" (spherical k-means,
the default) vectors are normalised first, and so is every centre; with "l2" neither. A centre that loses all its vectors stays
unchanged. The result depends only on the generator.

Ids begin at 0; those of one image mean nothing in another. `regions` is one more than the highest id that may occur.
"""

from typing import TYPE_CHECKING, Literal, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.devices import all_finite
from tapetum.core.errors import BadInput
from tapetum.layers.clustering import Metric, move_centres, nearest
from tapetum.systems.odin.model import Odin

if TYPE_CHECKING:
    from tapetum.systems.odin.config import OdinConfig

STRIDE = 4
"""Pixels to a cell where masks are made of pixels or squares, as of the finest level of a pyramid."""


class MaskSource(Protocol):
    """A maker of masks."""

    regions: int
    """Ids are 0 to this, less one."""

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], given: Int[Tensor, "b h w"] | None, generator: torch.Generator | None
    ) -> Int[Tensor, "b h2 w2"]:
        """Compute the ids of prepared images; `given` are those that come with them."""
        ...


class Clusters:
    """k-means of a network's map, of its projections, or of pixels."""

    def __init__(self, config: "OdinConfig", network: Odin | None):
        """`network` computes the features; none is needed for pixels."""
        self.config, self.network, self.regions = config, network, config.clusters

    @torch.no_grad()
    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Cluster each image by itself."""
        features = self._map(images)
        rows = with_positions(features, self.config.place_weight).flatten(2).mT
        config = self.config
        ids = kmeans(rows, config.clusters, config.iterations, config.metric, generator, config.seeds)
        return ids.unflatten(1, features.shape[2:])  # (b, h2, w2)

    def _map(self, images: Tensor) -> Tensor:
        if self.network is None:
            return F.avg_pool2d(images, STRIDE)
        features = self.network(images)
        return self.network.projected_map(features) if self.config.source == "projections" else features


def with_positions(features: Float[Tensor, "b d h w"], weight: float) -> Float[Tensor, "b e h w"]:
    """Append two channels with each cell's row and column to a map; at weight 1 they vary as much as all others together."""
    if weight == 0:
        return features
    rows, columns = features.shape[-2:]
    positions = torch.stack(
        torch.meshgrid(
            torch.linspace(-1, 1, rows, device=features.device),
            torch.linspace(-1, 1, columns, device=features.device),
            indexing="ij",
        )
    )
    ratio = features.flatten(2).var(-1).sum(-1) / positions.flatten(1).var(-1).sum()
    return torch.cat([features, weight * ratio.sqrt()[:, None, None, None] * positions], 1)


class GridMasks:
    """A grid of squares, with equal numbers along both sides."""

    def __init__(self, cells: int):
        self.side, self.regions = round(cells**0.5), cells

    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Make the same squares for each image."""
        row, column = (torch.arange(size // STRIDE, device=images.device) for size in images.shape[-2:])
        row, column = row * self.side // len(row), column * self.side // len(column)
        return (row[:, None] * self.side + column).expand(len(images), -1, -1)


class SegmentMasks:
    """Felzenszwalb and Huttenlocher's segments (IJCV 2004), as DetCon makes them; ids wrap at 256, as in its files."""

    regions = 256

    def __init__(self, scale: float):
        try:
            import skimage.segmentation  # noqa: F401
        except ImportError:
            raise BadInput("segments need scikit-image: pip install scikit-image; or choose another source of masks") from None
        self.scale = scale

    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Segment each image, its values stretched to 0..1."""
        from skimage.segmentation import felzenszwalb

        area = images.shape[-2] * images.shape[-1] / 224**2
        out = []
        for image in images.movedim(1, -1).float().cpu():
            low, high = image.min(), image.max()
            stretched = ((image - low) / (high - low).clamp(min=1e-6)).numpy()
            ids = felzenszwalb(stretched, scale=self.scale * area, min_size=max(round(self.scale * area), 1))
            out.append(torch.from_numpy(ids % 256))
        return torch.stack(out).to(images.device)


class GivenMasks:
    """Ids that come with the images."""

    def __init__(self, regions: int):
        self.regions = regions

    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Return the given ids. Raises BadInput if there are none, or if they are of another shape or number."""
        if given is None:
            raise BadInput("masks are to be given with the images but none came; give them, or choose another source")
        if given.ndim != 3 or len(given) != len(images):
            raise BadInput(f"masks are {tuple(given.shape)} for {len(images)} images; give ids (images, rows, columns)")
        if int(given.min()) < 0 or int(given.max()) >= self.regions:
            raise BadInput(f"ids of masks are {int(given.min())} to {int(given.max())}; give 0 to {self.regions - 1}")
        return given


def mask_source(config: "OdinConfig", network: Odin | None = None) -> MaskSource:
    """Make the source that the config names; `network` is the one that finds masks, if features are clustered."""
    if config.source in ("features", "projections"):
        if network is None:
            raise BadInput(f"masks of {config.source} need a network; give one, or choose pixels, grid, segments or given")
        return Clusters(config, network)
    if config.source == "pixels":
        return Clusters(config, None)
    if config.source == "grid":
        return GridMasks(config.clusters)
    if config.source == "segments":
        return SegmentMasks(config.segment_scale)
    return GivenMasks(config.clusters)


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

    Args:
        features: vectors of each image.
        clusters: how many centres; some may end up without vectors.
        iterations: rounds of assigning vectors to centres and moving the centres.
        metric: cosine (of vectors and centres of length 1) or l2.
        generator: for the seeds; torch's own on the device of the features by default.
        seeds: random (distinct vectors of the image) or spread (k-means++, Arthur and Vassilvitskii, 2007).

    Raises:
        BadInput: features that are not finite, more clusters than vectors.
    """
    x = _checked(features, clusters, metric)
    centres = (_random_seeds if seeds == "random" else _plus_plus_seeds)(x, clusters, generator)
    at_once = len(x) if x.device.type != "cpu" else max(_CACHED // max(x[0].nbytes, 1), 1)
    pieces = zip(x.split(at_once), centres.split(at_once), strict=True)
    return torch.cat([_rounds(own, begun, iterations, metric) for own, begun in pieces])


def _rounds(x: Tensor, centres: Tensor, iterations: int, metric: Metric) -> Tensor:
    for _ in range(iterations):
        centres, _ = move_centres(x, nearest(x, centres, metric), centres, metric)
    return nearest(x, centres, metric)


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
        raise BadInput(
            f"{clusters} clusters are asked of {features.shape[1]} vectors an image; give 1 to {features.shape[1]}, "
            "or features of a finer grid"
        )
    if not all_finite(features):
        raise BadInput("features for k-means hold values that are not finite; mend the images or the network")
    x = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    return F.normalize(x, dim=-1) if metric == "cosine" else x
