"""`tapetum ledger`: costs of runs, read from their ledgers and compared side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

FILE = "ledger.json"
_MOST = 1e100
"""More than any sum of a ledger, in any unit."""
_ROWS = (
    ("hours", "wall_seconds", 3600),
    ("CPU hours", "cpu_seconds", 3600),
    ("FLOPs forward", "flops_forward", 1),
    ("FLOPs backward", "flops_backward", 1),
    ("energy, kWh", "energy_kwh", 1),
    ("CO2, kg", "co2_kg", 1),
)


@dataclass(frozen=True)
class LedgerOptions:
    """Print what runs cost: steps, time, FLOPs, energy, CO2; several runs side by side."""

    runs: Annotated[tyro.conf.Positional[tuple[File, ...]], tyro.conf.arg(metavar="RUN")]
    """Folders of runs, or ledger.json files; of a run in phases, each phase is shown."""


@dataclass(frozen=True, kw_only=True)
class RunCosts(Result):
    """Costs of runs, in the order in which they were given."""

    ledgers: dict[str, dict[str, Any]]
    """Content of each ledger.json (`tapetum.account.ledger`), by the name of its run."""

    def as_json(self) -> dict[str, Any]:
        return {"runs": [{"run": name, **content} for name, content in self.ledgers.items()]}

    def as_text(self) -> str:
        if len(self.ledgers) > 1:
            return side_by_side(self.ledgers)
        from tapetum.account.ledger import format_ledger

        [(name, content)] = self.ledgers.items()
        return f"run      {name}\n{format_ledger(content)}"


@verb(LedgerOptions)
def ledger(options: LedgerOptions, listener: Listener) -> RunCosts:
    """Read the ledgers of runs. Raises BadInput if one is missing or damaged."""
    if not options.runs:
        raise BadInput("there is no RUN; give folders of runs, such as tapetum train makes")
    files = {file: None for run in map(Path, options.runs) for file in _files(run)}  # each once
    return RunCosts(ledgers={str(file.parent): _read(file) for file in files})


def _files(run: Path) -> list[Path]:
    """The ledger of a run, or those of its phases."""
    if run.is_file():
        return [run]
    if not run.is_dir():
        raise BadInput(f"there is no folder {run}; give the folder of a run, such as tapetum train makes")
    files = [run / FILE] if (run / FILE).is_file() else sorted(run.glob(f"*/{FILE}"))
    if not files:
        raise BadInput(f"{run} has no {FILE}, nor has a folder in it; give the folder of a run, such as tapetum train makes")
    return files


def _read(file: Path) -> dict[str, Any]:
    from tapetum.account.ledger import ENDS, SUMMED
    from tapetum.train.run_files import read_costs

    try:
        content = read_costs(file)
        total, last = content["total"], content["sessions"][-1]
        sums = {name: total[name] for name in SUMMED} | {name: total[name] for name in ENDS if name in total}
        sums |= {f"FLOPs of {name}": count for name, count in last.get("phases_per_step", {}).items()}
        sums |= {f"{name} of the last session": last[name] for name in ("energy_kwh", "codecarbon_kwh") if name in last}
        about = [(s["machine"]["cpu"], s["machine"]["gpus"], s["energy_method"], s["co2_method"]) for s in content["sessions"]]
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise BadInput(f"{file} is no ledger of a run, or is damaged; give another run") from error
    if not about or not all(type(value) in (int, float) for value in sums.values()):
        raise BadInput(f"{file} is no ledger of a run, or is damaged; give another run")
    for name, value in sums.items():
        if not 0 <= value < _MOST:  # not NaN either
            raise BadInput(f"{file} says {name} {value}, which no run costs: wanted a number from 0 on; the ledger is damaged")
    return content


def side_by_side(ledgers: Mapping[str, Mapping[str, Any]]) -> str:
    """Build a table with a column per run; letters stand for long machine and meter names, explained below it."""
    totals = [content["total"] for content in ledgers.values()]
    lasts = [content["sessions"][-1] for content in ledgers.values()]
    machines = [", ".join([s["machine"]["cpu"], f"{s['machine']['cores']} cores", *s["machine"]["gpus"]]) for s in lasts]
    meters = [f"{s['energy_method']}; {s['co2_method']}" for s in lasts]
    letter = {text: chr(ord("a") + k) if k < 26 else str(k) for k, text in enumerate(dict.fromkeys([*machines, *meters]))}
    table = [["", *ledgers], ["sessions", *(str(len(content["sessions"])) for content in ledgers.values())]]
    table += [[name, *(f"{total[name]:,}" for total in totals)] for name in ("steps", "samples")]
    for name, field, unit in _ROWS:
        table.append([name, *(f"{total[field] / unit:.3g}" for total in totals)])
    table += [["machine", *(letter[text] for text in machines)], ["measured by", *(letter[text] for text in meters)]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        f"{row[0]:{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True)) for row in table
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *(f"{key}  {text}" for text, key in letter.items())])
