"""What every encoder's config shares, how images are prepared for it, and the architectures known by name.

Imports no torch. A family of encoders is three dotted names in `FAMILIES`: its config, its network, and its named
architectures; each is imported when it is asked for.
"""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib import import_module
from typing import Any, Literal

from tapetum.core.bounds import LARGEST_SIZE, check_sizes
from tapetum.core.errors import BadInput

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Mean or deviation of red, green and blue over ImageNet, in 0..255."""
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Mean or deviation of red, green and blue over ImageNet, in 0..255."""
HALF = (127.5, 127.5, 127.5)
"""As mean and as std: to -1..1."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to uint8 images before an encoder sees them; it travels with the weights.

    >>> Preprocessing(size=(224, 224), crop_fraction=0.875).resized(480, 640)
    (256, 341)
    """

    size: tuple[int, int]
    """Rows and columns of the prepared image."""
    resize: Literal["crop", "squash"] = "crop"
    """crop: scale until the image covers size / crop_fraction; squash: to size / crop_fraction, whatever its shape. Then the
    centre is cut out."""
    crop_fraction: float = 1.0
    """Part of the scaled image's shorter side that is left."""
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    antialias: bool = True
    """Widen the filter when shrinking, as Pillow does."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from red, green and blue; in units of 0..255."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What is left is divided by this; in units of 0..255."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise BadInput(f"images are prepared to size {self.size}; give rows and columns, 1 or more")
        if self.resize not in ("crop", "squash") or self.interpolation not in ("bilinear", "bicubic"):
            raise BadInput(
                f"preprocessing is {self.resize!r} and {self.interpolation!r}; choose crop or squash, and bilinear or bicubic"
            )
        if not 0 < self.crop_fraction <= 1 or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise BadInput(
                "preprocessing wants a crop_fraction above 0 and up to 1, and three numbers as mean and as std above 0"
            )

    def resized(self, rows: int, columns: int) -> tuple[int, int]:
        """Give rows and columns of an image of `rows` x `columns` after it is scaled, before the crop."""
        wanted = (int(self.size[0] / self.crop_fraction), int(self.size[1] / self.crop_fraction))
        if self.resize == "squash":
            return wanted
        if wanted[0] * columns >= wanted[1] * rows:  # rows are what is short
            return wanted[0], max(wanted[1], int(wanted[0] * columns / rows))
        return max(wanted[0], int(wanted[1] * rows / columns)), wanted[1]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What the config of every family has. One whose weights know the size of its images also has `image_size`."""

    classes: int = 0
    """Outputs of the linear classifier on the pooled vector; 0: there is none."""

    def __post_init__(self) -> None:
        if self.classes < 0:
            raise BadInput(f"an encoder cannot have {self.classes} classes; give 0 for none, or more")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the parts of a family are, as `module:name`."""

    config: str
    """The dataclass, a subclass of EncoderConfig."""
    model: str
    """The network, a subclass of Encoder that takes (config, preprocessing)."""
    named: str
    """A dict from name to Architecture."""


def _family(module: str, model: str) -> Family:
    where = f"tapetum.encoders.{module}"
    return Family(config=f"{where}_config:{model}Config", model=f"{where}:{model}", named=f"{where}_config:NAMED")


FAMILIES: dict[str, Family] = {
    "vit": _family("vit", "ViT"),
    "towers": _family("towers", "Towers"),
    "resnet": _family("resnet", "ResNet"),
    "nfnet": _family("nfnet", "NFNet"),
    "swin": _family("swin", "Swin"),
    "efficientnet_lite": _family("efficientnet_lite", "EfficientNetLite"),
}
"""Every family by the name that files carry."""


SOURCES: dict[str, tuple[str, ...]] = {
    "timm": ("tapetum.encoders.tables.timm_convolutional", "tapetum.encoders.tables.timm"),
    "torchvision": ("tapetum.encoders.tables.torchvision",),
    "huggingface": ("tapetum.encoders.tables.huggingface_resnet", "tapetum.encoders.tables.huggingface"),
    "open_clip": ("tapetum.encoders.tables.open_clip",),
    "detcon": ("tapetum.encoders.tables.detcon",),
    "efficientnet_lite_pytorch": ("tapetum.encoders.tables.efficientnet_lite_pytorch",),
}
"""Libraries whose weights can be used, and the modules with their tables, asked one after the other; see `factory`."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network's family, sizes and preprocessing, without weights."""

    family: str
    config: EncoderConfig
    preprocessing: Preprocessing


def dotted(name: str) -> Any:
    """Import what a `module:name` says."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _named() -> Mapping[str, Architecture]:
    out: dict[str, Architecture] = {}
    for family in FAMILIES.values():
        out |= dotted(family.named)
    return out


def names() -> tuple[str, ...]:
    """Give the names of all architectures that `build` knows."""
    return tuple(_named())


def architecture(name: str, **changes: Any) -> Architecture:
    """Give an architecture by name, with some fields of its config changed; `image_size` also changes the preprocessing.

    The name is one of `names()`, or that of another library: timm:vit_tiny_patch16_224, torchvision:resnet50.

    Raises BadInput for an unknown name or field.
    """
    known = _named()
    if name not in known and plugins().is_reference(name, "encoder"):
        config = family_class(name, "config")()
        preprocessing = Preprocessing(size=getattr(family_class(name, "model"), "image_size", (224, 224)))
        return changed(Architecture(family=name, config=config, preprocessing=preprocessing), changes)
    source, colon, theirs = name.partition(":")
    if colon and source in SOURCES:
        answers = (dotted(f"{module}:describe")(theirs, {}) for module in SOURCES[source])
        found = next((answer[0] for answer in answers if answer is not None), None)
        if found is None:
            raise BadInput(f"tapetum has no network like {source}'s {theirs!r}; see docs/systems/encoders.md for those it has")
        return changed(found, changes)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(known)}"
        raise BadInput(f"there is no encoder {name!r}; {advice}")
    return changed(known[name], changes)


def changed(found: Architecture, changes: Mapping[str, Any]) -> Architecture:
    """Change fields of the config; `image_size` also changes the preprocessing. Raises BadInput for an unknown field."""
    check_sizes(changes, most=LARGEST_SIZE)
    own = {field.name for field in fields(found.config)}
    if unknown := sorted(changes.keys() - own):
        raise BadInput(f"a {found.family} has no setting {unknown[0]!r}; it has {', '.join(sorted(own))}")
    preprocessing = found.preprocessing
    if "image_size" in changes:
        preprocessing = replace(preprocessing, size=changes["image_size"])
    return replace(found, config=replace(found.config, **changes), preprocessing=preprocessing)


def check_side(config: EncoderConfig, side: int, option: str, patch: int | None = None) -> None:
    """Raise BadInput where the patches of a ViT do not divide images of `side` pixels; it names the `option` that resizes them.

    `patch` is another size of patches than the config has.
    """
    config = getattr(config, "image", config)  # of CLIP and SigLIP, whose text is beside it
    patch = int(patch or getattr(config, "patch", 1))
    if side % patch and not getattr(config, "ragged", False):
        near = " or ".join(str(each) for each in (side - side % patch, side - side % patch + patch) if each)
        raise BadInput(f"patches of {patch} pixels do not divide images of {side}; images are resized by {option}: give {near}")


def plugins() -> Any:
    """Import what resolves classes of the user's own (`tapetum.core.plugins`), which the families here do without."""
    return import_module("tapetum.core.plugins")


def family_class(family: str, part: Literal["config", "model"]) -> Any:
    """Import the config or the network of a family: one of `FAMILIES`, or a class of the user's (`tapetum.core.plugins`)."""
    if family in FAMILIES:
        return dotted(getattr(FAMILIES[family], part))
    own = plugins().resolve_class(family, "encoder")
    return own if part == "model" else getattr(own, "Config", EncoderConfig)


def as_json(found: Architecture) -> dict[str, Any]:
    """Describe an architecture as the header of a file of weights; a class of the user's own by reference and fingerprint."""
    header = {"family": found.family, "config": asdict(found.config), "preprocessing": asdict(found.preprocessing)}
    if found.family not in FAMILIES:
        record = plugins().record_of_class(found.family, "encoder")
        header |= {"family": record["reference"], "fingerprint": record["fingerprint"]}
    return header


def from_json(header: Mapping[str, Any]) -> Architecture:
    """Read what `as_json` gave. Raises KeyError, TypeError, ValueError or BadInput where it is not that."""
    family = header["family"] if header["family"] in FAMILIES else plugins().given_reference(header["family"], "encoder")
    config = family_class(family, "config")
    return Architecture(
        family=family,
        config=config(**_tuples(header["config"])),
        preprocessing=Preprocessing(**_tuples(header["preprocessing"])),
    )


def _tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    def frozen(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _tuples(value)
        return tuple(frozen(v) for v in value) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in stored.items()}
