"""Weights of TAPIR and BootsTAPIR known by name. Imports no torch.

The official checkpoints are those of google-deepmind/tapnet (Apache-2.0). `tapir-nano` and `causal-tapir-nano` are this
project's own small networks and ship inside the package.
"""

from typing import Any

from tapetum.hub.registry import Weights

_OFFICIAL = "https://storage.googleapis.com/dm-tapnet/"
_LOADER = "tapetum.systems.tap.tracking.tracker:load"
_TAPIR, _BOOTS = "arXiv 2306.08637", "arXiv 2402.00847"
_SCORES = {"tapir": "DAVIS first AJ 58.5", "bootstapir": "DAVIS first AJ 62.4"}
_COMMON: dict[str, Any] = {"licence": "Apache-2.0", "loader": _LOADER}


def _bundled(name: str, sha256: str, memory: float, summary: str, paper: str) -> Weights:
    file = f"systems/tap/bundled/{name}.safetensors"
    return Weights(
        name=name, architecture=name, summary=summary, paper=paper, file=file, sha256=sha256, memory=memory, **_COMMON
    )


def _official(name: str, summary: str, file: str) -> Weights:
    return Weights(
        name=name,
        architecture=name.removesuffix("-jax"),
        summary=summary,
        paper=_BOOTS if "boots" in name else _TAPIR,
        file=file.rpartition("/")[2],
        url=_OFFICIAL + file,
        converter="tapetum.systems.tap.weights:convert",
        score=_SCORES.get(name),
        memory=1.0,
        **_COMMON,
    )


PUBLISHED = (
    _bundled(
        "tapir-nano",
        "0ae39e9febd6ea333d6899de1f66b8f84660110c76eb6c08460cb491e028016d",
        1.0,
        "small TAPIR trained by this project on scenes and unlabelled videos; the default, for a laptop",
        "the network of arXiv 2306.08637 with a small config, bootstrapped as in arXiv 2402.00847",
    ),
    _bundled(
        "causal-tapir-nano",
        "c81cc3f8bc6846ffcb362a241bbe9c3f6154c6136ddb6d90bebc13e960ca191f",
        0.4,
        "small TAPIR for frames one by one, trained on scenes; the default of track --online",
        "the network of arXiv 2306.08637 with a small config",
    ),
    _official("tapir", "TAPIR trained on panning Kubric", "tapir_checkpoint_panning.pt"),
    _official("tapir-jax", "the same, of the JAX release", "tapir_checkpoint_panning.npy"),
    _official("causal-tapir", "TAPIR that sees frames one by one", "causal_tapir_checkpoint.npy"),
    _official("bootstapir", "BootsTAPIR version 2, bootstrapped on real video", "bootstap/bootstapir_checkpoint_v2.pt"),
    _official("bootstapir-jax", "the same, of the JAX release", "bootstap/bootstapir_checkpoint_v2.npy"),
    _official("causal-bootstapir", "BootsTAPIR that sees frames one by one", "bootstap/causal_bootstapir_checkpoint.pt"),
    _official("causal-bootstapir-jax", "the same, of the JAX release", "bootstap/causal_bootstapir_checkpoint.npy"),
)

HEADERS = {"tapir_config": _LOADER, "": _LOADER}
"""Entry in the header of a safetensors file to what loads it; "" for .npy files from elsewhere, which have none."""
FOREIGN = "tapetum.systems.tap.weights:has_names_of_tapir", _LOADER
