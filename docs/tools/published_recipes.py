"""What the published recipes cost by their plans: the table of docs/guides/published-recipes.md; computed, not measured.

python docs/tools/published_recipes.py              all rows
python docs/tools/published_recipes.py NAME ...     rows of some presets
"""

import argparse
import re
from pathlib import Path

from tapetum.account.config import LedgerConfig
from tapetum.account.machine import of_flops
from tapetum.account.plan import GIB
from tapetum.app.shell.main import parse
from tapetum.bench.plan_types import MACHINE, Plan
from tapetum.bench.plans import plan_run

_PAGE = Path(__file__).parents[1] / "guides" / "published-recipes.md"
PRESETS = dict(re.findall(r"^\| `([^`]+)` \| `tapetum ([^`]+)` \|", _PAGE.read_text(encoding="utf-8"), re.MULTILINE))
"""Words of the command of each preset, as the page has them."""
_STEPS = re.compile(r"(mae-)?steps\b|epochs\b")
"""Begins the line of a plan which says that its steps are not published."""


def row(name: str, plan: Plan) -> str:
    """Write a preset as a row: command, weights that learn, steps, batch, FLOPs, memory alone and in shards, core-hours."""
    last = plan.phases[-1]
    steps = f"{plan.steps:,}{'*' if any(map(_STEPS.match, plan.unpublished)) else ''}"
    memory = " | ".join(f"{last.memory(processes).total / GIB:.1f}" for processes in (1, MACHINE))
    hours = of_flops(plan.flops, LedgerConfig())[0].value
    start = f"| `{name}` | `tapetum {PRESETS[name]}` | {last.step.learning / 1e6:,.1f}"
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
        print(row(name, plan_run(parse([*PRESETS[name].split(), "--dry"]).recipe)), flush=True)


if __name__ == "__main__":
    main()
