"""Small images of two classes, as CIFAR's binary file, and tiny runs on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tapetum.systems.pretraining.methods import METHODS, Byol, Clip, Dino, DinoV2, IJepa, LeJepa, Mae, Method, SigLip, SimClr
from tapetum.systems.pretraining.recipes import PretrainRun, recipe
from tapetum.systems.pretraining.run import task_for
from tapetum.systems.pretraining.task import PretrainTask

SETTINGS = {
    "clip": {"clip": Clip(width=16, depth=1, heads=2, projection=8, length=40)},
    "siglip": {"siglip": SigLip(width=16, depth=1, heads=2, projection=8, length=40)},
    "simclr": {"simclr": SimClr(hidden=32, projection=16, temperature=0.2)},
    "byol": {"byol": Byol(hidden=32, projection=16)},
    "dino": {"dino": Dino(hidden=32, bottleneck=16, prototypes=24, local_views=2, frozen_epochs=0)},
    "mae": {"mae": Mae(width=32, depth=1, heads=2)},
    "dinov2": {"dinov2": DinoV2(hidden=32, bottleneck=16, prototypes=24, local_views=2, frozen_epochs=0)},
    "lejepa": {"lejepa": LeJepa(hidden=24, projection=8, local_views=2, slices=16, weight=0.2)},
    "ijepa": {"ijepa": IJepa(width=24, depth=2, heads=2)},
}
RESNET = {"encoder": "resnet-18", "change": ("stem=3x3", "stem_width=4", "depths=(1,1,1,1)")}
VIT = {"encoder": "vit-nano", "change": ("patch=4",)}


def tiny(method: Method, data: Path | str, **changes: object) -> PretrainRun:
    """A run with a tiny network, a ViT where patches are hidden."""
    network = VIT if METHODS.get(method, PretrainTask).hides_patches else RESNET
    return recipe(
        method, str(data), **{**network, "size": 16, "batch_size": 8, "steps": 6, **SETTINGS.get(method, {}), **changes}
    )


def begun(method: Method, data: Path, **changes: object) -> tuple[Any, nn.Module, dict[str, nn.Module], Any]:
    """A task, its model, its teachers and a batch."""
    task = task_for(tiny(method, data, **changes))
    torch.manual_seed(0)
    model, teachers = task.model(), {}
    for average in task.averages:
        teachers[average.name] = task.model().requires_grad_(False).eval()
        teachers[average.name].load_state_dict(model.state_dict())
    samples = task.dataset()
    return task, model, teachers, task.collate([samples[number] for number in range(task.run.batch_size)])


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
