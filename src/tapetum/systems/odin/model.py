"""Odin's network: an encoder, a pyramid over its maps, and the perceptrons for what masks hold (arXiv 2203.08777, section 3).

    view --encoder, pyramid--> map (b, d, h, w) --mean inside of each mask--> (b, r, d) --projector--> z --predictor--> q

Three copies of it are in a run: the online one, which learns; the target, an average of it; and the one that finds the masks.
All batch norms see the rows of all images together (DetCon's code; so with several processes wants `SyncBatchNorm`), and of
masks that are there alone.

Differs from the paper: without a pyramid, the encoder's coarsest map is used, as in DetCon.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder
from tapetum.encoders.fpn import FeaturePyramid
from tapetum.systems.odin.config import OdinConfig


class Odin(nn.Module):
    """Encoder, pyramid, projector and, in form b, predictor."""

    def __init__(self, config: OdinConfig, encoder: Encoder):
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pyramid = FeaturePyramid.over(encoder, config.pyramid_width) if config.pyramid_width else None
        width = config.pyramid_width or encoder.map_channels[-1]
        self.stride: int = encoder.strides[0] if config.pyramid_width else encoder.strides[-1]
        """Pixels to a cell of the map."""
        self.projector = perceptron(width, config.hidden_width, config.projection_width)
        self.predictor = (
            perceptron(config.projection_width, config.hidden_width, config.projection_width) if config.form == "b" else None
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Give the map in which masks are found and held, of prepared images."""
        maps = self.encoder(images).maps
        return maps[-1] if self.pyramid is None else self.pyramid(maps)[0]

    def project(self, rows: Float[Tensor, "b r d"], there: Bool[Tensor, "b r"] | None = None) -> Float[Tensor, "b r e"]:
        """Project the vectors of masks. Rows that are not `there` give zeros, and no batch norm sees them."""
        return _through(self.projector, rows, there)

    def predict(self, projections: Float[Tensor, "b r e"], there: Bool[Tensor, "b r"] | None = None) -> Float[Tensor, "b r e"]:
        """Predict the target's projections from one's own, as `project`. Form s has no predictor and gives them as they are."""
        return projections if self.predictor is None else _through(self.predictor, projections, there)

    def projected_map(self, found: Float[Tensor, "b d h w"]) -> Float[Tensor, "b e h w"]:
        """Project every cell of a map, for masks made of projections."""
        return self.project(found.flatten(2).mT).mT.unflatten(2, found.shape[2:])


def _through(layers: nn.Module, rows: Tensor, there: Tensor | None) -> Tensor:
    if there is None:
        return layers(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
    inside = rows[there]
    if len(inside) < 2 and layers.training:
        raise BadInput(
            f"{len(inside)} masks are in the views of a batch of {len(rows)}; give a larger batch_size and micro_batch"
        )
    found = layers(inside)
    return found.new_zeros(*there.shape, found.shape[-1]).index_put((there,), found)


def perceptron(inward: int, hidden: int, outward: int) -> nn.Sequential:
    """Make linear, batch norm, ReLU, linear without bias (DetCon's `MLP`, as in BYOL)."""
    return nn.Sequential(
        nn.Linear(inward, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outward, bias=False)
    )
