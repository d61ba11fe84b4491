"""`tapetum ledger`: what runs cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tapetum.app.ledger import LedgerOptions, ledger
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True)
class Ledger(LedgerOptions):
    """Print what runs cost: steps, time, FLOPs, energy, CO2; several runs side by side."""

    json: bool = False
    """Print the ledgers as JSON, with all that they know."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            costs = ledger.run(self, listener)
        if self.json:
            print_json(costs.as_json())
            return
        if len(costs.ledgers) > 1:
            print(side_by_side(costs.ledgers))
            return
        from tapetum.account.ledger import format_ledger

        [(name, content)] = costs.ledgers.items()
        print(f"run      {name}\n{format_ledger(content)}")


def side_by_side(ledgers: Mapping[str, Mapping[str, Any]]) -> str:
    """Make a table with a column for each run; machines and meters, which are long, are told apart by letters below it."""
    totals = [content["total"] for content in ledgers.values()]
    lasts = [content["sessions"][-1] for content in ledgers.values()]
    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "steps": lambda total: f"{total['steps']:,}",
        "samples": lambda total: f"{total['samples']:,}",
        "hours": lambda total: f"{total['wall_seconds'] / 3600:.3g}",
        "CPU hours": lambda total: f"{total['cpu_seconds'] / 3600:.3g}",
        "FLOPs forward": lambda total: f"{total['flops_forward']:.3g}",
        "FLOPs backward": lambda total: f"{total['flops_backward']:.3g}",
        "energy, kWh": lambda total: f"{total['energy_kwh']:.3g}",
        "CO2, kg": lambda total: f"{total['co2_kg']:.3g}",
    }
    machines = [", ".join([s["machine"]["cpu"], f"{s['machine']['cores']} cores", *s["machine"]["gpus"]]) for s in lasts]
    meters = [f"{s['energy_method']}; {s['co2_method']}" for s in lasts]
    keys = list(dict.fromkeys([*machines, *meters]))
    letter = {text: chr(ord("a") + number) if number < 26 else str(number) for number, text in enumerate(keys)}
    table = [["", *ledgers], ["sessions", *(str(len(content["sessions"])) for content in ledgers.values())]]
    table += [[name, *map(show, totals)] for name, show in rows.items()]
    table += [["machine", *(letter[text] for text in machines)], ["measured by", *(letter[text] for text in meters)]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        f"{row[0]:{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True)) for row in table
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *(f"{key}  {text}" for text, key in letter.items())])
