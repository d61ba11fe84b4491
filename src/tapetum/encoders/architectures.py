"""Architectures of encoders by name: family, config and preprocessing, without weights. Imports no torch.

A family is three dotted names in `FAMILIES`: its config, its network, and its named architectures; each is imported on
demand.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.core.plugins import given_reference, is_reference, record_of_class, resolve_class
from tapetum.encoders.config import Architecture, EncoderConfig, Preprocessing


class Family(NamedTuple):
    """Where the parts of a family are, as `module:name`."""

    config: str
    model: str
    """The network, a subclass of Encoder that takes (config, preprocessing)."""
    named: str


def _family(module: str, model: str, config: str, named: str) -> Family:
    room = "tapetum.encoders"
    return Family(f"{room}.{config}:{model}Config", f"{room}.{module}:{model}", f"{room}.{named}")


FAMILIES: dict[str, Family] = {
    "vit": _family("vit", "ViT", "config", "vit_sizes:VITS"),
    "towers": _family("towers", "Towers", "towers_config", "towers_config:NAMED"),
    "resnet": _family("resnet", "ResNet", "convolutional_config", "convolutional_config:RESNETS"),
    "nfnet": _family("nfnet", "NFNet", "convolutional_config", "convolutional_config:NFNETS"),
    "efficientnet_lite": _family("efficientnet_lite", "EfficientNetLite", "convolutional_config", "convolutional_config:LITES"),
    "library": _family("library_net", "LibraryNet", "config", "vit_sizes:LIBRARY_NETS"),
}
"""Every family by the name that files carry."""

SOURCES: dict[str, tuple[str, ...]] = {
    "timm": (
        "tapetum.encoders.tables.convolutional:TIMM",
        "tapetum.encoders.tables.timm",
        "tapetum.encoders.tables.dinov3",
        "tapetum.encoders.library_net",  # whatever timm has
    ),
    "torchvision": ("tapetum.encoders.tables.convolutional:TORCHVISION",),
    "huggingface": (
        "tapetum.encoders.tables.library_towers",
        "tapetum.encoders.tables.huggingface",
        "tapetum.encoders.library_net",
    ),
    "open_clip": ("tapetum.encoders.tables.open_clip",),
    "detcon": ("tapetum.encoders.tables.detcon",),
    "efficientnet_lite_pytorch": ("tapetum.encoders.tables.convolutional:PORT",),
}
"""Libraries whose weights can be used, and the modules or objects with their tables, tried in turn; see `factory`."""


def dotted(name: str) -> Any:
    """Import a module, or the object that `module:name` refers to."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute) if attribute else import_module(module)


@cache
def _named() -> Mapping[str, Architecture]:
    out: dict[str, Architecture] = {}
    for family in FAMILIES.values():
        out |= dotted(family.named)
    return out


def names() -> tuple[str, ...]:
    """List the names of all architectures that `build` knows."""
    return tuple(_named())


def architecture(name: str, **changes: Any) -> Architecture:
    """Look up an architecture by name, with some fields of its config changed; `image_size` also changes the preprocessing.

    The name is one of `names()`, or that of another library: timm:vit_tiny_patch16_224, torchvision:resnet50.

    Raises BadInput for an unknown name or field.
    """
    known = _named()
    if is_reference(name, "encoder") and name not in known:
        config = family_class(name, "config")()
        preprocessing = Preprocessing(size=getattr(family_class(name, "model"), "image_size", (224, 224)))
        return changed(Architecture(family=name, config=config, preprocessing=preprocessing), changes)
    source, colon, theirs = name.partition(":")
    if colon and source in SOURCES:
        descriptions = (dotted(table).describe(theirs, {}) for table in SOURCES[source])
        match = next((each[0] for each in descriptions if each is not None), None)
        if match is None:
            raise BadInput(f"tapetum has no network like {source}'s {theirs!r}; see docs/systems/encoders.md for those it has")
        return changed(prepared_by_timm(match, theirs) if source == "timm" else match, changes)
    if name not in known:
        raise BadInput(f"there is no encoder {name!r}; {did_you_mean(name, known)}")
    return changed(known[name], changes)


def changed(base: Architecture, changes: Mapping[str, Any]) -> Architecture:
    """Change fields of the config; `image_size` also changes the preprocessing. Raises BadInput for an unknown field."""
    check_sizes(changes, most=LARGEST_SIZE)
    own = {field.name for field in fields(base.config)}
    if unknown := sorted(changes.keys() - own):
        raise BadInput(f"a {base.family} has no setting {unknown[0]!r}; it has {', '.join(sorted(own))}")
    preprocessing = base.preprocessing
    if "image_size" in changes:
        preprocessing = replace(preprocessing, size=changes["image_size"])
    config: Any = replace(base.config, **changes)
    return replace(base, config=config, preprocessing=preprocessing)


def prepared_by_timm(match: Architecture, name: str) -> Architecture:
    """Replace the preprocessing by timm's for this name and tag, at the size of the network's images."""
    how = None if match.family == "library" else dotted("tapetum.encoders.library_net:timm_preprocessing")(name)
    if how is None:
        return match
    return replace(match, preprocessing=replace(how, size=getattr(match.config, "image_size", how.size)))


def check_side(config: EncoderConfig, side: int, option: str, patch: int | None = None) -> None:
    """Raise BadInput if the patches of a ViT do not divide images of `side` pixels; it names the `option` that resizes them.

    `patch` overrides the patch size of the config.
    """
    config = getattr(config, "image", config)  # of CLIP and SigLIP, whose text is beside it
    patch = int(patch or getattr(config, "patch", 1))
    if side % patch and not getattr(config, "ragged", False):
        near = " or ".join(str(each) for each in (side - side % patch, side - side % patch + patch) if each)
        raise BadInput(f"patches of {patch} pixels do not divide images of {side}; images are resized by {option}: give {near}")


def family_class(family: str, part: Literal["config", "model"]) -> Any:
    """Import the config or the network of a family: one of `FAMILIES`, or a user's own class (`tapetum.core.plugins`)."""
    if family in FAMILIES:
        return dotted(getattr(FAMILIES[family], part))
    own = resolve_class(family, "encoder")
    return own if part == "model" else getattr(own, "Config", EncoderConfig)


def as_json(architecture: Architecture) -> dict[str, Any]:
    """Describe an architecture for the header of a file of weights; a user's own class by reference and fingerprint."""
    header = asdict(architecture) | {"preprocessing": preprocessing_as_json(architecture.preprocessing)}
    if architecture.family not in FAMILIES:
        record = record_of_class(architecture.family, "encoder")
        header |= {"family": record["reference"], "fingerprint": record["fingerprint"]}
    return header


_LATER = {"crop_offset": "nearest", "patches": 0, "patch": 0}
"""Fields of preprocessing that earlier releases had not, and what these did."""


def preprocessing_as_json(preprocessing: Any) -> dict[str, Any]:
    """Describe preprocessing for headers of files, omitting newer fields at their old behaviour, so that files of
    earlier releases say the same."""
    return {name: value for name, value in asdict(preprocessing).items() if name not in _LATER or value != _LATER[name]}


def from_json(header: Mapping[str, Any]) -> Architecture:
    """Read an architecture that `as_json` wrote. Raises KeyError, TypeError, ValueError or BadInput if it is something else."""
    image = header["config"].get("image", header["config"])
    if header["family"] in ("swin", "vjepa2") or _OF_0_1_0 & {str(value) for value in image.values()}:
        raise BadInput("the file has a network that timm or transformers computes since; tapetum 0.1.0 reads the file")
    family = header["family"] if header["family"] in FAMILIES else given_reference(header["family"], "encoder")
    return Architecture(
        family=family,
        config=family_class(family, "config")(**_tuples(header["config"])),
        preprocessing=Preprocessing(**_tuples(header["preprocessing"])),
    )


_OF_0_1_0 = {"pe", "naflex", "perception_models", "attention_all"}
"""Values of fields of ViTs that later releases have not."""


def _tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    def frozen(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _tuples(value)
        return tuple(frozen(v) for v in value) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in stored.items()}
