"""`tapetum account`: what a model or a run costs."""

from dataclasses import dataclass

from tapetum.app.account import MILLION, AccountOptions, Cost, account
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Account(AccountOptions):
    """Say what a model or a run costs: parameters, FLOPs by phase, energy, CO2."""

    json: bool = False
    """Print all of it as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            cost = account.run(self, listener)
        if self.json:
            print_json(cost.as_json())
        else:
            print(text(cost))


def text(cost: Cost) -> str:
    """Write a cost for people."""
    a_run = not cost.engines
    whole = "of the run" if a_run else f"of {MILLION:,} inputs"
    said = "" if cost.measured else ", estimated, not measured"
    lines = [f"{cost.name}: {cost.of}"]
    if cost.parameters:
        parts = ", ".join(f"{name} {count:,}" for name, count in cost.parameters.items())
        lines.append(f"parameters  {parts}")
    lines += [f"{name:11} {_flops(count)}" for name, count in cost.phases.items()]
    lines.append(f"{'in all':11} {_flops(cost.flops)} (2 a multiply-add)" + _each(cost))
    if cost.recomputed:
        model = _flops(cost.flops - cost.recomputed)
        lines.append(f"{'model':11} {model}: without {_flops(cost.recomputed)} of backward that does forward's work again")
    if cost.logits:
        lines.append(f"{'logits':11} {_flops(cost.logits)} of it, forward and backward: grows with the square of the batch")
    if len(cost.engines) > 1:
        one, other = cost.engines["closed_form"], cost.engines["counted"]
        lines.append(f"{'check':11} counting of operations finds {other / one - 1:+.2%} beside the closed form")
    elif not a_run:
        lines.append(f"{'check':11} none: operations were counted as they ran, and this network has no closed form here")
    lines += [
        f"{'time':11} {cost.hours.text('core-hours')} {whole}" + ("" if a_run else said),
        f"{'energy':11} {cost.energy_kwh.text('kWh')}{said}",
        f"{'CO2':11} {cost.co2_kg.text('kg')}{said}",
        *(f"  {line}" for line in cost.constants),
    ]
    return "\n".join(lines)


def _each(cost: Cost) -> str:
    return f", {_flops(cost.flops / cost.inputs)} an input" if cost.inputs > 1 else ""


def _flops(count: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:,.0f} FLOP"
