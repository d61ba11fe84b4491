"""Bounds of fields."""

from dataclasses import dataclass
from typing import Literal

import pytest

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields


@dataclass
class Settings:
    steps: int = 1
    momentum: float = 0.0
    share: float | None = 0.5
    betas: tuple[float, float] = (0.9, 0.999)
    kind: Literal["a", "b"] | None = "a"

    def __post_init__(self) -> None:
        check_fields(self, steps="[1, 10]", momentum="[0, 1)", share="(0, 1]", betas="[0, 1)")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be 1 to 10"),
        ({"steps": True}, "steps is True; it must be 1 to 10"),
        ({"steps": None}, "steps is None; it must be 1 to 10"),
        ({"momentum": float("nan")}, "momentum is nan; it must be at least 0 and below 1"),
        ({"share": 0.0}, "share is 0.0; it must be above 0 and at most 1, or None"),
        ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\); it must be at least 0 and below 1"),
        ({"kind": "c"}, "kind is 'c'; it must be a, b or None"),
    ],
)
def test_what_lies_outside_is_named(given: dict, message: str) -> None:
    with pytest.raises(BadInput, match=f"^{message}$"):
        Settings(**given)
