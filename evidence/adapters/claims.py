"""Tables of what `policies.py` measured.

    python evidence/adapters/claims.py results.json [results.json ...] [--lr regime=rate ...]

Prints Markdown: a line for each task, camera and trunk with success (Wilson's 95 % interval, episodes of all seeds together)
and error of the regimes; the same over all tasks, success as a difference and error as a ratio to frozen's of the same task,
camera and seed; what trunks keep; room and CPU time. Seeds of a task and camera share its demonstrations, so their mean counts
as one value: intervals over all tasks are Student's t of these groups. These tables are of 1x1 adapters and of runs of --steps;
where a regime was run with several learning rates, --lr says which counts. A last table has other rates, forms and lengths.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

from tapetum.metrics.statistics import t_interval, wilson_interval

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import Part

REGIMES = ("frozen", "adapters", "full")


def pooled(rows):
    """Episodes of all rows together."""
    have = [row["tried"] for row in rows if row.get("tried")]
    if not have:
        return None
    return sum(round(one["success"] * one["n"]) for one in have), sum(one["n"] for one in have)


def percent(rate):
    if rate is None:
        return ""
    done, tried = rate
    low, high = wilson_interval(done, tried)
    return f"{100 * done / tried:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def spread(values, digits=3):
    """Mean, and deviation where there are several."""
    values = [value for value in values if value is not None]
    if not values:
        return ""
    told = f"{statistics.mean(values) + 1e-12:.{digits}f}"
    return told if len(values) < 2 else f"{told} ± {statistics.stdev(values):.{digits}f}"


def written(lines):
    """Write rows of cells, of which the first is the header, as a table of Markdown."""
    header, *rows = lines
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (header, ["---"] * len(header), *rows))


def key(row):
    return row["trunk"], row["task"], row["camera"]


def by_task(rows):
    """Give a line for each task, camera and trunk."""
    shifted = any(row.get("shifted") for row in rows)
    parts = ["success", "held-out error"] + (["error where it looks otherwise"] if shifted else [])
    header = ["trunk", "task, camera", "seeds"] + [f"{regime}: {part}" for part in parts for regime in REGIMES]
    lines = [header]
    for trunk, task, camera in dict.fromkeys(map(key, rows)):
        mine = [row for row in rows if key(row) == (trunk, task, camera)]
        of = {regime: [row for row in mine if row["regime"] == regime] for regime in REGIMES}
        cells = [trunk, f"{task}, {camera}", str(len({row["seed"] for row in mine}))]
        cells += [percent(pooled(of[regime])) for regime in REGIMES]
        cells += [spread([row["error"] for row in of[regime]]) for regime in REGIMES]
        cells += [spread([row["shifted"] for row in of[regime]]) for regime in REGIMES] if shifted else []
        lines.append(cells)
    return written(lines)


def grouped(rows, one, other, value):
    """Mean of value(run of one regime, run of the other) in each group of runs that share task and camera, by trunk."""
    runs = {(*key(row), row["seed"], row["regime"]): row for row in rows}
    groups = {}
    for name in dict.fromkeys(name[:-1] for name in runs if all((*name[:-1], regime) in runs for regime in REGIMES)):
        found = value(runs[(*name, one)], runs[(*name, other)])
        if found is not None:
            groups.setdefault(name[0], {}).setdefault(name[1:3], []).append(found)
    return {trunk: [statistics.mean(values) for values in of.values()] for trunk, of in groups.items()}


def gained(row, other):
    """Points of success."""
    return 100 * (row["tried"]["success"] - other["tried"]["success"]) if row.get("tried") and other.get("tried") else None


def near(row, other):
    """Points of success above 90 % of another's."""
    return 100 * (row["tried"]["success"] - 0.9 * other["tried"]["success"]) if gained(row, other) is not None else None


def ratio_of(name):
    """Logarithm of how much larger an error is."""
    return lambda row, other: math.log(row[name] / other[name]) if row[name] else None


def parts_of(rows):
    """What is claimed of success and held-out error over groups that share task and camera, by trunk."""
    pairs = {"adapters": "frozen", "full": "frozen"}
    found = {}
    for trunk, values in grouped(rows, "full", "frozen", gained).items():  # T-E's rule
        found[trunk, "adapters come near full fine-tuning where frozen does not"] = [
            Part(f"points of success, full less frozen, {len(values)} groups", values, 10),
            Part("adapters less frozen", grouped(rows, "adapters", "frozen", gained)[trunk], 10),
            Part("adapters less 90 % of full", grouped(rows, "adapters", "full", near)[trunk]),
        ]
    for one, other in pairs.items():
        for trunk, values in grouped(rows, one, other, gained).items():
            part = Part(f"points of success, {len(values)} groups", values)
            found[trunk, f"{one} succeed more often than {other}"] = [part]
        for trunk, values in grouped(rows, one, other, ratio_of("error")).items():
            part = Part(f"logarithm of their ratio, {len(values)} groups", values, below=True, digits=2)
            found[trunk, f"{one} have less held-out error than {other}"] = [part]
    return found


def together(rows):
    """Over all tasks: only where every regime has been run."""
    header = ["trunk", "regime", "groups", "success less frozen's, points (95 %)"]
    header += ["error beside frozen's, geometric mean (95 %)", "the same where it looks otherwise"]
    lines = [header]
    for trunk in dict.fromkeys(row["trunk"] for row in rows):
        for regime in REGIMES[1:]:
            more = grouped(rows, regime, "frozen", gained).get(trunk, [])
            ratios = (grouped(rows, regime, "frozen", ratio_of(name)).get(trunk, []) for name in ("error", "shifted"))
            if more:
                cells = [interval(more, "{:+.1f}"), *(interval(values, "{:.3f}", math.exp) for values in ratios)]
                lines.append([trunk, regime, str(len(more)), *cells])
    return written(lines)


def interval(values, form, scale=float):
    """Mean of some groups with its 95 % interval."""
    if len(values) < 2:
        return ""
    mean, low, high = (form.format(scale(n)) for n in (statistics.mean(values), *t_interval(values)))
    return f"{mean} ({low} to {high})"


def knowledge(rows):
    """Write what trunks keep."""
    lines = [["trunk", "regime", "runs", "before", "after, adapters off", "equal", "adapters on", "CKA", "cosine drift"]]
    for trunk in dict.fromkeys(row["trunk"] for row in rows):
        for regime in REGIMES:
            mine = [row["kept"] for row in rows if (row["trunk"], row["regime"]) == (trunk, regime) and row["kept"]]
            if mine:
                cells = [spread([one[name] for one in mine]) for name in ("before", "after", "adapters_on", "cka", "drift")]
                equal = f"{sum(one['equal'] for one in mine)} of {len(mine)}"
                lines.append([trunk, regime, str(len(mine)), *cells[:2], equal, *cells[2:]])
    return written(lines)


def cost(rows):
    """Write room and CPU time."""
    lines = [["trunk", "regime", "numbers learned, trunk or adapters", "head", "file, MB", "CPU s of training", "steps"]]
    for trunk in dict.fromkeys(row["trunk"] for row in rows):
        for regime in REGIMES:
            mine = [row for row in rows if (row["trunk"], row["regime"]) == (trunk, regime)]
            if mine:
                learned = mine[0]["learned"]
                own = sum(count for name, count in learned.items() if name != "head")
                cells = [f"{own:,}", f"{learned['head']:,}", f"{mine[0]['bytes'] / 1e6:.2f}"]
                steps = ", ".join(map(str, sorted({row["steps"] for row in mine})))
                lines.append([trunk, regime, *cells, spread([row["train_cpu_s"] for row in mine], 0), steps])
    return written(lines)


def form(row):
    """Form of adapters on maps, with the width of their convolutions where it is not 1."""
    kernel = row.get("kernel", 1)
    return row.get("maps", "parallel") + ("" if kernel == 1 else f", {kernel}x{kernel}")


def rates(rows):
    """Write rates, forms and lengths, where a regime was run with several of them."""
    lines = [["trunk", "task, camera", "regime", "form on maps", "steps", "rate", "runs", "held-out error", "success"]]
    groups = sorted({(*key(row), row["regime"], form(row), row["steps"], row["lr"]) for row in rows})
    for name in groups:
        trunk, task, camera, regime, maps, steps, lr = name
        if sum(other[:4] == name[:4] for other in groups) == 1:
            continue
        mine = [row for row in rows if (*key(row), row["regime"], form(row), row["steps"], row["lr"]) == name]
        cells = [str(steps), f"{lr:g}", str(len(mine)), spread([row["error"] for row in mine]), percent(pooled(mine))]
        lines.append([trunk, f"{task}, {camera}", regime, maps if regime == "adapters" else "", *cells])
    return written(lines)


def chosen(every, steps=200, rates=("adapters=0.001", "full=0.001")):
    """Runs of one length with 1x1 adapters, each regime at one rate."""
    counts = {name: float(value) for name, value in (one.split("=") for one in rates)}
    plain = [row for row in every if form(row) == "parallel" and row["steps"] == steps]
    return [row for row in plain if row["lr"] == counts.get(row["regime"], row["lr"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=200, help="length of the runs that all tables but the last are of")
    parser.add_argument("--lr", nargs="*", default=["adapters=0.001", "full=0.001"])
    args = parser.parse_args()
    every = [row for path in args.results for row in json.loads(path.read_text())]
    rows = chosen(every, args.steps, args.lr)
    print(*(table(rows) for table in (by_task, together, knowledge, cost)), rates(every), sep="\n")


if __name__ == "__main__":
    main()
