"""Weights of TAPNext and TAPNext++ known by name. Imports no torch.

The official checkpoints are those of google-deepmind/tapnet (Apache-2.0).
"""

from tapetum.hub.registry import Weights

_OFFICIAL = "https://storage.googleapis.com/"
_LOADER = "tapetum.systems.tapnext.tracker:load"


def _official(name: str, file: str, size: int, paper: str, score: str, summary: str) -> Weights:
    return Weights(
        name=name,
        architecture=name,
        summary=summary,
        paper=paper,
        licence="Apache-2.0",
        file=file.rpartition("/")[2],
        loader=_LOADER,
        url=_OFFICIAL + file,
        converter="tapetum.systems.tapnext.weights:convert",
        size=size,
        score=score,
        memory=2.0,
    )


PUBLISHED = tuple(
    _official(name, file, size, paper, f"DAVIS first AJ {score}", summary)
    for name, file, size, paper, score, summary in (
        ("tapnext", "dm-tapnet/tapnext/bootstapnext_ckpt.npz", 777_000_000, "arXiv 2504.05579", "65.3",
         "BootsTAPNext-B, recurrent, frames one by one; for clips up to 150 frames"),
        ("tapnextpp-256", "dm-tapnet/tapnextpp/tapnextpp_ckpt.pt", 2_500_000_000, "arXiv 2604.10582", "65.6",
         "TAPNext++, the same trained on clips of 1024 frames; finds points again"),
        ("tapnextpp-512", "gresearch/tapnextpp/tapnextpp_512.ckpt", 2_500_000_000, "arXiv 2604.10582", "67.0",
         "TAPNext++ for frames of 512x512"),
    )
)  # fmt: skip

HEADERS = {"tapnext": _LOADER}
FOREIGN = "tapetum.systems.tapnext.weights:has_names_of_tapnext", _LOADER
