"""`tapetum hip`: the Hierarchical Perceiver."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.hip import PlanOptions, plan, variants
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Plan(PlanOptions):
    """Say what a network will be before anything runs: groups, padding, waste, parameters, FLOPs, memory.

    A SHAPE is extents and channels, such as 224x224x3 or 48000x1. Modalities are packed in the order of these options.
    """

    json: bool = False
    """Print the plan as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            content = plan.run(self, listener).as_json()
        if self.json:
            print_json(content)
        else:
            print(_table(content))


@dataclass(frozen=True, kw_only=True)
class Variants:
    """List the variants by name."""

    def run(self) -> None:
        """Do it."""
        for name, config in variants().items():
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
