"""Named weights of long-video encoders, and the headers of their files. Imports no torch.

The authors of LongViViT and MC-ViT released none.
"""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = (
    Weights(
        name="mcvit-films",
        architecture="mcvit-films",
        summary="small MC-ViT that knows films of tapetum scenes and nothing else: a vector for each second, trained here",
        paper="the network of arXiv 2402.05861 with a small config",
        licence="Apache-2.0",
        file="systems/longvideo/bundled/mcvit-films.safetensors",
        loader="tapetum.systems.longvideo.weights:load",
        sha256="d9e334e9298fff290558eea7066769e7f152eb0ef5cc7f0aaa9786f077cc3e20",
        verbs=("answer", "search", "embed"),
    ),
)
"""Entries of `tapetum weights list`."""

HEADERS = {"longvideo": "tapetum.systems.longvideo.weights:load"}
"""Entry in the header of a safetensors file to what loads it."""
