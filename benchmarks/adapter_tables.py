"""Tables of what `adapter_policies.py` measured.

    python benchmarks/adapter_tables.py results.json [results.json ...] [--lr regime=rate ...]

Prints Markdown: a line for each task, camera and trunk with success (Wilson's 95 % interval, episodes of all seeds together)
and error of the regimes; the same over all tasks, with error as a ratio to frozen's of the same task, camera and seed; what
trunks keep; room and CPU time. These are of 1x1 adapters and of runs of --steps; where a regime was run with several learning
rates, --lr says which counts. A last table has all rates, forms and lengths.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from tapetum.systems.adapters.rollouts import Rate

REGIMES = ("frozen", "adapters", "full")


def pooled(rows):
    """Episodes of all rows together."""
    have = [row["tried"] for row in rows if row.get("tried")]
    if not have:
        return None
    return Rate(done=sum(round(one["success"] * one["n"]) for one in have), tried=sum(one["n"] for one in have))


def percent(rate):
    if rate is None:
        return ""
    low, high = rate.interval
    return f"{100 * rate.rate:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def spread(values, digits=3):
    """Mean, and deviation where there are several."""
    values = [value for value in values if value is not None]
    if not values:
        return ""
    told = f"{statistics.mean(values) + 1e-12:.{digits}f}"
    return told if len(values) < 2 else f"{told} ± {statistics.stdev(values):.{digits}f}"


def line(cells):
    print("| " + " | ".join(cells) + " |")


def head(cells):
    line(cells)
    line(["---"] * len(cells))


def key(row):
    return row["trunk"], row["task"], row["camera"]


def by_task(rows):
    shifted = any(row.get("shifted") for row in rows)
    parts = ["success", "held-out error"] + (["error where it looks otherwise"] if shifted else [])
    head(["trunk", "task, camera", "seeds"] + [f"{regime}: {part}" for part in parts for regime in REGIMES])
    for trunk, task, camera in dict.fromkeys(map(key, rows)):
        mine = [row for row in rows if key(row) == (trunk, task, camera)]
        of = {regime: [row for row in mine if row["regime"] == regime] for regime in REGIMES}
        cells = [trunk, f"{task}, {camera}", str(len({row["seed"] for row in mine}))]
        cells += [percent(pooled(of[regime])) for regime in REGIMES]
        cells += [spread([row["error"] for row in of[regime]]) for regime in REGIMES]
        cells += [spread([row["shifted"] for row in of[regime]]) for regime in REGIMES] if shifted else []
        line(cells)


def together(rows):
    """Over all tasks: only where every regime has been run."""
    runs = {(*key(row), row["seed"], row["regime"]): row for row in rows}
    whole = [name[:-1] for name in runs if all((*name[:-1], regime) in runs for regime in REGIMES)]
    whole = list(dict.fromkeys(whole))
    head(["trunk", "regime", "runs", "success", "error beside frozen's, geometric mean", "the same where it looks otherwise"])
    for trunk in dict.fromkeys(name[0] for name in whole):
        names = [name for name in whole if name[0] == trunk]
        for regime in REGIMES:
            mine = [runs[(*name, regime)] for name in names]
            beside = [(runs[(*name, regime)], runs[(*name, "frozen")]) for name in names]
            told = [
                interval([math.log(one[by] / other[by]) for one, other in beside if one[by]]) for by in ("error", "shifted")
            ]
            line([trunk, regime, str(len(mine)), percent(pooled(mine)), *told])


def interval(logs):
    """Geometric mean, of three runs and more with a 95 % interval of Student's t."""
    from scipy import stats

    if len(logs) < 3:
        return f"{math.exp(statistics.mean(logs)):.3f}" if logs else ""
    mean, deviation = statistics.mean(logs), statistics.stdev(logs)
    half = stats.t.ppf(0.975, len(logs) - 1) * deviation / math.sqrt(len(logs))
    return f"{math.exp(mean):.3f} ({math.exp(mean - half):.3f} to {math.exp(mean + half):.3f})"


def knowledge(rows):
    head(
        ["trunk", "regime", "runs", "before", "after, adapters off", "equal bit for bit", "adapters on", "CKA", "cosine drift"]
    )
    for trunk in dict.fromkeys(row["trunk"] for row in rows):
        for regime in REGIMES:
            mine = [row["kept"] for row in rows if (row["trunk"], row["regime"]) == (trunk, regime) and row["kept"]]
            if mine:
                cells = [spread([one[name] for one in mine]) for name in ("before", "after", "adapters_on", "cka", "drift")]
                equal = f"{sum(one['equal'] for one in mine)} of {len(mine)}"
                line([trunk, regime, str(len(mine)), *cells[:2], equal, *cells[2:]])


def cost(rows):
    head(["trunk", "regime", "numbers learned, trunk or adapters", "head", "file, MB", "CPU s of training", "steps"])
    for trunk in dict.fromkeys(row["trunk"] for row in rows):
        for regime in REGIMES:
            mine = [row for row in rows if (row["trunk"], row["regime"]) == (trunk, regime)]
            if mine:
                learned = mine[0]["learned"]
                own = sum(count for name, count in learned.items() if name != "head")
                cells = [f"{own:,}", f"{learned['head']:,}", f"{mine[0]['bytes'] / 1e6:.2f}"]
                steps = ", ".join(map(str, sorted({row["steps"] for row in mine})))
                line([trunk, regime, *cells, spread([row["train_cpu_s"] for row in mine], 0), steps])


def form(row):
    """Form of adapters on maps, with the width of their convolutions where it is not 1."""
    kernel = row.get("kernel", 1)
    return row.get("maps", "parallel") + ("" if kernel == 1 else f", {kernel}x{kernel}")


def rates(rows):
    head(["trunk", "task, camera", "regime", "form on maps", "steps", "rate", "runs", "held-out error", "success"])

    def group(row):
        return *key(row), row["regime"], form(row), row["steps"], row["lr"]

    for name in sorted({group(row) for row in rows if row["regime"] != "frozen"}):
        trunk, task, camera, regime, maps, steps, lr = name
        mine = [row for row in rows if group(row) == name]
        cells = [str(steps), f"{lr:g}", str(len(mine)), spread([row["error"] for row in mine]), percent(pooled(mine))]
        line([trunk, f"{task}, {camera}", regime, maps if regime == "adapters" else "", *cells])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=200, help="length of the runs that all tables but the last are of")
    parser.add_argument("--lr", nargs="*", default=["adapters=0.001", "full=0.001"])
    args = parser.parse_args()
    every = [row for path in args.results for row in json.loads(path.read_text())]
    counts = {name: float(value) for name, value in (one.split("=") for one in args.lr)}
    plain = [row for row in every if form(row) == "parallel" and row["steps"] == args.steps]
    rows = [row for row in plain if row["lr"] == counts.get(row["regime"], row["lr"])]
    for table in (by_task, together, knowledge, cost):
        table(rows)
        print()
    rates(every)


if __name__ == "__main__":
    main()
