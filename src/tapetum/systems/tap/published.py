"""Weights of TAPIR and BootsTAPIR known by name. Imports no torch.

The official checkpoints are those of google-deepmind/tapnet (Apache-2.0). `tapir-nano` and `causal-tapir-nano` are this
project's own small networks and ship inside the package.
"""

from tapetum.hub.registry import Weights

_OFFICIAL = "https://storage.googleapis.com/dm-tapnet/"
_LOADER = "tapetum.systems.tap.tracking.tracker:load"
_TAPIR, _BOOTS = "arXiv 2306.08637", "arXiv 2402.00847"


def _bundled(name: str, architecture: str, sha256: str, summary: str, paper: str) -> Weights:
    return Weights(
        name=name,
        architecture=architecture,
        summary=summary,
        paper=paper,
        licence="Apache-2.0",
        file=f"systems/tap/bundled/{name}.safetensors",
        loader=_LOADER,
        sha256=sha256,
    )


def _official(name: str, architecture: str, summary: str, file: str, paper: str) -> Weights:
    return Weights(
        name=name,
        architecture=architecture,
        summary=summary,
        paper=paper,
        licence="Apache-2.0",
        file=file.rpartition("/")[2],
        loader=_LOADER,
        url=_OFFICIAL + file,
        converter="tapetum.systems.tap.weights:convert",
    )


PUBLISHED = (
    _bundled(
        "tapir-nano",
        "tapir-nano",
        "0ae39e9febd6ea333d6899de1f66b8f84660110c76eb6c08460cb491e028016d",
        "small TAPIR trained by this project on scenes and unlabelled videos; the default, for a laptop",
        "the network of arXiv 2306.08637 with a small config, bootstrapped as in arXiv 2402.00847",
    ),
    _bundled(
        "causal-tapir-nano",
        "causal-tapir-nano",
        "c81cc3f8bc6846ffcb362a241bbe9c3f6154c6136ddb6d90bebc13e960ca191f",
        "small TAPIR for frames one by one, trained on scenes; the default of track --online",
        "the network of arXiv 2306.08637 with a small config",
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
    _official("bootstapir-jax", "bootstapir", "the same, of the JAX release", "bootstap/bootstapir_checkpoint_v2.npy", _BOOTS),
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
"""What `tapetum weights list` names of this system."""

HEADERS = {"tapir_config": _LOADER, "": _LOADER}
"""Entry in the header of a safetensors file to what loads it; "" for .npy files from elsewhere, which have none."""
FOREIGN = "tapetum.systems.tap.weights:has_names_of_tapir", _LOADER
"""Says of the names of tensors in a file without header whether they are of TAPIR; and what loads it then."""
