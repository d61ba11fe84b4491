"""The training runs of TAPNext as configs, which also define the options of `tapetum train tapnext`. Imports no torch.

The authors publish no training code (google-deepmind/tapnet, issue 141). What is known of theirs is in `PAPER`, each number
with its source; [not published] marks numbers that this project chose.

Differs from the paper: the data are CoTracker3's Kubric sequences, or scenes of this project, instead of 500,000 clips of
Kubric that pan; sizes of `NANO` are made for a processor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tapetum.systems.tapnext.config import TapNextConfig
from tapetum.tracks.training.recipes import ClipPhase, SceneRun

NANO = TapNextConfig(
    video_size=(128, 128),
    width=128,
    depth=4,
    heads=4,
    mlp_width=512,
    lru_width=128,
    gate_blocks=4,
    gated_mlp_width=512,
    head_width=128,
)
"""Sizes of tapnext-nano: the note's sanity run, but that positions stay pixels of 256x256, whatever the size of the frames."""
DRAWN_SIZE = 128
"""Height and width in pixels at which scenes are drawn, unless a phase shows them larger."""


@dataclass(frozen=True, kw_only=True)
class TapNextRun(SceneRun):
    """A run that trains TAPNext, on scenes or on the Kubric sequences in `data`."""

    preset: Literal["nano", "paper", "tiny"] = "nano"
    """nano: some hours of a processor; paper: TAPNext-B as far as it is published; tiny: seconds, to see that all works."""
    name: str = "tapnext-nano"
    """Name of the file with the finished weights."""
    model: TapNextConfig = NANO
    """Sizes of the network."""
    data: str | None = None
    """Folder of unpacked sequences of facebook/CoTracker3_Kubric: 0000/0000.npy, 0000/frames/000.png and so on; by default
    scenes are drawn."""
    start: str | None = None
    """Weights to start from, a name or a file, which bring their own sizes; by default random ones."""
    phases: tuple[ClipPhase, ...] = ()
    """Parts of the run, from short clips to long ones, each of which begins with the averaged weights of the one before."""
    layers: Literal["all", "last"] = "all"
    """Which blocks' tokens the losses are computed from: all, as the authors', or the last alone, as their public loss file."""
    occluded_weight: float = 0.0
    """Weight of hidden points inside the image in the losses of position: 0 in TAPNext, 0.2 in TAPNext++."""
    roll: float = 0.0
    """Fraction of the showings that are shifted cyclically and rotated: 0 in TAPNext, 0.8 in TAPNext++ (`warping.roll`)."""
    homography: float = 0.0
    """Fraction of those whose corners sway: 0 in TAPNext, 0.8 in TAPNext++ (`warping.shaken_corners`)."""
    public_losses: bool = False
    """Weigh frames as the public loss file does in fact, see `losses`, instead of as its texts say."""
    sine_positions: bool = False
    """The embedded positions of patches begin as those of queries at their centres, instead of at random. Ours, for short
    runs."""
    weight_decay: float = 1e-2
    """Decoupled, not on biases, gains and offsets. [not published]"""
    bf16: bool = False
    """Compute in bfloat16; weights and the state of the recurrence stay float32."""


PAPER = TapNextRun(
    preset="paper",
    name="tapnext",
    model=TapNextConfig(),  # TAPNext-B: public code and checkpoints
    phases=(
        ClipPhase(
            name="1-kubric",
            size=256,  # public code
            frames=48,  # reading notes of arXiv 2504.05579
            steps=300_000,  # the same
            batch_size=256,  # the same
            micro_batch=1,
            lr=1e-3,  # [not published]; that of TAPIR, arXiv 2306.08637
            clips=500_000,  # the same notes, of Kubric; here scenes where no `data` is given
            points=256,  # the same
            first=0.0,  # [not published]: any visible frame
        ),
    ),
)
"""TAPNext-B as far as it is published. Not published: optimiser, learning rate and its schedule, decay, how queries are drawn,
how layers are weighed."""
PAPER_LOOP: Mapping[str, Any] = {"warmup_steps": 1000, "final_lr": 0.0, "clip_norm": None}
"""Settings of the loop in `PAPER`, of TAPIR's public configuration, in place of those of small trackers
(`train.phases.phase_config`)."""
UNPUBLISHED: Mapping[str, Mapping[str, str]] = {
    "paper": {
        "optimizer": "AdamW, as TAPIR's",
        "lr": "1e-3 after 1,000 steps of warm-up, then a cosine to 0, no clipping: TAPIR's public configuration",
        "ema_decay": "the result is an average of decay 0.998: ours",
        "weight_decay": "TAPIR's",
        "layers": "of the public loss file, whose weights of layers are not published",
        "phases.first": "queries on any visible frame",
        "data": "500,000 clips of Kubric that pan are not public; CoTracker3's sequences, or scenes, take their place",
    }
}
_SHOWN = ClipPhase(
    name="", steps=0, size=64, batch_size=4, micro_batch=4, lr=1e-3, clips=600, image_clips=1800, points=32, motion=0.3
)
NANO_RUN = TapNextRun(
    occluded_weight=0.2,
    sine_positions=True,
    phases=(
        replace(_SHOWN, name="1-short", frames=8, steps=3000, clips=60, image_clips=180),
        replace(_SHOWN, name="2-larger", size=96, frames=16, steps=2000, lr=6e-4, points=48),
        replace(_SHOWN, name="3-long", size=128, frames=24, steps=1500, batch_size=2, micro_batch=2, lr=4e-4, points=64),
    ),
)
"""A network that a processor learns: short clips of 64 pixels, then longer and larger ones."""

TINY_RUN = TapNextRun(
    preset="tiny",
    name="tapnext-tiny",
    model=TapNextConfig(
        video_size=(32, 32),
        width=32,
        depth=2,
        heads=2,
        mlp_width=64,
        lru_width=32,
        gate_blocks=2,
        gated_mlp_width=64,
        head_width=32,
    ),
    occluded_weight=0.2,
    sine_positions=True,
    checks=1,
    phases=tuple(
        ClipPhase(name=name, size=32, frames=n, steps=2, batch_size=2, micro_batch=2, lr=1e-3, clips=1, image_clips=1, points=6)
        for name, n in (("1-short", 3), ("2-long", 6))
    ),
)
"""A run of some seconds, to see that all of it works; it learns nothing."""

RECIPES: Mapping[str, TapNextRun] = {"nano": NANO_RUN, "paper": PAPER, "tiny": TINY_RUN}
