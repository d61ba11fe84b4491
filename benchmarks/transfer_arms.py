"""What transfers of PaliGemma are compared by: arms, data sizes, seeds, each run resumable; a table and a plot of all.

    pretrained, scratch       the same transfer from the weights and from random ones, at each size of data
    ... causal                the prefix sees only what is before it, at the largest size
    ... all text              the prefix is learned too, which makes it causal as well, at the largest size

Used by paligemma_easy_vqa.py and paligemma_camvid.py. A run is a folder OUT/ARM-SIZE-SEED with its result.json; what has one is
not done again, and one that was stopped goes on. All arms take as many steps, at the same rate.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.data.json_files import read_lines, write_lines
from tapetum.files import whole_file
from tapetum.paligemma.answers import Answerer
from tapetum.paligemma.recipes import PaliGemmaTransfer, transfer
from tapetum.paligemma.transfer import train_transfer
from tapetum.train.launch_config import Launch

ARMS: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "scratch": {"scratch": True},
    "pretrained, causal": {"prefix_mask": "causal"},
    "scratch, causal": {"scratch": True, "prefix_mask": "causal"},
    "pretrained, all text": {"loss_on_prefix": True},
    "scratch, all text": {"scratch": True, "loss_on_prefix": True},
}
AT_ALL_SIZES = "pretrained", "scratch"
Score = Callable[[Answerer], dict[str, float]]


@dataclass(frozen=True)
class Run:
    """One transfer."""

    arm: str
    size: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm.replace(', ', '-').replace(' ', '-')}-{self.size}-{self.seed}"


def parser(about: str, sizes: Sequence[int]) -> argparse.ArgumentParser:
    """The options that both scripts have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runs", type=Path, required=True, help="folder of the runs; they go on there")
    made.add_argument("--out", type=Path, help="folder of the table, the plot and results.json, such as evidence/STUDY")
    made.add_argument("--model", default="paligemma-nano", help="weights to begin with")
    made.add_argument("--sizes", type=int, nargs="+", default=list(sizes), help="pictures to learn from")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    made.add_argument("--steps", type=int, default=1500)
    made.add_argument("--batch-size", type=int, default=32, help="pictures of a step, each with up to --per-picture texts")
    made.add_argument("--per-picture", type=int, default=8)
    made.add_argument("--lr", type=float, default=5e-4)
    made.add_argument("--tests", type=int, help="pictures to score on; all by default")
    made.add_argument("--minutes", type=float, help="stop after so many; the same command goes on")
    made.add_argument("--threads", type=int, default=1)
    return made


def plan(args: argparse.Namespace) -> Iterator[Run]:
    """All runs, those of a seed after each other."""
    for seed in args.seeds:
        for arm in args.arms:
            for size in args.sizes if arm in AT_ALL_SIZES else [max(args.sizes)]:
                yield Run(arm, size, seed)


def config_of(run: Run, lines: Path, args: argparse.Namespace) -> PaliGemmaTransfer:
    common = {"steps": args.steps, "batch_size": args.batch_size, "micro_batch": args.batch_size, "lr": args.lr}
    return transfer(str(lines), args.model, per_picture=args.per_picture, seed=run.seed, **common, **ARMS[run.arm])


def subset(lines: Path, size: int, seed: int, place: Path) -> Path:
    """The lines of `size` pictures, drawn by the seed: those of a smaller size are among those of a larger one."""
    file = place / f"train-{size}-{seed}.jsonl"
    if not file.exists():
        rows = list(read_lines(lines))
        pictures = sorted({row["image"] for row in rows})
        kept = {pictures[k] for k in np.random.default_rng(seed).permutation(len(pictures))[:size]}
        write_lines(file, (row for row in rows if row["image"] in kept))
    return file


def run_all(args: argparse.Namespace, lines: Path, score: Score) -> list[dict[str, Any]]:
    """Do what is not done yet; gives the results of what is."""
    found = []
    for run in plan(args):
        folder = args.runs / run.name
        result = folder / "result.json"
        if not result.exists():
            config = config_of(run, subset(lines, run.size, run.seed, lines.parent), args)
            launch = Launch(out=folder, threads=args.threads, minutes=args.minutes, device="cpu")
            finished = train_transfer(config, launch, lambda text, name=run.name: print(f"{name}: {text}", flush=True))
            if finished is None:
                print(f"{run.name} was stopped; the same command goes on")
                return found
            scores = score(Answerer.load(finished.weights))
            about = {"arm": run.arm, "size": run.size, "seed": run.seed, "steps": args.steps, "lr": args.lr}
            with whole_file(result) as temporary:
                temporary.write_text(json.dumps(about | {"scores": scores}, indent=1) + "\n")
            print(f"{run.name}: {scores}", flush=True)
        found.append(json.loads(result.read_text()))
    return found


def table(results: Sequence[dict[str, Any]], baselines: dict[str, dict[str, float]]) -> str:
    """A Markdown table: each score as the mean over seeds and its standard deviation."""
    names = list(results[0]["scores"])
    lines = [f"| arm | pictures | seeds | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for arm, size in dict.fromkeys((r["arm"], r["size"]) for r in results):
        same = [r["scores"] for r in results if (r["arm"], r["size"]) == (arm, size)]
        cells = [f"{np.mean([s[n] for s in same]):.3f} ± {np.std([s[n] for s in same]):.3f}" for n in names]
        lines.append(f"| {arm} | {size} | {len(same)} | {' | '.join(cells)} |")
    for name, scores in baselines.items():
        lines.append(f"| {name} | | | {' | '.join(f'{scores[n]:.3f}' if n in scores else '' for n in names)} |")
    return "\n".join(lines)


def write_up(args: argparse.Namespace, results: Sequence[dict[str, Any]], baselines: dict[str, dict[str, float]]) -> None:
    """Print the table; write it, the numbers and the plot, where --out says."""
    if not results:
        return
    text = table(results, baselines)
    print(text)
    if args.out is None:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "table.md").write_text(text + "\n")
    (args.out / "results.json").write_text(json.dumps({"runs": list(results), "baselines": baselines}, indent=1) + "\n")
    plot(args.out / "curves.png", results, baselines)


def plot(path: Path, results: Sequence[dict[str, Any]], baselines: dict[str, dict[str, float]]) -> None:
    """Each score over the number of pictures: means with a bar from the worst seed to the best; dots of the other arms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(results[0]["scores"])
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.6), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for arm in dict.fromkeys(r["arm"] for r in results):
            sizes = sorted({r["size"] for r in results if r["arm"] == arm})
            values = [[r["scores"][name] for r in results if (r["arm"], r["size"]) == (arm, size)] for size in sizes]
            mean = np.array([np.mean(v) for v in values])
            ends = np.array([[m - min(v), max(v) - m] for m, v in zip(mean, values, strict=True)]).T
            axis.errorbar(sizes, mean, ends, marker="o", capsize=3, label=arm, linestyle="-" if len(sizes) > 1 else "")
        for label, scores in baselines.items():
            if name in scores:
                axis.axhline(scores[name], color="grey", linestyle=":", label=label)
        axis.set(xscale="log", xlabel="pictures learned from", ylabel=name, ylim=(0, 1.02))
    axes[0][0].legend(fontsize=7)
    figure.savefig(path, dpi=120)
    plt.close(figure)
