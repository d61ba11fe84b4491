"""What pre-training, the prefix's mask and the loss on the suffix alone are worth, on data that this project did not make.

    python evidence/paligemma-transfer/claims.py RUNS --camvid FOLDER --out evidence/paligemma-transfer

easy-vqa: the package of that name (MIT): images of one shape, 64 x 64, with questions; exact answers, and those
to open questions alone. camvid: streets with 11 classes as parquet files; `answer en is there a CLASS?` for classes that 10 to
90% of training images have (exact answers), `detect car ; pedestrian ; bicyclist` with boxes of connected parts of 100 pixels
and more (AP50), `segment car` for the largest car (mean overlap, where there is one). A size is a number of training images;
test images are the same for all. Each run is a transfer, as `tapetum train paligemma-transfer` makes it:

    pretrained           from `--weights`
    scratch              random weights of the same sizes; the same tokenizer, steps and images, its better rate
    scratch-text-causal  scratch, the prefix causal (mask `images`); images still see each other
    scratch-causal       scratch, images causal too
    scratch-all-text     scratch, the prefix causal and learned too: beside scratch-text-causal, which has its mask

Beside them: `common`, for each question text the most common answer among the run's training images, and `grey`, the
pre-trained run's model with grey images. The last three variants are run at the largest size of easy-vqa alone.

Runs that are finished are not made again; results.json has all of them, transfer.png the curves. A difference is the mean over
seeds of what two variants have right, its interval a bootstrap over test images (95%); `seeds` has the difference of each. A
claim is judged by both its intervals, that over images and Student's t over the seeds: it is held if both are on its side,
falsified if both are on the other, else undecided.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.data.entries import read_lines
from tapetum.metrics.boxes import TrueBoxes, detection_scores
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.data import ImageTexts, JsonLinesSamples
from tapetum.systems.paligemma.locations import parse
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.recipes import Learning, transfer
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.transfer.run import answers_to, train_transfer
from tapetum.train.launch_config import Launch
from transfer_data import camvid, easy_vqa

SIZES = {"easy-vqa": (50, 200, 1000), "camvid": (120, 367)}
STEPS = {"easy-vqa": (60, 100, 140), "camvid": (400, 400)}
RATES = {"pretrained": 5e-4, "scratch": 1e-3}
VARIANTS: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "scratch": {"scratch": True},
    "scratch-text-causal": {"scratch": True, "prefix_mask": "images"},
    "scratch-causal": {"scratch": True, "prefix_mask": "causal"},
    "scratch-all-text": {"scratch": True, "loss_on_prefix": True},
}
KINDS = {"answer": 4, "detect": 72, "segment": 24}
"""Tokens of an answer, at most."""
BATCH, ASKED = 8, 16
"""Images of a step, and those that are asked about together."""


def made_lines(options: argparse.Namespace, data: str, size: int, seed: int) -> tuple[Path, Path]:
    """Write the training and test lines of a run."""
    folder = options.runs / data
    if data == "easy-vqa":
        return easy_vqa(folder, size, seed, options.tests)
    return camvid(options.camvid, folder, size, seed, options.tests // 2)


def one_run(options: argparse.Namespace, data: str, name: str, size: int, seed: int, place: Path) -> None:
    """Train and score one."""
    train, test = made_lines(options, data, size, seed)
    steps = STEPS[data][SIZES[data].index(size)]
    run = transfer(
        str(train),
        options.weights,
        **VARIANTS[name],
        seed=seed,
        steps=max(2, steps // options.divide),
        batch_size=BATCH,
        micro_batch=BATCH,
        per_image=6,
        lr=options.lr or RATES[name.split("-")[0]],
        bf16=True,
        learning=Learning(),
    )
    finished = train_transfer(run, Launch(out=place, threads=1, device="cpu"), print)
    assert finished is not None
    model, tokens = weights.load(finished.weights), Tokens.load(place)
    lines = JsonLinesSamples(test, model.config.image_size, 1 << 30)
    scores = scored(model, tokens, lines)
    if name == "pretrained":
        scores["grey"] = scored(model, tokens, lines, grey=True)
    scores["common"] = common(train, test)
    (place / "scores.json").write_text(json.dumps(scores))


def scored(model: Any, tokens: Tokens, lines: JsonLinesSamples, grey: bool = False) -> dict[str, Any]:
    """Score each kind of text: for questions and masks a list for each image, for boxes AP50."""
    scores: dict[str, Any] = {}
    read = [lines.read(k) for k in range(len(lines))]
    for kind, longest in KINDS.items():
        right: dict[int, list[float]] = defaultdict(list)
        open_ones: dict[int, list[float]] = defaultdict(list)
        boxes: dict[int, tuple[Any, Any]] = {}
        for number, truth, text in answered(model, tokens, read, kind, longest, grey):
            if kind == "answer":
                right[number].append(float(text == truth))
                if truth not in ("yes", "no"):
                    open_ones[number].append(right[number][-1])
            elif kind == "detect":
                boxes[number] = parse(text, 1000, 1000).boxes, parse(truth, 1000, 1000).boxes
            else:
                right[number].append(overlap(lines, number, text))
        if kind == "detect" and boxes:
            truths: Any = {k: TrueBoxes(xyxy=b.xyxy, labels=b.labels) for k, (_, b) in boxes.items()}
            scores["ap50"] = {"mean": detection_scores({k: b for k, (b, _) in boxes.items()}, truths).ap50}
        for name, found in {kind: right, "open": open_ones}.items():
            if found:
                images = [found[k] for k in sorted(found)]
                scores[name] = {"mean": float(np.mean(np.concatenate(images))), "images": images}
    return scores


def answered(
    model: Any, tokens: Tokens, read: list[tuple[ImageTexts, Any]], kind: str, longest: int, grey: bool
) -> Iterator[tuple[int, str, str]]:
    """Ask all texts of a kind: number of the image, right answer, answer."""
    expected: list[tuple[int, ImageTexts, list[str]]] = []
    for number, (sample, every) in enumerate(read):
        chosen = [(p, answers[0]) for p, answers in zip(sample.pairs, every, strict=True) if p.prefix.startswith(kind)]
        if chosen:
            samples = replace(sample, pairs=tuple(pair for pair, _ in chosen), pixels=sample.pixels * (not grey))
            expected.append((number, samples, [answer for _, answer in chosen]))
    for start in range(0, len(expected), ASKED):
        some = expected[start : start + ASKED]
        texts = answers_to(model, tokens, [sample for _, sample, _ in some], longest)
        known = [(number, truth) for number, _, truths in some for truth in truths]
        for (number, truth), text in zip(known, texts, strict=True):
            yield number, truth, text


def overlap(lines: JsonLinesSamples, number: int, text: str) -> float:
    """Measure how far the first mask of an answer is that of the largest car."""
    true = np.load(lines.path.parent / "cars.npz")[lines.entries[number].images[0]]
    masks = parse(text, true.shape[1], true.shape[0], codec().unpack).masks.masks
    return float((masks[0] & true).sum() / (masks[0] | true).sum()) if len(masks) else 0.0


def codec() -> Any:
    """Load the codec of masks once."""
    if not hasattr(codec, "made"):
        codec.made = mask_codec.load(mask_codec.DEFAULT)  # pyright: ignore[reportFunctionMemberAccess]
    return codec.made  # pyright: ignore[reportFunctionMemberAccess]


def common(train: Path, test: Path) -> float:
    """Answer each question with what is most common in training: for this question, else for all."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in read_lines(train):
        if row["prefix"].startswith("answer"):
            counts[row["prefix"]][row["suffix"]] += 1
            counts[""][row["suffix"]] += 1
    samples = [row for row in read_lines(test) if row["prefix"].startswith("answer")]
    return float(
        np.mean([counts[q["prefix"] if q["prefix"] in counts else ""].most_common(1)[0][0] == q["suffix"] for q in samples])
    )


def difference(first: list[dict[str, Any]], second: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Compare runs of the same seeds, image by image."""
    both = [(a[kind]["images"], b[kind]["images"]) for a, b in zip(first, second, strict=True)]
    seeds = [float(np.mean(np.concatenate(a)) - np.mean(np.concatenate(b))) for a, b in both]
    values, groups = [], []
    for number in range(len(both[0][0])):
        per_seed = np.array([np.array(a[number]) - np.array(b[number]) for a, b in both]).mean(0)
        values += per_seed.tolist()
        groups += [number] * len(per_seed)
    low, high = bootstrap_interval(np.array(values), groups=groups)
    return {"difference": float(np.mean(values)), "interval": [low, high], "seeds": seeds}


def main() -> None:
    """Run what is missing, and write results.json and transfer.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--camvid", type=Path, help="folder with train.parquet, test.parquet and classes.txt")
    parser.add_argument("--weights", default="paligemma-nano-2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--sizes", type=int, nargs="+", help="some of the sizes")
    parser.add_argument("--tests", type=int, default=120, help="test images of easy-vqa; half as many of camvid")
    parser.add_argument("--divide", type=int, default=1, help="how much shorter runs are, to try the script")
    parser.add_argument("--report", action="store_true", help="run nothing, join what there is")
    parser.add_argument("--lr", type=float, help="another learning rate, to look for the better one")
    options = parser.parse_args()
    for data in [] if options.report else options.data:
        for seed in options.seeds:
            for size in SIZES[data]:
                for name in options.variants:
                    small = data != "easy-vqa" or size != SIZES[data][-1]
                    if (options.sizes and size not in options.sizes) or (small and name not in RATES):
                        continue
                    place = options.runs / data / f"{name}-{size}-{seed}"
                    if not (place / "scores.json").exists():
                        one_run(options, data, name, size, seed, place)
                    told = json.loads((place / "scores.json").read_text())
                    print(
                        data, name, size, seed, {k: v["mean"] for k, v in told.items() if isinstance(v, dict) and "mean" in v}
                    )
    from transfer_report import report

    report(options, SIZES, difference)


if __name__ == "__main__":
    main()
