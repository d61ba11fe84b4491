"""I-JEPA (arXiv 2301.08243): from what a ViT says of a part of an image, predict what a slow average says of other parts.

    context patches -> encoder -> predictor, with a token at the positions of a target block -- smooth L1 --.
    all patches -> average (no gradient) -> the block's tokens, each at mean 0 and deviation 1 --------------'

One crop of an image and no colours: nothing but the choice of blocks says what is to be invariant. The result is the average.

Differs from the public code (facebookresearch/ijepa): the average's decay rises by a cosine instead of a line, weight decay
likewise; the learning rate rises from 0 and falls to 0; matrices start at one deviation in all blocks. A ViT's class token and
registers, which theirs lacks, go through the predictor with the context. Blocks: `tapetum.systems.pretraining.masks`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.data.views import View
from tapetum.systems.pretraining.task import VIT, PretrainTask, vit_config
from tapetum.train.config import Average

if TYPE_CHECKING:
    from torch import Tensor

    from tapetum.systems.pretraining.data import TrainingImage
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext

_LEAST_GRID = 4
"""Rows and columns of patches below which blocks are single patches."""
_WITHOUT_CLASS = "positions=sine", "class_token=False", "pooling=mean"


@dataclass(frozen=True, kw_only=True)
class IJepa:
    """A ViT sees a part of an image, and a narrow one predicts what a slow average says of the rest."""

    context_area: tuple[float, float] = (0.85, 1.0)
    """Least and greatest part of the image of the block that the context is cut from."""
    target_area: tuple[float, float] = (0.15, 0.2)
    """Those of a block to predict."""
    targets: int = 4
    """Blocks to predict; the context leaves them out."""
    width: int = 384
    """Channels of the predictor."""
    depth: int = 12
    """Blocks of the predictor."""
    heads: int = 16
    """Heads of the predictor."""
    decay: float = 0.996
    """Of the average that teaches, at the start; it rises to 1 by a cosine."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("width", "depth", "heads", "targets"), "[1, inf)"), decay="[0, 1)")
        if self.width % self.heads or self.width % 4:
            raise BadInput(
                f"a predictor of width {self.width} with {self.heads} heads; give a multiple of both 4 and the heads"
            )
        for area in (self.context_area, self.target_area):
            View(size=1, area=area)


class IJepaTask(PretrainTask):
    """Predict the average's tokens of hidden blocks."""

    help = "A ViT that predicts what a slow average of itself says of hidden blocks."
    Settings = IJepa
    presets: ClassVar = {
        "small": {
            "encoder": "vit-tiny-16",
            "change": ("patch=8", *_WITHOUT_CLASS),
            "weight_decay": 0.04,
            "final_weight_decay": 0.4,
            "base_lr": 5e-4,
            "ijepa": {"width": 96, "depth": 4, "heads": 4, "decay": 0.99},
        },
        # configs/in1k_vith14_ep300.yaml of the public code: 16 GPUs of 128 images
        "vit": {
            **VIT,
            "encoder": "timm:vit_huge_patch14_224",
            "change": _WITHOUT_CLASS,
            "batch_size": 2048,
            "base_lr": 1e-3 * 256 / 2048,
            "epochs": 300,
            "warmup_epochs": 40,
            "weight_decay": 0.04,
            "final_weight_decay": 0.4,
        },
    }
    hides_patches = True
    teachers = ("teacher",)
    kept = "teacher"

    def __init__(self, run, source):
        super().__init__(run, source)
        self.averages = (Average(name="teacher", decay=self.settings.decay, schedule="cosine"),)

    def check(self) -> None:
        config = vit_config(self.run)
        if config.rotary or min(config.grid) < _LEAST_GRID:
            raise BadInput(
                f"ijepa hides blocks of patches of {config.patch} pixels in views of {self.run.size}; give a size that patches "
                f"divide into {_LEAST_GRID} or more, and a ViT whose positions are not rotary"
            )

    def views(self) -> "tuple[View, ...]":
        return (View(size=self.run.size, area=(0.3, 1.0), interpolation="bilinear", mirror=0.0),)

    def learner(self, encoder: Any) -> "Learner":
        from tapetum.systems.pretraining.heads import Learner, PatchPredictor

        settings = self.settings
        config = vit_config(self.run)
        return Learner(
            encoder, predictor=PatchPredictor(config, settings.width, settings.depth, settings.heads, out_width=config.width)
        )

    def extras(self, items: "Sequence[TrainingImage]") -> "dict[str, Tensor | list[Tensor]]":
        """Choose the patches of targets, and of contexts in parts of one group each: (b, patches) by part.

        All processes have equally many parts, which FSDP needs.
        """
        import numpy as np
        import torch

        from tapetum.systems.pretraining.masks import JEPA_GROUP, jepa_blocks

        settings, batch = self.settings, self.run.batch_size
        config = vit_config(self.run)
        areas = settings.context_area, settings.target_area
        contexts, targets = [], []
        for item in items:
            step, place = divmod(item.number, batch)
            visible, blocks = jepa_blocks(config.grid, batch, *areas, settings.targets, self.run.seed, step)
            contexts.append(visible[place // JEPA_GROUP][place % JEPA_GROUP])
            targets.append(blocks[place])
        part = len(items) if batch <= JEPA_GROUP else math.gcd(len(items), JEPA_GROUP)
        parts = [torch.from_numpy(np.stack(contexts[first : first + part])) for first in range(0, len(items), part)]
        return {"visible": parts, "targets": torch.from_numpy(np.stack(targets))}

    def method_loss(self, model: Any, batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        import torch

        from tapetum.systems.pretraining import losses
        from tapetum.systems.pretraining.heads import encode_visible

        encoder, (images,), targets = model.encoder, batch["views"], batch["targets"]
        prefix = encoder.config.prefix
        teacher: Any = context.teachers["teacher"]
        with torch.no_grad():
            taught = teacher.encoder(images).tokens[:, prefix:]
            places = targets.flatten(1)[..., None].expand(-1, -1, taught.shape[-1])
            taught = taught.gather(1, places).unflatten(1, targets.shape[1:])
        predicted, means, first = [], [], 0
        for visible in batch["visible"]:
            part = slice(first, first := first + len(visible))
            tokens = encode_visible(encoder, images[part], visible)
            predicted.append(model.heads["predictor"](tokens, visible, targets[part]))  # (b, blocks, m, d)
            means.append(tokens[:, prefix:].mean(1))
        return losses.ijepa(torch.cat(predicted), taught), torch.cat(means), {}
