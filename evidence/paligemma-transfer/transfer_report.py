"""Joins the runs of `claims.py`: results.json with its claims, and transfer.png."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.metrics.statistics import Interval, Verdict, judge_interval, t_interval

KINDS = {
    "answer": "answers",
    "open": "answers but yes and no",
    "segment": "mask of the largest car, IoU",
    "ap50": "boxes, AP50",
}
ABLATIONS = {
    "the prefix seen whole beats a causal one": ("scratch", "scratch-text-causal"),
    "images and prefix seen whole beat all causal": ("scratch", "scratch-causal"),
    "the loss on the suffix alone beats that on all text": ("scratch-text-causal", "scratch-all-text"),
}
Runs = dict[tuple[str, str, int, int], dict[str, Any]]
"""By data, variant, size and seed."""


def report(options: Any, sizes: dict[str, tuple[int, ...]], difference: Any) -> None:
    """Write what there is."""
    runs: Runs = {}
    for path in sorted(options.runs.glob("*/*/scores.json")):
        name, size, seed = path.parent.name.rsplit("-", 2)
        runs[path.parent.parent.name, name, int(size), int(seed)] = json.loads(path.read_text())
    claims = []
    for data, every in sizes.items():
        for size in every:
            for kind in KINDS:
                first, second = paired(runs, data, size, "pretrained", "scratch")
                if first and kind in first[0]:
                    told = {"claim": "pre-training helps", "data": data, "size": size, "of": KINDS[kind]}
                    claims.append(told | compared(first, second, kind, difference))
        for claim, (one, other) in ABLATIONS.items():
            first, second = paired(runs, data, every[-1], one, other)
            if first:
                claims.append(
                    {"claim": claim, "data": data, "size": every[-1], "of": "answers"} | difference(first, second, "answer")
                )
    rows = [
        {"data": d, "variant": v, "size": n, "seed": s}
        | {k: part["mean"] for k, part in told.items() if k in KINDS}
        | {f"grey-{k}": part["mean"] for k, part in told.get("grey", {}).items()}
        | {"common": told["common"]}
        for (d, v, n, s), told in sorted(runs.items())
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps({"claims": claims, "runs": rows}, indent=1) + "\n")
    print(table(claims, rows))
    draw(rows, sizes, options.out / "transfer.png")


def paired(runs: Runs, data: str, size: int, one: str, other: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the runs of two variants that have the same seeds."""
    seeds = sorted({k[3] for k in runs if k[:3] == (data, one, size)} & {k[3] for k in runs if k[:3] == (data, other, size)})
    return [runs[data, one, size, s] for s in seeds], [runs[data, other, size, s] for s in seeds]


def compared(first: list[dict[str, Any]], second: list[dict[str, Any]], kind: str, difference: Any) -> dict[str, Any]:
    """Compare by images, or, where a score is not a mean over them, by seeds alone."""
    if kind != "ap50":
        return difference(first, second, kind)
    seeds = [a[kind]["mean"] - b[kind]["mean"] for a, b in zip(first, second, strict=True)]
    return {"difference": float(np.mean(seeds)), "interval": None, "seeds": seeds}


def verdict_of(seeds: Sequence[float], images: Interval | None = None) -> Verdict:
    """Judge a difference by its intervals over seeds and over images: both must be on one side, so both must be known."""
    low, high = t_interval(seeds)
    return judge_interval((min(low, images[0]), max(high, images[1]))) if images else "undecided"


def table(claims: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """Write tables in Markdown."""
    lines = [
        "| data | images | of | pre-trained | scratch | grey | most common | difference (95 %, images; 95 %, seeds) | claim |",
        "|---" * 9 + "|",
    ]
    named = {text: kind for kind, text in KINDS.items()}
    for c in claims:
        kind = named[c["of"]]

        def mean(variant: str, key: str, c: dict[str, Any] = c) -> str:
            values = [
                r[key] for r in rows if (r["data"], r["variant"], r["size"]) == (c["data"], variant, c["size"]) and key in r
            ]
            return f"{np.mean(values):.3f}" if values else ""

        ends = [f"{low:+.3f} to {high:+.3f}" for low, high in filter(None, (c["interval"], t_interval(c["seeds"])))]
        shift = f"{c['difference']:+.3f} ({'; '.join(ends)})"
        one, other = ABLATIONS.get(c["claim"], ("pretrained", "scratch"))
        common = mean("scratch", "common") if kind == "answer" else ""
        first = mean(one, kind)
        if one == "scratch":  # runs of this name are of another sitting than the claim's
            first = f"{float(mean(other, kind)) + c['difference']:.3f}"
        cells = [c["data"], c["size"], c["of"], first, mean(other, kind), mean(one, f"grey-{kind}"), common, shift]
        lines.append(
            "| "
            + " | ".join(map(str, [*cells, f"{c['claim']}: {verdict_of(c['seeds'], c['interval'])} ({len(c['seeds'])} seeds)"]))
            + " |"
        )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], sizes: dict[str, tuple[int, ...]], path: Path) -> None:
    """Draw each seed as a point, means as lines."""
    from matplotlib.figure import Figure

    panels = [("easy-vqa", "answer"), ("easy-vqa", "open"), ("camvid", "answer"), ("camvid", "segment"), ("camvid", "ap50")]
    there = {(r["data"], kind) for r in rows for kind in KINDS if kind in r}
    panels = [panel for panel in panels if panel in there]
    figure = Figure(figsize=(3.6 * len(panels), 3.4), layout="constrained")
    for axis, (data, kind) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        lines = {"pre-trained": ("pretrained", kind), "scratch": ("scratch", kind), "grey": ("pretrained", f"grey-{kind}")}
        if kind == "answer":
            lines["most common"] = ("scratch", "common")
        for (label, (variant, key)), style in zip(lines.items(), ("C0o-", "C3s-", "C7x:", "C2:"), strict=False):
            points = [(r["size"], r[key]) for r in rows if (r["data"], r["variant"]) == (data, variant) and key in r]
            if not points:
                continue
            at = [n for n in sizes[data] if any(size == n for size, _ in points)]
            means = [np.mean([value for size, value in points if size == n]) for n in at]
            axis.plot(at, means, style, label=label, markersize=4)
            if style[2] in "os":
                axis.plot(*zip(*points, strict=True), style[:3], markersize=3, alpha=0.5)
        axis.set(xscale="log", title=f"{data}: {KINDS[kind]}", xlabel="training images", ylim=(0, None))
        axis.set_xticks(sizes[data], map(str, sizes[data]))
        axis.minorticks_off()
    figure.axes[0].legend()
    figure.savefig(path, dpi=100)
