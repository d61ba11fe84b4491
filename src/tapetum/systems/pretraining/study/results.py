"""Results of a study so far: settings with their intervals, Pareto front, crossings, claims; and the report of it, one HTML
file with charts and table, without external files.
"""

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.reading import no_pipe
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.study.charts import COLOURS, OTHER, BarValue, Line, Mark, bars, scatter
from tapetum.systems.pretraining.study.claims import budgets_of, judged, pairs_of_sizes
from tapetum.systems.pretraining.study.fronts import RunGroup, Settings, crossing, front, interval, membership, settings_of
from tapetum.systems.pretraining.study.plan import UNTRAINED, StudyPlan
from tapetum.systems.pretraining.study.point import COUNTS
from tapetum.systems.pretraining.study.questions import Claim
from tapetum.systems.pretraining.study.sweep import POINTS, read_plan_source, write_table

RESULTS = "results.json"
_SEEN = 0.05
_ENOUGH = 20


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """Results of a study so far."""

    plan: StudyPlan
    rows: tuple[dict[str, Any], ...]
    settings: Settings
    claims: tuple[Claim, ...]
    planned: int
    """Points of the plan."""


@dataclass(frozen=True, kw_only=True)
class Overtaking:
    """Budget at which the large network of a family overtakes the small one."""

    family: str
    method: str
    flops: float | None
    """None where it does not, in the range of the budgets."""
    ends: tuple[float, float] | None
    """Of 95 % of the samples that have such a place; None where few have."""
    share: float
    """Of the samples that have one."""


def studied(out: Path) -> StudyResults:
    """Read the finished part of a study in a folder. Raises BadInput if it is not a study, or has no finished point."""
    plan = read_plan_source(out).read()
    rows, counts = write_table(plan, out), []
    for row in rows:
        file = out / POINTS / row["name"] / COUNTS
        try:
            counts.append(np.load(no_pipe(file))["counts"])
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"{file} cannot be read; remove its folder, and run the study again") from error
    settings = settings_of(rows, counts)
    claims = tuple(judged(plan, settings, [row["trackers"] for row in rows if row.get("trackers")]))
    return StudyResults(plan=plan, rows=tuple(rows), settings=settings, claims=claims, planned=len(plan.points()))


def on_front(settings: Settings) -> list[tuple[RunGroup, float, bool]]:
    """List the curated settings by budget, each with the share of samples in which it is on the front, and whether it is.

    A budget in whole steps differs by less than a step between methods; this is ignored.
    """
    learned = sorted((s for s in settings.curated() if s.method != UNTRAINED), key=lambda s: s.budget)
    if not learned:
        return []
    costs = np.array([s.budget for s in learned])
    members = front(costs, np.array([s.miou for s in learned]))
    return list(zip(learned, membership(learned, costs).tolist(), members.tolist(), strict=True))


def crossings(results: StudyResults) -> Iterator[Overtaking]:
    """Find where the large network overtakes, for each family and method."""
    settings = results.settings
    for small, large in pairs_of_sizes(results.plan, settings):
        for method in _drawn(results):
            budgets = budgets_of(settings, small, method)
            pairs = [(settings.get(small, method, b), settings.get(large, method, b)) for b in budgets]
            both = [(one, other) for one, other in pairs if one is not None and other is not None]
            if len(both) < 2:
                continue
            flops = np.array([one.budget for one, _ in both])
            values, samples = zip(*(large_one.minus(small_one) for small_one, large_one in both), strict=True)
            ahead = np.stack(samples, -1)
            at, drawn = (float(crossing(flops, np.zeros(len(flops)), np.array(values))), crossing(flops, 0 * ahead, ahead))
            there = drawn[np.isfinite(drawn)]
            yield Overtaking(
                family=results.plan.sizes[small].family,
                method=method,
                flops=at if np.isfinite(at) else None,
                ends=interval(there) if len(there) >= _ENOUGH else None,
                share=len(there) / len(drawn),
            )


def write_results(results: StudyResults, path: Path) -> Path:
    """Write the results, without the table, as JSON."""
    content = {
        "points": len(results.rows),
        "wanted": results.planned,
        "seed_deviation": results.settings.seed_deviation,
        "own_deviation": results.settings.own_deviation,
        "claims": [vars(claim) for claim in results.claims],
        "front": [
            {**dict(zip(("size", "method", "budget", "variant"), s.key, strict=True)), "miou": s.miou}
            | {"interval": list(s.interval), "share": share, "on": on}
            for s, share, on in on_front(results.settings)
            if on or share > _SEEN
        ],
        "crossings": [vars(place) for place in crossings(results)],
    }
    with whole_file(path) as temporary:
        write_text(temporary, json.dumps(content, indent=1) + "\n")
    return path


REPORT = "report.html"
COSTS = {"flops": ("FLOPs of pre-training", 1.0), "cpu_seconds": ("CPU hours", 3600.0), "co2_kg": ("g of CO2, estimated", 1e-3)}
"""What accuracy is drawn against: column, axis, and its unit in that of the column."""
SCORES = {"miou": "mIoU after fine-tuning", "knn": "accuracy of neighbours", "linear": "accuracy of a linear probe"}
_LIKELY = 1 / 3

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;margin:0 auto;padding:1rem;max-width:1240px}
h1{font-size:1.5rem;line-height:1.25;margin:.4rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}p{max-width:75ch}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,370px),1fr));gap:1rem}
.charts svg{width:100%;max-width:560px;height:auto;border:1px solid #ddd;border-radius:4px}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin:.5rem 0;padding:0;list-style:none}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin-right:.4em}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}
th,td{padding:.22rem .55rem;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th{background:#f5f5f5}th:first-child,td:first-child,.text{text-align:left}
.claims td{white-space:normal;vertical-align:top}.claims td:last-child{min-width:26em}
.held{color:#00694a}.falsified{color:#b03000}.undecided{color:#666}footer{color:#555;font-size:.85rem;margin-top:2rem}
@media(max-width:600px){.claims table,.claims tbody,.claims tr,.claims td{display:block;text-align:left;border:0}
.claims td,.claims td:last-child{padding:.1rem 0;min-width:0}.claims thead{display:none}
.claims tr{border-bottom:1px solid #ddd;padding:.5rem 0}.claims td:first-child{font-weight:bold}}
"""


def write_report(results: StudyResults, path: Path) -> Path:
    """Write the report."""
    with whole_file(path) as temporary:
        write_text(temporary, "\n".join(_page(results)))
    return path


def _page(results: StudyResults) -> Iterator[str]:
    yield "<!doctype html><html lang='en'><meta charset='utf-8'>"
    yield "<meta name='viewport' content='width=device-width,initial-scale=1'>"
    yield f"<title>Where should I spend my FLOPs?</title><style>{_STYLE}</style>"
    yield f"<h1>Where should I spend my FLOPs?</h1><p>{html.escape(_summary(results))}</p>"
    yield _legend(results)
    families = dict.fromkeys(size.family for size in results.plan.sizes.values())
    for column, title in SCORES.items():
        costs = COSTS if column == "miou" else ("flops",)
        drawn = "".join(_chart(results, family, column, cost) for family in families for cost in costs)
        if drawn:
            yield f"<h2>{html.escape(title)} against cost</h2><div class='charts'>{drawn}</div>"
    yield from _front(results.settings)
    yield from _crossings(results)
    yield from _variants(results.settings)
    yield from _claims(results.claims)
    yield from _table(results.settings)
    yield f"<footer>{html.escape(_notes(results))}</footer></html>"


def _summary(results: StudyResults) -> str:
    images, pixels = results.plan.images, results.plan.pixels
    part = f"all {results.planned}" if len(results.rows) == results.planned else f"{len(results.rows)} of {results.planned}"
    hours = sum(row["cpu_seconds"] + row["transfer_cpu_seconds"] for row in results.rows) / 3600
    return (
        f"Networks are pre-trained on {images.count:,} images of {Path(images.data).name} at {images.size} pixels, "
        f"each with its own schedule, then fine-tuned to name every pixel of {Path(pixels.data).name} at {pixels.size[0]} x "
        f"{pixels.size[1]}. Here are {part} points of the plan, {hours:.2g} CPU hours of training. Bars are intervals of 95 %."
    )


def _drawn(results: StudyResults) -> list[str]:
    """The methods of the points that are done, ours first, in the order of the legend."""
    done = [row["method"] for row in results.rows if row["method"] != UNTRAINED]
    return [m for m in dict.fromkeys((*COLOURS, *METHODS, *sorted(done))) if m in done]


def _legend(results: StudyResults) -> str:
    marks = "".join(f"<li><i style='background:{COLOURS.get(m, OTHER)}'></i>{html.escape(m)}</li>" for m in _drawn(results))
    return (
        f"<ul class='legend'>{marks}<li>hollow, dashed: the small network</li><li>filled: the large one</li>"
        "<li><i style='background:#c9a0dc'></i>Pareto front of what is drawn</li></ul>"
    )


def _chart(results: StudyResults, family: str, column: str, cost: str) -> str:
    """Draw the curated settings of a family; an empty text if there are none."""
    sizes = {s.size: s.forward_flops for s in results.settings.curated() if s.family == family}
    largest = max(sizes, key=lambda name: sizes[name], default=None)
    axis, unit = COSTS[cost]
    lines: list[Line] = []
    drawn: list[RunGroup] = []
    for size in sizes:
        for method in _drawn(results):
            rivals = (s for s in results.settings.curated() if (s.size, s.method) == (size, method))
            own = sorted((s for s in rivals if getattr(s, cost) > 0 and getattr(s, column) is not None), key=_by(cost))
            if own:
                marks = tuple(_mark(s, column, getattr(s, cost) / unit) for s in own)
                lines.append(Line(method=method, large=size == largest and len(sizes) > 1, marks=marks))
                drawn += own
    drawn.sort(key=_by(cost))
    paid = "budget" if cost == "flops" else cost  # whole steps of a budget differ a little, which decides nothing
    costs, scores = (np.array([float(getattr(s, name)) for s in drawn]) for name in (paid, column))
    stairs = [(c / unit, y) for c, y, on in zip(costs, scores, front(costs, scores), strict=True) if on] if drawn else []
    nothing = [getattr(s, column) for s in results.settings.groups if s.method == UNTRAINED and s.size in sizes]
    level = max(nothing) if nothing and None not in nothing else None
    return scatter(f"{family}: {'mIoU' if column == 'miou' else column}", axis, SCORES[column], lines, stairs, level)


def _by(column: str):
    return lambda setting: getattr(setting, column)


def _mark(setting: RunGroup, column: str, x: float) -> Mark:
    y = getattr(setting, column)
    low, high = setting.interval if column == "miou" else (y, y)
    words = (
        f"{setting.size}, {setting.method}, {setting.flops:.3g} FLOP, {setting.steps} steps: {y:.4f} ({low:.4f} to {high:.4f})"
    )
    return Mark(x=x, y=y, low=low, high=high, words=words)


def _front(settings: Settings) -> Iterator[str]:
    yield (
        "<h2>Pareto front</h2><p>Points whose mIoU is above that of everything that costs no more FLOPs, and the share of "
        "resamples in which they are.</p>"
    )
    rows = [
        (f"{s.size}, {s.method}", f"{s.budget:.3g}", f"{s.miou:.4f}", _ends(s.interval), f"{share:.0%}", "on" if on else "")
        for s, share, on in on_front(settings)
        if on or share >= _LIKELY
    ]
    yield _grid(("point", "FLOPs", "mIoU", "95 %", "share", "front"), rows)


def _crossings(results: StudyResults) -> Iterator[str]:
    rows = []
    for place in crossings(results):
        where = "none in range" if place.flops is None else f"{place.flops:.2g}"
        ends = "" if place.ends is None else f"{place.ends[0]:.2g} to {place.ends[1]:.2g}"
        rows.append((f"{place.family}, {place.method}", where, ends, f"{place.share:.0%}"))
    if rows:
        yield "<h2>Where the large network overtakes the small one</h2>"
        yield _grid(("method", "FLOPs", "95 % of those that cross", "share that cross"), rows)


def _variants(settings: Settings) -> Iterator[str]:
    results = []
    for poor in settings.groups:
        good = settings.get(poor.size, poor.method, poor.budget)
        if poor.variant != "curated" and good is not None:
            value, samples = good.minus(poor)
            low, high = interval(100 * samples)
            group = poor.variant.replace("_", " ")
            results.append(BarValue(group=group, method=poor.method, value=100 * value, low=low, high=high))
    if results:
        yield "<h2>What other data cost</h2><p>Points of mIoU lost against curated data, at equal steps and equal seeds.</p>"
        yield f"<div class='charts'>{bars('curated minus variant', 'points of mIoU', results)}</div>"


def _claims(claims: Sequence[Claim]) -> Iterator[str]:
    yield "<h2>Claims</h2><div class='claims wide'><table><thead><tr>"
    heads = "says", "came out", "found", "can these runs decide it?"
    yield "<th>claim" + "".join(f"<th class='text'>{head}" for head in heads) + "</thead><tbody>"
    for claim in claims:
        verdict = f"<b class='{claim.verdict}'>{claim.verdict}</b>"
        yield f"<tr><td>{claim.name}<td class='text'>{html.escape(claim.says)}<td class='text'>{verdict}"
        yield f"<td class='text'>{html.escape(claim.finding)}<td class='text'>{html.escape(claim.power)}"
    yield "</tbody></table></div>"


_HEADS = (
    *("point", "seeds", "parameters", "GFLOP forward", "GFLOP a step", "steps", "FLOPs", "CPU s", "Wh", "g CO2"),
    *("neighbours", "linear", "mIoU", "95 %"),
)


def _table(settings: Settings) -> Iterator[str]:
    yield "<h2>All points</h2>"
    rows = []
    for s in settings.groups:
        near = ["" if getattr(s, name) is None else f"{getattr(s, name):.3f}" for name in ("knn", "linear")]
        cells = [f"{s.size}, {s.method}, {s.variant}", str(len(s.rows)), f"{s.parameters:,}", f"{s.forward_flops / 1e9:.3g}"]
        cells += [f"{s.flops_per_step / 1e9:.3g}", str(s.steps), f"{s.flops:.3g}", f"{s.cpu_seconds:.0f}"]
        rows.append(
            [*cells, _thousandths(s, "energy_kwh"), _thousandths(s, "co2_kg"), *near, f"{s.miou:.4f}", _ends(s.interval)]
        )
    yield _grid(_HEADS, rows)


def _thousandths(setting: RunGroup, name: str) -> str:
    value, low, high = (1e3 * getattr(setting, name + end) for end in ("", "_low", "_high"))
    return f"{value:.2g} ({low:.2g} to {high:.2g})"


def _notes(results: StudyResults) -> str:
    pixels, deviation = results.plan.pixels, results.settings.seed_deviation
    seeds = "No setting has two seeds, so intervals know of the images of the test part alone."
    if deviation is not None:
        own = results.settings.own_deviation or 0.0
        seeds = f"Between seeds mIoU deviates by {100 * deviation:.2f} points, by {100 * own:.2f} once what a seed does to all "
        seeds += "points of a size is taken away; intervals know of that and of the test images."
    tried = "1 rate" if len(pixels.learning_rates) == 1 else f"{len(pixels.learning_rates)} rates"
    return (
        f"FLOP = 2 x multiply-add, forward and backward, of pre-training alone. Fine-tuning is the same for all: {tried}, "
        f"{pixels.steps} steps of {pixels.batch_size} images. Energy and CO2 are estimated from CPU seconds unless a ledger "
        f"says that they were measured. {seeds} Neighbours and the linear probe have no intervals here. Of points with "
        "several seeds means are shown."
    )


def _ends(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4f} to {ends[1]:.4f}"


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(head)}" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return f"<div class='wide'><table><thead><tr>{top}</thead><tbody>{body}</tbody></table></div>"
