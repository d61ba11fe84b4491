"""The description of a transfer task: its examples, prompt, recipes and metric.

Source: PaliGemma (arXiv 2407.07726, 3.3 and appendix J), PaliGemma 2 (2412.03555), and the public transfer configs. The tasks
themselves are in `transfer.tasks`. Imports no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import prompts

if TYPE_CHECKING:
    from tapetum.data.questions import Question
    from tapetum.systems.paligemma.images import Resize

Metric = Literal[
    "cider",
    "vqa",
    "vqa-simple",
    "exact",
    "exact-lower",
    "anls",
    "relaxed",
    "rsvqa",
    "letter",
    "count",
    "yes-no",
    "pairs",
    "referred",
    "detection",
    "spotting",
    "tables",
    "music",
    "none",
]
"""Names of metrics (`transfer.scores`); none: scored by another model, which is not here."""
Prompt = Literal["caption", "caption-language", "answer", "choose", "letter", "bare", "expression", "detect-all"]

PROMPTS: Mapping[Prompt, "Callable[[Question], str]"] = {
    "caption": lambda question: prompts.caption(),
    "caption-language": lambda question: prompts.caption(question.kind),
    "answer": lambda question: prompts.answer(question.question),
    "choose": lambda question: prompts.choose(question.question, question.options),
    "letter": lambda question: prompts.choose_letter(question.question, question.context, question.options),
    "bare": lambda question: question.question,
    "expression": lambda question: question.question,
    "detect-all": lambda question: prompts.DETECT_ALL,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of a transfer at one image size. None: not published, the default of `PaliGemmaTransfer` stands."""

    epochs: float | None = None
    steps: int | None = None
    """Optimiser steps, where these are published instead of epochs."""
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float = 0.0
    """As in the reference: not multiplied by the learning rate."""
    dropout: float = 0.0
    smoothing: float = 0.0
    freeze: bool = False

    @property
    def decay(self) -> float:
        """Compute the decay as AdamW uses it, multiplied by the learning rate.

        >>> Recipe(lr=1e-5, weight_decay=1e-6).decay
        0.1
        """
        return round(self.weight_decay / self.lr, 6) if self.lr else 0.0


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Sampling of the frames of a video."""

    count: int = 16
    stride: int
    """Every `stride`-th frame is used: from a random one on in training, from the first in evaluation."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    name: str
    title: str
    """Name in the papers."""
    prompt: Prompt = "answer"
    metric: Metric = "exact"
    length: int | None = None
    """Maximum number of text tokens in training (BOS, prefix, newline, suffix, EOS), and of an answer. None: not published."""
    recipes: Mapping[int, Recipe]
    """Recipes by image size; empty for a task that is only evaluated, with a model of another (`start`)."""
    start: str = ""
    """Task whose model is evaluated on this one."""
    reader: str = "lines"
    """Name in `transfer.data.READERS`; lines: our own layout, for data sets without a reader here."""
    train: tuple[str, ...] = ("train",)
    """Training splits, as the reader calls them."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits of the published scores."""
    local: tuple[str, ...] = ()
    """Splits to score if the answers of `evaluate` are hidden on a server; held out only if `train` is without them."""
    images: int = 1
    """Images per example."""
    frames: FrameSampling | None = None
    """Frames of an example that is a video."""
    beams: int = 1
    """Beams of the search for the answer; 1 is greedy."""
    lower: bool = False
    """Train on answers in lower case."""
    resize: "Resize" = "reference-plain"
    """Resizing of images to a square in training."""
    evaluation_resize: "Resize | None" = None
    """Resizing in evaluation, if different."""
    white_square: bool = False
    """Pad the image with white on the right or below to a square before resizing."""
    by_image: bool = False
    """An epoch visits each image once, with one of its texts."""
    shuffle_options: bool = False
    """Shuffle the options at each visit."""
    kinds: tuple[str, ...] = ()
    """Kinds of questions to train on and score; empty: all."""
    mean_of_kinds: bool = False
    """The published number is the unweighted mean over kinds (languages, ChartQA's two parts)."""
    examples: int | None = None
    """Number of training examples in the paper."""
    remark: str = ""

    @property
    def scored(self) -> tuple[str, ...]:
        return self.local or self.evaluate

    @property
    def visible_objects(self) -> int:
        """Count the images or frames of an example."""
        return self.frames.count if self.frames else self.images

    def recipe(self, size: int | None = None) -> Recipe:
        """Look up the recipe for images of this size: that of the largest size not above it, or else of the smallest.

        Raises BadInput for a task without training.
        """
        if not self.recipes:
            raise BadInput(f"{self.name} is not learned: a model that learned {self.start} is tried on it; give that task")
        return self.recipes[max((each for each in self.recipes if each <= (size or 0)), default=min(self.recipes))]

    def changes(self, size: int | None = None) -> dict[str, Any]:
        """List the fields of `PaliGemmaTransfer` that the recipe changes, except its `learning`."""
        recipe = self.recipe(size)
        fields = {"epochs": recipe.epochs, "steps": recipe.steps, "batch_size": recipe.batch_size, "lr": recipe.lr}
        fields = {name: value for name, value in fields.items() if value is not None}
        freeze = "vision-encoder" if recipe.freeze else "nothing"
        return fields | {"weight_decay": recipe.decay, "dropout": recipe.dropout, "freeze": freeze}

    def prompt_of(self, question: "Question") -> str:
        return PROMPTS[self.prompt](question)


def at(
    sizes: Sequence[int],
    epochs: float,
    batch: int,
    lr: float,
    decay: float = 0.0,
    drop: float = 0.0,
    smooth: float = 0.0,
    **more: Any,
) -> dict[int, Recipe]:
    """Build the same recipe for several sizes, with its values in the paper's order."""
    named = {"epochs": epochs, "batch_size": batch, "lr": lr, "weight_decay": decay, "dropout": drop, "smoothing": smooth}
    return dict.fromkeys(sizes, Recipe(**named, **more))


def tried(
    name: str, title: str, start: str, metric: Any = "exact", prompt: Any = "answer", length: int | None = 32, **more: Any
) -> Transfer:
    """Build a task without training: a model of the task `start` is evaluated on it."""
    return Transfer(
        name=name, title=title, start=start, metric=metric, prompt=prompt, length=length, recipes={}, train=(), **more
    )
