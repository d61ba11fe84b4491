"""Names of weights: what each is, where it comes from, and where it lies on this machine.

The official checkpoints are those of google-deepmind/tapnet (Apache-2.0). `tapir-nano` is this project's own small
network and ships inside the package. Nothing here imports torch.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from tapetum.errors import BadInput

_OFFICIAL = "https://storage.googleapis.com/dm-tapnet/"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights known by name."""

    name: str
    """What the user types."""
    architecture: str
    """Name for `tapetum.tap.build`."""
    summary: str
    """One line for a table."""
    paper: str
    """Where it is published."""
    licence: str
    """SPDX name of the licence of the weights."""
    file: str
    """File name in a folder of weights; for bundled weights, the path inside the package."""
    url: str | None
    """Where the file can be had; None for bundled weights."""

    @property
    def bundled(self) -> bool:
        """The file ships inside the package."""
        return self.url is None


KNOWN = {
    weights.name: weights
    for weights in (
        Weights(
            name="tapir-nano",
            architecture="tapir-nano",
            summary="small TAPIR trained by this project on scenes; the default, for a laptop",
            paper="the network of arXiv 2306.08637 with a small config",
            licence="Apache-2.0",
            file="tap/bundled/tapir-nano.safetensors",
            url=None,
        ),
        Weights(
            name="tapir",
            architecture="tapir",
            summary="TAPIR trained on panning Kubric",
            paper="arXiv 2306.08637",
            licence="Apache-2.0",
            file="tapir_checkpoint_panning.pt",
            url=_OFFICIAL + "tapir_checkpoint_panning.pt",
        ),
        Weights(
            name="causal-tapir",
            architecture="causal-tapir",
            summary="TAPIR that sees frames one by one",
            paper="arXiv 2306.08637",
            licence="Apache-2.0",
            file="causal_tapir_checkpoint.npy",
            url=_OFFICIAL + "causal_tapir_checkpoint.npy",
        ),
        Weights(
            name="bootstapir",
            architecture="bootstapir",
            summary="BootsTAPIR version 2, bootstrapped on real video",
            paper="arXiv 2402.00847",
            licence="Apache-2.0",
            file="bootstapir_checkpoint_v2.pt",
            url=_OFFICIAL + "bootstap/bootstapir_checkpoint_v2.pt",
        ),
        Weights(
            name="causal-bootstapir",
            architecture="causal-bootstapir",
            summary="BootsTAPIR that sees frames one by one",
            paper="arXiv 2402.00847",
            licence="Apache-2.0",
            file="causal_bootstapir_checkpoint.pt",
            url=_OFFICIAL + "bootstap/causal_bootstapir_checkpoint.pt",
        ),
    )
}
"""All weights known by name."""


def folder() -> Path:
    """Where downloaded weights are looked for: $TAPETUM_WEIGHTS, else tapetum in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TAPETUM_WEIGHTS") or Path(cache) / "tapetum")


def location(weights: Weights) -> Path:
    """Where the file of `weights` belongs on this machine, whether or not it is there."""
    return Path(__file__).parents[1] / weights.file if weights.bundled else folder() / weights.file


def resolve(name_or_path: str | os.PathLike[str]) -> tuple[Path, Weights | None]:
    """The file for a name of `KNOWN` (with its entry) or for a path (with None).

    Raises:
        BadInput: the name is unknown and no file either, or its file is not on this machine; the message tells where
            to get the file and where to put it.
    """
    weights = KNOWN.get(os.fspath(name_or_path))
    if weights is None:
        path = Path(name_or_path)
        if path.is_file():
            return path, None
        raise BadInput(_unknown(os.fspath(name_or_path), path))
    path = location(weights)
    if path.is_file():
        return path, weights
    if weights.bundled:
        raise BadInput(f"the bundled weights {weights.name} are missing from {path}; install tapetum again")
    raise BadInput(
        f"the weights {weights.name} are not on this machine; download {weights.url} and put it at {path}"
        " (or in a folder that TAPETUM_WEIGHTS names)"
    )


def find(name: str) -> Weights:
    """The entry of `name` in `KNOWN`; raises `BadInput` with the nearest known name."""
    try:
        return KNOWN[name]
    except KeyError:
        raise BadInput(_unknown(name, None)) from None


def _unknown(name: str, path: Path | None) -> str:
    near = difflib.get_close_matches(name, KNOWN, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known names are {', '.join(KNOWN)}"
    if path is not None and path.is_dir():
        return f"{name} is a folder; give a file of weights or a name ({advice})"
    return f"there are no weights named {name!r}{'' if path is None else ' and no such file'}; {advice}"
