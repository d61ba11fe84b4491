"""How tokens are chosen when a text is written. Imports no torch."""

from dataclasses import dataclass

from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A way to choose tokens; by default always the likeliest one."""

    temperature: float = 0.0
    """Logits are divided by it before a token is drawn; 0 takes the likeliest (greedy)."""
    nucleus: float = 1.0
    """Draw among the likeliest tokens that together have this probability (arXiv 1904.09751)."""
    best_of: int = 1
    """Draw so many texts and keep the likeliest."""
    beams: int = 1
    """Texts that a beam search follows; 1 is none."""
    seed: int = 0
    """Of what is drawn, together with the number of the text."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.nucleus <= 1 or self.best_of < 1 or self.beams < 1:
            raise BadInput(
                f"tokens are chosen with temperature {self.temperature}, nucleus {self.nucleus}, best of {self.best_of} and"
                f" {self.beams} beams; give 0 or more, above 0 up to 1, and 1 or more"
            )
        if self.temperature == 0 and (self.nucleus < 1 or self.best_of > 1):
            raise BadInput(
                "a nucleus, and the best of several, want tokens that are drawn; give a temperature above 0, such as 1"
            )
        if self.beams > 1 and self.temperature > 0:
            raise BadInput(f"a search with {self.beams} beams draws nothing; leave the temperature at 0, or the beams at 1")
