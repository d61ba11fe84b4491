"""`tapetum eval perception-test`: predictions, or a model, scored on tasks of the Perception Test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tapetum.app.evaluate_perception_test import PerceptionTestOptions, PerceptionTestScores, evaluate_perception_test
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class PerceptionTest(PerceptionTestOptions):
    """Score predictions, or a model that makes them, on tasks of the Perception Test, without its server.

    Numbers are shares from 0 to 1. A run with a model that was interrupted goes on when it is started again.
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = evaluate_perception_test.run(self, listener)
        if self.json:
            print_json(found.as_json())
        else:
            parts = (found, *found.others)
            print("\n\n".join((f"{part.task}\n" if found.others else "") + _table(part) for part in parts))


def _table(found: PerceptionTestScores) -> str:
    scores = found.scores
    rows: list[tuple[str, Any]] = [(name, value) for name, value in scores.numbers.items() if not isinstance(value, Mapping)]
    rows += [(f"map at {at}", value) for at, value in scores.numbers.get("map_at", {}).items()]
    for group, values in scores.groups.items():
        rows += [(f"{group.removeprefix('by_')} {name}", value) for name, value in values.items()]
    width = max(len(name) for name, _ in rows)
    counted = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in scores.counts.items())
    return "\n".join([*(f"{name:{width}}  {value:6.3f}" for name, value in rows), "", f"{counted}; reading {found.reading}"])
