"""Named weights that learned from this world alone. Imports no torch."""

from pathlib import Path

from tapetum.hub.registry import Weights

_FOLDER = Path(__file__).parent / "bundled"

PUBLISHED = (
    Weights(
        name="paligemma-nano-2",
        architecture="paligemma-nano-2",
        summary="small PaliGemma that knows the images of tapetum scenes and nothing else; the default of detect and segment",
        paper="the network of arXiv 2407.07726 with a small config",
        licence="Apache-2.0",
        file=str(_FOLDER / "paligemma-nano-2.safetensors"),
        loader="tapetum.systems.paligemma.weights:load",
        sha256="e476677f1fff3320323cebdcbe4461aa76ca6c2163d9a202bae8a5674a062e25",
        verbs=("ask",),
    ),
    Weights(
        name="mcvit-films",
        architecture="mcvit-films",
        summary="small MC-ViT that knows films of tapetum scenes and nothing else: a vector for each second, trained here",
        paper="the network of arXiv 2402.05861 with a small config",
        licence="Apache-2.0",
        file=str(_FOLDER / "mcvit-films.safetensors"),
        loader="tapetum.systems.longvideo.weights:load",
        sha256="d9e334e9298fff290558eea7066769e7f152eb0ef5cc7f0aaa9786f077cc3e20",
        verbs=("answer", "search", "embed"),
    ),
)
"""Entries of `tapetum weights list`."""
