"""What pre-training, the prefix's mask and the loss on the suffix alone are worth, on data that this project did not make.

    python benchmarks/paligemma_transfer.py easy-vqa RUNS --out evidence/paligemma-transfer --sizes 100 400 --seeds 0 1 2
    python benchmarks/paligemma_transfer.py camvid RUNS --camvid FOLDER ...

easy-vqa: the package of that name (MIT): 4,000 and 1,000 pictures of one shape, 64 x 64, with questions; exact answers. camvid:
streets with 11 classes as parquet files; `answer en is there a CLASS?` and `detect car ; pedestrian ; bicyclist`, boxes of
connected parts of 100 pixels and more; exact answers, AP50. A size is a number of training pictures; test pictures are the same
for all. Each run is a transfer (`tapetum train paligemma-transfer`) from `--weights`, or with a change:

    pretrained   scratch: random weights of the same sizes
    masks        scratch, with the prefix-LM masks blocks and full, and causal
    loss         scratch, suffix alone, and all text

Runs that are finished are not made again; results.json has all of them.
"""

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.paligemma import prompts, weights
from tapetum.paligemma.data import JsonLines
from tapetum.paligemma.locations import box_text, parse
from tapetum.paligemma.recipes import Learning, transfer
from tapetum.paligemma.tokens import Tokens
from tapetum.paligemma.transfer import ExactChecks, answers_to, train_transfer
from tapetum.train.launch_config import Launch

VARIANTS: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "scratch": {"scratch": True},
    "scratch-full": {"scratch": True, "prefix_mask": "full"},
    "scratch-causal": {"scratch": True, "prefix_mask": "causal"},
    "scratch-all-text": {"scratch": True, "loss_on_prefix": True},
}
FOUND = ("car", "pedestrian", "bicyclist")
LEAST = 100
"""Pixels of a part that is a thing."""


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write lines of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def easy_vqa(folder: Path, size: int, seed: int, tests: int) -> tuple[Path, Path]:
    """Write `size` training pictures that a seed draws, and the first test pictures, with all their questions."""
    import easy_vqa as package

    made = []
    for part, count in (("train", size), ("test", tests)):
        texts, answers, ids = getattr(package, f"get_{part}_questions")()
        paths = getattr(package, f"get_{part}_image_paths")()
        order = sorted(paths) if part == "test" else np.random.default_rng(seed).permutation(sorted(paths)).tolist()
        chosen = set(order[:count])
        rows = [
            {"image": str(paths[i]), "prefix": prompts.answer(q), "suffix": a}
            for q, a, i in zip(texts, answers, ids, strict=True)
            if i in chosen
        ]
        made.append(write_lines(folder / (f"{part}-{size}-{seed}.jsonl" if part == "train" else f"test-{tests}.jsonl"), rows))
    return made[0], made[1]


def camvid(source: Path, folder: Path, size: int, seed: int, tests: int) -> tuple[Path, Path]:
    """Write pictures of streets at 112 pixels with questions and boxes."""
    import pyarrow.parquet as pq
    from PIL import Image

    classes = (source / "classes.txt").read_text().split()
    made = []
    for part, count in (("train", size), ("test", tests)):
        table = pq.read_table(source / f"{part}.parquet")
        order = np.arange(len(table)) if part == "test" else np.random.default_rng(seed).permutation(len(table))
        rows = []
        for i in order[:count].tolist():
            row = table.slice(i, 1).to_pylist()[0]
            mask = np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"])))
            name = folder / "pictures" / f"{part}-{i}.png"
            if not name.exists():
                name.parent.mkdir(parents=True, exist_ok=True)
                Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB").resize((112, 112)).save(name)
            rows += [{"image": f"pictures/{name.name}", **told} for told in told_of(mask, classes)]
        made.append(write_lines(folder / (f"{part}-{size}-{seed}.jsonl" if part == "train" else f"test-{tests}.jsonl"), rows))
    return made[0], made[1]


def told_of(mask: np.ndarray, classes: list[str]) -> Iterator[dict[str, str]]:
    """Ask for each class, and for boxes."""
    for number, name in enumerate(classes):
        share = (mask == number).sum()
        yield {"prefix": prompts.answer(f"is there a {name}?"), "suffix": "yes" if share >= LEAST else "no"}
    boxes = [(box, name) for number, name in enumerate(classes) if name in FOUND for box in parts_of(mask == number)]
    boxes.sort(key=lambda each: (each[0][1], each[0][0]))
    height, width = mask.shape
    text = prompts.BETWEEN.join(f"{box_text(box, width, height)} {name}" for box, name in boxes[:8])
    yield {"prefix": prompts.detect(list(FOUND)), "suffix": text}


def parts_of(mask: np.ndarray) -> list[list[float]]:
    """Box the connected parts of at least `LEAST` pixels."""
    from scipy.ndimage import find_objects, label

    numbers, _ = label(mask)
    found = []
    for k, place in enumerate(find_objects(numbers), start=1):
        if place is not None and (numbers[place] == k).sum() >= LEAST:
            found.append([place[1].start, place[0].start, place[1].stop, place[0].stop])
    return found


def boxes_score(model: Any, tokens: Tokens, lines: JsonLines) -> dict[str, float]:
    """Average precision of the lists of boxes among a file's texts."""
    from tapetum.metrics.detection import TrueBoxes, detection_scores

    truths, found = {}, {}
    for index in range(len(lines)):
        sample, answers = lines.read(index)
        for pair, right in zip(sample.pairs, answers, strict=True):
            if pair.prefix.startswith("detect "):
                from dataclasses import replace

                [text] = answers_to(model, tokens, [replace(sample, pairs=(pair,))], 80)
                true = parse(right[0], 1000, 1000).boxes
                truths[index] = TrueBoxes(xyxy=true.xyxy, labels=true.labels)
                found[index] = parse(text, 1000, 1000).boxes
    return {"ap50": detection_scores(found, truths).ap50} if truths else {}


def main() -> None:
    """Run what is missing, and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("easy-vqa", "camvid"))
    parser.add_argument("runs", type=Path)
    parser.add_argument("--camvid", type=Path, help="folder with train.parquet, test.parquet and classes.txt")
    parser.add_argument("--weights", default="paligemma-nano")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--tests", type=int, default=200, help="test pictures")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=3e-4)
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for size in options.sizes:
        for seed in options.seeds:
            folder = options.runs / options.data
            if options.data == "easy-vqa":
                train, test = easy_vqa(folder, size, seed, options.tests)
            else:
                train, test = camvid(options.camvid, folder, size, seed, options.tests)
            for name in options.variants:
                place = folder / f"{name}-{size}-{seed}"
                done = place / "scores.json"
                if not done.exists():
                    one_run(options, name, train, test, size, seed, place)
                results.append({"variant": name, "size": size, "seed": seed, **json.loads(done.read_text())})
                print(results[-1], flush=True)
                options.out.mkdir(parents=True, exist_ok=True)
                about = {
                    "command": "benchmarks/paligemma_transfer.py " + options.data,
                    "steps": options.steps,
                    "lr": options.lr,
                }
                (options.out / f"{options.data}.json").write_text(json.dumps({**about, "runs": results}, indent=1) + "\n")


def one_run(options: Any, name: str, train: Path, test: Path, size: int, seed: int, place: Path) -> None:
    """Train and score one."""
    batch = min(16, size)
    run = transfer(
        str(train),
        options.weights,
        **VARIANTS[name],
        seed=seed,
        epochs=options.steps * batch / size,
        batch_size=batch,
        micro_batch=batch,
        per_picture=6,
        lr=options.lr,
        bf16=True,
        learning=Learning(),
    )
    finished = train_transfer(run, Launch(out=place, threads=1, device="cpu"), print)
    assert finished is not None
    model, tokens = weights.load(finished.weights), Tokens.load(place)
    lines = JsonLines(test, model.config.picture_size, 1 << 30)
    scores = dict(ExactChecks(lines, tokens, longest=80)(model)) | boxes_score(model, tokens, lines)
    (place / "scores.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    main()
