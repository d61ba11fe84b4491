"""Names of weights: what each is, where it comes from, and where it lies on this machine.

The official checkpoints are those of google-deepmind/tapnet (Apache-2.0). `tapir-nano` (and as it was before it
learned from videos, `tapir-nano-synthetic`), `causal-tapir-nano` and `hip-nano` are this project's own small networks and ship
inside the package. Nothing here imports torch.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tapetum.errors import BadInput
from tapetum.hub.download import check

TRACKER_FILE = "tracker.safetensors"
"""Name of the weights in a folder that stands for a tracker, such as `tapetum bootstrap` makes."""
_OFFICIAL = "https://storage.googleapis.com/dm-tapnet/"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights known by name."""

    name: str
    """What the user types."""
    architecture: str
    """Name for `tapetum.tap.build`, or `tapetum.hip.config.variant`."""
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
    sha256: str | None = None
    """Of the file at `url`, where this project has seen it; else what is fetched first is recorded and enforced."""
    verb: Literal["track", "embed"] = "track"
    """Of the command line, which uses it."""

    @property
    def bundled(self) -> bool:
        """The file ships inside the package."""
        return self.url is None


def _official(name: str, architecture: str, summary: str, file: str, paper: str) -> Weights:
    return Weights(
        name=name,
        architecture=architecture,
        summary=summary,
        paper=paper,
        licence="Apache-2.0",
        file=file.rpartition("/")[2],
        url=_OFFICIAL + file,
    )


_TAPIR, _BOOTS = "arXiv 2306.08637", "arXiv 2402.00847"

KNOWN = {
    weights.name: weights
    for weights in (
        Weights(
            name="tapir-nano",
            architecture="tapir-nano",
            summary="small TAPIR trained by this project on scenes and unlabelled videos; the default, for a laptop",
            paper="the network of arXiv 2306.08637 with a small config, bootstrapped as in arXiv 2402.00847",
            licence="Apache-2.0",
            file="tap/bundled/tapir-nano.safetensors",
            url=None,
        ),
        Weights(
            name="tapir-nano-synthetic",
            architecture="tapir-nano",
            summary="the same before it learned from videos",
            paper="the network of arXiv 2306.08637 with a small config",
            licence="Apache-2.0",
            file="tap/bundled/tapir-nano-synthetic.safetensors",
            url=None,
        ),
        Weights(
            name="causal-tapir-nano",
            architecture="causal-tapir-nano",
            summary="small TAPIR for frames one by one, trained on scenes; the default of track --online",
            paper="the network of arXiv 2306.08637 with a small config",
            licence="Apache-2.0",
            file="tap/bundled/causal-tapir-nano.safetensors",
            url=None,
        ),
        Weights(
            name="hip-nano",
            architecture="hip-nano",
            summary="small HiP trained by this project on CIFAR-10; the default of embed",
            paper="the network of arXiv 2202.10890 with a small config",
            licence="Apache-2.0",
            file="hip/bundled/hip-nano.safetensors",
            url=None,
            verb="embed",
        ),
        _official("tapir", "tapir", "TAPIR trained on panning Kubric", "tapir_checkpoint_panning.pt", _TAPIR),
        _official("tapir-jax", "tapir", "the same, of the JAX release", "tapir_checkpoint_panning.npy", _TAPIR),
        _official("causal-tapir", "causal-tapir", "TAPIR that sees frames one by one", "causal_tapir_checkpoint.npy", _TAPIR),
        _official(
            "bootstapir",
            "bootstapir",
            "BootsTAPIR version 2, bootstrapped on real video",
            "bootstap/bootstapir_checkpoint_v2.pt",
            _BOOTS,
        ),
        _official(
            "bootstapir-jax", "bootstapir", "the same, of the JAX release", "bootstap/bootstapir_checkpoint_v2.npy", _BOOTS
        ),
        _official(
            "causal-bootstapir",
            "causal-bootstapir",
            "BootsTAPIR that sees frames one by one",
            "bootstap/causal_bootstapir_checkpoint.pt",
            _BOOTS,
        ),
        _official(
            "causal-bootstapir-jax",
            "causal-bootstapir",
            "the same, of the JAX release",
            "bootstap/causal_bootstapir_checkpoint.npy",
            _BOOTS,
        ),
    )
}
"""All weights known by name."""


def folder() -> Path:
    """Find where fetched weights are kept: $TAPETUM_WEIGHTS, else tapetum/weights among the assets of the Hugging Face cache.

    That is $HF_ASSETS_CACHE, else assets in $HF_HOME, else in huggingface in the user's cache folder.
    """
    if own := os.environ.get("TAPETUM_WEIGHTS"):
        return Path(own).expanduser()
    if assets := os.environ.get("HF_ASSETS_CACHE"):
        return Path(assets).expanduser() / "tapetum" / "weights"
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "assets" / "tapetum" / "weights"


def location(weights: Weights) -> Path:
    """Find where the published file of `weights` belongs on this machine, whether or not it is there."""
    return Path(__file__).parents[1] / weights.file if weights.bundled else folder() / weights.file


def converted(weights: Weights) -> Path:
    """Find where `weights` as a file of ours belong on this machine, whether or not they are there."""
    return location(weights) if weights.bundled else folder() / f"{weights.name}.safetensors"


def resolve(name_or_path: str | os.PathLike[str], verb: Literal["track", "embed"] = "track") -> tuple[Path, Weights | None]:
    """Resolve the file for a name of `KNOWN` (with its entry) or for a path (with None); a path may be a folder with
    `TRACKER_FILE`.

    Raises:
        BadInput: the name is unknown and no file either, is of weights for another verb, its file is not on this machine, or
            is not what was fetched.
    """
    weights = KNOWN.get(os.fspath(name_or_path))
    if weights is not None and weights.verb != verb:
        raise BadInput(f"{weights.name} is for tapetum {weights.verb}, not for {verb}; see: tapetum weights list")
    if weights is None:
        path = Path(name_or_path)
        for file in (path, path / TRACKER_FILE):
            if file.is_file():
                return file, None
        raise BadInput(_unknown(os.fspath(name_or_path), path))
    for path in (converted(weights), location(weights)):
        if path.is_file():
            check(path)
            return path, weights
    if weights.bundled:
        raise BadInput(f"the bundled weights {weights.name} are missing from {path}; install tapetum again")
    raise BadInput(
        f"the weights {weights.name} are not on this machine; run: tapetum weights fetch {weights.name}"
        f" (or download {weights.url} and put it at {path})"
    )


def find(name: str) -> Weights:
    """Find the entry of `name` in `KNOWN`; raises `BadInput` with the nearest known name."""
    try:
        return KNOWN[name]
    except KeyError:
        raise BadInput(_unknown(name, None)) from None


def _unknown(name: str, path: Path | None) -> str:
    near = difflib.get_close_matches(name, KNOWN, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known names are {', '.join(KNOWN)}"
    if path is not None and path.is_dir():
        return f"{name} is a folder without {TRACKER_FILE}; give a file of weights or a name ({advice})"
    return f"there are no weights named {name!r}{'' if path is None else ' and no such file'}; {advice}"
