"""`tapetum hip`: plans a Hierarchical Perceiver without running it: its groups, parameters, FLOPs and memory."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Group
from tapetum.app.verb import Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.systems.hip.config import VARIANTS, HipConfig, Modality, variant
from tapetum.systems.hip.plan import HipPlan
from tapetum.systems.hip.plan import plan as plan_network

Shape = Annotated[str | None, tyro.conf.arg(metavar="SHAPE")]
_NAMED = "image", "video", "audio", "points", "label"


@dataclass(frozen=True, kw_only=True)
class NetworkPlanOptions:
    """Plan a network before anything runs: groups, padding, waste, parameters, FLOPs, memory.

    A SHAPE is extents and channels, such as 224x224x3 or 48000x1. Modalities are packed in the order of these options.
    """

    image: Shape = None
    """Rows x columns x channels."""
    video: Shape = None
    """Frames x rows x columns x channels."""
    audio: Shape = None
    """Samples x channels."""
    points: Shape = None
    """Points x coordinates."""
    label: Shape = None
    """Elements x channels."""
    modality: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=SHAPE")] = ()
    """Further modalities by names of your own."""
    variant: Annotated[str, tyro.conf.arg(metavar="NAME")] = "hip-16"
    """One of those that `tapetum hip variants` lists."""
    bottleneck: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Modalities that enter and leave at the processor, as labels may."""
    batch: int = 1
    """Examples at a time, for FLOPs and memory."""


@dataclass(frozen=True, kw_only=True)
class PlannedNetwork(Result):
    """Plan of a network."""

    variant: str
    """Name of the variant."""
    batch: int
    """Examples at a time, for FLOPs and memory."""
    plan: HipPlan
    """Groups, parts and memory."""

    def as_json(self) -> dict[str, Any]:
        made, groups, batch = self.plan, self.plan.grouping, self.batch
        return {
            "variant": self.variant,
            "batch": batch,
            "groups": groups.groups,
            "width": groups.width,
            "padding": groups.padding,
            "modalities": [
                {
                    "name": span.name,
                    "elements": span.length,
                    "groups": 1 if groups.flat else span.groups,
                    "elements_per_group": span.own,
                    "padding": 0 if groups.flat else span.groups * groups.width - span.length,
                }
                for span in groups.spans
            ],
            "parts": [{"name": p.name, "parameters": p.parameters, "macs": batch * p.macs + p.once} for p in made.parts],
            "parameters": made.parameters,
            "macs": made.macs(batch),
            "flops": 2 * made.macs(batch),
            "bytes_in_use": made.bytes_in_use(batch),
            "bytes_in_training": made.bytes_in_training(batch),
        }

    def as_text(self) -> str:
        content = self.as_json()
        lines = [f"{'modality':16} {'elements':>10} {'groups':>7} {'in each':>9} {'padding':>9}"]
        for m in content["modalities"]:
            numbers = f"{m['elements']:10,} {m['groups']:7} {m['elements_per_group']:9,} {m['padding']:9,}"
            lines.append(f"{m['name']:16} {numbers}")
        places = content["groups"] * content["width"]
        waste = 100 * content["padding"] / places
        lines.append(
            f"{content['groups']} groups of {content['width']:,}; {waste:.1f} % of the first block's places are padding"
        )
        lines += ["", f"{'part':16} {'parameters':>12} {'GFLOPs':>9}"]
        lines += [f"{p['name']:16} {p['parameters']:12,} {2 * p['macs'] / 1e9:9.3f}" for p in content["parts"]]
        lines.append(f"{content['variant']:16} {content['parameters']:12,} {content['flops'] / 1e9:9.3f}")
        examples = "1 example" if content["batch"] == 1 else f"{content['batch']} examples"
        lines += [
            "",
            f"memory for {examples}, float32: {_size(content['bytes_in_use'])} in use, "
            f"{_size(content['bytes_in_training'])} in training with AdamW",
        ]
        return "\n".join(lines)


@verb(NetworkPlanOptions)
def plan(options: NetworkPlanOptions, listener: Listener) -> PlannedNetwork:
    """Plan a network without running it: groups, padding, waste, parameters, FLOPs, memory.

    A shape lists extents and channels, such as 224x224x3 or 48000x1. Raises BadInput for an invalid shape, an unknown variant,
    and modalities none of which enters at the first block.

    >>> import tapetum
    >>> tapetum.app.see.hip.plan(image="224x224x3", variant="hip-16").plan.grouping.groups
    16
    """
    if options.batch < 1:
        raise BadInput(f"--batch is {options.batch}; it must be 1 or more")
    modalities = _modalities(options)
    config = variant(options.variant)
    unknown = sorted(set(options.bottleneck) - set(modalities))
    if unknown:
        raise BadInput(f"--bottleneck {unknown[0]}: there is no such modality; there are {', '.join(modalities)}")
    if options.bottleneck:
        config = replace(config, labels=options.bottleneck)
    if not set(modalities) - set(config.labels):
        raise BadInput("all modalities are labels; give one or more that are not")
    return PlannedNetwork(variant=options.variant, batch=options.batch, plan=plan_network(config, modalities))


def variants() -> dict[str, HipConfig]:
    """List the variants by name.

    >>> "hip-16" in variants()
    True
    """
    return dict(VARIANTS)


def parse_shape(name: str, text: str) -> Modality:
    """Parse `224x224x3` as a modality of 224 x 224 elements with 3 channels; `name` is used in the message of BadInput.

    >>> parse_shape("audio", "48000x1")
    Modality(shape=(48000,), channels=1)
    """
    numbers = text.lower().split("x")
    if len(numbers) < 2 or not all(number.isdecimal() and 0 < int(number) < 1 << 40 for number in numbers):
        raise BadInput(f"--{name} {text}: give extents and channels, all 1 or more, such as 224x224x3 or 48000x1")
    *shape, channels = map(int, numbers)
    return Modality(tuple(shape), channels)


def _modalities(options: NetworkPlanOptions) -> dict[str, Modality]:
    named = {name: shape for name in _NAMED if (shape := getattr(options, name)) is not None}
    for text in options.modality:
        name, equals, shape = text.partition("=")
        if not equals or not name.isidentifier() or name in named:
            raise BadInput(f"--modality {text}: give NAME=SHAPE, such as depth=64x64x1, each name once")
        named[name] = shape
    if not named:
        raise BadInput("there is no modality; give one or more, such as --image 224x224x3 --audio 48000x1")
    return {name: parse_shape(name, shape) for name, shape in named.items()}


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


@dataclass(frozen=True)
class VariantsOptions:
    """List the variants by name."""


@dataclass(frozen=True)
class Variants(Result):
    """Variants by name."""

    configs: dict[str, HipConfig]

    def as_json(self) -> dict[str, Any]:
        return {name: asdict(config) for name, config in self.configs.items()}

    def as_text(self) -> str:
        lines = []
        for name, config in self.configs.items():
            blocks = " ".join(f"{g}x{k}x{c}" for g, k, c in zip(config.groups, config.latents, config.channels, strict=True))
            lines.append(f"{name:20} groups x latents x channels: {blocks}")
        return "\n".join(lines)


@verb(VariantsOptions)
def _variants(options: VariantsOptions, listener: Listener) -> Variants:
    """Run `tapetum hip variants`."""
    return Variants(variants())


COMMANDS = Group(
    """The Hierarchical Perceiver: one network for any modality, raw inputs.""", {"plan": plan, "variants": _variants}
)
