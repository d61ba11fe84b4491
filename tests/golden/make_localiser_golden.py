"""Makes localiser.npz: cases of what a moment is to find and of losses, and what ActionFormer's public code says of them.

    python tests/golden/make_localiser_golden.py LOSSES.py META_ARCHS.py

Files of libs/modeling of github.com/happyharrycn/actionformer_release (61ea7eb). Nothing of theirs is kept but the numbers.
"""

import re
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("localiser.npz")
CASES, CLASSES, RADIUS = 6, 4, 1.5


def points() -> torch.Tensor:
    """Three levels of moments: place, least and greatest distance, stride."""
    rows = []
    for level, (least, most) in enumerate([(0, 4), (4, 8), (8, 10000)]):
        stride = 2**level
        at = (torch.arange(32 // stride) + 0.5) * stride
        rows.append(torch.stack([at, *(torch.full_like(at, float(value)) for value in (least, most, stride))], 1))
    return torch.cat(rows)


def segments(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random segments, two of them equally long and in one place, and their classes."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 7))
    start = rng.random(count) * 28
    spans = np.stack([start, np.minimum(32, start + 0.5 + rng.random(count) * 14)], 1)
    if count > 1:
        spans[1] = spans[0]
    return torch.from_numpy(spans.astype(np.float32)), torch.from_numpy(rng.integers(0, CLASSES, count))


def offsets(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random distances found and wanted, logits and classes."""
    generator = torch.Generator().manual_seed(seed)
    found, wanted = (torch.rand(20, 2, generator=generator) * 5 for _ in range(2))
    found[0], found[1] = 0, wanted[1]
    logits = torch.randn(20, CLASSES, generator=generator) * 3
    return found, wanted, logits, (torch.rand(20, CLASSES, generator=generator) < 0.3).float()


def main(losses: Path, architectures: Path) -> None:
    scope: dict[str, Any] = {"torch": torch}
    exec(losses.read_text().replace("@torch.jit.script", ""), scope)
    text = re.search(r"    def label_points_single_video.*?(?=\n    def )", architectures.read_text(), re.S)
    assert text is not None
    exec("import torch.nn.functional as F\n" + textwrap.dedent(text.group(0)), scope)
    owner = SimpleNamespace(num_classes=CLASSES, train_center_sample="radius", train_center_sample_radius=RADIUS)
    kept: dict[str, np.ndarray] = {}
    for seed in range(CASES):
        wanted, far = scope["label_points_single_video"](owner, points(), *segments(seed))
        kept[f"wanted{seed}"], kept[f"far{seed}"] = wanted.numpy(), far.numpy()
        one, other, logits, classes = offsets(seed)
        kept[f"ends{seed}"] = scope["ctr_diou_loss_1d"](one, other).numpy()
        kept[f"classes{seed}"] = scope["sigmoid_focal_loss"](logits, classes).numpy()
    np.savez_compressed(GOLDEN, **kept)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
