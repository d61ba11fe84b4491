"""Named weights of SAM 2.1. Imports no torch."""

from tapetum.hub.registry import Weights

_MODELS = {"tiny": (156, 76.5, 1.0), "small": (184, 76.6, 1.0), "base-plus": (323, 78.2, 1.3), "large": (898, 79.5, 1.8)}
"""Megabytes in float32; J&F on the test set of SA-V, as the README of facebookresearch/sam2 publishes it; GB of a run."""

PUBLISHED = tuple(
    Weights(
        name=f"sam2-{size}",
        architecture="sam2_video",
        summary=f"SAM 2.1 {size}: masks of what is clicked or boxed, in images and through videos",
        paper="arXiv 2408.00714",
        licence="Apache-2.0",
        file=f"sam2-{size}",
        loader="tapetum.systems.sam2.segmenter:load",
        repository=f"facebook/sam2.1-hiera-{size}",
        size=megabytes * 10**6,
        extra="vlm",
        verbs=("segment",),
        score=f"SA-V test J&F {score}",
        memory=memory,
    )
    for size, (megabytes, score, memory) in _MODELS.items()
)
FOLDERS = dict.fromkeys(("sam2", "sam2_video", "edgetam_video"), "tapetum.systems.sam2.segmenter:load")
"""The model_type in the config.json of a folder, to its loader."""
