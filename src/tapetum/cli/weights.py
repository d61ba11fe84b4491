"""`tapetum weights`: which weights there are, and where."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from tapetum.cli.output import print_json
from tapetum.errors import BadInput
from tapetum.hub import registry


@dataclass(frozen=True, kw_only=True)
class Weights:
    """List the weights known by name, or show where one comes from and where it lies."""

    action: tyro.conf.Positional[Literal["list", "show"]]
    """list all of them, or show one."""
    name: tyro.conf.Positional[str | None] = None
    """Which one to show."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if (self.action == "show") != (self.name is not None):
            raise BadInput("give a name to show, as in: tapetum weights show tapir-nano (list takes no name)")
        if self.name is not None:
            entry = _entry(registry.find(self.name))
            if self.json:
                print_json(entry)
            else:
                print("\n".join(f"{key:13} {value}" for key, value in entry.items() if value is not None))
            return
        entries = [_entry(weights) for weights in registry.KNOWN.values()]
        if self.json:
            print_json({"weights": entries})
        else:
            print("\n".join(f"{e['name']:18} {'here' if e['here'] else 'away':5} {e['summary']}" for e in entries))


def _entry(weights: registry.Weights) -> dict[str, Any]:
    path = registry.location(weights)
    fields = {key: value for key, value in dataclasses.asdict(weights).items() if key != "file"}
    return {**fields, "path": str(path), "here": path.is_file()}
