"""DINO on a tiny ViT and noise: a student, a teacher, two sizes of crops."""

import numpy as np

from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.methods import Dino, task_of
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.task import PretrainTask

BATCH, MICRO_BATCH = 8, 2


class Noise:
    """64 images."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, k: int) -> np.ndarray:
        return np.random.default_rng(k).integers(0, 256, (40, 40, 3)).astype(np.uint8)

    def name(self, k: int) -> str:
        return f"image {k}"


def dino(**changes: object) -> PretrainTask:
    """Make the task of two steps, in micro-batches of 2 images."""
    settings = Dino(hidden=32, bottleneck=16, prototypes=24, local_views=2, frozen_epochs=0)
    network = {"encoder": "vit-nano", "change": ("patch=8",), "size": 32}
    counts = {"steps": 2, "batch_size": BATCH, "micro_batch": MICRO_BATCH}
    return task_of("dino")(recipe("dino", "noise", **{**network, **counts, "dino": settings, **changes}), ImageSource(Noise()))
