"""What the published recipes cost by their plans: the table of docs/guides/published-recipes.md; computed, not measured.

python docs/tools/published_recipes.py              all rows
python docs/tools/published_recipes.py NAME ...     rows of some presets
"""

import argparse
import re
from pathlib import Path

from tapetum.account.cluster import GIB
from tapetum.account.run_plan import RunPlan, two_digits
from tapetum.app.learn.dry import plan_run
from tapetum.app.shell.main import parse

_PAGE = Path(__file__).parents[1] / "guides" / "published-recipes.md"
PRESETS = dict(re.findall(r"^\| `([^`]+)` \| `tapetum ([^`]+)` \|", _PAGE.read_text(encoding="utf-8"), re.MULTILINE))
"""Words of the command of each preset, as the page has them."""
_STEPS = re.compile(r"(mae-)?steps\b|epochs\b")
"""Begins the line of a plan which says that its steps are not published."""


def _days(plan: RunPlan, gpus: int) -> str:
    days = plan.days(gpus)
    if days is None:
        return f"no: {plan.excess(gpus) / GIB:.1f} GiB too much"
    return f"{two_digits(days.value)}{' (again)' if plan.needs_checkpointing(gpus) else ''}"


def row(name: str, plan: RunPlan) -> str:
    """Write a preset as a row: its command, weights that learn, steps, batch, FLOPs, memory of a device of 8, and days."""
    last = plan.phases[-1]
    share = last.share(8)
    days = " | ".join(_days(plan, gpus) for gpus in (8, 64))
    steps = f"{plan.steps:,}{'*' if any(map(_STEPS.match, plan.unpublished)) else ''}"
    compute = "bfloat16" if plan.bf16 else "float32"
    memory = f"{share.memory.total / GIB:.1f} | {share.checkpointed.total / GIB:.1f}"
    weights = f"{last.step.learning / 1e6:,.1f}"
    start = f"| `{name}` | `tapetum {PRESETS[name]}` | {weights}"
    return f"{start} | {steps} | {last.batch_size:,} | {plan.flops:.2g} | {compute} | {memory} | {days} |"


def main() -> None:
    """Print the rows as they are made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    print(
        "| preset | command | million weights that learn | steps | batch | FLOPs | in | GiB a GPU of 8 | blocks again "
        "| days, 8 | days, 64 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in parser.parse_args().names or PRESETS:
        print(row(name, plan_run(parse([*PRESETS[name].split(), "--dry"]).recipe)), flush=True)


if __name__ == "__main__":
    main()
