"""Convolutional networks of timm, torchvision and the package efficientnet_lite_pytorch, by their model and module names.

timm's names may end in a tag (".a1_in1k"); each gets timm's preprocessing for that name and tag, or without a tag, that of
timm's default weights. torchvision's weights do not record how their images were prepared: the preprocessing of its first
weights is assumed (shorter side to 256, centre of 224, bilinear). Its second ("V2") need 232 instead of 256: set this with
`preprocessing`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.encoders.architectures import changed
from tapetum.encoders.config import HALF, Architecture, Preprocessing, half, imagenet
from tapetum.encoders.convolutional_config import LITES, NFNETS, RESNETS
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.features import Encoder
from tapetum.encoders.nfnet import NFNet
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.tables.rows import NameRow, layers, same

_COUNTER = "num_batches_tracked"


def with_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the missing counters of batch norms, as in files from before torch 0.4.1."""
    stems = [name.removesuffix("running_mean") for name in state if name.endswith(".running_mean")]
    return {f"{stem}{_COUNTER}": torch.tensor(0) for stem in stems} | dict(state)


def classes_in(state: Mapping[str, Tensor], bias: str) -> int:
    """Count the classes by the bias of the classifier; 0 if it has none."""
    return len(state[bias]) if bias in state else 0


def blocks_in(state: Mapping[str, Tensor], name: str) -> int:
    """Count the blocks of a stage: numbers from 0 on that give a tensor's name when inserted into `name`."""
    count = 0
    while name.format(count) in state:
        count += 1
    return count


def resnets_like(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the ResNets, as torchvision and timm do, with these numbers and kinds of blocks."""
    depths = tuple(blocks_in(state, f"layer{stage}.{{}}.conv1.weight") for stage in (1, 2, 3, 4))
    kind = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    for name, named in RESNETS.items():
        if name != "resnet-nano" and (named.config.block, named.config.depths) == (kind, depths):  # pyright: ignore[reportAttributeAccessIssue]
            yield name.replace("-", "")


def lites_like(state: Mapping[str, Tensor], ending: str) -> Iterator[str]:
    """Name the EfficientNet-Lites with this number of convolutions whose names have this ending: one per block."""
    count = sum(name.endswith(ending) for name in state)
    for name, named in LITES.items():
        with torch.device("meta"):
            blocks = _blocks(EfficientNetLite(named.config, named.preprocessing)) if count else []  # pyright: ignore[reportArgumentType]
        if blocks and len(blocks) == count:
            yield name


def norms(pairs: Mapping[str, str]) -> list[NameRow]:
    """Make the rows of batch norms for each pair of modules, ours and theirs."""
    leaves = ("weight", "bias", "running_mean", "running_var", _COUNTER)
    return same({f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in pairs.items() for leaf in leaves})


def _blocks(encoder: ResNet | NFNet | EfficientNetLite) -> list[tuple[int, int, int, nn.Module]]:
    """Stage, index in the stage, overall index, and module of every block."""
    blocks = [(i, j, block) for i, stage in enumerate(encoder.stages.children()) for j, block in enumerate(stage.children())]
    return [(i, j, k, block) for k, (i, j, block) in enumerate(blocks)]


def _head(encoder: Encoder, theirs: str) -> list[NameRow]:
    return [] if encoder.head is None else layers({"head": theirs})


def resnet_rows(encoder: ResNet) -> list[NameRow]:
    """Name a ResNet's tensors as torchvision and timm do."""
    convs, batch_norms = {"stem": "conv1"}, {"stem_norm": "bn1"}
    for i, j, _, block in _blocks(encoder):
        ours, theirs = f"stages.{i}.{j}", f"layer{i + 1}.{j}"
        for k in range(len(block.convs)):  # pyright: ignore[reportArgumentType]
            convs[f"{ours}.convs.{k}"] = f"{theirs}.conv{k + 1}"
            batch_norms[f"{ours}.norms.{k}"] = f"{theirs}.bn{k + 1}"
        if block.shortcut is not None:
            convs[f"{ours}.shortcut"] = f"{theirs}.downsample.0"
            batch_norms[f"{ours}.shortcut_norm"] = f"{theirs}.downsample.1"
    return layers(convs, bias=False) + norms(batch_norms) + _head(encoder, "fc")


def nfnet_rows(encoder: NFNet) -> list[NameRow]:
    """Name an NFNet's tensors as timm does."""
    scaled = {f"stem.{k}": f"stem.conv{k + 1}" for k in range(4)} | {"final": "final_conv"}
    plain: dict[str, str] = {}
    gains: dict[str, str] = {}
    for i, j, _, block in _blocks(encoder):
        name = f"stages.{i}.{j}"
        for k, theirs in enumerate(("conv1", "conv2", "conv2b", "conv3")):
            scaled[f"{name}.convs.{k}"] = f"{name}.{theirs}"
        if block.shortcut is not None:
            scaled[f"{name}.shortcut"] = f"{name}.downsample.conv"
        plain |= {f"{name}.excite.squeeze": f"{name}.attn_last.fc1", f"{name}.excite.excite": f"{name}.attn_last.fc2"}
        if block.skip_gain is not None:
            gains[f"{name}.skip_gain"] = f"{name}.skipinit_gain"
    gains |= {f"{ours}.gain": f"{theirs}.gain" for ours, theirs in scaled.items()}
    return layers(scaled | plain) + same(gains) + _head(encoder, "head.fc")


_TIMM_UNITS = {
    "expand": ("conv_pw", "bn1"),
    "depthwise": ("conv_dw", "bn2"),
    "project": ("conv_pwl", "bn3"),
}
_TIMM_NOT_EXPANDED = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
_PORT_UNITS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def timm_lite_rows(encoder: EfficientNetLite) -> list[NameRow]:
    """Name an EfficientNet-Lite's tensors as timm does."""

    def units(i: int, j: int, k: int, expands: bool) -> dict[str, tuple[str, str]]:
        names = _TIMM_UNITS if expands else _TIMM_NOT_EXPANDED
        return {ours: (f"blocks.{i}.{j}.{conv}", f"blocks.{i}.{j}.{norm}") for ours, (conv, norm) in names.items()}

    ends = {"stem": ("conv_stem", "bn1"), "final": ("conv_head", "bn2")}
    return _lite_rows(encoder, ends, units) + _head(encoder, "classifier")


def port_lite_rows(encoder: EfficientNetLite) -> list[NameRow]:
    """Name an EfficientNet-Lite's tensors as the package efficientnet_lite_pytorch does."""

    def units(i: int, j: int, k: int, expands: bool) -> dict[str, tuple[str, str]]:
        return {
            ours: (f"_blocks.{k}.{conv}", f"_blocks.{k}.{norm}")
            for ours, (conv, norm) in _PORT_UNITS.items()
            if expands or ours != "expand"
        }

    ends = {"stem": ("_conv_stem", "_bn0"), "final": ("_conv_head", "_bn1")}
    return _lite_rows(encoder, ends, units) + _head(encoder, "_fc")


def _lite_rows(
    encoder: EfficientNetLite,
    ends: dict[str, tuple[str, str]],
    units: Callable[[int, int, int, bool], dict[str, tuple[str, str]]],
) -> list[NameRow]:
    """Rows of all convolutions and their norms; `units` names those of a block."""
    named = dict(ends)
    for i, j, k, block in _blocks(encoder):
        theirs = units(i, j, k, block.expand is not None)
        named |= {f"stages.{i}.{j}.{ours}": names for ours, names in theirs.items()}
    convs = {ours: conv for ours, (conv, _) in named.items()}
    batch_norms = {f"{ours}_norm": norm for ours, (_, norm) in named.items()}
    return layers(convs, bias=False) + norms(batch_norms)


@dataclass(frozen=True)
class ConvolutionalTable:
    """The convolutional networks of one library."""

    models: Mapping[str, tuple[Architecture, str]]
    """Its name of a model to what that is, and the bias of the classifier."""
    rows_of: Mapping[type[Encoder], Callable[[Any], list[NameRow]]]
    """Makes the table of names for a network of a class."""
    candidates: Callable[[Mapping[str, Tensor]], Iterator[str]]
    """Names the models that weights may be of, by names and numbers of their tensors."""
    tagged: Callable[[str, Architecture], Architecture] | None = None
    """What a model is by its name with its tag; None where names have none."""

    def describe(
        self, architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
    ) -> tuple[Architecture, dict[str, Tensor]] | None:
        """Describe the weights of a model; None for a model that is not in this table."""
        name = architecture if isinstance(architecture, str) else ""
        base, bias = self.models.get(name.partition(".")[0] if self.tagged else name, (None, ""))
        if base is None:
            return None
        base = self.tagged(name, base) if self.tagged else base
        return changed(base, {"classes": classes_in(state, bias)}), with_counters(state)

    def rows(self, encoder: Encoder, source: str) -> list[NameRow] | None:
        """List the library's names for an encoder; None if it has no such network."""
        if isinstance(encoder, ResNet) and not encoder.config.usual:
            return None
        return next((make(encoder) for kind, make in self.rows_of.items() if isinstance(encoder, kind)), None)


def _timm_nfnet(gamma_in_weights: bool) -> tuple[Architecture, str]:
    base = replace(NFNETS["nfnet-f0"], preprocessing=imagenet(192, 0.9))
    if gamma_in_weights:
        return changed(base, {"gamma_in_weights": True, "skip_gain": False, "same_padding": False}), "head.fc.bias"
    return replace(base, preprocessing=replace(base.preprocessing, resize="squash")), "head.fc.bias"


def _timm_lite(number: int, crop: float) -> tuple[Architecture, str]:
    base = LITES[f"efficientnet-lite{number}"]
    how = replace(base.preprocessing, crop_fraction=crop, mean=HALF, std=HALF)
    return replace(base, preprocessing=how), "classifier.bias"


def _timm_candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    yield from resnets_like(state)
    if "stem.conv4.weight" in state:
        yield "dm_nfnet_f0" if any(name.endswith("skipinit_gain") for name in state) else "nfnet_f0"
    yield from (f"tf_{name.replace('-', '_')}" for name in lites_like(state, ".conv_dw.weight"))


_TIMM_RESNETS: tuple[tuple[str, Preprocessing], ...] = (
    (r"resnet50\.a1h_", imagenet(176, 0.9)),
    (r"\w+\.a3_", imagenet(160, 0.95)),
    (r"\w+\.tv2_", replace(imagenet(176), interpolation="bilinear")),
    (r"\w+\.(tv|fb)_", replace(imagenet(224), interpolation="bilinear")),
    (r"\w+\.(gluon|am|bt|ra|ram)_|resnet200", imagenet(224)),
    (r"\w+\.bamboo", imagenet(224, 1.0)),
    (r"\w+\.ra4_", half(224)),
    (r"", imagenet(224, 0.95)),
)
"""Beginnings of the names of ResNets with their tags to how images are prepared; the first that fits is taken."""


def _timm_tagged(name: str, base: Architecture) -> Architecture:
    if not name.startswith("resnet"):
        return base
    return replace(base, preprocessing=next(how for pattern, how in _TIMM_RESNETS if re.match(pattern, name)))


TIMM = ConvolutionalTable(
    {
        **{name.replace("-", ""): (base, "fc.bias") for name, base in RESNETS.items()},
        "nfnet_f0": _timm_nfnet(True),
        "dm_nfnet_f0": _timm_nfnet(False),
        **{f"tf_efficientnet_lite{number}": _timm_lite(number, crop) for number, crop in ((0, 0.875), (1, 0.882), (2, 0.89))},
    },
    {ResNet: resnet_rows, NFNet: nfnet_rows, EfficientNetLite: timm_lite_rows},
    _timm_candidates,
    _timm_tagged,
)


TORCHVISION = ConvolutionalTable(
    {name.replace("-", ""): (base, "fc.bias") for name, base in RESNETS.items()}, {ResNet: resnet_rows}, resnets_like
)
PORT = ConvolutionalTable(
    {name: (base, "_fc.bias") for name, base in LITES.items()},
    {EfficientNetLite: port_lite_rows},
    lambda state: lites_like(state, "._depthwise_conv.weight"),
)
