"""`tapetum hip`: the Hierarchical Perceiver."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.cli.output import print_json
from tapetum.errors import BadInput
from tapetum.hip.config import VARIANTS, Modality, variant

Shape = Annotated[str | None, tyro.conf.arg(metavar="SHAPE")]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Say what a network will be before anything runs: groups, padding, waste, parameters, FLOPs, memory.

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
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the plan as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from dataclasses import replace

        from tapetum.hip.plan import plan

        if self.batch < 1:
            raise BadInput(f"--batch is {self.batch}; it must be 1 or more")
        modalities = self._modalities()
        config = variant(self.variant)
        unknown = sorted(set(self.bottleneck) - set(modalities))
        if unknown:
            raise BadInput(f"--bottleneck {unknown[0]}: there is no such modality; there are {', '.join(modalities)}")
        if self.bottleneck:
            config = replace(config, labels=self.bottleneck)
        if not set(modalities) - set(config.labels):
            raise BadInput("all modalities are labels; give one or more that are not")
        made = plan(config, modalities)
        content = {
            "variant": self.variant,
            "batch": self.batch,
            "groups": made.grouping.groups,
            "width": made.grouping.width,
            "padding": made.grouping.padding,
            "modalities": [
                {
                    "name": s.name,
                    "elements": s.length,
                    "groups": 1 if made.grouping.flat else s.groups,
                    "elements_per_group": s.own,
                    "padding": 0 if made.grouping.flat else s.groups * made.grouping.width - s.length,
                }
                for s in made.grouping.spans
            ],
            "parts": [{"name": p.name, "parameters": p.parameters, "macs": self.batch * p.macs + p.once} for p in made.parts],
            "parameters": made.parameters,
            "macs": made.macs(self.batch),
            "flops": 2 * made.macs(self.batch),
            "bytes_in_use": made.bytes_in_use(self.batch),
            "bytes_in_training": made.bytes_in_training(self.batch),
        }
        if self.json:
            print_json(content)
        else:
            print(_table(content))

    def _modalities(self) -> dict[str, Modality]:
        given = {name: getattr(self, name) for name in ("image", "video", "audio", "points", "label")}
        named = {name: shape for name, shape in given.items() if shape is not None}
        for text in self.modality:
            name, equals, shape = text.partition("=")
            if not equals or not name.isidentifier() or name in named:
                raise BadInput(f"--modality {text}: give NAME=SHAPE, such as depth=64x64x1, each name once")
            named[name] = shape
        if not named:
            raise BadInput("there is no modality; give one or more, such as --image 224x224x3 --audio 48000x1")
        return {name: parse_shape(name, shape) for name, shape in named.items()}


@dataclass(frozen=True, kw_only=True)
class Variants:
    """List the variants by name."""

    def run(self) -> None:
        """Do it."""
        for name, config in VARIANTS.items():
            blocks = " ".join(f"{g}x{k}x{c}" for g, k, c in zip(config.groups, config.latents, config.channels, strict=True))
            print(f"{name:20} groups x latents x channels: {blocks}")


Action = (
    Annotated[Plan, tyro.conf.subcommand("plan", prefix_name=False)]
    | Annotated[Variants, tyro.conf.subcommand("variants", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Hip:
    """The Hierarchical Perceiver: one network for any modality, raw inputs."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()


def parse_shape(name: str, text: str) -> Modality:
    """`224x224x3` as a modality of 224 x 224 elements with 3 channels."""
    numbers = text.lower().split("x")
    if len(numbers) < 2 or not all(number.isdecimal() and 0 < int(number) < 1 << 40 for number in numbers):
        raise BadInput(f"--{name} {text}: give extents and channels, all 1 or more, such as 224x224x3 or 48000x1")
    *shape, channels = map(int, numbers)
    return Modality(tuple(shape), channels)


def _table(content: dict[str, Any]) -> str:
    lines = [f"{'modality':16} {'elements':>10} {'groups':>7} {'in each':>9} {'padding':>9}"]
    for m in content["modalities"]:
        numbers = f"{m['elements']:10,} {m['groups']:7} {m['elements_per_group']:9,} {m['padding']:9,}"
        lines.append(f"{m['name']:16} {numbers}")
    places = content["groups"] * content["width"]
    waste = 100 * content["padding"] / places
    lines.append(f"{content['groups']} groups of {content['width']:,}; {waste:.1f} % of the first block's places are padding")
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


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
