"""Weights of Odin known by name, and the headers by which its files are recognised. Imports no torch.

The authors of Odin released none; those of DetCon (google-deepmind/detcon, Apache-2.0), on which it builds, did.
"""

from tapetum.hub.registry import Weights

_OFFICIAL = "https://storage.googleapis.com/dm-detcon/"


def _detcon(depth: int) -> Weights:
    return Weights(
        name=f"detcon-b-resnet-{depth}",
        architecture=f"resnet-{depth}",
        summary=f"ResNet-{depth} trained without labels on ImageNet by DetCon-B, with Felzenszwalb's masks",
        paper="arXiv 2103.10957",
        licence="Apache-2.0",
        file=f"resnet{depth}_detcon_b_imagenet_1k.npy",
        loader="tapetum.systems.odin.weights:load_detcon",
        url=f"{_OFFICIAL}resnet{depth}_detcon_b_imagenet_1k.npy",
        converter="tapetum.systems.odin.weights:convert_detcon",
        verbs=("embed", "probe", "discover"),
    )


PUBLISHED: tuple[Weights, ...] = (_detcon(50), _detcon(200))

HEADERS = {"odin": "tapetum.systems.odin.weights:load"}
