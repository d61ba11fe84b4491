"""Small images of two classes, as CIFAR's binary file, and tiny runs on them."""

from pathlib import Path

import numpy as np
import pytest

from tapetum.systems.pretraining.config import Byol, Clip, Dino, Mae, Method, SigLip, SimClr
from tapetum.systems.pretraining.recipes import PretrainRun, recipe

SETTINGS = {
    "clip": {"clip": Clip(width=16, depth=1, heads=2, projection=8, length=40)},
    "siglip": {"siglip": SigLip(width=16, depth=1, heads=2, projection=8, length=40)},
    "simclr": {"simclr": SimClr(hidden=32, projection=16, temperature=0.2)},
    "byol": {"byol": Byol(hidden=32, projection=16)},
    "dino": {"dino": Dino(hidden=32, bottleneck=16, prototypes=24, local_views=2, frozen_epochs=0)},
    "mae": {"mae": Mae(width=32, depth=1, heads=2)},
}
RESNET = {"encoder": "resnet-18", "change": ("stem=3x3", "stem_width=4", "depths=(1,1,1,1)")}
JOINT: tuple[Method, ...] = ("simclr", "byol", "dino", "mae")
"""Methods of which runs of two processes are compared with those of one: negatives, batch norms, centre, masks."""
VIT = {"encoder": "vit-nano", "change": ("patch=4",)}


def tiny(method: Method, data: Path | str, **changes: object) -> PretrainRun:
    """A run with a tiny network, a ViT for MAE."""
    network = VIT if method == "mae" else RESNET
    return recipe(
        method, str(data), **{**network, "size": 16, "batch_size": 8, "steps": 6, **SETTINGS.get(method, {}), **changes}
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images: bright squares on red, dark stripes on green, everywhere noise."""
    rng, rows = np.random.default_rng(0), []
    for k in range(40):
        x = rng.integers(0, 60, (3, 32, 32))
        x[k % 2] += 120
        at = rng.integers(0, 16, 2)
        if k % 2:
            x[:, at[0] : at[0] + 12 : 3] += 60
        else:
            x[:, at[0] : at[0] + 12, at[1] : at[1] + 12] += 70
        rows.append(np.concatenate([[k % 2], x.ravel()]).astype(np.uint8))
    folder = tmp_path_factory.mktemp("cifar")
    np.stack(rows).tofile(folder / "data_batch_1.bin")
    (folder / "batches.meta.txt").write_text("square\nstripes\n")
    return folder
