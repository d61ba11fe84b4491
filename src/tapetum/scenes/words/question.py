"""Questions with options, and what they are drawn from."""

from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput

Kind = Literal["picture", "descriptive", "explanatory", "predictive", "counterfactual"]


@dataclass(frozen=True, kw_only=True)
class ChoiceQuestion:
    """A question about an image or an episode, with three to five options of which one is right."""

    template: str
    """Name of the pattern it was made from, such as colour."""
    text: str
    answer: str
    options: tuple[str, ...]
    """In shuffled order; the answer is one of them."""
    kind: Kind
    """image, or the reasoning that an episode asks for."""
    area: str
    """Of an image: colour, shape, material, count, relation, comparison, text; of an episode: memory, abstraction, physics,
    semantics."""
    frame: int | None = None
    """Of a question about an image."""
    span: tuple[float, float] | None = None
    """Seconds of the episode that may be watched."""

    def __post_init__(self) -> None:
        if self.options.count(self.answer) != 1 or len(set(self.options)) != len(self.options) or len(self.options) < 3:
            raise BadInput(
                f"a question has options {self.options} and answer {self.answer!r}; wanted 3 or more, one of them right"
            )

    @property
    def correct(self) -> int:
        """Position of the answer among the options."""
        return self.options.index(self.answer)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A question that could be asked; `balance` chooses among many and gives them their options."""

    template: str
    text: str
    answer: str
    key: str = ""
    """Candidates with the same template and key are balanced against each other: all that a blind guesser could go by."""
    others: tuple[str, ...] = ()
    """Wrong answers that may be distractors."""
    near: tuple[str, ...] = ()
    """Those of `others` that are better than the rest: what is in the scene."""
    fixed: bool = False
    """All of `others` are the distractors, in the order of the text; `place` is balanced in place of the answer."""
    place: int = 0
    """Where the answer stands in the text among the fixed options."""
    kind: Kind
    area: str
    frame: int | None = None
    span: tuple[float, float] | None = None
