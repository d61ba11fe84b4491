"""Convolutional networks of timm, torchvision and the package efficientnet_lite_pytorch, by their model and module names.

torchvision's weights do not record how their images were prepared: the preprocessing of its first weights is assumed (shorter
side to 256, centre of 224, bilinear). Its second ("V2") need 232 instead of 256: set this with `preprocessing`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tapetum.encoders.architectures import changed
from tapetum.encoders.config import Architecture
from tapetum.encoders.convolutional_config import LITES, NFNETS, RESNETS, EfficientNetLiteConfig, NFNetConfig, ResNetConfig
from tapetum.encoders.efficientnet_lite import LITE0, EfficientNetLite
from tapetum.encoders.features import Encoder
from tapetum.encoders.nfnet import NFNet
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.tables.rows import NameRow, layers, same

_COUNTER = "num_batches_tracked"


def with_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the missing counters of batch norms, as in files from before torch 0.4.1."""
    stems = [name.removesuffix("running_mean") for name in state if name.endswith(".running_mean")]
    return {f"{stem}{_COUNTER}": torch.tensor(0) for stem in stems} | dict(state)


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


def lites_like(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name the EfficientNet-Lites with this number of depthwise convolutions, one per block."""
    count = sum(name.endswith("._depthwise_conv.weight") for name in state)
    for name, named in LITES.items():
        config: Any = named.config
        if count == sum(blocks if i in (0, len(LITE0) - 1) else config.blocks(blocks) for i, (blocks, *_) in enumerate(LITE0)):
            yield name


def norms(pairs: Mapping[str, str]) -> list[NameRow]:
    """Make the rows of batch norms for each pair of modules, ours and theirs."""
    leaves = ("weight", "bias", "running_mean", "running_var", _COUNTER)
    return same({f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in pairs.items() for leaf in leaves})


def _blocks(encoder: ResNet | NFNet | EfficientNetLite) -> Iterator[tuple[int, int, Any]]:
    for i, stage in enumerate(encoder.stages.children()):
        for j, block in enumerate(stage.children()):
            yield i, j, block


def resnet_rows(encoder: ResNet) -> list[NameRow]:
    """Name a ResNet's tensors as torchvision and timm do."""
    convs, batch_norms = {"stem": "conv1"}, {"stem_norm": "bn1"}
    for i, j, block in _blocks(encoder):
        ours, theirs = f"stages.{i}.{j}", f"layer{i + 1}.{j}"
        for k in range(len(block.convs)):
            convs[f"{ours}.convs.{k}"] = f"{theirs}.conv{k + 1}"
            batch_norms[f"{ours}.norms.{k}"] = f"{theirs}.bn{k + 1}"
        if block.shortcut is not None:
            convs[f"{ours}.shortcut"] = f"{theirs}.downsample.0"
            batch_norms[f"{ours}.shortcut_norm"] = f"{theirs}.downsample.1"
    return layers(convs, bias=False) + norms(batch_norms)


def nfnet_rows(encoder: NFNet) -> list[NameRow]:
    """Name an NFNet's tensors as timm does."""
    scaled = {f"stem.{k}": f"stem.conv{k + 1}" for k in range(4)} | {"final": "final_conv"}
    plain: dict[str, str] = {}
    gains: dict[str, str] = {}
    for i, j, block in _blocks(encoder):
        name = f"stages.{i}.{j}"
        for k, theirs in enumerate(("conv1", "conv2", "conv2b", "conv3")):
            scaled[f"{name}.convs.{k}"] = f"{name}.{theirs}"
        if block.shortcut is not None:
            scaled[f"{name}.shortcut"] = f"{name}.downsample.conv"
        plain |= {f"{name}.excite.squeeze": f"{name}.attn_last.fc1", f"{name}.excite.excite": f"{name}.attn_last.fc2"}
        if block.skip_gain is not None:
            gains[f"{name}.skip_gain"] = f"{name}.skipinit_gain"
    gains |= {f"{ours}.gain": f"{theirs}.gain" for ours, theirs in scaled.items()}
    return layers(scaled | plain) + same(gains)


def lite_rows(encoder: EfficientNetLite) -> list[NameRow]:
    """Name an EfficientNet-Lite's tensors as the package efficientnet_lite_pytorch does."""
    convs, batch_norms = {"stem": "_conv_stem", "final": "_conv_head"}, {"stem_norm": "_bn0", "final_norm": "_bn1"}
    for k, (i, j, block) in enumerate(_blocks(encoder)):
        for n, part in enumerate(("expand", "depthwise", "project")):
            if part != "expand" or block.expand is not None:
                convs[f"stages.{i}.{j}.{part}"] = f"_blocks.{k}._{part}_conv"
                batch_norms[f"stages.{i}.{j}.{part}_norm"] = f"_blocks.{k}._bn{n}"
    return layers(convs, bias=False) + norms(batch_norms)


_NAMES: dict[type, tuple[Callable[[Any], list[NameRow]], str]] = {
    ResNetConfig: (resnet_rows, "fc"),
    NFNetConfig: (nfnet_rows, "head.fc"),
    EfficientNetLiteConfig: (lite_rows, "_fc"),
}
"""By the config of a network: makes its rows but for the classifier, and the name of that."""


@dataclass(frozen=True)
class ConvolutionalTable:
    """The convolutional networks of one library."""

    models: Mapping[str, Architecture]
    """By the library's names of models."""
    candidates: Callable[[Mapping[str, Tensor]], Iterator[str]]
    """Names the models that weights may be of, by names and numbers of their tensors."""
    tags: bool = False
    """Names may end in a tag (".a1_in1k")."""

    def describe(
        self, architecture: str | Mapping[str, Any], state: Mapping[str, Tensor]
    ) -> tuple[Architecture, dict[str, Tensor]] | None:
        """Describe the weights of a model; None for a model that is not in this table."""
        name = architecture if isinstance(architecture, str) else ""
        base = self.models.get(name.partition(".")[0] if self.tags else name)
        if base is None:
            return None
        bias = f"{_NAMES[type(base.config)][1]}.bias"
        return changed(base, {"classes": len(state[bias]) if bias in state else 0}), with_counters(state)

    def rows(self, encoder: Encoder) -> list[NameRow]:
        make, head = _NAMES[type(encoder.config)]
        return make(encoder) + ([] if encoder.head is None else layers({"head": head}))


def _timm_candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    yield from resnets_like(state)
    if "stem.conv4.weight" in state:
        yield "dm_nfnet_f0" if any(name.endswith("skipinit_gain") for name in state) else "nfnet_f0"


_RESNETS = {name.replace("-", ""): base for name, base in RESNETS.items()}
_OF_TIMM = {"gamma_in_weights": True, "skip_gain": False, "same_padding": False}
TIMM = ConvolutionalTable(
    {**_RESNETS, "nfnet_f0": changed(NFNETS["nfnet-f0"], _OF_TIMM), "dm_nfnet_f0": NFNETS["nfnet-f0"]},
    _timm_candidates,
    tags=True,
)
TORCHVISION = ConvolutionalTable(_RESNETS, resnets_like)
PORT = ConvolutionalTable(LITES, lites_like)
