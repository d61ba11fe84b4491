"""What runs cost: their ledgers, read and laid side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, verb
from tapetum.core.errors import BadInput

FILE = "ledger.json"
_MOST = 1e100
"""More than any sum of a ledger, in any unit."""


@dataclass(frozen=True)
class LedgerOptions:
    """What may be asked of `ledger`."""

    runs: Annotated[tyro.conf.Positional[tuple[File, ...]], tyro.conf.arg(metavar="RUN")]
    """Folders of runs, or ledger.json files; of a run in phases, each phase is shown."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What runs cost, in the order in which they were given."""

    ledgers: dict[str, dict[str, Any]]
    """Content of each ledger.json (`tapetum.account.ledger`), by the name of its run."""

    def as_json(self) -> dict[str, Any]:
        """Say all of it."""
        return {"runs": [{"run": name, **content} for name, content in self.ledgers.items()]}


@verb(LedgerOptions)
def ledger(options: LedgerOptions, listener: Listener) -> Costs:
    """Read the ledgers of runs. Raises BadInput where one has none, or its ledger is damaged."""
    if not options.runs:
        raise BadInput("there is no RUN; give folders of runs, such as tapetum train makes")
    files = {file: None for run in map(Path, options.runs) for file in _files(run)}  # each once
    return Costs(ledgers={str(file.parent): _read(file) for file in files})


def _files(run: Path) -> list[Path]:
    """The ledger of a run, or those of its phases."""
    if run.is_file():
        return [run]
    if not run.is_dir():
        raise BadInput(f"there is no folder {run}; give the folder of a run, such as tapetum train makes")
    found = [run / FILE] if (run / FILE).is_file() else sorted(run.glob(f"*/{FILE}"))
    if not found:
        raise BadInput(f"{run} has no {FILE}, nor has a folder in it; give the folder of a run, such as tapetum train makes")
    return found


def _read(file: Path) -> dict[str, Any]:
    from tapetum.account.ledger import ENDS, SUMMED, read

    try:
        content = read(file)
        total, last = content["total"], content["sessions"][-1]
        sums = {name: total[name] for name in SUMMED} | {name: total[name] for name in ENDS if name in total}
        sums |= {f"FLOPs of {name}": count for name, count in last.get("phases_per_step", {}).items()}
        sums |= {f"{name} of the last session": last[name] for name in ("energy_kwh", "codecarbon_kwh") if name in last}
        about = [(s["machine"]["cpu"], s["machine"]["gpus"], s["energy_method"], s["co2_method"]) for s in content["sessions"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"{file} is no ledger of a run, or is damaged; give another run") from error
    if not about or not all(type(value) in (int, float) for value in sums.values()):
        raise BadInput(f"{file} is no ledger of a run, or is damaged; give another run")
    for name, value in sums.items():
        if not 0 <= value < _MOST:  # not NaN either
            raise BadInput(f"{file} says {name} {value}, which no run costs: wanted a number from 0 on; the ledger is damaged")
    return content
