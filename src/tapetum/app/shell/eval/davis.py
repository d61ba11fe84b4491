"""`tapetum eval davis`: how well features follow objects through videos."""

from dataclasses import dataclass

from tapetum.app.evaluate_davis import DavisOptions, DavisResult, evaluate_davis
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Davis(DavisOptions):
    """Score features, or predicted masks, on DAVIS: the first mask is given, those that follow are found by features alone.

    Nothing is trained. Numbers are those of the official evaluation of 2017, semi-supervised, from 0 to 1.
    """

    json: bool = False
    """Print the result as JSON, with a row for each object."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = evaluate_davis.run(self, listener)
        if self.json:
            print_json(found.as_json())
        else:
            print(_table(found))


def _table(found: DavisResult) -> str:
    rows = [(f"{row['video']} {row['object']}", row["j"], row["f"]) for row in found.as_json()["objects"]]
    width = max(len("object"), *(len(name) for name, _, _ in rows))
    lines = [f"{'object':{width}}      J      F", *(f"{name:{width}}  {j:5.3f}  {f:5.3f}" for name, j, f in rows), ""]
    for name, part in (("J", found.scores.j), ("F", found.scores.f)):
        lines.append(f"{name}    mean {part.mean:.3f}, recall {part.recall:.3f}, decay {part.decay:.3f}")
    return "\n".join([*lines, f"J&F  {found.j_and_f:.3f}"])
