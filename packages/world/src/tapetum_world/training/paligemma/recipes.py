"""The training of paligemma-nano-2 as a config: the options of `tapetum train paligemma-nano`. Imports no torch.

    1-dense     stage 0: the vision encoder alone, from what is in each cell of 8 pixels (`dense_task`)
    2-texts     stage 1: all tasks, the dense loss beside them; the learning rate is constant
    3-cooled    stage 1: the same with more questions and masks; the learning rate falls to 0

The phases repeat the last phases of the first `paligemma-nano` (`evidence/paligemma-nano/phases.py` lists all eleven):
positions in the initial weights, soft location targets, supervised attention.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tapetum.core.fields import check_fields
from tapetum.systems.paligemma.recipes import Learning, PaliGemmaStage, TextMixture, stage0, stage1

TEXTS = TextMixture(answers=5, regions=1, captions=0.1, detect_all=1, detect=2, segment=0.7)
COOLED = TextMixture(answers=6, regions=1, captions=0.1, detect_all=1, detect=2, segment=1)


@dataclass(frozen=True, kw_only=True)
class NanoRun:
    """A run that teaches a small PaliGemma of random weights all tasks on images of `scenes/`."""

    preset: Literal["nano-2", "tiny"] = "nano-2"
    """nano-2: some hours of a processor; tiny: a few steps of each phase, to see that all works."""
    data: str = ""
    """Folder of images of 112 x 112 pixels, as `tapetum scenes images` makes it."""
    checks: str = ""
    """Another such folder, of which the first 256 images are scored while the run goes on; by default none are."""
    model: str = "paligemma-nano-2"
    """Sizes, by name."""
    codec: str = "paligemma-masks"
    """Weights of the codec of masks, by name or file."""
    vocabulary: int = 640
    """Pieces of the tokenizer, which is learned from the folder's texts."""
    dense_steps: int = 3600
    """Optimiser steps of phase 1."""
    text_steps: int = 2600
    """Optimiser steps of phase 2."""
    cooled_steps: int = 2200
    """Optimiser steps of phase 3."""
    dense_batch_size: int = 32
    """Images of a step of phase 1."""
    batch_size: int = 16
    """Images of a step of phases 2 and 3, each with all of its texts."""
    micro_batch: int = 16
    """Images that a process works on at a time; what is left of a step's is accumulated."""
    dense_lr: float = 1.2e-3
    """Highest learning rate of phase 1; it falls to 0 by a cosine."""
    lr: float = 8e-4
    """Highest learning rate of phases 2 and 3; half of it for the vision encoder."""
    bf16: bool = False
    """Compute in bfloat16, which processors without instructions for it emulate slowly; weights stay float32."""
    seed: int = 0
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        sizes = "dense_steps", "text_steps", "cooled_steps", "dense_batch_size", "batch_size", "micro_batch"
        check_fields(self, dense_lr="(0, inf)", lr="(0, inf)", **dict.fromkeys(sizes, "[1, inf)"))

    def phases(self) -> dict[str, PaliGemmaStage]:
        """List the phases by folder name; each starts from the weights of the one before.

        >>> [(name, phase.stage, phase.steps) for name, phase in RECIPES["tiny"].phases().items()]
        [('1-dense', '0', 4), ('2-texts', '1', 4), ('3-cooled', '1', 4)]
        """
        dense = stage0(
            self.data,
            checks=self.checks,
            model=self.model,
            batch_size=self.dense_batch_size,
            micro_batch=self.micro_batch,
            steps=self.dense_steps,
            lr=self.dense_lr,
            position_init=True,
            bf16=self.bf16,
            seed=self.seed,
        )
        texts = stage1(
            self.data,
            checks=self.checks,
            model=self.model,
            codec=self.codec,
            vocabulary=self.vocabulary,
            mixture=TEXTS,
            learning=Learning(mean="roots", location_std=9.0),
            dense_weight=0.4,
            attention_weight=0.5,
            batch_size=self.batch_size,
            micro_batch=self.micro_batch,
            steps=self.text_steps,
            lr=self.lr,
            schedule="constant",
            vision_encoder_lr_scale=0.5,
            vision_encoder_warmup_steps=min(150, self.text_steps // 4),
            position_init=True,
            bf16=self.bf16,
            seed=self.seed + 1,  # another order of the images
        )
        cooled = replace(
            texts,
            mixture=COOLED,
            steps=self.cooled_steps,
            schedule="linear",
            vision_encoder_warmup_steps=min(100, self.cooled_steps // 4),  # the dense head begins anew
            position_init=False,
            seed=self.seed + 2,
        )
        return {"1-dense": dense, "2-texts": texts, "3-cooled": cooled}


RECIPES: Mapping[str, NanoRun] = {
    "nano-2": NanoRun(),
    "tiny": NanoRun(
        preset="tiny",
        dense_steps=4,
        text_steps=4,
        cooled_steps=4,
        dense_batch_size=4,
        batch_size=2,
        micro_batch=2,
        vocabulary=340,
    ),
}
"""By preset."""
