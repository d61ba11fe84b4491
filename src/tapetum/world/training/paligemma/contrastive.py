"""Stage 0 on images of `scenes/` with their captions: the dense loss (`dense_task`) combined with SigLIP's loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from tapetum.systems.paligemma.contrastive import CaptionedBatch, ContrastiveHead, ContrastiveTask, collate_captions
from tapetum.systems.paligemma.data import ImageTexts, SampleDataset, SampleSource
from tapetum.train import StepContext
from tapetum.world.training.paligemma.dense_task import (
    CellTargets,
    DenseModel,
    DenseTask,
    collate_cells,
    dense_loss,
    unfold_cells,
)
from tapetum.world.training.paligemma.position_init import add_position_waves
from tapetum.world.training.paligemma.scene_texts import SceneSample


@dataclass(frozen=True)
class CaptionedCells(CaptionedBatch):
    """Images and their captions, with the targets of cells."""

    cells: CellTargets


class DenseContrastiveTask(DenseTask):
    """Trains a vision encoder on images, the content of their cells, and their captions."""

    joint_batch = True

    def __init__(self, *about: Any, weight: float):
        """`weight`: of the sigmoid loss; the rest as for `DenseTask`, with images that have texts, the caption last."""
        super().__init__(*about)
        self.weight = weight

    def model(self) -> DenseModel:
        """Build a vision encoder as `DenseTask` does, with the heads of both losses."""
        model = super().model()
        model.contrastive = ContrastiveHead(self.config)
        return model

    def dataset(self) -> SampleDataset:
        """Build the data set of samples by number."""
        return SampleDataset(cast(SampleSource, self.train), self.seed)

    def collate(self, items: Sequence[ImageTexts]) -> CaptionedCells:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Build a micro-batch."""
        cells = collate_cells([item.image for item in items if isinstance(item, SceneSample)])
        return CaptionedCells(**vars(collate_captions(items)), cells=cells)

    def loss(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model: nn.Module, batch: CaptionedCells, context: StepContext
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Compute the dense loss and the sigmoid loss."""
        assert isinstance(model, DenseModel)
        features = model.vision_encoder(batch.pixels)
        contrastive, logged = cast(ContrastiveHead, model.contrastive).loss(features.tokens, batch)
        cells = unfold_cells(model.dense_head(features.tokens), features.grid, model.each)
        loss, parts = dense_loss(cells, batch.cells, joint=True)
        return loss + self.weight * contrastive, {**logged, **parts}

    def describe(self) -> Mapping[str, Any]:
        """Describe the run, for checkpoints."""
        return {**super().describe(), "contrastive_weight": self.weight}


class WaveContrastiveTask(ContrastiveTask):
    """The contrastive task on pairs, starting with positions written into the vision encoder (`position_init`)."""

    def model(self) -> Any:
        """Build the model, and add waves to its positions."""
        model = super().model()
        add_position_waves(model.vision_encoder.positions, self.config.grid)
        return model
