"""What the published recipes cost by their plans: the table of docs/guides/published-recipes.md; computed, not measured.

python docs/tools/published_recipes.py              all rows
python docs/tools/published_recipes.py NAME ...     rows of some presets
"""

import argparse
import re

from tapetum.account.config import LedgerConfig
from tapetum.account.machine import of_flops
from tapetum.account.plan import GIB
from tapetum.app.shell.main import parse
from tapetum.bench.plans import MACHINE, Plan, plan_run
from tapetum.bench.published import PRESETS

_STEPS = re.compile(r"(mae-)?steps\b|epochs\b")
"""Begins the line of a plan which says that its steps are not published."""


def row(name: str, plan: Plan) -> str:
    """Write a preset as a row: command, weights that learn, steps, batch, FLOPs, memory alone and in shards, core-hours."""
    last = plan.phases[-1]
    steps = f"{plan.steps:,}{'*' if any(map(_STEPS.match, plan.unpublished)) else ''}"
    memory = " | ".join(f"{last.memory(processes).total / GIB:.1f}" for processes in (1, MACHINE))
    hours = of_flops(plan.flops, LedgerConfig())[0].value
    start = f"| `{name}` | `tapetum {' '.join(PRESETS[name].command)}` | {last.step.learning / 1e6:,.1f}"
    return (
        f"{start} | {steps} | {last.config.batch_size:,} | {last.micro_batch:,} | {plan.flops:.2g} | {memory} | {hours:.2g} |"
    )


def main() -> None:
    """Print the rows as they are made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    print(
        "| preset | command | million weights that learn | steps | batch | at a time | FLOPs | GiB | GiB in each of 8 "
        "| core-hours |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in parser.parse_args().names or PRESETS:
        print(row(name, plan_run(parse([*PRESETS[name].command, "--dry"]).recipe)), flush=True)


if __name__ == "__main__":
    main()
