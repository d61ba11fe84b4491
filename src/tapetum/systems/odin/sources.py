"""Where the masks of an image come from: images in, maps of ids out (DetCon, arXiv 2103.10957, section 3.1).

    features      k-means of a network's map                       Odin
    projections   k-means of the projections of every cell         Odin, the other reading
    pixels        k-means of colours, or with `place_weight` of colours and positions: a control
    grid          squares: a control
    segments      Felzenszwalb and Huttenlocher's, by scikit-image  DetCon's default
    given         ids that come with the images: files, or the truth (an oracle)

Ids begin at 0; those of one image mean nothing in another. `regions` is one more than the highest id that may occur.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.odin.clustering import kmeans
from tapetum.systems.odin.config import OdinConfig
from tapetum.systems.odin.model import Odin

STRIDE = 4
"""Pixels to a cell where masks are made of pixels or squares, as of the finest level of a pyramid."""


class MaskSource(Protocol):
    """What makes masks."""

    regions: int
    """Ids are 0 to this, less one."""

    def __call__(
        self, images: Float[Tensor, "b 3 h w"], given: Int[Tensor, "b h w"] | None, generator: torch.Generator | None
    ) -> Int[Tensor, "b h2 w2"]:
        """Give the ids of prepared images; `given` is what comes with them."""
        ...


class Clusters:
    """k-means of a network's map, of its projections, or of pixels."""

    def __init__(self, config: OdinConfig, network: Odin | None):
        """`network` finds the features; none is needed for pixels."""
        self.config, self.network, self.regions = config, network, config.clusters

    @torch.no_grad()
    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Cluster each image by itself."""
        found = self._map(images)
        rows = with_places(found, self.config.place_weight).flatten(2).mT
        config = self.config
        ids = kmeans(rows, config.clusters, config.iterations, config.metric, generator, config.seeds)
        return ids.unflatten(1, found.shape[2:])

    def _map(self, images: Tensor) -> Tensor:
        if self.network is None:
            return F.avg_pool2d(images, STRIDE)
        found = self.network(images)
        return self.network.projected_map(found) if self.config.source == "projections" else found


def with_places(found: Float[Tensor, "b d h w"], weight: float) -> Float[Tensor, "b e h w"]:
    """Put two channels with each cell's row and column to a map; at weight 1 they vary as much as all others together."""
    if weight == 0:
        return found
    rows, columns = found.shape[-2:]
    place = torch.stack(
        torch.meshgrid(
            torch.linspace(-1, 1, rows, device=found.device), torch.linspace(-1, 1, columns, device=found.device), indexing="ij"
        )
    )
    own = found.flatten(2).var(-1).sum(-1) / place.flatten(1).var(-1).sum()
    return torch.cat([found, weight * own.sqrt()[:, None, None, None] * place], 1)


class Grid:
    """Squares, as many along each side."""

    def __init__(self, cells: int):
        self.side, self.regions = round(cells**0.5), cells

    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Give each image the same squares."""
        row, column = (torch.arange(size // STRIDE, device=images.device) for size in images.shape[-2:])
        row, column = row * self.side // len(row), column * self.side // len(column)
        return (row[:, None] * self.side + column).expand(len(images), -1, -1)


class Segments:
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


class Given:
    """Ids that come with the images."""

    def __init__(self, regions: int):
        self.regions = regions

    def __call__(self, images: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Hand them on. Raises BadInput if there are none, or if they are of another shape or number."""
        if given is None:
            raise BadInput("masks are to be given with the images but none came; give them, or choose another source")
        if given.ndim != 3 or len(given) != len(images):
            raise BadInput(f"masks are {tuple(given.shape)} for {len(images)} images; give ids (images, rows, columns)")
        if int(given.min()) < 0 or int(given.max()) >= self.regions:
            raise BadInput(f"ids of masks are {int(given.min())} to {int(given.max())}; wanted 0 to {self.regions - 1}")
        return given


def mask_source(config: OdinConfig, network: Odin | None = None) -> MaskSource:
    """Make the source that the config names; `network` is the one that finds masks, where features are clustered."""
    if config.source in ("features", "projections"):
        if network is None:
            raise BadInput(f"masks of {config.source} need a network; give one, or choose pixels, grid, segments or given")
        return Clusters(config, network)
    if config.source == "pixels":
        return Clusters(config, None)
    if config.source == "grid":
        return Grid(config.clusters)
    if config.source == "segments":
        return Segments(config.segment_scale)
    if config.source == "given":
        return Given(config.clusters)
    raise BadInput(
        f"there is no source of masks {config.source!r}; give features, projections, pixels, grid, segments or given"
    )
