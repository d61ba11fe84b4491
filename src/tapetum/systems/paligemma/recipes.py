"""Whole trainings of PaliGemma as configs, which are also the options of `tapetum train paligemma` and `paligemma-transfer`.

Source: PaliGemma (arXiv 2407.07726, 3.2 and appendix J), PaliGemma 2 (2412.03555), and the public transfer configs.

    stage 0    the vision encoder alone           the papers take SigLIP; here from what is where in images of scenes
    stage 1    all tasks, all weights  224 pixels, 1 billion examples; the vision encoder's rate rises slowly
    stage 2    larger images         448, then 896 pixels, 50 and 10 million examples
    stage 3    transfer                one task, 1e-5, cosine after a warm-up of 5%, nothing frozen

`STAGES` has the settings of `paligemma-nano`, on images of `scenes/`; `published_stage` has what the papers print about stages
1 and 2, and `UNPUBLISHED` lists the rest: batch size, time scale of the learning rate, length of the vision encoder's warm-up.
Stage 0 of the papers is SigLIP (arXiv 2303.15343), used unchanged: start stage 1 with --encoder. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.train.config import ParameterRule

Mean = Literal["examples", "tokens", "roots"]
POWERS: Mapping[Mean, float] = {"examples": 1.0, "tokens": 0.0, "roots": 0.5}
"""A token counts 1 over this power of the tokens of its answer."""
Frozen = Literal["nothing", "vision-encoder", "vision-encoder-alone", "language"]
FROZEN: Mapping[Frozen, tuple[str, ...]] = {
    "nothing": (),
    "vision-encoder": ("vision_encoder.*", "projector.*"),
    "vision-encoder-alone": ("vision_encoder.*",),
    "language": ("language.*",),
}
"""Patterns of names of parameters."""


def freezing(frozen: Frozen) -> tuple[ParameterRule, ...]:
    """Make the rules for frozen weights, by a name in `FROZEN`."""
    return tuple(ParameterRule(pattern=pattern, frozen=True) for pattern in FROZEN[frozen])


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The loss of texts."""

    mean: Mean = "examples"
    """Mean over an answer's tokens, then answers (the reference); over all (transformers); or by the root of its tokens."""
    smoothing: float = 0.0
    """Label smoothing: so much of the target is spread over all other tokens."""
    location_std: float = 0.0
    """Standard deviation of the target of a location, in locations; 0: only the location itself is right."""
    length: int | None = None
    """Maximum number of text tokens (BOS, prefix, newline, suffix), and one for the end; the tail is cut. By default all."""


@dataclass(frozen=True, kw_only=True)
class TextMixture:
    """Texts of each kind that an image of `scenes/` gets at a visit; a fraction is a probability."""

    answers: float = 5.0
    """Questions."""
    regions: float = 1.0
    """Captions of the object at a location."""
    captions: float = 0.3
    """Short captions."""
    descriptions: float = 0.0
    """Long ones."""
    detect_all: float = 0.7
    """Boxes of everything."""
    detect: float = 0.7
    """Boxes of some nouns."""
    segment: float = 0.0
    """Masks of a noun."""
    ocr: float = 0.0
    """All written text, where there is some."""
    questions: float = 0.0
    """Questions that have a given answer."""
    objects: float = 0.0
    """Questions about objects: which there are, whether one or several are there, how many."""


@dataclass(frozen=True, kw_only=True)
class PaliGemmaStage:
    """A stage of pre-training on images of `scenes/`."""

    preset: Literal["nano", "paper"] = "nano"
    """nano: the bundled model; paper: what is published, for accelerators."""
    stage: Literal["0", "1", "2"]
    """0: the vision encoder alone, from what is where; 1: all tasks; 2: all tasks on larger images."""
    data: str = ""
    """Folder that `tapetum scenes images` made, of images as large as the model's."""
    limit: int | None = None
    """Images of it that are used, the first ones; by default all."""
    checks: str = ""
    """Another such folder, on which the weights are scored; by default none are."""
    model: str = "paligemma-nano"
    """Sizes, by name."""
    image_size: int = 112
    """Side of the images."""
    start: str = ""
    """Weights to begin with: of stage 0 or 1, for stage 2 of stage 1."""
    vision_encoder: str = ""
    """Weights of stage 0, from which stage 1 takes the vision encoder, where `start` are those of stage 1."""
    encoder: str = ""
    """Image ViT that becomes the vision encoder of stage 0 or 1: a run of tapetum pretrain, a file, or such as dinov2-small."""
    tokenizer: str = ""
    """SentencePiece model; by default that beside `start`, or one learned from the folder's texts."""
    vocabulary: int = 640
    """Pieces of one that is learned."""
    codec: str = ""
    """Weights of a codec of masks, by name or file, for the mixture's segment."""
    mixture: TextMixture = field(default_factory=TextMixture)
    """Texts of an image."""
    learning: Learning = field(default_factory=lambda: Learning(mean="roots"))
    """Loss of texts."""
    dense_weight: float = 0.3
    """Weight of the dense loss of stage 0 beside that of texts."""
    attention_weight: float = 0.0
    """Weight of the loss on what the decoder attends to while it writes locations."""
    steps: int = 4000
    """Optimiser steps."""
    batch_size: int = 32
    """Images of a step, each with all of its texts."""
    micro_batch: int = 32
    """Images that a process works on at a time; what is left of a step's is accumulated."""
    lr: float = 1e-3
    """Highest learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Schedule of the learning rate after a warm-up of 5%; a linear one can go on from a constant one, which it cools down."""
    weight_decay: float = 0.05
    """Of the matrices of vision encoder and projector."""
    vision_encoder_lr_scale: float = 1.0
    """Factor on the vision encoder's learning rate."""
    vision_encoder_warmup_steps: int = 0
    """Steps over which the vision encoder's rate rises linearly, besides."""
    freeze: Frozen = "nothing"
    """Weights frozen in stages 1 and 2: vision-encoder (with the projector), vision-encoder-alone, language (section 4.4)."""
    position_init: bool = False
    """Write positions into the vision encoder's positions (stage 0) or the embeddings of locations (stage 1) at the start."""
    bf16: bool = True
    """Compute in bfloat16; weights stay float32."""
    seed: int = 0
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        if self.mixture.segment and not self.codec:
            raise BadInput("the mixture has masks, which need a codec; name its weights with --codec")
        if self.encoder and (self.start or self.vision_encoder or self.stage == "2"):
            reason = "stage 2 goes on from stage 1" if self.stage == "2" else "the other weights have an encoder of their own"
            raise BadInput(f"--encoder {self.encoder} has no place here: {reason}; leave one out")

        if self.stage == "0" and self.freeze != "nothing":
            raise BadInput("stage 0 learns the vision encoder alone; leave --freeze out")

    def rules(self) -> tuple[ParameterRule, ...]:
        """Make the rules for the vision encoder's learning rate and for frozen weights."""
        scale, warmup = self.vision_encoder_lr_scale, self.vision_encoder_warmup_steps
        if self.stage == "0" or self.freeze.startswith("vision-encoder") or (scale == 1 and not warmup):
            return freezing(self.freeze)
        return ParameterRule(pattern="vision_encoder.*", lr_scale=scale, warmup_steps=warmup), *freezing(self.freeze)


@dataclass(frozen=True, kw_only=True)
class PaliGemmaTransfer:
    """Stage 3: transfer to one task."""

    task: str = ""
    """Task of the papers by name, such as vqav2, whose numbers published for --image-size are then the defaults."""
    data: str = ""
    """File of JSON lines with image, prefix and suffix (texts, or lists of them); with --task the folder of its files."""
    splits: str = ""
    """With --task: what is learned, such as train+val; by default what the papers took."""
    checks: str = ""
    """Another such file or folder, on which the weights are scored; by default none are."""
    start: str = "paligemma-nano-2"
    """Weights to begin with: a name, a file or a folder."""
    scratch: bool = False
    """Begin with random weights of the same sizes instead, to see what pre-training is worth."""
    tokenizer: str = ""
    """SentencePiece model; by default the one beside the weights."""
    image_size: int | None = None
    """Side of the images, to which positions are interpolated; by default as the weights have it."""
    epochs: float = 10.0
    """Visits of each example."""
    steps: int | None = None
    """Optimiser steps, in place of epochs."""
    codec: str = ""
    """Weights of a codec of masks, by name or file, for a task with masks; by default the model's."""
    batch_size: int = 256
    """Examples of a step."""
    micro_batch: int = 8
    """Examples that a process works on at a time; what is left of a step's is accumulated."""
    per_image: int = 1
    """Lines with the same image that are learned together, so that it is seen once."""
    lr: float = 1e-5
    """Highest learning rate; it falls to 0 by a cosine."""
    weight_decay: float = 0.0
    """Of the matrices of vision encoder and projector; the papers' 1e-6 at a learning rate of 1e-5 is 0.1 here."""
    dropout: float = 0.0
    """Of the decoder."""
    learning: Learning = field(default_factory=lambda: Learning(length=128))
    """Loss of texts."""
    freeze: Frozen = "nothing"
    """Weights that are frozen: vision-encoder, with the projector as published transfers do; vision-encoder-alone; language."""
    prefix_mask: Literal["full", "blocks", "images", "causal"] | None = None
    """Bidirectional attention, for ablations; by default as the weights have it."""
    loss_on_prefix: bool = False
    """Learn the prefix too, which the paper found to be worse."""
    lora_rank: int = 0
    """Of low-rank changes, which alone are learned; 0: weights are learned."""
    lora_alpha: float = 16.0
    """Over the rank, the factor on these changes."""
    noise_boxes: int = 0
    """Boxes that each list is filled up to with noise (the detection transfer of PaliGemma 2)."""
    bf16: bool = False
    """Compute in bfloat16; weights stay float32."""
    seed: int = 0
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        check_fields(self, lora_rank="[0, inf)", epochs="(0, inf)", dropout="[0, 1)")
        if self.lora_rank and self.freeze != "nothing":
            raise BadInput("with --lora-rank all weights are frozen already; leave --freeze out")

    def rules(self) -> tuple[ParameterRule, ...]:
        """Make the rules for frozen weights."""
        return freezing(self.freeze)


STAGES: Mapping[str, PaliGemmaStage] = {
    "0": PaliGemmaStage(stage="0", batch_size=32, steps=3000),
    "1": PaliGemmaStage(
        stage="1", batch_size=16, micro_batch=16, steps=4000, vision_encoder_lr_scale=0.5, vision_encoder_warmup_steps=600
    ),
    "2": PaliGemmaStage(
        stage="2",
        batch_size=16,
        micro_batch=16,
        steps=1000,
        lr=3e-4,
        image_size=224,
        mixture=TextMixture(answers=4.0, detect_all=1.0, detect=1.0),
    ),
}
"""Stages of `paligemma-nano`. In stage 2 lists of boxes come more often, and the rate is a third."""
TRANSFER = PaliGemmaTransfer()
LEARNING_RATES: Mapping[str, float] = {
    "paligemma-3b": 2e-5,  # PaliGemma, section 3.2.2
    "paligemma2-3b": 1e-5,  # PaliGemma 2, section 3: half of it
    "paligemma2-10b": 5e-6,  # a quarter
    "paligemma2-28b": 5e-6,  # a quarter
}
"""Of stages 1 and 2, by the model without the size of its images."""
PUBLISHED_TASKS: Mapping[str, TextMixture] = {
    stage: TextMixture(
        answers=1, regions=1, captions=1, detect_all=0, detect=often, segment=often, ocr=often, questions=1, objects=1
    )
    for stage, often in (("1", 1.0), ("2", 2.0))
}
"""The paper's tasks (section 3.2.5) by stage: in stage 2 text, boxes and masks come more often (3.2.3). How often is ours."""
_BATCH = 8192
_PUBLISHED_EXAMPLES = {224: 1_000_000_000, 448: 50_000_000, 896: 10_000_000}
"""Of a stage, by the size of its images (PaliGemma, sections 3.2.2 and 3.2.3)."""
UNPUBLISHED: Mapping[str, str] = {
    "batch_size": "ours; with the published examples it gives the steps",
    "schedule": "the reciprocal of a root of the step, without an end, whose scale is not printed; here constant",
    "vision_encoder_warmup_steps": "slow and linear, of a length that a figure alone shows; here none",
    "weight_decay": "ours",
    "mixture": "weights of the tasks; images and texts of the papers are not public, the command reads those of scenes",
}
"""Values of stages 1 and 2 that the papers do not give, and what stands in their place."""


def published_stage(stage: str, model: str = "") -> PaliGemmaStage:
    """Make the published config of stage 1 or 2 of a model, by default the first PaliGemma: 224 pixels in 1, 448 or 896 in 2.

    Raises BadInput for stage 0, which the papers take from SigLIP, and for models not in the papers.

    >>> published_stage("2", "paligemma2-10b-896").lr
    5e-06
    """
    family, _, size = (model or ("paligemma-3b-224" if stage == "1" else "paligemma-3b-448")).rpartition("-")
    if stage == "0":
        raise BadInput("stage 0 of the papers is SigLIP, which they take as it is; give --stage 1 --encoder with its weights")
    if family not in LEARNING_RATES or size not in (("224",) if stage == "1" else ("448", "896")):
        sizes = "224" if stage == "1" else "448 or 896"
        raise BadInput(f"stage {stage} of {model} is not published; give --model {', '.join(LEARNING_RATES)} with -{sizes}")
    side = int(size)
    return PaliGemmaStage(
        preset="paper",
        stage="1" if stage == "1" else "2",
        model=f"{family}-{size}",
        image_size=side,
        codec="paligemma-masks-official",
        mixture=PUBLISHED_TASKS[stage],
        learning=Learning(mean="examples", length=128 if stage == "1" else 512),  # sections 3.2.2 and 3.2.3, appendix J
        dense_weight=0.0,
        steps=_PUBLISHED_EXAMPLES[side] // _BATCH,
        batch_size=_BATCH,
        micro_batch={224: 16, 448: 4, 896: 1}[side],
        lr=LEARNING_RATES[family],
        schedule="constant",
    )


PRESETS: Mapping[tuple[str, str], PaliGemmaStage] = {
    **{(stage, "nano"): run for stage, run in STAGES.items()},
    **{(stage, "paper"): published_stage(stage) for stage in ("1", "2")},
}


def stage0(data: str, **changes: Any) -> PaliGemmaStage:
    """Make the config of a run that trains only the vision encoder.

    >>> stage0("images", steps=100).batch_size
    32
    """
    return replace(STAGES["0"], data=data, **changes)


def stage1(data: str, start: str = "", **changes: Any) -> PaliGemmaStage:
    """Make the config of a run that trains all tasks; `start` are weights of stage 0, or of stage 1 to continue.

    With a mixture of only captions it is captioning pre-training, for vision encoders not trained on locations.
    """
    return replace(STAGES["1"], data=data, start=start, **changes)


def transfer(data: str, start: str, **changes: Any) -> PaliGemmaTransfer:
    """Make the config of a transfer.

    >>> transfer("vqa.jsonl", "paligemma-3b-pt-224", freeze="vision-encoder").rules()[1].pattern
    'projector.*'
    """
    return replace(TRANSFER, data=data, start=start, **changes)
