"""The claims F1 to F10 of the project's notes on arXiv 2209.15589, judged by one study: held, falsified or undecided.

    python evidence/flops-study/claims.py STUDY    # the folder of tapetum study run

The paper prints directions, and no thresholds that we know of; the thresholds are ours and are stated in each claim. A claim
about scores is a list of comparisons. Each is the mean over the seeds for which all its settings are done, with a Student's t
interval no narrower than that of the study's samples, which include the scatter of all settings and the test images: three
seeds that happen to agree decide nothing. It is at 95 % for the whole claim (Bonferroni). A claim is held if every interval is
on the right side of the line, falsified if one is on the other side, else undecided, as is a comparison of one seed. The plan,
not the finished points, defines the smallest and largest budgets. F1 and F3 are arithmetic on shapes, so the same on every
machine; F2 is undecided if timings show that the machine was shared.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.metrics.statistics import Verdict, join_verdicts, judge_interval, t_interval
from tapetum.systems.pretraining.cost import count_step
from tapetum.systems.pretraining.methods import Byol, Dino, Mae, SimClr
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.study.fronts import RunGroup, SettingKey, interval
from tapetum.systems.pretraining.study.plan import StudyPlan
from tapetum.systems.pretraining.study.point import OWN_ESTIMATE
from tapetum.systems.pretraining.study.results import read_results, size_pairs

UNLABELLED = "simclr", "byol", "dino", "mae"
NONE = "the points that it asks about were not done"
"""The finding where nothing can be compared."""
CLOSE, SENSITIVE = 2.0, 1.0
"""Points of mIoU."""
LINE, FURTHEST, FEWEST = 0.98, 0.1, 5
ALONE = 1.1
"""Seconds of the clock by one of the processor, above which others used the machine too."""
Groups = Mapping[SettingKey, RunGroup]
Judge = Callable[[float, float], Verdict]
"""From the ends of an interval to a verdict."""


@dataclass(frozen=True)
class Claim:
    """One claim, and its verdict."""

    name: str
    says: str
    verdict: Verdict
    finding: str


@dataclass(frozen=True)
class Difference:
    """A number in points of mIoU: samples of it, as `fronts` draws them, and what it is on each seed."""

    samples: np.ndarray
    by_seed: Mapping[int, float]

    def minus(self, other: "Difference") -> "Difference":
        """Subtract another difference, on the seeds of both."""
        by_seed = {seed: value - other.by_seed[seed] for seed, value in self.by_seed.items() if seed in other.by_seed}
        return Difference(self.samples - other.samples, by_seed)


@dataclass(frozen=True)
class Comparison:
    """A difference, and on which side of what it should be."""

    what: str
    difference: Difference
    judge: Judge

    def judged(self, questions: int) -> tuple[Verdict, str]:
        """Judge the mean over seeds, as one of several questions."""
        values, samples = [*self.difference.by_seed.values()], self.difference.samples
        if len(values) < 2:
            return "undecided", f"{self.what} {samples.mean():+.1f} ({'one seed' if values else 'no seed in common'})"
        ends = t_interval(values, 1 - 0.05 / questions), interval(samples, questions)
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return self.judge(low, high), f"{self.what} {np.mean(values):+.1f} ({low:+.1f} to {high:+.1f})"


def above(line: float = 0.0) -> Judge:
    return lambda low, high: judge_interval((low, high), line)


def below(low: float, high: float) -> Verdict:
    return judge_interval((-high, -low))


def close(low: float, high: float) -> Verdict:
    return join_verdicts([judge_interval((low, high), -CLOSE), judge_interval((-high, -low), -CLOSE)])


def mean_of(differences: Sequence[Difference]) -> Difference:
    """Average differences, on the seeds common to all."""
    seeds = set.intersection(*(set(each.by_seed) for each in differences))
    by_seed = {seed: float(np.mean([each.by_seed[seed] for each in differences])) for seed in sorted(seeds)}
    return Difference(np.mean([each.samples for each in differences], axis=0), by_seed)


def seed_scores(group: RunGroup) -> dict[int, float]:
    """List the score of each seed, in points."""
    return {int(row["seed"]): 100 * float(row["miou"]) for row in group.rows}


def minus(one: RunGroup, other: RunGroup) -> Difference:
    """Subtract the scores of two settings."""
    first, second = seed_scores(one), seed_scores(other)
    by_seed = {seed: first[seed] - second[seed] for seed in sorted(first) if seed in second}
    return Difference(100 * one.minus(other)[1], by_seed)


def answer(name: str, says: str, comparisons: Sequence[Comparison], least: int, lead: str) -> Claim:
    """Answer all comparisons; a claim with fewer than the least number is not held."""
    if not comparisons:
        return Claim(name, says, "undecided", NONE)
    answers = [comparison.judged(len(comparisons)) for comparison in comparisons]
    verdict = join_verdicts([verdict for verdict, _ in answers])
    too_few = verdict == "held" and len(comparisons) < least
    finding = f"{lead}, points of mIoU: {'; '.join(line for _, line in answers)}"
    return Claim(name, says, "undecided" if too_few else verdict, finding)


def planned_budgets(plan: StudyPlan, size: str, method: str | None = None) -> list[float]:
    """List the plan's budgets for a size, and for a method if given, in ascending order."""
    points = (p for p in plan.points() if p.size == size and p.budget and p.variant == "curated")
    return sorted({p.budget for p in points if method is None or p.method == method})


def beside(groups: Groups, size: str, budget: float, method: str, others: Sequence[str], judge: Judge) -> Iterator[Comparison]:
    """Compare a method with others at one size and budget."""
    one = groups.get((size, method, budget, "curated"))
    for name in others:
        other = groups.get((size, name, budget, "curated"))
        if one is not None and other is not None:
            yield Comparison(f"{size} at {budget:.3g}, {name}", minus(one, other), judge)


def judge_measured(plan: StudyPlan, groups: Groups) -> list[Claim]:
    """Judge the claims that a study measures: all but F1 and F3; F5 and F10, of fine-tuning, not by a dense probe."""
    trackers = [row["trackers"] for group in groups.values() for row in group.rows if row.get("trackers")]
    claims = [judge_time(groups)]
    claims += [judge(plan, groups) for judge in (labels_first, mae_best, clip_beside_labels, sizes_cross, curation)]
    claims += [judge_trackers(trackers), rankings(plan, groups)]
    other = ("F5", "F10") if plan.pixels.frozen else ()
    return [Claim(each.name, each.says, "undecided", NONE) if each.name in other else each for each in claims]


def judge_time(groups: Groups) -> Claim:
    says = "CPU time is in proportion to counted FLOPs: R² above 0.98, and no run off by more than 10 %"
    rows = [row for group in groups.values() for row in group.rows if row["cpu_seconds"] > 0 and row["flops_spent"] > 0]
    if len(rows) < FEWEST:
        return Claim("F2", says, "undecided", f"{len(rows)} runs; wanted {FEWEST} or more")
    flops, seconds = (np.array([row[name] for row in rows], float) for name in ("flops_spent", "cpu_seconds"))
    left = seconds - flops * (flops @ seconds) / (flops @ flops)
    r2 = 1 - (left @ left) / max(float(((seconds - seconds.mean()) ** 2).sum()), 1e-12)
    speeds = np.sort(flops / seconds) / 1e9
    off = float(np.abs(np.median(speeds) / speeds - 1).max())
    finding = (
        f"{len(rows)} runs: R² {r2:.3f} on a line through 0; {speeds[0]:.0f} to {speeds[-1]:.0f} GFLOP/s of a core, median "
        f"{np.median(speeds):.0f}, from which the furthest is off by {off:.0%} of its time"
    )
    waited = max(row["wall_seconds"] / row["cpu_seconds"] for row in rows)
    if waited > ALONE:
        finding += (
            f"; others used the machine too (a run took {waited:.1f} times its CPU time), so this says nothing of the claim"
        )
        return Claim("F2", says, "undecided", finding)
    return Claim("F2", says, "held" if r2 > LINE and off < FURTHEST else "falsified", finding)


def labels_first(plan: StudyPlan, groups: Groups) -> Claim:
    says = "At the two smallest budgets supervised transfers better than every method without labels, on curated data"
    places = [(size, budget) for size in plan.sizes for budget in planned_budgets(plan, size)[:2]]
    comparisons = [q for size, budget in places for q in beside(groups, size, budget, "supervised", UNLABELLED, above())]
    return answer("F4", says, comparisons, 2 * len(UNLABELLED), "supervised minus others")


def mae_best(plan: StudyPlan, groups: Groups) -> Claim:
    says = "Fine-tuned, MAE is above SimCLR, BYOL and DINO on ViTs at equal FLOPs, at the largest budget"
    places = [(size, budget) for size in plan.sizes for budget in planned_budgets(plan, size, "mae")[-1:]]
    comparisons = [q for size, budget in places for q in beside(groups, size, budget, "mae", UNLABELLED[:-1], above())]
    return answer("F5", says, comparisons, len(UNLABELLED) - 1, "MAE minus others")


def clip_beside_labels(plan: StudyPlan, groups: Groups) -> Claim:
    says = (
        "CLIP with captions made of class names is within 2 points of supervised at equal FLOPs, and gains more by a doubling "
        "of FLOPs than methods without labels"
    )
    comparisons = []
    for size in plan.sizes:
        budgets = sorted(key[2] for key in groups if key[0] == size and key[1] == "clip" and key[3] == "curated")
        comparisons += [q for b in budgets for q in beside(groups, size, b, "clip", ("supervised",), close)]
        slopes = {m: s for m in ("clip", *UNLABELLED) if (s := slope(groups, size, m, budgets)) is not None}
        if "clip" in slopes and len(slopes) > 1:
            others = mean_of([each for method, each in slopes.items() if method != "clip"])
            comparisons.append(Comparison(f"{size}, by a doubling beyond others", slopes["clip"].minus(others), above()))
    return answer("F6", says, comparisons, 3, "CLIP minus supervised")


def slope(groups: Groups, size: str, method: str, budgets: Sequence[float]) -> Difference | None:
    """Compute points per doubling of FLOPs, by least squares."""
    done = [(np.log2(b), s) for b in budgets if (s := groups.get((size, method, b, "curated"))) is not None]
    if len(done) < 2:
        return None
    x = np.array([at for at, _ in done])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    scores = [seed_scores(group) for _, group in done]
    seeds = sorted(set.intersection(*map(set, scores)))
    by_seed = {seed: float(x @ [score[seed] for score in scores]) for seed in seeds}
    return Difference(100 * x @ np.stack([group.samples for _, group in done]), by_seed)


def sizes_cross(plan: StudyPlan, groups: Groups) -> Claim:
    says = (
        "For most methods small and large networks cross: the small one wins at the lowest budget, the large one at the highest"
    )
    ends: list[tuple[Comparison, Comparison]] = []
    for small, large in size_pairs(plan, groups):
        for method in ("supervised", "clip", *UNLABELLED):
            budgets = planned_budgets(plan, small, method)
            pairs = [[groups.get((s, method, b, "curated")) for s in (large, small)] for b in budgets[:1] + budgets[1:][-1:]]
            differences = [minus(one, other) for one, other in pairs if one is not None and other is not None]
            if len(differences) == 2:
                first = Comparison(f"{plan.sizes[small].family}, {method} lowest", differences[0], below)
                ends.append((first, Comparison("highest", differences[1], above())))
    answers = [[comparison.judged(2 * len(ends)) for comparison in pair] for pair in ends]
    verdicts = [join_verdicts([verdict for verdict, _ in pair]) for pair in answers]
    most: list[Verdict] = [v for v in ("held", "falsified") if 2 * verdicts.count(v) > len(verdicts)]
    finding = "; ".join(", ".join(line for _, line in pair) for pair in answers)
    finding = f"large minus small, points of mIoU: {finding}" if finding else NONE
    return Claim("F7", says, most[0] if most else "undecided", finding)


def curation(plan: StudyPlan, groups: Groups) -> Claim:
    """Judge F8: the plan's sources count as poor data too; supervised is compared on those that it was trained on."""
    says = "At equal steps poor data cost SimCLR and BYOL a point or more of mIoU, and more than they cost supervised"
    poor, contrastive = ("long_tailed", "duplicated", "off_domain", *plan.sources), ("simclr", "byol")
    losses: dict[str, dict[tuple[str, str, float], Difference]] = {method: {} for method in (*contrastive, "supervised")}
    for (size, method, budget, variant), bad in groups.items():
        good = groups.get((size, method, budget, "curated"))
        if method in losses and variant in poor and good is not None:
            losses[method][variant, size, budget] = minus(good, bad)
    shared = [key for key in losses["supervised"] if all(key in losses[method] for method in contrastive)]
    if not shared:
        return Claim("F8", says, "undecided", NONE)
    tried, common = (
        ", ".join(name.replace("_", "-") for name in poor if any(key[0] == name for key in keys))
        for keys in (losses[contrastive[0]], shared)
    )
    without = mean_of([mean_of([*losses[method].values()]) for method in contrastive])
    more = mean_of([losses[method][key].minus(losses["supervised"][key]) for method in contrastive for key in shared])
    where = "" if common == tried else f" on {common}"
    comparisons = [Comparison("SimCLR and BYOL", without, above(SENSITIVE))]
    comparisons += [Comparison(f"beyond supervised{where}", more, above())]
    own = "; ".join(f"{method} {mean_of([*of.values()]).samples.mean():+.1f}" for method, of in losses.items())
    claim = answer("F8", says, comparisons, 2, f"lost, mean of {tried}")
    return Claim("F8", says, claim.verdict, f"{claim.finding}; of each {own}")


def judge_trackers(trackers: Sequence[Mapping[str, float]]) -> Claim:
    """Judge F9 by the kWh of one run by each tracker and by our own estimate."""
    says = "On a machine without counters of energy, independent trackers differ by more than 2 times on one run"
    others = [{name: kwh for name, kwh in run.items() if name != OWN_ESTIMATE} for run in trackers]
    runs = [run for run in others if len(run) > 1]
    words = "; ".join(", ".join(f"{name} {value:.2e} kWh" for name, value in run.items()) for run in (runs or trackers)[:3])
    if not runs:
        words = words or "none (cross_check in the plan, tapetum[energy])"
        finding = f"no run has two independent trackers, for our own estimate is a guess: {words}"
        return Claim("F9", says, "undecided", finding)
    times = [max(run.values()) / max(min(run.values()), 1e-12) for run in runs]
    much = f"{min(times):.1f}" if len(times) == 1 else f"{min(times):.1f} to {max(times):.1f}"
    return Claim("F9", says, "held" if min(times) > 2 else "falsified", f"{much} times: {words}")


def rankings(plan: StudyPlan, groups: Groups) -> Claim:
    says = "Methods rank otherwise by neighbours than by fine-tuning: MAE's place is better fine-tuned than by its neighbours"
    lines, verdicts = list[str](), list[Verdict]()
    for size in plan.sizes:
        for budget in planned_budgets(plan, size, "mae")[-1:]:
            rivals = [s for key, s in groups.items() if key == (size, key[1], budget, "curated") and s.knn is not None]
            mae = groups.get((size, "mae", budget, "curated"))
            if mae is None or len(rivals) < 3:
                continue
            scores = [{row["seed"]: row["miou"] for row in group.rows} for group in (mae, *rivals)]
            seeds = set.intersection(*map(set, scores))
            places = [1 + sum(other[seed] > scores[0][seed] for other in scores[1:]) for seed in sorted(seeds)]
            near = 1 + sum(s.knn > mae.knn for s in rivals)
            low, high = t_interval(places) if places else (-np.inf, np.inf)
            among = "known of one seed" if places else "not known on one seed for all"
            among = f"{low:.1f} to {high:.1f}" if len(places) > 1 else among
            verdicts.append("held" if high < near else "falsified" if low >= near else "undecided")
            orders = [sorted(rivals, key=lambda s, name=name: -getattr(s, name)) for name in ("knn", "miou")]
            ranks = [", ".join(s.method for s in order) for order in orders]
            lines.append(f"{size}: by neighbours {ranks[0]}; fine-tuned {ranks[1]}; MAE's place {near} and {among}")
    return Claim("F10", says, join_verdicts(verdicts), "; ".join(lines) or NONE)


_RESNET = {"simclr": (2.0, 2.0), "byol": (2.67, 2.70), "dino": (4.3, 4.6)}
RATIOS: Mapping[tuple[str, tuple[str, ...]], Mapping[str, tuple[float, float]]] = {
    ("resnet-18", ()): _RESNET,
    ("vit-tiny-16", ("patch=8",)): {**_RESNET, "mae": (0.41, 0.41)},
}
"""By network and method: lowest and highest ratio to supervised that the notes have, at 64 pixels with lightly's heads."""
HEADS: Mapping[str, Any] = {
    "simclr": SimClr(hidden=512, projection=128),
    "byol": Byol(hidden=1024, projection=256),
    "dino": Dino(hidden=2048, bottleneck=256, prototypes=4096, local_views=6, local_size=32),
    "mae": Mae(width=128, depth=4, heads=4),
}


def judge_arithmetic() -> list[Claim]:
    """Judge F1, and F3 for ViT-S, B and L at 224 pixels with the published heads."""

    def small(method: Any, encoder: str, change: tuple[str, ...]) -> int:
        heads: Any = {method: HEADS[method]} if method in HEADS else {}
        return count_step(
            recipe(method, "", encoder=encoder, change=change, size=64, batch_size=64, **heads), classes=100
        ).model

    def published(method: Any, encoder: str) -> int:
        return count_step(recipe(method, "", "vit", encoder=encoder, batch_size=2, micro_batch=2), classes=21841).model

    says = "SimCLR costs 2.00 times supervised, BYOL 2.67 to 2.70, DINO 4.3 to 4.6, MAE 0.41, within 2 %"
    lines, right = [], True
    for (encoder, change), expected in RATIOS.items():
        for method, (low, high) in expected.items():
            ratio = small(method, encoder, change) / small("supervised", encoder, change)
            right &= 0.98 * low <= ratio <= 1.02 * high
            lines.append(f"{encoder}, {method} {ratio:.2f} (wanted {low:g}{'' if low == high else f' to {high:g}'})")
    claims = [Claim("F1", says, "held" if right else "falsified", "; ".join(lines))]
    says = "CLIP's and MAE's costs beside supervised fall with the ViT, MAE's to below 1 from ViT-B on"
    vits = "vit-small-16", "vit-base-16", "vit-large-16"
    ratios = {method: [published(method, vit) / published("supervised", vit) for vit in vits] for method in ("clip", "mae")}
    falls = all(a > b for values in ratios.values() for a, b in pairwise(values))
    words = "; ".join(f"{name} {', '.join(f'{r:.2f}' for r in values)}" for name, values in ratios.items())
    holds = falls and ratios["mae"][0] > 1 > ratios["mae"][1]
    return [*claims, Claim("F3", says, "held" if holds else "falsified", f"times supervised for ViT-S, B, L: {words}")]


if __name__ == "__main__":
    results = read_results(Path(sys.argv[1]))
    for claim in [*judge_arithmetic(), *judge_measured(results.plan, results.groups)]:
        print(f"{claim.name} {claim.verdict}: {claim.says}\n    {claim.finding}")
