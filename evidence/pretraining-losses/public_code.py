"""Losses of DINOv2 beside its public code: how far both are from the same computed in float64.

    git clone https://github.com/facebookresearch/dinov2
    python evidence/pretraining-losses/public_code.py --public dinov2 --json evidence/pretraining-losses/results.json

A loss of hundreds has steps of 3e-5 in float32, so that an absolute 1e-5 cannot be asked of it: what is shown of each is the
greatest relative error, ours and theirs, against their formulas in float64. Their Sinkhorn-Knopp and KoLeo compute in float32
whatever they get, so that the reference of these two is ours in float64. The files are loaded alone, without their package.
"""

import argparse
import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from tapetum.systems.pretraining import losses

SIZES = ((8, 16, 4, 0.07), (33, 129, 17, 0.04), (64, 512, 48, 0.1), (200, 64, 192, 0.05), (32, 65536, 256, 0.04))
"""Images, prototypes, channels and the teacher's temperature."""


def load(public: Path, name: str) -> ModuleType:
    """Load a file of their losses."""
    spec = importlib.util.spec_from_file_location(name, public / "dinov2" / "loss" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def values(
    n: int, k: int, d: int, temperature: float, public: dict[str, ModuleType], seed: int
) -> dict[str, tuple[Tensor, ...]]:
    """Compute each loss as (ours, theirs, reference in float64) on random numbers."""
    generator = torch.Generator().manual_seed(seed)
    logits, features = torch.randn(n, k, generator=generator), torch.randn(n, d, generator=generator)
    patches = torch.rand(5, 20, generator=generator) < 0.4
    patches[2] = False
    students = torch.randn(int(patches.sum()), k, generator=generator) * 3
    taught = F.softmax(torch.randn(len(students), k, generator=generator), -1)
    views = torch.randn(6, n // 2, k, generator=generator) * 3
    targets = F.softmax(torch.randn(2, n // 2, k, generator=generator) * 5, -1)
    classes, hidden = public["dino_clstoken_loss"].DINOLoss(k), public["ibot_patch_loss"].iBOTPatchLoss(k)
    spread, image = public["koleo_loss"].KoLeoLoss(), patches.nonzero()[:, 0]

    def class_loss(views: Tensor, targets: Tensor) -> Tensor:
        """As `ssl_meta_arch` sums it up: small crops with both teachers, large ones with the other crop, over 10 pairs."""
        small = classes([*views[2:]], [*targets]) / 10
        return small + classes([views[:2].flatten(0, 1)], [targets.flip(0).flatten(0, 1)]) * 2 / 10

    return {
        "class loss": (
            losses.pairs(views, targets, 0.1),
            class_loss(views, targets),
            class_loss(views.double(), targets.double()),
        ),
        "patch loss": (
            losses.masked_patches(students, taught, image, 5, 0.1),
            hidden.forward_masked(students, taught, patches),
            hidden.forward_masked(students.double(), taught.double(), patches),
        ),
        "KoLeo": (losses.koleo(features), spread(features), losses.koleo(features.double())),
        "Sinkhorn-Knopp": (
            losses.sinkhorn_knopp(logits, temperature),
            classes.sinkhorn_knopp_teacher(logits.clone(), temperature),
            losses.sinkhorn_knopp(logits.double(), temperature),
        ),
    }


def compare(public: Path) -> list[dict[str, Any]]:
    """List the greatest relative errors of each loss over all sizes; of Sinkhorn-Knopp's rows relative to their largest."""
    files = {name: load(public, name) for name in ("dino_clstoken_loss", "ibot_patch_loss", "koleo_loss")}
    rows: dict[str, dict[str, Any]] = {}
    for seed, size in enumerate(SIZES):
        for name, (ours, theirs, reference) in values(*size, files, seed).items():
            row = rows.setdefault(name, {"loss": name, "largest": 0.0, "absolute": 0.0, "ours": 0.0, "theirs": 0.0})
            scale = float(reference.abs().max())
            row["largest"] = max(row["largest"], scale)
            row["absolute"] = max(row["absolute"], float((ours.double() - theirs.double()).abs().max()))
            for who, value in (("ours", ours), ("theirs", theirs)):
                row[who] = max(row[who], float((value.double() - reference.double()).abs().max()) / scale)
    return list(rows.values())


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """List a row for each loss."""
    keys = "absolute", "ours", "theirs"
    return [(row["loss"], f"{row['largest']:.3g}", *(f"{row[key]:.1e}" for key in keys)) for row in results["losses"]]


def main() -> None:
    """Compare, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, required=True, help="checkout of facebookresearch/dinov2")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # pyright: ignore[reportPrivateImportUsage]
    try:
        rows = compare(args.public)
    finally:
        dist.destroy_process_group()
    commit = subprocess.run(["git", "-C", args.public, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    results = {"commit": commit.stdout.strip(), "torch": torch.__version__, "sizes": SIZES, "losses": rows}
    args.json.write_text(json.dumps(results, indent=1) + "\n")
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
