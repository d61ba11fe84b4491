"""Key-value recall: which memory finds what was paired long ago? Claims C1, C2 and C4 of MC-ViT at the scale of a laptop.

    python evidence/longvideo/recall.py OUT [--forms streaming random ...] [--seeds 0 1 2] [--steps 800] [--full]

For each form and seed a small encoder is trained (`tapetum_world.training.recall`), in OUT/FORM-SEED, and scored on videos
that were never learned from: of the length trained on, and twice that. A call that was stopped goes on; what is finished is not
done again. Small is: one block of 48 channels; five segments of 16 tokens, of which 2 are remembered; one pair in each of the
first four, of 4 keys and 4 values (chance is a quarter). --full is four blocks of 96 channels; eight segments of 128 tokens, of
which 16 are remembered; 28 pairs of 32 keys.

OUT/results.json has all scores, curves and costs (multiply-adds of one video, as `equations.py` counts them);
the table is printed, with what the claims say of it; OUT/recall.png shows it (with matplotlib: the extra view):

    C1    k-means and coreset find the value at least 10 points more often than random memories of the same number
    C2    they, and the joint form, at least 30 points more often than streaming, which is at chance
    C4    of twice the length at least 90 % is kept
    cost  k-means at least 10 points above random memories at equal cost (as many more as k-means' rounds would pay for), and
          at least 30 above streaming (which has not seen the pair, whatever it may cost)

Each is held, falsified or undecided by the means over the seeds and their intervals (`plus_minus.py`).
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tapetum.core.files import whole_file
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.train import TrainConfig, fit
from tapetum_world.recall import RecallConfig
from tapetum_world.training.recall import SMALL, RecallRun, RecallTask, accuracy

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from equations import compute_cost
from plus_minus import Part, verdict

FORMS: Mapping[str, Mapping[str, Any]] = {
    "streaming": {"memory": "streaming"},
    "random": {"consolidation": "random"},
    "kmeans": {"consolidation": "kmeans"},
    "coreset": {"consolidation": "coreset"},
    "augmented": {"memory": "augmented"},
    "joint": {"memory": "joint"},
    "late": {"memory": "streaming", "pooling": "late"},
    "random-paid": {"consolidation": "random"},
}
"""Settings of the encoder by the name of the form; late is late temporal fusion, random-paid has more memories, see `cost`."""
WORLD = RecallConfig(segments=5, segment_frames=4, tubelet=1, size=16, patch=8, pairs=1, keys=4)
VIDEO = VideoConfig(
    width=48,
    depth=1,
    heads=2,
    mlp_width=96,
    size=(16, 16),
    tubelet=(1, 8, 8),
    segment_frames=4,
    frames=20,
    memory="consolidated",
    memories=2,
    memory_grad="through",
)
BIN = 25
"""Steps over which a curve is averaged."""
Scores = dict[str, list[dict[str, Any]]]


def run_of(form: str, seed: int, args: argparse.Namespace) -> RecallRun:
    """The run of a form; for a smoke test a tiny one."""
    base, world, start = (SMALL, RecallConfig(), None) if args.full else (VIDEO, WORLD, VIDEO.width**-0.5)
    if args.smoke:
        world = replace(WORLD, segments=3, pairs=2)
        base = replace(VIDEO, width=16, depth=2, heads=2, mlp_width=32, frames=12)
    video = replace(base, seed=seed, **FORMS[form])
    if form == "random-paid":
        video = replace(video, memories=paid(base, video, world.frames))
    return RecallRun(
        video=video, world=world, seed=seed, read_out="all" if form == "late" else "last", checks=args.checks, start=start
    )


def paid(base: VideoConfig, video: VideoConfig, frames: int) -> int:
    """So many random memories that they cost no less than k-means' own."""
    price = compute_cost(replace(base, consolidation="kmeans"), frames).multiply_adds
    return next(
        k for k in range(base.memories, 10**6) if compute_cost(replace(video, memories=k), frames).multiply_adds >= price
    )


def trained(form: str, seed: int, out: Path, args: argparse.Namespace) -> dict[str, Any] | None:
    """Train and score, or go on with it; None if it was stopped."""
    done = out / f"{form}-{seed}" / "scores.json"
    if done.exists():
        return json.loads(done.read_text())
    run = run_of(form, seed, args)
    config = TrainConfig(
        steps=args.steps,
        batch_size=args.batch,
        accumulation=args.accumulation,
        seed=seed,
        lr=args.rate,
        warmup_steps=args.steps // 20,
        weight_decay=0.01,
        betas=(0.9, 0.98),
        keep_last=1,
        threads=1,
        device=args.device,
        find_unused_parameters=True,
        tensorboard=False,
    )
    result = fit(RecallTask(run), config, done.parent)
    if result.state == "stopped":
        return None
    model: Any = result.model
    model.eval()
    found = {
        str(n): accuracy(model, replace(run.world, segments=n), run.checks) for n in (run.world.segments * k for k in (1, 2))
    }
    cost = compute_cost(run.video, run.world.frames)
    found = {"accuracy": found, "curve": curve(done.parent), "multiply_adds": cost.multiply_adds, "memories": cost.memories}
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def curve(out: Path) -> list[float]:
    """Accuracy in training, averaged."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    right = [row["metrics"]["accuracy"] for row in rows if "accuracy" in row.get("metrics", {})]
    return [round(mean(right[k : k + BIN]), 4) for k in range(0, len(right) - BIN + 1, BIN)]


def parts_of(scores: Scores) -> dict[str, list[Part]]:
    """What each claim rests on, of those whose runs are there."""

    def ahead(form: str, other: str, bound: float) -> Part:
        gains = [100 * (a - b) for a, b in zip(_first(scores, form), _first(scores, other), strict=False)]
        return Part(f"{form} less {other}, points", gains, bound)

    def kept(form: str) -> Part:
        pairs = [tuple(row["accuracy"].values()) for row in scores[form]]
        return Part(f"kept by {form}, %", [100 * longer / max(own, 1e-9) for own, longer in pairs], 90)

    claims: Mapping[str, tuple[Sequence[str], Callable[[], list[Part]]]] = {
        "C1": (("kmeans", "coreset", "random"), lambda: [ahead(form, "random", 10) for form in ("kmeans", "coreset")]),
        "C2": (
            ("kmeans", "coreset", "joint", "streaming"),
            lambda: [ahead(form, "streaming", 30) for form in ("kmeans", "coreset", "joint")],
        ),
        "C4": (("kmeans", "coreset"), lambda: [kept(form) for form in ("kmeans", "coreset")]),
        "cost": (
            ("kmeans", "random-paid", "streaming"),
            lambda: [ahead("kmeans", "random-paid", 10), ahead("kmeans", "streaming", 30)],
        ),
    }
    return {claim: parts() for claim, (forms, parts) in claims.items() if all(scores.get(form) for form in forms)}


def _first(scores: Scores, form: str) -> list[float]:
    """Accuracies of a form, for the length that was learned."""
    return [next(iter(row["accuracy"].values())) for row in scores.get(form, [])]


def table(scores: Scores) -> str:
    """A line a form: mean and deviation over seeds, by segments."""
    lines = []
    for form, rows in scores.items():
        cells = []
        for n in rows[0]["accuracy"] if rows else ():
            values = [100 * row["accuracy"][n] for row in rows]
            cells.append(f"{n:>2} segments {mean(values):5.1f}" + (f" +- {stdev(values):4.1f}" if len(values) > 1 else ""))
        cost = f"{rows[0]['memories']:3} memories {rows[0]['multiply_adds'] / 1e6:6.2f} M multiply-adds" if rows else ""
        lines.append(f"{form:11} ({len(rows)} seeds)  {cost}   " + "   ".join(cells))
    return "\n".join(lines)


def draw(scores: Scores, path: Path) -> None:
    """Draw curves of training, and scores by seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (form, rows) in enumerate(scores.items()):
        columns = [mean(column) for column in zip(*(row["curve"] for row in rows), strict=False)]
        left.plot([BIN * (i + 1) for i in range(len(columns))], [100 * each for each in columns], f"C{k}", label=form)
        values = [100 * each for each in _first(scores, form)]
        right.plot([k] * len(values), values, "o", color=f"C{k}", alpha=0.6)
        right.hlines(mean(values), k - 0.3, k + 0.3, f"C{k}")
    for axis in (left, right):
        axis.axhline(25, color="grey", lw=0.8, ls=":")
        axis.set_ylabel("right, % (dotted: chance)")
    left.set(title="in training, mean of the seeds", xlabel="steps")
    right.set(title="on new videos: seeds, and their mean")
    right.set_xticks(range(len(scores)), list(scores), rotation=30, ha="right")
    left.legend(fontsize=8)
    figure.savefig(path)


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--checks", type=int, default=512, help="videos to score with")
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--full", action="store_true", help="larger networks and videos, for a core and a day")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and videos, to see that all runs")
    args = parser.parse_args()
    scores: Scores = {}
    for seed in args.seeds:  # a seed of all forms before the next, so that what there is can be compared
        for form in args.forms:
            found = trained(form, seed, args.out, args)
            if found is None:
                say("stopped; the same command goes on")
                return
            ledger = json.loads((args.out / f"{form}-{seed}" / "ledger.json").read_text())
            scores.setdefault(form, []).append({**found, "cpu_s": round(ledger["total"]["cpu_seconds"], 1)})
            settings = {name: value for name, value in vars(args).items() if name != "out"}
            with whole_file(args.out / "results.json") as temporary:
                temporary.write_text(json.dumps({"settings": settings, "scores": scores}))
    say(table(scores))
    for claim, parts in ({} if args.smoke else parts_of(scores)).items():
        say(f"{claim}  {verdict(parts)}: {'; '.join(map(str, parts))}")
    try:
        draw(scores, args.out / "recall.png")
    except ImportError:
        say("no image: pip install 'tapetum[view]'")


if __name__ == "__main__":
    main()
