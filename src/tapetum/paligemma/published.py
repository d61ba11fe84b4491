"""Weights of PaliGemma known by name. Imports no torch.

The official ones lie on Hugging Face behind the licence of Gemma, which a person accepts there once; so they are fetched with
that person's account, as a folder of several files.
"""

from tapetum.hub.registry import Weights
from tapetum.paligemma.config import PICTURE_SIZES

_LOADER = "tapetum.paligemma.weights:load"
_SIZES = {
    "paligemma-3b": 2.924e9 * 4,
    "paligemma2-3b": 3.033e9 * 2,
    "paligemma2-10b": 9.663e9 * 2,
    "paligemma2-28b": 27.65e9 * 2,
}
"""Bytes at 224 pixels: the first family is published in float32, the second in bfloat16."""
_PAPERS = {"paligemma": "arXiv 2407.07726", "paligemma2": "arXiv 2412.03555"}


def _official(family: str, kind: str, size: int) -> Weights:
    repository = f"google/{family}-{kind}-{size}"
    told = "to be fine-tuned" if kind == "pt" else "for prompts as they are"
    return Weights(
        name=f"{family}-{kind}-{size}",
        architecture=f"{family}-{size}",
        summary=f"{family} for pictures of {size}x{size}, {told}; {_SIZES[family] / 1e9:.1f} GB, licence to be accepted",
        paper=_PAPERS[family.partition("-")[0]],
        licence="LicenseRef-Gemma",
        file=f"{family}-{kind}-{size}",
        loader=_LOADER,
        repository=repository,
        gate=f"accept the Gemma licence at https://huggingface.co/{repository} with your account there, then: hf auth login",
        size=int(_SIZES[family]),
        verbs=("ask",),
    )


PUBLISHED = tuple(
    _official(family, kind, size)
    for family in _SIZES
    for kind in ("pt", "mix")
    for size in PICTURE_SIZES
    if not (kind == "mix" and size == 896)
)
"""What `tapetum weights list` names of this system."""

HEADERS = {"paligemma": _LOADER}
"""Entry in the header of a safetensors file to what loads it."""

FOLDERS = {"paligemma": _LOADER}
"""The model_type in the config.json of a folder to what loads it."""
