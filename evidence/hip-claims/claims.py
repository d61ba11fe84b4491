"""Do the paper's claims about HiP hold at the size of a laptop? Each is tried on small images, and said to hold or not.

    python evidence/hip-claims/claims.py OUT --data digits
    python evidence/hip-claims/claims.py OUT --data cifar10/train.parquet --test cifar10/test.parquet --claims C1 C2 C3 C4

C1  HiP is as accurate as a flat Perceiver of as many parameters, for a third of its FLOPs (or better): at most 1 point below,
    the third within 5 %.
C2  Masked auto-encoding makes learned position codes work, and gives Fourier codes nothing: 5 points or more, and a third of
    that at most.
C3  Codes become spatial: those of neighbours alike, vertical ones too, and under a fixed permutation of the pixels too: cosines
    above 0.3.
C4  The order of the pixels is a prior that helps, not a need: permuted it is worse, by less than 10 points.

`digits` are the 8x8 digits that come with scikit-learn, put anywhere on a canvas of 16x16 (for C1 enlarged, on 32x32); 300
have labels, 497 are the test. Of images in a parquet file, made as small, 2,000 have labels for C2 to C4, all for C1, and
2,000 are the test. C1 compares hip-nano and io-nano; the others use a network of three blocks, which learns on one core in
minutes. A group of theirs is two rows of an image, so what all groups hide alike, as in the paper, are columns; --own-masks
hides other places in every group. Every run is `tapetum.train.fit` in a folder of OUT and goes on where it was stopped;
results.json keeps what is finished.
"""

import argparse
import io
import json
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tapetum.account.flops import count_flops
from tapetum.systems.hip.config import FLAT_NANO, NANO, HipConfig, Masked
from tapetum.systems.hip.data import HipExamples, ModalityField
from tapetum.systems.hip.task import ClassTask, MaskedTask
from tapetum.train import TrainConfig, fit

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import Part, run_of, seeds_of, verdict, with_deviation

KINDS = "learned", "fourier", "random"
SMALL = HipConfig(
    groups=(8, 1, 8), latents=(16, 16, 16), channels=(48, 96, 48), self_layers=(1, 2, 1), self_heads=(2, 4, 2), embedding=16
)


def digits(side):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    canvas, edge = np.zeros((len(images), side, side, 1), np.uint8), side // 4
    large = images.reshape(-1, 8, 8).repeat(side // 16, 1).repeat(side // 16, 2)
    canvas[:, edge:-edge, edge:-edge, 0] = large * 15.9
    order = np.random.default_rng(0).permutation(len(images))
    return canvas[order], labels[order]


def parquet(path, count, side):
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(path)
    column = next(n for n in table.column_names if isinstance(table.column(n)[0].as_py(), dict))
    rows = np.random.default_rng(0).permutation(table.num_rows)[:count]
    stored = table.column(column).take(rows).to_pylist()
    images = [np.asarray(Image.open(io.BytesIO(one["bytes"])).convert("RGB").resize((side, side))) for one in stored]
    return np.stack(images), np.array(table.column("label").take(rows).to_pylist())


class Data:
    def __init__(self, source, test, labelled, side):
        self.side = side
        if source == "digits":
            images, labels = digits(side)
            self.train, self.check = (images[:-497], labels[:-497]), (images[-497:], labels[-497:])
            self.shift, self.mirror, self.few, self.anywhere = side // 4, False, 300, True
        else:
            self.train, self.check = parquet(source, None, side), parquet(test, 2000, side)
            self.shift, self.mirror, self.few, self.anywhere = side // 8, True, labelled, False
        self.validation = tuple(x[-500:] for x in self.train)
        """Examples whose labels choose a learning rate, and are never learned from."""
        self.train = tuple(x[:-500] for x in self.train)
        self.classes = int(self.train[1].max()) + 1
        self.mean, self.std = self.train[0].mean((0, 1, 2)), self.train[0].std((0, 1, 2))
        self.permutation = np.random.default_rng(1).permutation(side * side)

    def examples(self, part, *, seed, permuted=False, few=False):
        images, labels = getattr(self, part)
        if few:
            images, labels = images[: self.few], labels[: self.few]
        field = ModalityField(
            images, self.mean, self.std, shift=self.shift, mirror=self.mirror, order=self.permutation if permuted else None
        )
        return HipExamples({"image": field}, labels, seed=seed)

    def checks(self, permuted=False, part="check"):
        """Images for scores: digits are put anywhere once and for all."""
        images, labels = self.check if part == "check" else self.validation
        if self.anywhere:
            shown = self.examples(part, seed=99)
            images = np.stack([shown[k]["image"].numpy() for k in range(len(images))])
            labels = np.stack([shown[k]["target"].numpy() for k in range(len(labels))])
            images = images.reshape(-1, self.side, self.side, images.shape[-1])
            field = ModalityField(images, order=self.permutation if permuted else None)
        else:
            field = ModalityField(images, self.mean, self.std, order=self.permutation if permuted else None)
        return HipExamples({"image": field}, labels)


def finish(task, config, out):
    """A run to its end; where it is stopped, so is all, since half a run is no result."""
    result = fit(task, config, out)
    if result.state == "stopped":
        raise SystemExit("stopped; the same command goes on")
    return result


class Bench:
    def __init__(self, args):
        self.args, self.lr = args, {}
        self.file = args.out / "results.json"
        args.out.mkdir(parents=True, exist_ok=True)
        self.results = json.loads(self.file.read_text()) if self.file.exists() else {}

    def keep(self, name, make):
        if name not in self.results:
            self.results[name] = make()
            self.file.write_text(json.dumps(self.results, indent=1))
            print(name, {k: round(v, 4) for k, v in self.results[name].items()}, flush=True)
        return self.results[name]

    def look_at(self, side):
        self.data = Data(self.args.data, self.args.test, self.args.labelled, side)

    def config(self, steps, seed, lr, clip_norm=1.0):
        return TrainConfig(
            steps=steps,
            batch_size=32,
            seed=seed,
            lr=lr,
            warmup_steps=steps // 20,
            weight_decay=0.05,
            betas=(0.9, 0.95),
            clip_norm=clip_norm,
            threads=1,
            log_every=20,
            eval_every=max(1, steps // 3),
            checkpoint_every=200,
            keep_last=1,
            tensorboard=False,
        )

    def pretrain(self, kind, seed, permuted=False):
        name = f"mae-{kind}{'-permuted' if permuted else ''}-{seed}"
        out = self.args.out / name

        def run():
            start = time.process_time()
            task = MaskedTask(
                replace(SMALL, positions=kind),
                self.data.examples("train", seed=seed, permuted=permuted),
                self.data.checks(permuted),
                Masked(ratio=self.args.ratio, shared=not self.args.own_masks),
            )
            result = finish(task, self.config(self.args.mae_steps, seed, self.args.mae_lr, self.args.mae_clip), out)
            score = dict(task.evaluate(result.model.eval(), self.args.mae_steps))
            codes = result.model.positions["image"]().detach()
            torch.manual_seed(seed)
            fresh = task.model().positions["image"]().detach()
            return {
                "masked_mse": score["image"],
                **{f"cosine_{k}": v for k, v in self.neighbours(codes, permuted).items()},
                **{f"cosine_{k}_at_start": v for k, v in self.neighbours(fresh, permuted).items()},
                "cpu_seconds": time.process_time() - start,
            }

        if not out.exists():  # a results.json without its runs: others begin from this one's weights
            self.results.pop(name, None)
        self.keep(name, run)
        return sorted((out / "checkpoints").glob("step_*"))[-1] / "model.safetensors"

    def neighbours(self, codes, permuted):
        if permuted:
            there = torch.empty_like(codes)
            there[torch.from_numpy(self.data.permutation)] = codes
            codes = there
        codes = torch.nn.functional.normalize(codes - codes.mean(0), dim=1)
        grid = codes.unflatten(0, (self.data.side, self.data.side))
        pairs = {"horizontal": (grid[:, :-1], grid[:, 1:]), "vertical": (grid[:-1], grid[1:])}
        return {name: float((one * other).sum(-1).mean()) for name, (one, other) in pairs.items()}

    def learn(self, arm, config, seed, *, start=None, permuted=False, few=True, steps=None):
        """Of the learning rates, the one that is best for an arm on the validation part of its first seed is used for all."""

        def run(lr):
            begin = time.process_time()
            task = ClassTask(
                config,
                self.data.examples("train", seed=seed, permuted=permuted, few=few),
                self.data.checks(permuted),
                self.data.classes,
                start=start,
            )
            result = finish(task, self.config(steps or self.args.steps, seed, lr), self.args.out / f"{arm}-{seed}-{lr:g}")
            model, found = result.model.eval(), {}
            for part in ("check", "validation"):
                task.checks = self.data.checks(permuted, part)
                found[part] = task.evaluate(model, 0)["accuracy"]
            return {
                "accuracy": found["check"],
                "validation": found["validation"],
                "lr": lr,
                "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
                "gmacs": self.flops(model) / 2e9,
                "cpu_seconds": time.process_time() - begin,
            }

        if arm not in self.lr:
            tried = [self.keep(f"{arm}-{seed}@{lr:g}", lambda lr=lr: run(lr)) for lr in self.args.lr]
            self.lr[arm] = max(tried, key=lambda row: row["validation"])["lr"]
        lr = self.lr[arm]
        self.results[f"{arm}-{seed}"] = self.keep(f"{arm}-{seed}@{lr:g}", lambda: run(lr))

    def flops(self, model):
        one = self.data.checks().plain(0, 1)
        with torch.no_grad():
            return count_flops(lambda: model({"image": one["image"]})).forward

    def each(self, pattern, key, seeds):
        return [self.results[pattern.format(seed)][key] for seed in seeds]

    def mean(self, pattern, key, seeds):
        """The mean of the seeds, and what is written of it: with their deviation, numbers from 0 to 1 as percent."""
        values = self.each(pattern, key, seeds)
        percent = key == "accuracy"
        return float(np.mean(values)), with_deviation([100 * v for v in values] if percent else values, 1 if percent else 2)


def c1(bench, seeds):
    bench.look_at(32)
    for seed in seeds:
        bench.learn("c1-hip", NANO, seed, few=False, steps=bench.args.c1_steps)
        bench.learn("c1-flat", FLAT_NANO, seed, few=False, steps=bench.args.c1_steps)
    rows = {}
    for name in ("hip", "flat"):
        rows[name] = [bench.mean(f"c1-{name}-{{}}", key, seeds) for key in ("accuracy", "parameters", "gmacs", "cpu_seconds")]
    print("\nC1 | accuracy | parameters | GMACs | CPU seconds of training\n---|---|---|---|---")
    for name, ((_, d), (p, _), (g, _), (s, _)) in rows.items():
        print(f"{name} | {d} | {p:,.0f} | {g:.4f} | {s:.0f}")


def c2(bench, seeds):
    bench.look_at(16)
    for seed in seeds:
        for kind in KINDS:
            config = replace(SMALL, positions=kind)
            bench.learn(f"{kind}-none", config, seed)
            bench.learn(f"{kind}-mae", config, seed, start=bench.pretrain(kind, seed))
    print("\nC2 | no MAE | MAE | gain | masked MSE\n---|---|---|---|---")
    for kind in KINDS:
        (a, da), (b, db) = (bench.mean(f"{kind}-{how}-{{}}", "accuracy", seeds) for how in ("none", "mae"))
        mse, _ = bench.mean(f"mae-{kind}-{{}}", "masked_mse", seeds)
        print(f"{kind} | {da} | {db} | {100 * (b - a):+.1f} | {mse:.3f}")


def c3(bench, seeds):
    bench.look_at(16)
    for seed in seeds:
        bench.pretrain("learned", seed)
        bench.pretrain("learned", seed, permuted=True)
    print("\nC3 | horizontal, start | vertical, start | horizontal | vertical\n---|---|---|---|---")
    for name in ("mae-learned-{}", "mae-learned-permuted-{}"):
        keys = "cosine_horizontal_at_start", "cosine_vertical_at_start", "cosine_horizontal", "cosine_vertical"
        row = [bench.mean(name, key, seeds) for key in keys]
        print(f"{name[4:-3]} | " + " | ".join(d for _, d in row))


def c4(bench, seeds):
    bench.look_at(16)
    for seed in seeds:
        bench.learn("learned-mae", SMALL, seed, start=bench.pretrain("learned", seed))
        start = bench.pretrain("learned", seed, permuted=True)
        bench.learn("permuted-mae", SMALL, seed, start=start, permuted=True)
        bench.learn("permuted-none", SMALL, seed, permuted=True)
    (_, da), (_, db) = (bench.mean(f"{name}-mae-{{}}", "accuracy", seeds) for name in ("learned", "permuted"))
    _, dc = bench.mean("permuted-none-{}", "accuracy", seeds)
    print("\nC4 | accuracy\n---|---")
    print(f"in order, MAE | {da}\npermuted, MAE | {db}")
    print(f"permuted, no MAE | {dc}")


def parts_of(runs):
    """What each claim rests on, of those whose runs are there, in points of accuracy, over all seeds of its arms."""

    def of(arm, key="accuracy"):
        return [run_of(runs, arm, seed)[key] for seed in seeds_of(runs, arm)]

    def ahead(*arms):
        rows = [[run_of(runs, arm, seed)["accuracy"] for arm in arms] for seed in seeds_of(runs, *arms)]
        return [100 * (a - b) for a, b in rows]

    def as_cheap():
        flat, hip = (run_of(runs, arm, 1) for arm in ("c1-flat", "c1-hip"))
        times, more = flat["gmacs"] / hip["gmacs"], 100 * abs(hip["parameters"] / flat["parameters"] - 1)
        return [
            Part("points ahead of the flat network", ahead("c1-hip", "c1-flat"), -1),
            Part("times fewer multiplications", [times], 3, counted=True, digits=2),
            Part("% between their parameters", [more], 10, below=True, counted=True),
        ]

    def gains():
        learned, fourier = ahead("learned-mae", "learned-none"), ahead("fourier-mae", "fourier-none")
        third = [gain / 3 - other for gain, other in zip(learned, fourier, strict=False)]
        return [
            Part("points that learned codes gain by MAE", learned, 5),
            Part("a third of these less what Fourier codes gain", third),
        ]

    def spatial(arm):
        keys = "cosine_horizontal", "cosine_vertical"
        return [Part(f"{key.split('_')[1]} {key.split('_')[0]}", of(arm, key), 0.3, digits=2) for key in keys]

    def permuted():
        less = ahead("permuted-mae", "learned-mae")
        return [Part("points, permuted less in order", less, below=True), Part("the same", less, -10)]

    claims = {
        "C1": as_cheap,
        "C2": gains,
        "C3 in order": lambda: spatial("mae-learned"),
        "C3 permuted": lambda: spatial("mae-learned-permuted"),
        "C4": permuted,
    }
    found = {}
    for name, parts in claims.items():
        with suppress(KeyError):  # runs that were not asked for
            if all(part.values for part in parts()):
                found[name] = parts()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--test", default=None)
    parser.add_argument("--labelled", type=int, default=2000)
    parser.add_argument("--claims", nargs="+", default=["C1", "C2", "C3", "C4"], choices=["C1", "C2", "C3", "C4"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--mae-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--c1-steps", type=int, default=1000)
    parser.add_argument("--ratio", type=float, default=0.75)
    parser.add_argument("--own-masks", action="store_true", help="each group hides places of its own, not all the same")
    parser.add_argument("--mae-lr", type=float, default=2e-3)
    parser.add_argument("--mae-clip", type=float, default=None, help="largest gradient norm of auto-encoding; none by default")
    parser.add_argument("--lr", nargs="+", type=float, default=[3e-4, 1e-3])
    args = parser.parse_args()
    bench = Bench(args)
    for claim in args.claims:
        {"C1": c1, "C2": c2, "C3": c3, "C4": c4}[claim](bench, args.seeds)
        for name, parts in parts_of(bench.results).items():
            if name.startswith(claim):
                print(f"\n{name} {verdict(parts)}: {'; '.join(map(str, parts))}\n", flush=True)
