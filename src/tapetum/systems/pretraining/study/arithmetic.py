"""Claims F1 and F3 of the notes: relative costs of the methods, from shapes alone and so the same on every machine."""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from tapetum.systems.pretraining.account import account_step
from tapetum.systems.pretraining.methods import Byol, Dino, Mae, SimClr
from tapetum.systems.pretraining.recipes import recipe

_RESNET: Mapping[str, tuple[float, float]] = {"simclr": (2.0, 2.0), "byol": (2.67, 2.70), "dino": (4.3, 4.6)}
RATIOS: Mapping[tuple[str, tuple[str, ...]], Mapping[str, tuple[float, float]]] = {
    ("resnet-18", ()): _RESNET,
    ("vit-tiny-16", ("patch=8",)): {**_RESNET, "mae": (0.41, 0.41)},
}
"""By network and method: lowest and highest ratio to supervised that the notes have, at 64 pixels with lightly's heads."""
_WITHIN = 0.02
_HEADS: Mapping[str, Mapping[str, Any]] = {
    "simclr": {"simclr": SimClr(hidden=512, projection=128)},
    "byol": {"byol": Byol(hidden=1024, projection=256)},
    "dino": {"dino": Dino(hidden=2048, bottleneck=256, prototypes=4096, local_views=6, local_size=32)},
    "mae": {"mae": Mae(width=128, depth=4, heads=4)},
}


@cache
def ratios() -> tuple[bool, str]:
    """Check whether all ratios of F1 are what they should be, and list them."""
    lines, right = [], True
    for (encoder, change), expected in RATIOS.items():
        one = _small("supervised", encoder, change)
        for method, (low, high) in expected.items():
            ratio = _small(method, encoder, change) / one
            right &= (1 - _WITHIN) * low <= ratio <= (1 + _WITHIN) * high
            lines.append(f"{encoder}, {method} {ratio:.2f} (wanted {low:g}{'' if low == high else f' to {high:g}'})")
    return right, "; ".join(lines)


@cache
def overheads() -> tuple[bool, str]:
    """Check whether F3 holds for ViT-S, B and L at 224 pixels with the published heads, and list the ratios to supervised."""
    ratios_by_method: dict[str, list[float]] = {"clip": [], "mae": []}
    for encoder in ("vit-small-16", "vit-base-16", "vit-large-16"):
        one = _published("supervised", encoder)
        for method, list_ in ratios_by_method.items():
            list_.append(_published(method, encoder) / one)
    falls = all(a > b for list_ in ratios_by_method.values() for a, b in pairwise(list_))
    words = "; ".join(f"{name} {', '.join(f'{r:.2f}' for r in list_)}" for name, list_ in ratios_by_method.items())
    return falls and ratios_by_method["mae"][0] > 1 > ratios_by_method["mae"][1], f"times supervised for ViT-S, B, L: {words}"


def _small(method: Any, encoder: str, change: tuple[str, ...]) -> int:
    made = recipe(method, "", encoder=encoder, change=change, size=64, batch_size=64, **_HEADS.get(method, {}))
    return account_step(made, classes=100).model


def _published(method: Any, encoder: str) -> int:
    made = recipe(method, "", "vit", encoder=encoder, batch_size=2, micro_batch=2)
    return account_step(made, classes=21841).model
