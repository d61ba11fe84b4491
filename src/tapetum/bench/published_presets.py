"""The published recipes by name: the command that trains each, and the data sets used in its paper.

`tapetum COMMAND --dry` reports what a recipe costs and which of its values are not published. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedPreset:
    """A recipe of a paper."""

    command: tuple[str, ...]
    """Words of the command line behind `tapetum`; what is missing is where data and results lie."""
    data_sets: tuple[str, ...]
    """Names of the data sets that the paper trains on."""


def _preset(words: str, *data_sets: str) -> PublishedPreset:
    return PublishedPreset(command=tuple(words.split()), data_sets=data_sets)


_IMAGENET = "imagenet"
_METHODS = "supervised", "clip", "siglip", "simclr", "byol", "dino", "mae"
_VIDEO_TEXT = "vtp", "howto100m", "videocc3m"
_VIDEO_STAGES: Mapping[str, tuple[str, ...]] = {
    "images": ("align", "ltip"),
    "short": ("align", "ltip", *_VIDEO_TEXT),
    "long": ("howto100m",),
    "video-to-text": ("align", "ltip", *_VIDEO_TEXT),
}
"""LongViViT's (arXiv 2312.07395, section 4)."""
_TRANSFER = "train paligemma-transfer --task"

PRESETS: Mapping[str, PublishedPreset] = {
    "tap-kubric": _preset("train tap-kubric --preset paper", "kubric-movi-e"),
    "bootstrap": _preset("bootstrap --preset paper", "kubric-movi-e", "internet-videos"),
    "tapnext": _preset("train tapnext --preset paper", "kubric-movi-e"),
    **{
        f"paligemma{version}-{stage}": _preset(
            f"train paligemma --preset paper --stage {stage} --model {family}-{size}", "webli", "cc3m-35l"
        )
        for version, family in (("", "paligemma-3b"), ("2-3b", "paligemma2-3b"), ("2-10b", "paligemma2-10b"))
        for stage, size in (("1", 224), ("2", 448))
    },
    "paligemma-coco-captions": _preset(f"{_TRANSFER} coco-captions --weights paligemma-3b-pt-224", "coco-captions"),
    "paligemma-vqav2": _preset(f"{_TRANSFER} vqav2 --weights paligemma-3b-pt-224", "vqav2"),
    **{
        f"pretrain-{method}-{preset}": _preset(
            f"pretrain {method} --preset {preset}", "image-texts" if method in ("clip", "siglip") else _IMAGENET
        )
        for preset in ("resnet", "vit")
        for method in _METHODS
        if preset == "vit" or method not in ("siglip", "mae")
    },
    **{
        f"longvideo-{stage}": _preset(f"train longvideo --preset paper --stage {stage}", *data_sets)
        for stage, data_sets in _VIDEO_STAGES.items()
    },
    "longvideo-consolidated": _preset("train longvideo --preset paper --stage consolidated", "howto100m", "ego4d"),
    "longvideo-questions": _preset("train longvideo --preset paper --stage questions", "next-qa"),
    "hip-imagenet": _preset("train hip --layout imagenet", _IMAGENET),
    "hip-audioset": _preset("train hip --layout audioset", "audioset"),
    "hip-voc": _preset("train hip --layout voc", "pascal-voc"),
    "hip-modelnet40": _preset("train hip --layout modelnet40", "modelnet40"),
    "hip-kinetics": _preset("train hip --layout kinetics", "kinetics-700"),
    "odin-resnet-50": _preset("train odin --preset resnet", _IMAGENET),
    "odin-swin": _preset("train odin --preset swin", _IMAGENET),
    "detcon-resnet-50": _preset("train odin --preset detcon", _IMAGENET),
    "detcon-swin": _preset("train odin --preset detcon-swin", _IMAGENET),
    "fcn-voc": _preset("train fcn --layout voc --encoder random:resnet-50", "pascal-voc"),
    "fcn-cityscapes": _preset("train fcn --layout cityscapes --encoder random:resnet-50", "cityscapes"),
    "coco-1x": _preset("train coco --preset 1x --encoder random:resnet-50", "coco"),
    "adapt-metaworld": _preset("adapt learn --task clone --suite metaworld", "metaworld"),
    "adapt-kitchen": _preset("adapt learn --task clone --suite kitchen", "franka-kitchen"),
    "adapt-rgb-stacking": _preset("adapt learn --task clone --suite rgb-stacking", "rgb-stacking"),
}
"""By name: the system, then the stage, method or data set."""
