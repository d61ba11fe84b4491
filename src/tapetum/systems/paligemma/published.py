"""Named weights of PaliGemma. Imports no torch.

The official weights are on Hugging Face behind the Gemma licence, which a user accepts there once; so they are fetched with
that user's account, as a folder of several files.
"""

from tapetum.hub.registry import Weights
from tapetum.systems.paligemma.config import IMAGE_SIZES

_LOADER = "tapetum.systems.paligemma.weights:load"
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
    use = "to be fine-tuned" if kind == "pt" else "for prompts as they are"
    return Weights(
        name=f"{family}-{kind}-{size}",
        architecture=f"{family}-{size}",
        summary=f"{family} for images of {size}x{size}, {use}; {_SIZES[family] / 1e9:.1f} GB, licence to be accepted",
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
    for size in IMAGE_SIZES
    if not (kind == "mix" and size == 896)
)

_CODEC = "tapetum.systems.paligemma.masks.codec:load"
PUBLISHED += (
    Weights(
        name="paligemma-masks",
        architecture="mask-codec",
        summary="masks as 16 tokens and back, trained by this project on masks of its scenes",
        paper="the codec of arXiv 2301.02229 with a small config",
        licence="Apache-2.0",
        file="systems/paligemma/bundled/paligemma-masks.safetensors",
        loader=_CODEC,
        sha256="0d5d1a14d8b713bbb36562b0fc2655c769fcf6626868aee0cf8f83e6ad67f53c",
        verbs=("segment",),
    ),
    Weights(
        name="paligemma-masks-official",
        architecture="mask-codec",
        summary="masks as 16 tokens and back, for the official models; trained on OpenImages",
        paper="arXiv 2301.02229, as used in arXiv 2407.07726",
        licence="LicenseRef-not-stated",
        file="vae-oid.npz",
        loader=_CODEC,
        url="https://storage.googleapis.com/big_vision/paligemma/vae-oid.npz",
        converter="tapetum.systems.paligemma.masks.codec:convert",
        verbs=("segment",),
    ),
)

HEADERS = {"paligemma": _LOADER, "mask-codec": _CODEC}

FOLDERS = {"paligemma": _LOADER}
