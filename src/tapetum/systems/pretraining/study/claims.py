"""The claims F1 to F10 of the project's notes on arXiv 2209.15589, judged by one study: held, falsified or undecided.

The paper prints directions, and no thresholds that we know of; the thresholds are ours and are stated in each claim. A claim
about scores is a list of comparisons. Each is the mean over the seeds for which all its settings are done, with a Student's t
interval no narrower than that of `fronts`, at 95 % for the whole claim (Bonferroni). A claim is held if every interval is on
the right side of the line, falsified if one is on the other side, else undecided, as is a comparison of one seed. The plan, not
the finished points, defines the smallest and largest budgets. F1 and F3 are arithmetic on shapes, so the same on every machine;
F2 is undecided if timings show that the machine was shared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from tapetum.metrics.statistics import Verdict, join_verdicts, t_interval
from tapetum.systems.pretraining.cost import count_step
from tapetum.systems.pretraining.methods import Byol, Dino, Mae, SimClr
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.study.fronts import Settings
from tapetum.systems.pretraining.study.plan import StudyPlan
from tapetum.systems.pretraining.study.questions import (
    CLOSE,
    NONE,
    Claim,
    Comparison,
    Difference,
    Judge,
    above,
    answer_claim,
    below,
    close,
    compare,
    mean_of,
    minus,
    power_of,
    require_seeds,
)

OWN_ESTIMATE = "CPU seconds x watts"
"""What a study calls the ledger's own estimate beside a tracker's; its watts are a guess of ours, so that it is no tracker."""
UNLABELLED = "simclr", "byol", "dino", "mae"
"""Methods that see no label."""
_CONTRASTIVE = "simclr", "byol"
_POOR = "long_tailed", "duplicated", "off_domain"
_ENDS = "lowest", "highest"
_SENSITIVE = 1.0
"""Points of mIoU."""
_LINE, _FURTHEST, _FEWEST = 0.98, 0.1, 5
_ALONE = 1.1
"""Seconds of the clock by one of the processor, above which others used the machine too."""


def judged(plan: StudyPlan, settings: Settings, trackers: Sequence[Mapping[str, float]] = ()) -> list[Claim]:
    """Judge all ten. `trackers`: for F9, kWh of one run by each tracker and by `OWN_ESTIMATE`."""
    claims = [
        _arithmetic(
            "F1", "SimCLR costs 2.00 times supervised, BYOL 2.67 to 2.70, DINO 4.3 to 4.6, MAE 0.41, within 2 %", ratios()
        ),
        _arithmetic(
            "F3", "CLIP's and MAE's costs beside supervised fall with the ViT, MAE's to below 1 from ViT-B on", overheads()
        ),
        *measured(plan, settings, trackers),
    ]
    return sorted(claims, key=lambda claim: int(claim.name[1:]))


def measured(plan: StudyPlan, settings: Settings, trackers: Sequence[Mapping[str, float]] = ()) -> list[Claim]:
    """Judge the claims that a study measures: all but F1 and F3; F5 and F10, of fine-tuning, not by a dense probe."""
    claims = [
        _time(settings),
        _labels_first(plan, settings),
        _mae_best(plan, settings),
        _clip_beside_labels(plan, settings),
        _sizes_cross(plan, settings),
        _curation(plan, settings),
        _trackers(trackers),
        _rankings(plan, settings),
    ]
    other = ("F5", "F10") if plan.pixels.frozen else ()
    return [Claim(each.name, each.says, "undecided", NONE) if each.name in other else each for each in claims]


def budgets_of(settings: Settings, size: str, method: str | None = None) -> list[float]:
    """List the budgets of curated points of a size, and of a method if given, in ascending order."""
    own = (s for s in settings.curated() if s.size == size and s.budget and (method is None or s.method == method))
    return sorted({s.budget for s in own})


def planned(plan: StudyPlan, size: str, method: str | None = None) -> list[float]:
    """List the plan's budgets for a size, and for a method if given, in ascending order."""
    points = (p for p in plan.points() if p.size == size and p.budget and p.variant == "curated")
    return sorted({p.budget for p in points if method is None or p.method == method})


def pairs_of_sizes(plan: StudyPlan, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the smallest and the largest network of each family with at least two."""
    cost = {s.size: s.forward_flops for s in settings.groups}
    for family in dict.fromkeys(size.family for size in plan.sizes.values()):
        names = sorted((n for n, size in plan.sizes.items() if size.family == family and n in cost), key=lambda n: cost[n])
        if len(names) > 1:
            yield names[0], names[-1]


def _beside(
    settings: Settings, size: str, budget: float, method: str, others: Sequence[str], judge: Judge
) -> Iterator[Comparison]:
    """Compare a method with others at one size and budget."""
    one = settings.get(size, method, budget)
    for name in others:
        other = settings.get(size, name, budget)
        if one is not None and other is not None:
            lines = (-CLOSE, CLOSE) if judge is close else (0.0,)
            yield compare(f"{size} at {budget:.3g}, {name}", one, other, judge, lines)


def _arithmetic(name: str, says: str, result: tuple[bool, str]) -> Claim:
    power = "It is decided by arithmetic: no run, no seed."
    return Claim(name, says, "held" if result[0] else "falsified", result[1], power)


def _time(settings: Settings) -> Claim:
    says = "CPU time is in proportion to counted FLOPs: R² above 0.98, and no run off by more than 10 %"
    rows = [row for setting in settings.groups for row in setting.rows if row["cpu_seconds"] > 0 and row["flops_spent"] > 0]
    if len(rows) < _FEWEST:
        return Claim("F2", says, "undecided", f"{len(rows)} runs; wanted {_FEWEST} or more")
    flops, seconds = (np.array([row[name] for row in rows], float) for name in ("flops_spent", "cpu_seconds"))
    left = seconds - flops * (flops @ seconds) / (flops @ flops)
    r2 = 1 - (left @ left) / max(float(((seconds - seconds.mean()) ** 2).sum()), 1e-12)
    speeds = np.sort(flops / seconds) / 1e9
    off = float(np.abs(np.median(speeds) / speeds - 1).max())
    result = (
        f"{len(rows)} runs: R² {r2:.3f} on a line through 0; {speeds[0]:.0f} to {speeds[-1]:.0f} GFLOP/s of a core, median "
    )
    result += f"{np.median(speeds):.0f}, from which the furthest is off by {off:.0%} of its time"
    power = "Every run is one measurement of the machine, and the bound is on the worst of them: no seeds are compared."
    waited = max(row["wall_seconds"] / row["cpu_seconds"] for row in rows)
    if waited > _ALONE:
        result += (
            f"; others used the machine too (a run took {waited:.1f} times its CPU time), so this says nothing of the claim"
        )
        return Claim("F2", says, "undecided", result, power)
    return Claim("F2", says, "held" if r2 > _LINE and off < _FURTHEST else "falsified", result, power)


def _labels_first(plan: StudyPlan, settings: Settings) -> Claim:
    says = "At the two smallest budgets supervised transfers better than every method without labels, on curated data"
    places = [(size, budget) for size in plan.sizes for budget in planned(plan, size)[:2]]
    comparisons = [q for size, budget in places for q in _beside(settings, size, budget, "supervised", UNLABELLED, above())]
    return answer_claim("F4", says, settings, comparisons, 2 * len(UNLABELLED), "supervised minus others")


def _mae_best(plan: StudyPlan, settings: Settings) -> Claim:
    says = "Fine-tuned, MAE is above SimCLR, BYOL and DINO on ViTs at equal FLOPs, at the largest budget"
    places = [(size, budget) for size in plan.sizes for budget in planned(plan, size, "mae")[-1:]]
    comparisons = [q for size, budget in places for q in _beside(settings, size, budget, "mae", UNLABELLED[:-1], above())]
    return answer_claim("F5", says, settings, comparisons, len(UNLABELLED) - 1, "MAE minus others")


def _clip_beside_labels(plan: StudyPlan, settings: Settings) -> Claim:
    says = (
        "CLIP with captions made of class names is within 2 points of supervised at equal FLOPs, and gains more by a doubling "
        "of FLOPs than methods without labels"
    )
    comparisons = []
    for size in plan.sizes:
        budgets = budgets_of(settings, size, "clip")
        comparisons += [q for b in budgets for q in _beside(settings, size, b, "clip", ("supervised",), close)]
        slopes = {m: s for m in ("clip", *UNLABELLED) if (s := _slope(settings, size, m, budgets)) is not None}
        if "clip" in slopes and len(slopes) > 1:
            others = mean_of([slope for method, slope in slopes.items() if method != "clip"])
            comparisons.append(Comparison(f"{size}, by a doubling beyond others", slopes["clip"].minus(others), above()))
    return answer_claim("F6", says, settings, comparisons, 3, "CLIP minus supervised")


def _slope(settings: Settings, size: str, method: str, budgets: Sequence[float]) -> Difference | None:
    """Points per doubling of FLOPs, by least squares."""
    done = [(np.log2(b), s) for b in budgets if (s := settings.get(size, method, b)) is not None]
    if len(done) < 2:
        return None
    x = np.array([at for at, _ in done])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    scores = [{int(row["seed"]): 100 * float(row["miou"]) for row in group.rows} for _, group in done]
    seeds = sorted(set.intersection(*map(set, scores)))
    by_seed = {seed: float(x @ [score[seed] for score in scores]) for seed in seeds}
    return Difference(100 * x @ np.stack([group.samples for _, group in done]), by_seed)


def _sizes_cross(plan: StudyPlan, settings: Settings) -> Claim:
    says = (
        "For most methods small and large networks cross: the small one wins at the lowest budget, the large one at the highest"
    )
    ends: list[tuple[Comparison, Comparison]] = []
    for small, large in pairs_of_sizes(plan, settings):
        for method in ("supervised", "clip", *UNLABELLED):
            budgets = planned(plan, small, method)
            pairs = [(settings.get(small, method, b), settings.get(large, method, b)) for b in budgets[:1] + budgets[1:][-1:]]
            done = [(s, l) for s, l in pairs if s is not None and l is not None]
            if len(done) == len(_ENDS):
                names, judges = (f"{plan.sizes[small].family}, {method} {_ENDS[0]}", _ENDS[1]), (below, above())
                first, last = (compare(name, l, s, judge) for name, judge, (s, l) in zip(names, judges, done, strict=True))
                ends.append((first, last))
    answers = [[question.judge_seeds(2 * len(ends)) for question in pair] for pair in ends]
    verdicts = [join_verdicts([verdict for verdict, _ in pair]) for pair in answers]
    most: list[Verdict] = [v for v in ("held", "falsified") if 2 * verdicts.count(v) > len(verdicts)]
    result = "; ".join(", ".join(line for _, line in pair) for pair in answers)
    result = f"large minus small, points of mIoU: {result}" if result else NONE
    power = power_of(settings, [question for pair in ends for question in pair], 2) if ends else ""
    return require_seeds(settings, Claim("F7", says, most[0] if most else "undecided", result, power))


def _curation(plan: StudyPlan, settings: Settings) -> Claim:
    """Judge F8: the plan's sources count as poor data too; supervised is compared on those that it was trained on."""
    says = "At equal steps poor data cost SimCLR and BYOL a point or more of mIoU, and more than they cost supervised"
    poor = (*_POOR, *plan.sources)
    losses: dict[str, dict[tuple[str, str, float], Difference]] = {method: {} for method in (*_CONTRASTIVE, "supervised")}
    for bad in settings.groups:
        good = settings.get(bad.size, bad.method, bad.budget)
        if bad.method in losses and bad.variant in poor and good is not None:
            losses[bad.method][bad.variant, bad.size, bad.budget] = minus(good, bad)
    shared = [key for key in losses["supervised"] if all(key in losses[method] for method in _CONTRASTIVE)]
    if not shared:
        return Claim("F8", says, "undecided", NONE)

    def names(keys: Iterable[tuple[str, str, float]]) -> str:
        variants = {key[0] for key in keys}
        return ", ".join(name.replace("_", "-") for name in poor if name in variants)

    without = mean_of([mean_of([*losses[method].values()]) for method in _CONTRASTIVE])
    more = [losses[method][key].minus(losses["supervised"][key]) for method in _CONTRASTIVE for key in shared]
    tried = names(losses[_CONTRASTIVE[0]])
    where = "" if names(shared) == tried else f" on {names(shared)}"
    comparisons = [Comparison("SimCLR and BYOL", without, above(_SENSITIVE), (_SENSITIVE,))]
    comparisons += [Comparison(f"beyond supervised{where}", mean_of(more), above())]
    own = "; ".join(f"{method} {mean_of([*of.values()]).samples.mean():+.1f}" for method, of in losses.items())
    result = answer_claim("F8", says, settings, comparisons, 2, f"lost, mean of {tried}")
    return replace(result, finding=f"{result.finding}; of each {own}")


def _trackers(trackers: Sequence[Mapping[str, float]]) -> Claim:
    says = "On a machine without counters of energy, independent trackers differ by more than 2 times on one run"
    others = [{name: kwh for name, kwh in run.items() if name != OWN_ESTIMATE} for run in trackers]
    if all(len(run) < 2 for run in others):
        words = "; ".join(_kwh(run) for run in trackers[:3]) or "none (cross_check in the plan, tapetum[energy])"
        power = "Trackers decide it, not seeds: a run wants two that measure for themselves, such as RAPL and codecarbon."
        finding = f"no run has two independent trackers, for our own estimate is a guess: {words}"
        return Claim("F9", says, "undecided", finding, power)
    trackers = [run for run in others if len(run) > 1]
    times = [max(kwh.values()) / max(min(kwh.values()), 1e-12) for kwh in trackers]
    words = "; ".join(_kwh(run) for run in trackers[:3])
    verdict = "held" if min(times) > 2 else "falsified"
    much = f"{min(times):.1f}" if len(times) == 1 else f"{min(times):.1f} to {max(times):.1f}"
    return Claim("F9", says, verdict, f"{much} times: {words}")


def _kwh(run: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2e} kWh" for name, value in run.items())


def _rankings(plan: StudyPlan, settings: Settings) -> Claim:
    says = "Methods rank otherwise by neighbours than by fine-tuning: MAE's place is better fine-tuned than by its neighbours"
    lines, verdicts = list[str](), list[Verdict]()
    for size in plan.sizes:
        for budget in planned(plan, size, "mae")[-1:]:
            rivals = [s for s in settings.curated() if (s.size, s.budget) == (size, budget) and s.knn is not None]
            mae = settings.get(size, "mae", budget)
            if mae is None or len(rivals) < 3:
                continue
            scores = [{row["seed"]: row["miou"] for row in group.rows} for group in (mae, *rivals)]
            seeds = set.intersection(*map(set, scores))
            places = [1 + sum(other[seed] > scores[0][seed] for other in scores[1:]) for seed in sorted(seeds)]
            near = 1 + sum(s.knn > mae.knn for s in rivals)
            low, high = t_interval(places) if places else (-np.inf, np.inf)
            among = (
                f"{low:.1f} to {high:.1f}"
                if len(places) > 1
                else "known of one seed"
                if places
                else "not known on one seed for all"
            )
            verdicts.append("held" if high < near else "falsified" if low >= near else "undecided")
            by = {name: sorted(rivals, key=lambda s: -getattr(s, name)) for name in ("knn", "miou")}
            ranks = [", ".join(s.method for s in order) for order in by.values()]
            lines.append(f"{size}: by neighbours {ranks[0]}; fine-tuned {ranks[1]}; MAE's place {near} and {among}")
    power = "Places are compared and not scores, so that no single difference decides it; F5's differences are those of places."
    return require_seeds(settings, Claim("F10", says, join_verdicts(verdicts), "; ".join(lines) or NONE, power))


_RESNET: Mapping[str, tuple[float, float]] = {"simclr": (2.0, 2.0), "byol": (2.67, 2.70), "dino": (4.3, 4.6)}
RATIOS: Mapping[tuple[str, tuple[str, ...]], Mapping[str, tuple[float, float]]] = {
    ("resnet-18", ()): _RESNET,
    ("vit-tiny-16", ("patch=8",)): {**_RESNET, "mae": (0.41, 0.41)},
}
"""By network and method: lowest and highest ratio to supervised that the notes have, at 64 pixels with lightly's heads."""
_WITHIN = 0.02
_HEADS: Mapping[str, Mapping[str, Any]] = {
    "simclr": {"simclr": SimClr(hidden=512, projection=128)},
    "byol": {"byol": Byol(hidden=1024, projection=256)},
    "dino": {"dino": Dino(hidden=2048, bottleneck=256, prototypes=4096, local_views=6, local_size=32)},
    "mae": {"mae": Mae(width=128, depth=4, heads=4)},
}


@cache
def ratios() -> tuple[bool, str]:
    """Check whether all ratios of F1 are what they should be, and list them."""
    lines, right = [], True
    for (encoder, change), expected in RATIOS.items():
        one = _small("supervised", encoder, change)
        for method, (low, high) in expected.items():
            ratio = _small(method, encoder, change) / one
            right &= (1 - _WITHIN) * low <= ratio <= (1 + _WITHIN) * high
            lines.append(f"{encoder}, {method} {ratio:.2f} (wanted {low:g}{'' if low == high else f' to {high:g}'})")
    return right, "; ".join(lines)


@cache
def overheads() -> tuple[bool, str]:
    """Check whether F3 holds for ViT-S, B and L at 224 pixels with the published heads, and list the ratios to supervised."""
    ratios_by_method: dict[str, list[float]] = {"clip": [], "mae": []}
    for encoder in ("vit-small-16", "vit-base-16", "vit-large-16"):
        one = _published("supervised", encoder)
        for method, list_ in ratios_by_method.items():
            list_.append(_published(method, encoder) / one)
    falls = all(a > b for list_ in ratios_by_method.values() for a, b in pairwise(list_))
    words = "; ".join(f"{name} {', '.join(f'{r:.2f}' for r in list_)}" for name, list_ in ratios_by_method.items())
    return falls and ratios_by_method["mae"][0] > 1 > ratios_by_method["mae"][1], f"times supervised for ViT-S, B, L: {words}"


def _small(method: Any, encoder: str, change: tuple[str, ...]) -> int:
    made = recipe(method, "", encoder=encoder, change=change, size=64, batch_size=64, **_HEADS.get(method, {}))
    return count_step(made, classes=100).model


def _published(method: Any, encoder: str) -> int:
    made = recipe(method, "", "vit", encoder=encoder, batch_size=2, micro_batch=2)
    return count_step(made, classes=21841).model
