"""Odin's network: an encoder, a pyramid over its maps, and the perceptrons on vectors of masks (arXiv 2203.08777, section 3).

    view --encoder, pyramid--> map (b, d, h, w) --mean inside of each mask--> (b, r, d) --projector--> z --predictor--> q

A run has three copies of it: the online one, which is trained; the target, an average of it; and the one that discovers masks.
All batch norms use the rows of all images together (DetCon's code), across processes if there are several, and only the rows of
present masks. Absent masks have rows of zeros, so their number affects no shape.

Differs from the paper: without a pyramid, the encoder's coarsest map is used, as in DetCon.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.convolutional import FeaturePyramid
from tapetum.encoders.features import Encoder
from tapetum.train.gather import SyncBatchNorm

if TYPE_CHECKING:
    from tapetum.systems.odin.recipes import OdinConfig


class Odin(nn.Module):
    """Encoder, pyramid, projector and, in form b, predictor."""

    def __init__(self, config: "OdinConfig", encoder: Encoder):
        super().__init__()
        self.config, self.encoder = config, encoder
        coarse = [level for level, stride in enumerate(encoder.strides) if stride >= config.finest_stride]
        self.finest: int = coarse[0] if coarse and config.pyramid_width else len(encoder.strides) - 1
        """Number of the encoder's map that the pyramid's finest level is made of, or without a pyramid, of the one used."""
        channels = encoder.map_channels[self.finest :]
        self.pyramid = FeaturePyramid(channels, config.pyramid_width) if config.pyramid_width else None
        width = config.pyramid_width or channels[0]
        self.stride: int = encoder.strides[self.finest]
        """Pixels to a cell of the map."""
        self.projector = perceptron(width, config.hidden_width, config.projection_width)
        self.predictor = (
            perceptron(config.projection_width, config.hidden_width, config.projection_width) if config.form == "b" else None
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Compute the map in which masks are discovered and pooled, of prepared images."""
        return self.levels(self.encoder(images).maps)[0]

    def levels(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """Compute the levels of the pyramid from the encoder's maps, finest first; without one, the coarsest map."""
        used = tuple(maps[self.finest :])
        return used if self.pyramid is None else self.pyramid(used)

    def project(self, rows: Float[Tensor, "b r d"], present: Bool[Tensor, "b r"] | None = None) -> Float[Tensor, "b r e"]:
        """Project the vectors of masks. Rows that are not `present` become zeros, and no batch norm uses them.

        Raises BadInput in training if fewer than two are present. On other devices than the CPU this is only checked for one
        image, to avoid waiting: with more images, each has a mask.
        """
        return _apply_to_present(self.projector, rows, present)

    def predict(
        self, projections: Float[Tensor, "b r e"], present: Bool[Tensor, "b r"] | None = None
    ) -> Float[Tensor, "b r e"]:
        """Predict the target's projections from one's own, as `project`. Form s has no predictor: they stay as they are."""
        return projections if self.predictor is None else _apply_to_present(self.predictor, projections, present)

    def projected_map(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b e h w"]:
        """Project every cell of a map, for masks made of projections."""
        return self.project(features.flatten(2).mT).mT.unflatten(2, features.shape[2:])


def _apply_to_present(layers: nn.Module, rows: Tensor, present: Tensor | None) -> Tensor:
    if present is None:
        return layers(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
    if layers.training and (rows.device.type == "cpu" or len(rows) < 2) and (count := int(present.sum())) < 2:
        raise BadInput(f"{count} masks are in the views of a batch of {len(rows)}; give a larger batch_size and micro_batch")
    hidden, norm, activation, last = layers.children()
    normed = norm(hidden(rows.flatten(0, 1)), present.flatten())
    outputs = last(activation(normed)).unflatten(0, rows.shape[:2])
    return outputs.masked_fill(~present[..., None], 0.0)


def perceptron(in_width: int, hidden: int, out_width: int) -> nn.Sequential:
    """Make linear, batch norm, ReLU, linear without bias (DetCon's `MLP`, as in BYOL)."""
    return nn.Sequential(
        nn.Linear(in_width, hidden), SyncBatchNorm(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out_width, bias=False)
    )
