"""Claims L1 to L5 of LongViViT, and MC-ViT's memories, on ordered events (`tapetum_world.ordered_events`), laptop size.

    python evidence/longvideo/claims.py OUT [--claims L1 L2 L3 L4 L5 M] [--seeds 0 1 2] [--steps 400] [--image-steps 0]

    L1  dropping 75 % of the tokens makes what is stored for backward 3 times smaller or more (12 layers of 384, 1,024 tokens)
    L2  joint attention loses at most 3 points of order by it, factorised attention twice as much or more
    L3  learning in the last four of 12 layers makes what is stored 3 times smaller (2.95 or more), and costs at most 1 point
        where a network of 16 frames is tuned to 64
    L4  that network as it was is at least 10 points of order below itself after the tuning
    L5  with a quarter of the tokens, dropping at random is better by more than 1 point, in captions found, than tubelets four
        times as long, and than patches twice as wide and high
    M   of four events, each a segment, what the last segment knows: k-means memories (8 of 64 tokens) are at least 10 points of
        order better than as many random ones, and 30 better than no memory

Else two events of 16 frames (for L3 and L4 two of 8, then eight of 8), frames of 32 x 32. A text tower would have to learn to
read first, so captions are scored by linear layers over the pooled vector instead, one for each word of each event: what a
caption scores is the sum of the log-probabilities of its words. `found` is how often the right one of 64 captions is first,
`order` how often the right order of the own events is. A claim is judged by the means over the seeds and their intervals
(`plus_minus.py`); it is undecided where the network to compare with found the order in less than 3 of 4 videos. Runs go on
where they were stopped. OUT/results.json has all numbers, OUT/claims.png the scores (with matplotlib: the extra view).

With --image-steps the networks of L2 and L5 start, as the paper's do, from an image ViT that has learned colours and shapes in
so many steps of 64 frames, one of each seed and patch size; and every network spends the FLOPs of joint attention on all
tokens in --steps: the fewer tokens, the more steps.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from events import EventsTask, StillsTask, Teller, inflated, score
from tapetum.account.flops import count_flops
from tapetum.core.files import whole_file
from tapetum.systems.longvideo.config import VideoConfig, named
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.train import TrainConfig, fit
from tapetum_world.ordered_events import OrderedEventsConfig

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import Part, verdict

SLOW = OrderedEventsConfig(events=2, length=16, size=32, thing=(12, 16))
SHORT, LONG = replace(SLOW, length=8), replace(SLOW, events=8, length=8)
VIDEO = VideoConfig(width=64, depth=2, heads=2, mlp_width=128, size=(32, 32), tubelet=(4, 8, 8), frames=32)
DEEP = replace(VIDEO, depth=6, frames=16)
FOUR = replace(SLOW, events=4)
SEGMENTS = replace(VIDEO, frames=64, memory="consolidated", memories=8, memory_grad="through")
RUNS: Mapping[str, tuple[VideoConfig, OrderedEventsConfig]] = {
    "joint": (VIDEO, SLOW),
    "joint-75": (replace(VIDEO, mask_ratio=0.75), SLOW),
    "factorised": (replace(VIDEO, attention="factorised"), SLOW),
    "factorised-75": (replace(VIDEO, attention="factorised", mask_ratio=0.75), SLOW),
    "long-tubelets": (replace(VIDEO, tubelet=(16, 8, 8)), SLOW),
    "wide-patches": (replace(VIDEO, tubelet=(4, 16, 16)), SLOW),
    "short": (DEEP, SHORT),
    "tuned-all": (replace(DEEP, frames=64, mask_ratio=0.75), LONG),
    "tuned-last-4": (replace(DEEP, frames=64, mask_ratio=0.75, tune="last-4"), LONG),
    "kmeans": (SEGMENTS, FOUR),
    "random": (replace(SEGMENTS, consolidation="random"), FOUR),
    "streaming": (replace(SEGMENTS, memory="streaming"), FOUR),
}
NEEDED: Mapping[str, Sequence[str]] = {
    "L1": (),
    "L2": ("joint", "joint-75", "factorised", "factorised-75"),
    "L5": ("joint-75", "long-tubelets", "wide-patches"),
    "L3": ("short", "tuned-all", "tuned-last-4"),
    "L4": ("short", "tuned-all"),
    "M": ("kmeans", "random", "streaming"),
}
Scores = dict[str, list[dict[str, float]]]


class Bench:
    """Runs of all seeds, those that are finished kept."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.scores = args, Scores()

    def trained(self, name: str, seed: int) -> dict[str, float]:
        """Train and score, or read what was."""
        args, (video, world) = self.args, RUNS[name]
        out = args.out / f"{name}-{seed}"
        if (out / "scores.json").exists():
            return json.loads((out / "scores.json").read_text())
        tuned = name.startswith("tuned")
        start = self.network("short", seed) if tuned else self.from_images(video, seed) if args.image_steps else None
        steps, rate = (args.tuning, args.rate / 2) if tuned else (args.steps, args.rate)
        if args.image_steps:
            steps = round(steps * cost(RUNS["joint"][0]) / cost(video))
        model = self.fitted(EventsTask(video, world, seed, start), steps, rate, seed, out)
        found = score(model, world, seed, args.checks)
        if name == "short":  # the same network on longer videos, its positions stretched
            longer = EventsTask(RUNS["tuned-all"][0], LONG, seed, model).model().eval()
            found |= {f"long_{key}": value for key, value in score(longer, LONG, seed, args.checks).items()}
        with whole_file(out / "scores.json") as temporary:
            temporary.write_text(json.dumps(found))
        return found

    def network(self, name: str, seed: int) -> Teller:
        """The network of a finished run."""
        video, world = RUNS[name]
        args = self.args
        return self.fitted(EventsTask(video, world, seed), args.steps, args.rate, seed, args.out / f"{name}-{seed}")

    def from_images(self, video: VideoConfig, seed: int) -> Teller:
        """A network that starts from the image encoder of its patch size."""
        args, patch = self.args, video.tubelet[1]
        task = StillsTask(replace(VIDEO, tubelet=(1, patch, patch)), SLOW, seed)
        out = args.out / f"images-{patch}-{seed}"
        encoder = self.fitted(task, args.image_steps, 2e-3, seed, out, 64)
        torch.manual_seed(seed)
        return inflated(encoder, video)

    def fitted(self, task: Any, steps: int, rate: float, seed: int, out: Path, batch: int | None = None) -> Any:
        """Train in a folder, or go on."""
        args = self.args
        config = TrainConfig(
            steps=steps,
            batch_size=batch or args.batch,
            seed=seed,
            lr=rate,
            warmup_steps=steps // 16,
            weight_decay=0.01,
            betas=(0.9, 0.98),
            threads=1,
            keep_last=1,
            tensorboard=False,
            find_unused_parameters=True,
        )
        result = fit(task, config, out)
        if result.state == "stopped":
            raise SystemExit("stopped; the same command goes on")
        return result.model.eval()


def cost(video: VideoConfig) -> int:
    """FLOPs of one video, without the tokens that are dropped in training."""
    model = VideoEncoder(video).train()
    with torch.no_grad():
        return count_flops(lambda: model(torch.zeros(1, video.frames, *video.size, 3))).forward


def stored(mask: float, tune: str, fused: bool) -> tuple[int, float]:
    """Bytes of tensors that are kept for backward (not weights), and CPU seconds of forward and backward."""
    torch.manual_seed(0)
    config = named("vivit-nano", width=384, depth=12, heads=6, mlp_width=1536, size=(64, 64), frames=128)
    model = VideoEncoder(replace(config, mask_ratio=mask, tune=tune)).train()
    video = torch.rand(1, 128, 64, 64, 3) * 2 - 1
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    began = time.process_time()
    with nullcontext() if fused else sdpa_kernel(SDPBackend.MATH):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(video).pooled.square().mean()
        loss.backward()
    seconds = time.process_time() - began
    return sum(size for place, size in kept.items() if place not in weights), seconds


def storage() -> dict[str, dict[str, float]]:
    """What is stored, by how much is dropped and how much learns."""
    rows = {}
    for name, mask, tune in (
        ("all", 0.0, "all"),
        ("75", 0.75, "all"),
        ("last-4", 0.0, "last-4"),
        ("75-last-4", 0.75, "last-4"),
    ):
        for fused in (True, False):
            size, seconds = stored(mask, tune, fused)
            rows[f"{name}-{'fused' if fused else 'unfused'}"] = {"mib": size / 2**20, "cpu_s": seconds}
    return rows


def parts_of(scores: Scores, stored: Mapping[str, Mapping[str, float]]) -> dict[str, list[Part]]:
    """What each claim rests on, of those whose runs are there; nothing where the network to compare with did not learn."""

    def ahead(one: str, other: str, key: str = "order", other_key: str | None = None) -> list[float]:
        pairs = zip(scores[one], scores[other], strict=False)
        return [100 * (a[key] - b[other_key or key]) for a, b in pairs]

    def learned(*names: str) -> bool:
        return all(row["order"] >= 0.75 for name in names for row in scores[name])

    def less(name: str, bound: float) -> list[Part]:
        times = {kind: stored[f"all-{kind}"]["mib"] / stored[f"{name}-{kind}"]["mib"] for kind in ("fused", "unfused")}
        return [
            Part(f"times less stored, {kind} attention", [much], bound, counted=True, digits=2) for kind, much in times.items()
        ]

    def loss_of_attention() -> list[Part]:
        joint, factorised = ahead("joint", "joint-75"), ahead("factorised", "factorised-75")
        twice = [b - 2 * a for a, b in zip(joint, factorised, strict=True)]
        return [
            Part("points lost by joint attention", joint, 3, below=True),
            Part("points lost by factorised attention", factorised),
            Part("these less twice those", twice),
        ]

    made: Mapping[str, Callable[[], list[Part]]] = {
        "L1": lambda: less("75", 3),
        "L2": lambda: loss_of_attention() if learned("joint", "factorised") else [],
        "L3": lambda: (
            [
                *less("last-4", 2.95),
                Part("points lost by learning in four layers", ahead("tuned-all", "tuned-last-4"), 1, below=True),
            ]
            if learned("short")
            else []
        ),
        "L4": lambda: (
            [Part("points of order gained", ahead("tuned-all", "short", "order", "long_order"), 10)] if learned("short") else []
        ),
        "L5": lambda: [
            Part(f"points ahead of {name.replace('-', ' ')}, captions", ahead("joint-75", name, "found"), 1)
            for name in ("long-tubelets", "wide-patches")
        ],
        "M": lambda: [
            Part("points ahead of random memories", ahead("kmeans", "random"), 10),
            Part("points ahead of no memory", ahead("kmeans", "streaming"), 30),
        ],
    }
    return {claim: parts() for claim, parts in made.items() if all(scores.get(name) for name in NEEDED[claim])}


def draw(scores: Scores, path: Path) -> None:
    """Draw the scores of all runs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    for axis, key, chance in zip(figure.subplots(1, 2), ("order", "found"), (50, 100 / 64), strict=True):
        for k, rows in enumerate(scores.values()):
            axis.plot([k] * len(rows), [100 * row[key] for row in rows], "o", color=f"C{k % 10}", alpha=0.7)
        axis.axhline(chance, color="grey", lw=0.8, ls=":")
        axis.set_title(f"{key}, % (dotted: chance of two events)", fontsize=9)
        axis.set_xticks(range(len(scores)), list(scores), rotation=40, ha="right", fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--claims", nargs="+", choices=NEEDED, default=list(NEEDED))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--tuning", type=int, default=300, help="steps of tuning to longer videos")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--image-steps", type=int, default=0, help="of the image encoder to start from; 0: random weights")
    parser.add_argument("--checks", type=int, default=512, help="videos to score with")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    file = args.out / "results.json"
    rows = (json.loads(file.read_text()) if file.exists() else {}).get("stored") or storage()
    names = list(dict.fromkeys(name for claim in args.claims for name in NEEDED[claim]))
    spent: dict[str, list[float]] = {}
    for seed in args.seeds:  # a seed of all runs before the next, so that what there is can be compared
        for name in names:
            bench.scores.setdefault(name, []).append(bench.trained(name, seed))
            ledger = json.loads((args.out / f"{name}-{seed}" / "ledger.json").read_text())
            spent.setdefault(name, []).append(round(ledger["total"]["cpu_seconds"], 1))
        settings = {key: value for key, value in vars(args).items() if key != "out"}
        with whole_file(file) as temporary:
            temporary.write_text(json.dumps({"settings": settings, "stored": rows, "scores": bench.scores, "cpu_s": spent}))
    for name, row in rows.items():
        print(f"{name:20} stored {row['mib']:7.1f} MiB  {row['cpu_s']:6.2f} CPU s")
    for name, found in bench.scores.items():
        cells = [(key, [100 * row[key] for row in found]) for key in found[0]]
        print(f"{name:15}" + "  ".join(f"{key} {mean(v):5.1f} +- {stdev(v) if len(v) > 1 else 0:4.1f}" for key, v in cells))
    for claim, parts in parts_of(bench.scores, rows).items():
        print(f"{claim}  {verdict(parts)}: {'; '.join(map(str, parts))}")
    try:
        draw(bench.scores, args.out / "claims.png")
    except ImportError:
        print("no image: pip install 'tapetum[view]'")


if __name__ == "__main__":
    main()
