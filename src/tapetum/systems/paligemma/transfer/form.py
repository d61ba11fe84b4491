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
"""Names of prompts; `PROMPTS` has their text."""

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
"""By name. A bare question is one without any words of ours; so is the expression of RefCOCO."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of a transfer at one size of images. None: not published, the default of `PaliGemmaTransfer` stands."""

    epochs: float | None = None
    """Visits of each example."""
    steps: int | None = None
    """Optimiser steps, where these are published instead."""
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float = 0.0
    """As the reference counts it, not multiplied by the rate; `decay` is what other optimisers call so."""
    dropout: float = 0.0
    """Of the decoder."""
    smoothing: float = 0.0
    """Of labels."""
    freeze: bool = False
    """The vision encoder and its projector stay as they are."""

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

    count: int
    stride: int
    """Every `stride`-th frame of the video: from a random one on in training, from the first in evaluation."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A transfer task."""

    name: str
    title: str
    """As papers call it."""
    prompt: Prompt
    metric: Metric
    length: int | None = None
    """Tokens of text in training (BOS, prefix, newline, suffix, EOS), and of an answer at most. None: not published."""
    recipes: Mapping[int, Recipe]
    """By the side of the images; none for a task that is not learned but tried with a model of another (`start`)."""
    start: str = ""
    """The task whose model is tried on this one."""
    reader: str = "lines"
    """Name in `transfer.data.READERS`; lines: the layout of ours for sets that have none of their own here."""
    train: tuple[str, ...] = ()
    """Splits that are learned, as the reader calls them."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits of the published scores."""
    local: tuple[str, ...] = ()
    """Splits to score where the answers of those are hidden on a server; they are held out only if `train` is without them."""
    images: int = 1
    """Images of an example."""
    frames: FrameSampling | None = None
    """Of an example that is a video."""
    beams: int = 1
    """Of the search for the answer; 1 takes the likeliest token."""
    lower: bool = False
    """Answers are learned in lower case."""
    resize: "Resize" = "reference-plain"
    """Resizing of images to a square in training."""
    evaluation_resize: "Resize | None" = None
    """In evaluation, where that differs."""
    white_square: bool = False
    """White is put right of the image or below it, so that it is a square before it is made small."""
    by_image: bool = False
    """An epoch visits each image once, and takes one of its texts."""
    shuffle_options: bool = False
    """Options come in another order at each visit."""
    kinds: tuple[str, ...] = ()
    """Kinds of questions that count, in training too; all where there are none."""
    mean_of_kinds: bool = False
    """The published number is the mean over kinds (languages, ChartQA's two parts), each alike."""
    examples: int | None = None
    """For training, as the paper counts them."""
    remark: str = ""
    """Remarks on what is unusual, or not published."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """List the image sizes that have a recipe."""
        return tuple(sorted(self.recipes))

    @property
    def scored(self) -> tuple[str, ...]:
        """List the splits that can be scored here."""
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
        fitting = [each for each in self.sizes if size is not None and each <= size]
        return self.recipes[max(fitting, default=self.sizes[0])]

    def changes(self, size: int | None = None) -> dict[str, Any]:
        """List the fields of `PaliGemmaTransfer` that the recipe changes, except its `learning`."""
        recipe = self.recipe(size)
        fields = {"epochs": recipe.epochs, "steps": recipe.steps, "batch_size": recipe.batch_size, "lr": recipe.lr}
        fields = {name: value for name, value in fields.items() if value is not None}
        freeze = "vision-encoder" if recipe.freeze else "nothing"
        return fields | {"weight_decay": recipe.decay, "dropout": recipe.dropout, "freeze": freeze}

    def prompt_of(self, question: "Question") -> str:
        """Write the prompt of an example."""
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
    made = Recipe(
        epochs=epochs,
        batch_size=batch,
        lr=lr,
        weight_decay=decay,
        dropout=drop,
        smoothing=smooth,
        freeze=more.pop("freeze", False),
    )
    return dict.fromkeys(sizes, made)


def tried(
    name: str, title: str, start: str, metric: Any = "exact", prompt: Any = "answer", length: int | None = 32, **more: Any
) -> Transfer:
    """Build a task without training: a model of the task `start` is evaluated on it."""
    return Transfer(name=name, title=title, start=start, metric=metric, prompt=prompt, length=length, recipes={}, **more)
