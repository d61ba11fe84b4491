"""Key-value recall: which memory finds what was paired long ago? Claims C1, C2 and C4 of MC-ViT at the scale of a laptop.

    python benchmarks/longvideo_recall.py OUT [--forms streaming random ...] [--seeds 0 1 2] [--steps 3000]

For each form and seed a small encoder is trained (`tapetum.longvideo.recall`), in OUT/FORM-SEED, and scored on videos that were
never learned from: of the length trained on, twice and four times that. A call that was stopped goes on; what is finished is
not done again. OUT/results.json has all scores, the table is printed, with what the claims say of it:

    C1  k-means and coreset find the value at least 10 points more often than random memories of the same number
    C2  they, and the joint form, at least 30 points more often than streaming, which is at chance
    C4  of twice the length at least 90 % is kept

Each is held, falsified, or undecided, where the seeds do not agree or there are fewer than three. C1 is falsified only where
random memories are within 2 points, and undecided between that and 10.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tapetum.files import whole_file
from tapetum.longvideo.recall import SMALL, RecallRun, RecallTask, accuracy
from tapetum.scenes.recall import RecallConfig
from tapetum.train import TrainConfig, fit

FORMS: Mapping[str, Mapping[str, Any]] = {
    "streaming": {"memory": "streaming"},
    "random": {"consolidation": "random"},
    "kmeans": {"consolidation": "kmeans"},
    "coreset": {"consolidation": "coreset"},
    "augmented": {"memory": "augmented"},
    "joint": {"memory": "joint"},
    "late": {"memory": "streaming", "pooling": "late"},
    "random-4x": {"consolidation": "random", "memories": 64},
}
"""Settings of the encoder by the name of the form; late is late temporal fusion, random-4x has four times the memories."""
Scores = dict[str, list[dict[str, float]]]


def run_of(form: str, seed: int, smoke: bool) -> RecallRun:
    """The run of a form; for a smoke test a tiny one."""
    video, world = replace(SMALL, seed=seed, **FORMS[form]), RecallConfig()
    if smoke:
        world = RecallConfig(segments=3, segment_frames=4, size=32)
        few = min(video.memories, 4)
        video = replace(
            video, width=16, depth=2, heads=2, mlp_width=32, size=(32, 32), frames=12, segment_frames=4, memories=few
        )
    read_out = "all" if form == "late" else "last"
    return RecallRun(video=video, world=world, seed=seed, read_out=read_out, checks=8 if smoke else 256)


def trained(form: str, seed: int, out: Path, args: argparse.Namespace) -> dict[str, float] | None:
    """Train and score, or go on with it; None if it was stopped."""
    done = out / f"{form}-{seed}" / "scores.json"
    if done.exists():
        return json.loads(done.read_text())
    run = run_of(form, seed, args.smoke)
    config = TrainConfig(
        steps=args.steps,
        batch_size=16,
        accumulation=args.accumulation,
        seed=seed,
        lr=args.rate,
        warmup_steps=args.steps // 20,
        weight_decay=0.01,
        eval_every=max(1, args.steps // 4),
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
    counts = [run.world.segments * times for times in ((1, 2) if args.smoke else (1, 2, 4))]
    found = {str(n): accuracy(model, replace(run.world, segments=n), run.checks) for n in counts}
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def verdicts(scores: Scores) -> dict[str, str]:
    """What the scores say of the claims; every claim must hold for each seed by itself, or fail for each."""
    base = next((list(rows[0]) for rows in scores.values() if rows), None)
    if base is None:
        return {}

    def each(form: str) -> list[float]:
        return [row[base[0]] for row in scores.get(form, [])]

    def ahead(form: str, other: str) -> list[float]:
        return [a - b for a, b in zip(each(form), each(other), strict=False)]

    kept = [[row[base[1]] / max(row[base[0]], 1e-9) for row in scores.get(form, [])] for form in ("kmeans", "coreset")]
    return {
        "C1": _judge([ahead("kmeans", "random"), ahead("coreset", "random")], 0.1, 0.02),
        "C2": _judge([ahead(form, "streaming") for form in ("kmeans", "coreset", "joint")], 0.3, 0.3),
        "C4": _judge(kept, 0.9, 0.9),
    }


def _judge(parts: list[list[float]], held: float, falsified: float) -> str:
    """Held if every value of every part is so great; falsified if all of some part are below."""
    if any(len(part) < 3 for part in parts):
        return "undecided: fewer than three seeds"
    if all(value >= held for part in parts for value in part):
        return "held"
    return "falsified" if any(max(part) < falsified for part in parts) else "undecided"


def table(scores: Scores) -> str:
    """A line a form: mean and deviation over seeds, by segments."""
    lines = []
    for form, rows in scores.items():
        cells = []
        for n in rows[0] if rows else ():
            values = [100 * row[n] for row in rows]
            cells.append(f"{n} segments {mean(values):5.1f}" + (f" +- {stdev(values):.1f}" if len(values) > 1 else ""))
        lines.append(f"{form:10} ({len(rows)} seeds)  " + "   ".join(cells))
    return "\n".join(lines)


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and videos, to see that all runs")
    args = parser.parse_args()
    scores: Scores = {}
    for seed in args.seeds:  # a seed of all forms before the next, so that what there is can be compared
        for form in args.forms:
            found = trained(form, seed, args.out, args)
            if found is None:
                say("stopped; the same command goes on")
                return
            scores.setdefault(form, []).append(found)
            content = {
                "steps": args.steps,
                "seeds": args.seeds,
                "scores": scores,
                "claims": {} if args.smoke else verdicts(scores),
            }
            with whole_file(args.out / "results.json") as temporary:
                temporary.write_text(json.dumps(content, indent=1))
    say(table(scores))
    for claim, verdict in ({} if args.smoke else verdicts(scores)).items():
        say(f"{claim}  {verdict}")


if __name__ == "__main__":
    main()
