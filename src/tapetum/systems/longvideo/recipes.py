"""Contrastive training runs as configs, which also define the options of `tapetum train longvideo`. Imports no torch.

The stages of LongViViT (arXiv 2312.07395, section 3): images and texts; short videos, mixed with images; long videos, with
three of four tokens dropped and only the last four blocks trained. MC-ViT (arXiv 2402.05861) starts from weights of the second
stage and tunes all of them, with its memory; for questions (its section 4.3), a question with its answer is a text, and a
question with a wrong answer is a negative for this video only. Video to text (LongViViT, section 3.4) starts from any video
encoder and a language model, which may come from the previous stage. Any stage with a video encoder can start from an inflated
image ViT. The stage films, which is in no paper, trains memory questions and words for moments together.

`RECIPES` are small, for a laptop. `PAPER` has the papers' sizes and other printed settings; learning rates, batches and steps
are in appendices that were not available, and `UNPUBLISHED` lists them. LongViViT's stages have 1,000 steps there, so a plan
gives the cost of a thousand.

Differs from the papers: MC-ViT prints 424 million weights of L, which are LongViViT's 307 of ViT-L and 117 of BERT-base; here
L has 433: 307 with the positions of 16 frames, 15 more with those of 128, and 111 of BERT-base and both projections, since
32,000 subwords are fewer than they must have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.systems.longvideo.config import Memory, Tune
from tapetum.systems.longvideo.video_text_config import BYTES, VideoTextConfig, named_video_text

Preset = Literal["nano", "paper"]
Stage = Literal["images", "short", "long", "consolidated", "questions", "films", "language", "video-to-text"]
MADE_UP = "ordered-events"
"""In the place of a folder: videos that are made up."""


@dataclass(frozen=True, kw_only=True)
class VideoTextRun:
    """A whole run of one stage; `RECIPES` has one for each."""

    stage: Stage
    """images: images alone; short: short videos, and images; long: long ones with most tokens dropped; consolidated: long
    ones with MC-ViT's memory; questions: those of the data, with their answers; films: questions
    that need memory, and words for moments, of films joined of stories; language: a small decoder on the texts alone;
    video-to-text: what lets a frozen language model see what a frozen video encoder sees."""
    preset: Preset = "nano"
    """nano: small, for a laptop; paper: networks and clips of the papers' sizes, for accelerators."""
    data: str = ""
    """Folder of `tapetum scenes episodes`, for films of `tapetum scenes films`; or tar shards with txt beside mp4 or jpg; or
    ordered-events, which are made up. Of an address, such as s3://bucket/episodes, a copy is made."""
    cache: str = ""
    """Of films: folder for the vision features of the stories, which are computed once where --tune last-4 leaves them as they
    are; empty: they are computed in each step."""
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
    """Network by name, such as vivit-nano, longvivit-b, mcvit-b."""
    vocabulary: int = BYTES
    """Kinds of tokens of the text tower; 258: it reads bytes. With more it reads subwords, of --tokenizer."""
    tokenizer: str = ""
    """Tokenizer of a text tower that reads subwords, at most --vocabulary of them: vocab.txt of BERT, a SentencePiece model,
    tokenizer.json, or a folder with one of these. The papers do not name theirs. Empty: that of --start, if it has one."""
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
        if self.tokenizer and self.stage in ("language", "video-to-text"):
            raise BadInput(f"the stage {self.stage} has no text tower; leave --tokenizer out")
        if self.cache and self.stage != "films":
            raise BadInput(f"features are cached in the stage films, not {self.stage}; leave --cache out")
        if self.beside and self.stage != "questions":
            raise BadInput(f"images beside are of the stage questions, not {self.stage}; leave --beside out")

    @property
    def config(self) -> VideoTextConfig:
        """Build the config of both towers. Raises BadInput for unknown settings."""
        config = named_video_text(self.model, **self.video_changes)
        return replace(config, text=replace(config.text, vocabulary=self.vocabulary))

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
    "films": replace(
        _SHORT,
        stage="films",
        model="mcvit-films",
        size=112,
        frames=112,
        frame_rate=2.0,
        memory="consolidated",
        mask_ratio=0.5,
        tune="last-4",
        batch_size=16,
        lr=3e-4,
    ),
    "language": replace(_SHORT, stage="language", lr=1e-3),
    "video-to-text": replace(
        _SHORT, stage="video-to-text", frames=64, memory="consolidated", mask_ratio=0.3, steps=1000, batch_size=16
    ),
}
_LARGE: dict[str, Any] = {
    "preset": "paper",
    "model": "longvivit-l",  # LongViViT, section 4: ViT-L and BERT-base in the main results
    "size": 256,  # from the numbers of tokens in MC-ViT, section 4
    "steps": 1_000,  # not published: a measure
    "vocabulary": 32_000,
    "micro_batch": 4,
    "bf16": True,
}
_CONSOLIDATED: dict[str, Any] = {
    **_LARGE,
    "model": "mcvit-l",  # MC-ViT, section 4.1: B and L
    "frames": 128,  # section 4.1
    "memory": "consolidated",
    "memories": 128,  # section 4.2, of Diving48
    "batch_size": 128,
    "micro_batch": 1,
    "checkpointing": True,
}
PAPER: Mapping[Stage, VideoTextRun] = {
    "images": replace(RECIPES["images"], **_LARGE),
    "short": replace(RECIPES["short"], **_LARGE, frames=16, frame_rate=1.0),  # LongViViT, section 4: 16 frames at 1 a second
    # section 3.3: 256 frames, three of four tokens dropped, the last four blocks learn
    "long": replace(RECIPES["long"], **{**_LARGE, "micro_batch": 1}, frames=256, mask_ratio=0.75, tune="last-4"),
    "consolidated": replace(RECIPES["consolidated"], **{**_CONSOLIDATED, "steps": 5_000}),  # MC-ViT, section 4.1: EgoSchema
    "questions": replace(RECIPES["questions"], **{**_CONSOLIDATED, "steps": 20_000}, tune="lora"),  # section 4.1: NExT-QA
    "video-to-text": replace(
        RECIPES["video-to-text"],
        **{**_LARGE, "micro_batch": 1},
        frames=256,  # LongViViT, section 4
        memory="joint",
        mask_ratio=0.3,  # section 3.4
        batch_size=16,
    ),
}
"""Runs of the papers' sizes by stage: LongViViT's (arXiv 2312.07395), and MC-ViT's (arXiv 2402.05861) with consolidated memory.
They do not say which language model the stage video-to-text has, so there is no stage language."""
_SHARED_OPEN = {
    "steps": "not published: FLOPs and days are those of 1,000 steps",
    "batch_size": "ours; large, the papers say",
    "lr": "ours",
    "weight_decay": "ours",
    "vocabulary": "neither tokenizer nor size is named, BERT-base has 117 million weights there",
}
_READER_OPEN = {
    "steps": "read second-hand",
    "batch_size": "read second-hand",
    "lr": "ours",
    "weight_decay": "ours",
    "memories": "that of Diving48; not given for questions",
    "vocabulary": _SHARED_OPEN["vocabulary"],
}
UNPUBLISHED: Mapping[Stage, Mapping[str, str]] = {
    **dict.fromkeys(("images", "short", "long"), _SHARED_OPEN),
    "consolidated": _READER_OPEN,
    "questions": {**_READER_OPEN, "lora_rank": "16: ours; about 12% of the weights learn in the paper"},
    "video-to-text": {
        **_SHARED_OPEN,
        "language": "a frozen model of 400 million or 1 billion weights, not public; planned with the small one over bytes",
        "latents": "32 in 2 blocks: ours",
    },
}
"""Values of `PAPER` that could not be read, and what stands in their place."""
PRESETS: Mapping[tuple[str, str], VideoTextRun] = {
    (stage, preset): run for preset, runs in (("nano", RECIPES), ("paper", PAPER)) for stage, run in runs.items()
}


def recipe(stage: Stage, data: str, **changes: Any) -> VideoTextRun:
    """Make the config of a run on `data` from its stage, with `changes`.

    >>> recipe("long", "ordered-events").tune
    'last-4'
    """
    if stage not in RECIPES:
        raise BadInput(f"there is no stage {stage!r}; it is one of {', '.join(RECIPES)}")
    return replace(RECIPES[stage], data=data, **changes)
