"""Configs of BootsTAP (arXiv 2402.00847): its ingredients, how videos become clips, and whole runs. Imports no torch.

A run's config also defines the options of `tapetum bootstrap`.

Differs from the paper, whose full text was not available here: numbers marked [recalled] come from memory or are this project's
choice; each is a setting. It is meant for one laptop and an hour, not 256 accelerators, so a step has two clips of each kind,
and the best-scoring weights are kept; scenes and clips of warped images replace Kubric's; losses are summed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """The recipe's ingredients, each of which can be left out, and its numbers."""

    teacher: Literal["average", "start"] = "average"
    """The average of the student's weights, or the weights from which it started (not in the paper)."""
    ema_decay: float = 0.99
    """Decay of the average that is the teacher. [recalled]"""
    stride: int = 3
    """The student sees every n-th frame of a clip, n drawn up to this, less where it is too short. Not in the paper: what moves
    little from frame to frame is easier to follow, so the teacher knows what the student has to learn."""
    between: bool = True
    """The teacher sees the frames between those of the student; else only the same."""
    shrink: bool = True
    """The student sees the clip in a smaller window that moves."""
    area: tuple[float, float] = (0.6, 1.0)
    """Least and largest fraction of the image that the window covers. [recalled]"""
    aspect: tuple[float, float] = (0.75, 1.33)
    """Width by height of the window, for a square image. [recalled]"""
    spoil: bool = True
    """The student's frames go through JPEG first."""
    quality: tuple[int, int] = (10, 70)
    """Lowest and highest JPEG quality, the same for all frames of a clip. [recalled]"""
    requery: bool = True
    """The student starts from another place on the teacher's track; else from the teacher's query."""
    cycle: bool = False
    """Tracks count only where the student finds the way back to the teacher's query, as published. That leaves out most of what
    the student has yet to learn: where truth is known, 20 % of the labels are right where the student is wrong, with this mask
    7 % (docs/evidence/bootstrap.md)."""
    within: float = 4.0
    """Pixels of a 256x256 image by which it may miss there."""
    confident: float = 0.9
    """Frames count only where the teacher is as sure as this that the point is seen, and near where it says, or that it is
    hidden; 0 takes all. A tracker with predicted errors is as sure as these. Not in the paper: for small teachers, whose labels
    are often wrong, and who often know it."""
    polish: bool = True
    """The teacher's tracks are made exact, and believed, where images agree (`tap.tracking.polish`). Not in the paper: it
    tells a small teacher what it does not know."""
    second_pass: bool = True
    """Teacher and student look twice, if that is how the tracker is used (`tapetum.systems.tap.second_pass`), and both
    of the student's looks learn. Not in the paper."""
    matching: bool = True
    """Footage has the loss on matching's map too (`tap.task.matching_loss`), where the synthetic clips have it."""
    proximity: bool = True
    """Frames count only where they are nearer to the teacher's query than to the student's. [recalled]"""
    rebalance: float = 1.0
    """How much more visible frames weigh in the occlusion loss of pseudo-labels, against sliding towards hidden."""
    synthetic: bool = True
    """Clips with exact tracks are learned beside the footage."""
    separate_moments: bool = False
    """Both losses keep optimiser moments of their own, and their moves are added up, as published; else their sum is learned by
    one optimiser, which did better with little footage (docs/log)."""
    moving: float = 0.5
    """Fraction of the queries drawn where the image changes. Not in the paper, whose videos were chosen to move: where a
    camera stands still, most points do, and nothing is to be learned from them."""
    weight: float = 1.0
    """Weight of the footage's loss beside the synthetic one's, where moments are not separate; at 0 it is left out, as a
    control."""
    points: int = 64
    """Queries a clip."""

    def __post_init__(self) -> None:
        check_fields(self, moving="[0, 1]", confident="[0, 1)", within="(0, inf)", points="[1, inf)", stride="[1, inf)")
        if not 0 < self.area[0] <= self.area[1] <= 1 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise BadInput(f"area is {self.area} and aspect {self.aspect}; give least and largest, an area within 0..1")
        if not 1 <= self.quality[0] <= self.quality[1] <= 95:
            raise BadInput(f"quality is {self.quality}; give lowest and highest, within 1..95")

    def length(self, frames: int) -> int:
        """Compute the maximum number of frames the teacher sees when the student sees `frames`."""
        return self.stride * (frames - 1) + 1


@dataclass(frozen=True, kw_only=True)
class FootageConfig:
    """Config of the making of clips from videos."""

    size: int = 256
    """Height and width of the clips in pixels."""
    shortest: int = 24
    """Frames; what is left of a shot below that is no clip."""
    longest: int = 48
    """Frames; longer shots become several clips."""
    fastest: float = 30.0
    """Frames a second; of quicker videos only every second, third, ... frame is taken."""
    cut_least: float = 12.0
    """Mean change from one frame to the next that a cut has at least."""
    cut_ratio: float = 3.0
    """... and by how much it is above the mean change in the two frames before and after it."""
    still: float = 1.5
    """A clip in which no frame differs more from its first one, in the mean, is one in which nothing moves."""
    dark: float = 12.0
    """A clip whose mean brightness is below is black."""
    blank: float = 4.0
    """A clip whose frames deviate less from their mean brightness is blank."""
    shard: int = 8
    """Clips in a file."""

    def __post_init__(self) -> None:
        check_fields(self, shard="[1, inf)", fastest="(0, inf)")
        if not 2 <= self.shortest <= self.longest:
            raise BadInput(f"clips of {self.shortest} to {self.longest} frames: give 2 or more, and the shortest first")
        if self.size < 16 or self.size % 8:
            raise BadInput(f"size is {self.size}; it must be a multiple of 8 from 16 on")


Ingredient = Literal[
    "shrink", "spoil", "requery", "confident", "polish", "second-pass", "stride", "between", "moving", "matching", "proximity",
    "rebalance", "synthetic", "average", "mixer-lr",
]  # fmt: skip

_SWITCHES = "shrink", "spoil", "requery", "polish", "second_pass", "between", "matching", "proximity", "synthetic"
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    **{name.replace("_", "-"): {name: False} for name in _SWITCHES},
    **{name: {name: 0.0} for name in ("confident", "moving", "rebalance")},
    "stride": {"stride": 1},
    "average": {"teacher": "start"},
    "mixer-lr": {"mixer_lr": 1.0},
}
"""What leaving out an ingredient changes, in `Ingredients` or else in `BootstrapRun`. average: the teacher stays as it began;
stride: the student sees all of the teacher's frames; mixer-lr: the temporal mixer learns as quickly as the rest."""


DECIDING_SCORE = "best_average_jaccard"
"""Score by which weights are kept. Footage in which nearly all is seen teaches to call more points visible, and that alone
raises the average Jaccard of a network that is too careful."""


@dataclass(frozen=True, kw_only=True)
class BootstrapRun:
    """A whole run; the defaults are for `tapir-nano` on a laptop."""

    preset: Literal["small", "paper"] = "small"
    """small: for the bundled tracker on a laptop; paper: BootsTAPIR as far as it is published, for accelerators;
    an option at the value that it has in small then counts as not given."""
    model: str = "tapir-nano"
    """Tracker to start from: a name of weights (see: tapetum weights list), a file, or a folder that this verb made."""
    settings: Ingredients = field(default_factory=Ingredients)
    """What it learns from, and how."""
    steps: int = 400
    """Optimiser steps."""
    clips: int = 2
    """Clips of footage in a step, and as many synthetic ones."""
    frames: int = 12
    """Frames of the clips that are shown; no shorter shot is used."""
    size: int = 256
    """Height and width in pixels at which clips are shown and scored; frames are squashed to squares."""
    lr: float = 3e-4
    """Peak learning rate. The paper's is 2e-4 [recalled], with 250 times as many clips in a step."""
    mixer_lr: float = 0.2
    """Factor on the rate of the mixer. [recalled]"""
    extra_convs: int | None = None
    """Add to the tracker this many convolution blocks on the stride-8 features, as BootsTAPIR's 5; by default it keeps its own.
    New ones begin as a layer norm, which the rest of the network has yet to get used to: give them thousands of steps."""
    iterations: int | None = 2
    """Refinement iterations while learning, which cost a step most; None takes as many as the tracker uses."""
    scenes: int = 240
    """Different synthetic scenes."""
    image_clips: int = 480
    """Clips of cut-outs over moving images (`tracks.training.image_clips`) beside the scenes, each shown as often."""
    textures: str | None = None
    """Folder or parquet file of images of which scenes and image clips are made; by default frames of the footage."""
    part: str = "all"
    """Part of `textures`: all, or train, which leaves out every tenth, as the bundled tracker's own run does."""
    checks: int = 12
    """Clips with known tracks to score on."""
    scored: int = 4
    """Times that the weights are scored on the way."""
    patience: int = 0
    """Scores in a row that may be no better than one before, after which it ends; 0: it makes all steps."""
    seed: int = 1
    """The same seed gives the same run."""
    bf16: bool = True
    """Learn under bfloat16 autocast."""

    def __post_init__(self) -> None:
        counts, from_zero = (
            ("clips", "steps", "iterations", "checks", "scored"),
            ("extra_convs", "scenes", "image_clips", "seed", "patience"),
        )
        check_fields(self, frames="[2, inf)", **dict.fromkeys(counts, "[1, inf)"), **dict.fromkeys(from_zero, "[0, inf)"))
        if not self.scenes + self.image_clips:
            raise BadInput("scenes and image_clips are 0; give some of one kind, of which the tracker learns what is true")

    @property
    def footage(self) -> FootageConfig:
        """Choose how videos become clips that suit this run."""
        longest = max(4, self.settings.stride) * (self.frames - 1) + 1
        return FootageConfig(size=self.size, shortest=self.frames, longest=longest)


_PAPER = BootstrapRun(
    preset="paper",
    model="bootstapir",  # public code: a deeper pyramid and five convolutions
    settings=Ingredients(
        ema_decay=0.99,  # [recalled]
        stride=1,  # of ours; student and teacher see the same frames
        between=False,
        requery=True,  # section 3: any point of a track stands for the whole track
        cycle=True,  # section 3: within 4 pixels and called visible [recalled]
        within=4.0,
        confident=0.0,  # of ours
        polish=False,  # of ours
        second_pass=False,  # of ours
        matching=False,  # of ours
        proximity=True,  # [recalled]
        rebalance=1.0,  # public code of December 2023
        separate_moments=True,  # [recalled]: Adam's moments by task, whose updates are added up
        moving=0.0,  # of ours; the videos are chosen to move
        points=256,  # public configuration of TAPIR
    ),
    steps=200_000,  # [recalled]
    clips=512,  # [recalled]: 2 of footage on each of 256 accelerators
    frames=24,  # public threads (tapnet issue 91)
    size=256,
    lr=2e-4,  # [recalled]
    mixer_lr=0.2,  # [recalled]: a fifth
    extra_convs=5,  # public code
    iterations=4,
)
RECIPES: Mapping[str, BootstrapRun] = {"small": BootstrapRun(), "paper": _PAPER}
UNPUBLISHED: Mapping[str, Mapping[str, str]] = {
    "paper": {
        "model": "weights of `tapetum train tap-kubric --model bootstapir` stand for the authors' own start",
        "area, aspect, quality": "ranges of the student's window and of JPEG could not be found",
        "points": "TAPIR's",
        "clips": "2 real clips a device; beside them as many synthetic ones, where the paper has 4: the ratio is no option",
        "size": "256; the second release also learned from clips of 512x512, and longer ones: one run has one size here",
        "steps, lr, mixer-lr, ema-decay": "from memory of the paper, whose full text could not be read",
        "warmup-steps": "1,000 in the paper; 50 here, no option",
        "footage": "15 million clips of internet videos, not public; 150,000 did nearly as well (the authors, tapnet issue 91)",
    }
}
"""Values that could not be found or are no options, and what stands in their place. What is from the paper was read second-hand
(see the module)."""


def without(run: BootstrapRun, ingredients: Iterable[Ingredient]) -> BootstrapRun:
    """Remove ingredients from a run, to see what they do.

    >>> without(BootstrapRun(), ["polish", "mixer-lr"]).settings.polish
    False
    """
    own = {f.name for f in fields(Ingredients)}
    for ingredient in ingredients:
        changes = WITHOUT[ingredient]
        settings = replace(run.settings, **{name: value for name, value in changes.items() if name in own})
        run = replace(run, settings=settings, **{name: value for name, value in changes.items() if name not in own})
    return run
