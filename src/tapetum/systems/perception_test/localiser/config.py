"""Settings of the localiser and of its training. Imports no torch.

The shape is ActionFormer's as the Perception Test's baseline has it (192 steps, soft-NMS with sigma 0.4, 500 segments, scores
from 0.001), but for widths, which suit a core.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields

Task = Literal["action", "sound"]


@dataclass(frozen=True, kw_only=True)
class LocaliserConfig:
    """A network, and how its anchors become segments."""

    length: int = 192
    """Steps to which the features of any video are resized."""
    width: int = 64
    """Channels."""
    heads: int = 4
    """Of attention."""
    window: int = 19
    """Steps that attention sees, at every level."""
    stem: int = 2
    """Blocks before the pyramid."""
    levels: int = 5
    """Of the pyramid; each has half the anchors of the one before."""
    shortest: int = 4
    """Steps to the far end of a segment up to which an anchor is of the first level; of each further one twice as many."""
    radius: float = 1.5
    """Strides from the middle of a segment within which anchors have it as their target."""
    dropout: float = 0.1
    """In attention and MLP."""
    sigma: float = 0.4
    """Of soft-NMS: scores of overlapping segments are multiplied by exp(-overlap^2 / sigma)."""
    least_score: float = 0.001
    """Below which nothing is predicted."""
    before: int = 5000
    """Segments that soft-NMS gets."""
    most: int = 500
    """Segments of a video."""

    def __post_init__(self) -> None:
        if self.levels < 1 or self.length % 2 ** (self.levels - 1) or self.length < 2 ** (self.levels - 1):
            raise BadInput(
                f"{self.length} steps cannot be halved for {self.levels} levels; give a multiple of {2 ** (self.levels - 1)}"
            )
        counts = dict.fromkeys(("heads", "window", "shortest", "before", "most"), "[1, inf)")
        check_fields(
            self, **counts, stem="[0, inf)", radius="(0, inf)", sigma="(0, inf)", dropout="[0, 1)", least_score="[0, 1)"
        )
        if self.width % self.heads:
            raise BadInput(f"{self.heads} heads do not divide the width {self.width}; give others")


@dataclass(frozen=True, kw_only=True)
class LocaliserRun:
    """A whole training; `RECIPES` has some."""

    data: str = ""
    """Annotations of the train split, a JSON file of the benchmark."""
    videos: str = ""
    """Folder of the videos; none is needed with features in a folder."""
    preset: Literal["small"] = "small"
    """small: for a core."""
    task: Task = "action"
    """What is localised."""
    features: str = "efficientnet-lite0"
    """Features: of an encoder by name or file, of a model of video (mcvit-films), motion:TRACKER (how points move), log-mel
    (the sound), or a folder of VIDEO.npy of shape (t, d); several, with commas between, are put side by side."""
    grid: int = 2
    """Rows and columns to which an encoder's last map is pooled, side by side; 0 takes its pooled vector."""
    frame_rate: float = 4.0
    """Frames of a second that an encoder sees."""
    network: LocaliserConfig = field(default_factory=LocaliserConfig)
    """The network."""
    steps: int = 600
    """Optimiser steps."""
    batch_size: int = 16
    """Videos in a step."""
    micro_batch: int = 16
    """Videos that one process works on at a time."""
    lr: float = 1e-3
    """Learning rate of AdamW after the warm-up, from which it falls to 0 as a cosine."""
    weight_decay: float = 0.05
    """Of AdamW."""
    crop: float = 0.5
    """Probability with which a part of a video (half of it or more) is shown as if it were all."""
    seed: int = 0
    """Of weights and order."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps", "batch_size", "micro_batch"), "[1, inf)")
        check_fields(self, **counts, grid="[0, inf)", frame_rate="(0, inf)", crop="[0, 1]")


RECIPES: Mapping[str, LocaliserRun] = {"small": LocaliserRun()}
"""Runs by preset, whose data is still to be named."""
