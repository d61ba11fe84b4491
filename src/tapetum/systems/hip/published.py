"""Weights of HiP known by name. Imports no torch. No published ones were found: `hip-nano` is ours, and bundled."""

from tapetum.hub.registry import Weights

_LOADER = "tapetum.systems.hip.weights:load"

PUBLISHED = (
    Weights(
        name="hip-nano",
        architecture="hip-nano",
        summary="small HiP trained by this project on CIFAR-10",
        paper="the network of arXiv 2202.10890 with a small config",
        licence="Apache-2.0",
        file="systems/hip/bundled/hip-nano.safetensors",
        loader=_LOADER,
        sha256="2e305b6a4ff70b44335f1ddf1d06b31da00a1133ea9428205a4aee25fab0ca08",
        verbs=("embed",),
    ),
)

HEADERS = {"hip": _LOADER}
