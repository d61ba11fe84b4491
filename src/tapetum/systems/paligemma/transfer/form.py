"""What is said of a transfer task: where its examples come from, what the model is told, how it learns, how it is scored.

Source: PaliGemma (arXiv 2407.07726, 3.3 and appendix J), PaliGemma 2 (2412.03555), and the public transfer configs. The tasks
themselves are in `transfers`. Imports no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import prompts

if TYPE_CHECKING:
    from tapetum.data.asked import Question
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
"""How answers are scored (`transfer_scores`); none: by another model, which is not here."""
Prompt = Literal["caption", "caption-language", "answer", "choose", "letter", "bare", "expression", "detect-all"]
"""What is said to the model; `prompt_of` says it letter by letter."""

PROMPTS: Mapping[Prompt, "Callable[[Question], str]"] = {
    "caption": lambda asked: prompts.caption(),
    "caption-language": lambda asked: prompts.caption(asked.kind),
    "answer": lambda asked: prompts.answer(asked.question),
    "choose": lambda asked: prompts.choose(asked.question, asked.options),
    "letter": lambda asked: prompts.choose_letter(asked.question, asked.context, asked.options),
    "bare": lambda asked: asked.question,
    "expression": lambda asked: asked.question,
    "detect-all": lambda asked: prompts.DETECT_ALL,
}
"""By name. A bare question is one without any words of ours; so is the expression of RefCOCO."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a task is learned at one size of images. None: not published, the default of `PaliGemmaTransfer` stands."""

    epochs: float | None = None
    """Visits of each example."""
    steps: int | None = None
    """Optimiser steps, where they are told instead."""
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
        """Give the decay that is multiplied by the rate, as in AdamW.

        >>> Recipe(lr=1e-5, weight_decay=1e-6).decay
        0.1
        """
        return round(self.weight_decay / self.lr, 6) if self.lr else 0.0


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What of a video is shown."""

    count: int
    stride: int
    """Every so many frames of the video; from a random one in training, from the first one in evaluation."""


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
    """Name in `transfer_data.READERS`; lines: the layout of ours for sets that have none of their own here."""
    train: tuple[str, ...] = ()
    """Splits that are learned, as the reader calls them."""
    evaluate: tuple[str, ...] = ("test",)
    """Splits of the published scores."""
    local: tuple[str, ...] = ()
    """Splits to score where the answers of those are hidden on a server; they are held out only if `train` is without them."""
    images: int = 1
    """Images of an example."""
    frames: Frames | None = None
    """Of an example that is a video."""
    beams: int = 1
    """Of the search for the answer; 1 takes the likeliest token."""
    lower: bool = False
    """Answers are learned in lower case."""
    resize: "Resize" = "reference-plain"
    """How images are made square in training."""
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
    """What is unusual, or not published."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Give the sides of images for which there is a recipe."""
        return tuple(sorted(self.recipes))

    @property
    def scored(self) -> tuple[str, ...]:
        """Give the splits that can be scored here."""
        return self.local or self.evaluate

    @property
    def shown(self) -> int:
        """Give how many images or frames an example shows."""
        return self.frames.count if self.frames else self.images

    def recipe(self, size: int | None = None) -> Recipe:
        """Give the recipe for images of this size: that of the largest size up to it, of the smallest for smaller ones.

        Raises BadInput for a task that is not learned.
        """
        if not self.recipes:
            raise BadInput(f"{self.name} is not learned: a model that learned {self.start} is tried on it; give that task")
        fitting = [each for each in self.sizes if size is not None and each <= size]
        return self.recipes[max(fitting, default=self.sizes[0])]

    def changes(self, size: int | None = None) -> dict[str, Any]:
        """Give what the recipe changes of the fields of `PaliGemmaTransfer`, but for its `learning`."""
        recipe = self.recipe(size)
        found = {"epochs": recipe.epochs, "steps": recipe.steps, "batch_size": recipe.batch_size, "lr": recipe.lr}
        found = {name: value for name, value in found.items() if value is not None}
        freeze = "vision-encoder" if recipe.freeze else "nothing"
        return found | {"weight_decay": recipe.decay, "dropout": recipe.dropout, "freeze": freeze}

    def prompt_of(self, asked: "Question") -> str:
        """Say what the model is told of an example."""
        return PROMPTS[self.prompt](asked)


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
    """Give the same recipe for several sizes, its numbers in the order in which the paper writes them."""
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
    """Make a task that is not learned: a model of the task `start` is tried on it."""
    return Transfer(name=name, title=title, start=start, metric=metric, prompt=prompt, length=length, recipes={}, **more)
