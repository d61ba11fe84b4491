"""Whole runs of contrastive training as configs, which are also the options of `tapetum train longvideo`. Imports no torch.

The stages of LongViViT (arXiv 2312.07395, section 3): images and texts; short videos, with images beside them; long videos,
of which three of four tokens are dropped and the last four blocks learn. MC-ViT (arXiv 2402.05861) begins with weights of the
second and tunes all, with its memory; for questions (its section 4.3), a question with its answer is a text, and with a wrong
one a text that only this video must tell from it. Video to text (LongViViT, section 3.4) begins with any video encoder, and
with a language model, which may be one of the stage before it. Any stage that has a video encoder may begin with one inflated
from an image ViT.

What stands in `RECIPES` is small, for a laptop: rates, batches and steps of the papers are in appendices that could
not be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.systems.longvideo.config import Memory, Tune
from tapetum.systems.longvideo.video_text_config import BYTES, VideoTextConfig, named_video_text

Stage = Literal["images", "short", "long", "consolidated", "questions", "language", "video-to-text"]
MADE_UP = "ordered-events"
"""In the place of a folder: videos that are made up."""


@dataclass(frozen=True, kw_only=True)
class VideoTextRun:
    """A whole run of one stage; `RECIPES` has one for each."""

    stage: Stage
    """images: images alone; short: short videos, and images; long: long ones with most tokens dropped; consolidated: long
    ones with MC-ViT's memory; questions: those of the data, with their answers; language: a small decoder on the texts alone;
    video-to-text: what lets a frozen language model see what a frozen video encoder sees."""
    data: str = ""
    """Folder of `tapetum scenes episodes`; or tar shards with txt beside mp4 or jpg; or ordered-events, which are made up.
    Of an address, such as s3://bucket/episodes, a copy is made."""
    beside: str = ""
    """Of questions: tar shards of images and txt that are learned too, so that what words describe is not forgotten."""
    start: str = ""
    """File of weights of the stage before, or the folder of its run; empty: random ones."""
    encoder: str = ""
    """Image ViT whose weights the video encoder begins with (section 3.1 of LongViViT): the folder of a run of tapetum pretrain
    or train odin, a file, or a name such as dinov2-small. Width, depth, patches and the like are then those of the ViT."""
    language: str = ""
    """Of video-to-text, the language model: the folder of a run of the stage language, or the name or folder of a causal model
    of transformers."""
    model: str = "mcvit-nano"
    """Network by name, such as vivit-nano, longvivit-b, mcvit-b; its text tower reads bytes."""
    size: int = 96
    """Rows and columns of a frame."""
    frames: int = 16
    """Of a clip, at most."""
    frame_rate: float = 1.0
    """Frames looked at in a second of video."""
    event_frames: int = 8
    """Frames of an event, where videos are made up."""
    memory: Memory = "joint"
    """Form of memory."""
    memories: int = 32
    """Memories that a segment leaves in each layer."""
    mask_ratio: float = 0.0
    """Part of the tokens that is dropped in training."""
    tune: Tune = "all"
    """Weights of the video encoder that learn; the text tower always does."""
    checkpointing: bool = False
    """Compute segments twice in training instead of keeping their activations."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 64
    """Clips of a step, over all processes: each is told from all the others."""
    micro_batch: int = 16
    """Clips that a process works on at a time; the loss is of the whole batch all the same."""
    lr: float = 5e-4
    """Highest learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay of AdamW, of matrices."""
    bf16: bool = False
    """Compute in bfloat16; weights stay float32."""
    checks: int = 64
    """Clips to score with, at most; they are never learned from."""
    seed: int = 1
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        check_fields(self, batch_size="[2, inf)", steps="[1, inf)", checks="[1, inf)", frame_rate="(0, inf)")
        if self.encoder and (self.start or self.stage == "language"):
            reason = "the stage language has no encoder" if self.stage == "language" else "--start has an encoder of its own"
            raise BadInput(f"--encoder {self.encoder} has no place here: {reason}; leave one out")
        if self.beside and self.stage != "questions":
            raise BadInput(f"images beside are of the stage questions, not {self.stage}; leave --beside out")

    @property
    def config(self) -> VideoTextConfig:
        """Build the config of both towers. Raises BadInput for what there is not."""
        config = named_video_text(self.model, **self.video_changes)
        return replace(config, text=replace(config.text, vocabulary=BYTES))

    @property
    def video_changes(self) -> dict[str, Any]:
        """Collect the settings of the video encoder that the run changes."""
        return {
            "size": (self.size, self.size),
            "frames": self.frames,
            "memory": self.memory,
            "memories": self.memories,
            "mask_ratio": self.mask_ratio,
            "tune": self.tune,
            "checkpoint_segments": self.checkpointing,
            "seed": self.seed,
        }


_SHORT = VideoTextRun(stage="short")
RECIPES: Mapping[Stage, VideoTextRun] = {
    "images": replace(_SHORT, stage="images"),
    "short": _SHORT,
    "long": replace(_SHORT, stage="long", frames=64, mask_ratio=0.75, tune="last-4", steps=500, lr=1e-4),
    "consolidated": replace(_SHORT, stage="consolidated", frames=64, memory="consolidated", steps=500, lr=1e-4),
    "questions": replace(_SHORT, stage="questions", frames=64, memory="consolidated", steps=500, lr=1e-4),
    "language": replace(_SHORT, stage="language", lr=1e-3),
    "video-to-text": replace(
        _SHORT,
        stage="video-to-text",
        frames=64,
        memory="consolidated",
        mask_ratio=0.3,
        steps=1000,
        batch_size=16,
    ),
}
"""Runs by stage, whose data is still to be named."""


def recipe(stage: Stage, data: str, **changes: Any) -> VideoTextRun:
    """Make the config of a run on `data`, as its stage has it but for `changes`.

    >>> recipe("long", "ordered-events").tune
    'last-4'
    """
    if stage not in RECIPES:
        raise BadInput(f"there is no stage {stage!r}; it is one of {', '.join(RECIPES)}")
    return replace(RECIPES[stage], data=data, **changes)
