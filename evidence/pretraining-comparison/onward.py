"""Does going on with self-supervised training on images of another domain help? On patches of CamVid's streets.

    python evidence/pretraining-comparison/onward.py --data ../shared/data --json evidence/pretraining-comparison/onward.json

From the bundled resnet-nano by SimCLR, and from four blocks of a ViT-Tiny that DINOv2 taught CIFAR-10 here, by DINOv2 with its
heads warmed up; both learned from CIFAR-10 without labels. Patches of 64x64 pixels, whose label is the class of more than 60 %
of their pixels, are brought to 32; labels are for scores alone. What is written of each run: neighbours and a linear probe
before and after on the same patches, and 95 % of the gain. It is better if the interval of one is above 0 and none below.
"""

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import tapetum
from compare import first_encoder
from tapetum.data.labelled import labelled_images
from tapetum.encoders.features import Encoder
from tapetum.metrics.statistics import bootstrap_interval, judge_interval
from tapetum.systems.pretraining.methods import DinoV2
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import run_task, task_for
from tapetum.train.launch_config import Launch
from tapetum.transfer.probes import knn_votes, linear_probe
from tapetum.transfer.probing import Labelled, features_of

SIZES: dict[str, Any] = {"size": 32, "batch_size": 64, "micro_batch": 64, "warmup_epochs": 1.0}
DINOV2 = DinoV2(local_views=2, prototypes=1024, hidden=512, decay=0.99, frozen_epochs=0.0)


def write_patches(camvid: Path, folder: Path, train: int, val: int) -> None:
    """Write patches as PNG files, a folder a class, below train/ and val/."""
    file = Path(__file__).parents[1] / "encoders" / "embeddings.py"
    spec = importlib.util.spec_from_file_location("embeddings", file)
    assert spec is not None
    assert spec.loader is not None
    embeddings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(embeddings)
    names = (camvid / "classes.txt").read_text().split()
    for part, source, count in (("train", "train", train), ("val", "test", val)):
        images, labels = embeddings.patches(camvid / f"{source}.parquet", count)
        for name in names:  # both parts have all classes, be they empty or not
            (folder / part / name).mkdir(parents=True, exist_ok=True)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image).save(folder / part / names[label] / f"{number:05}.png")


def compare(before: Encoder, after: Encoder, data: Path) -> dict[str, Any]:
    """Score two encoders on the same images by 20 neighbours and a linear probe."""
    parts = [labelled_images(data, split, 2000)[:2] for split in ("train", "val")]
    right: list[dict[str, torch.Tensor]] = []
    for encoder in (before, after):
        train, val = (Labelled(features_of(encoder, images), torch.from_numpy(labels)) for images, labels in parts)
        classes = int(max(train.labels.max(), val.labels.max())) + 1
        votes = {"knn": knn_votes(train.features, train.labels, val.features, classes)}
        votes["linear"] = linear_probe(train, val, classes).head(val.features)
        right.append({name: (each.argmax(1) == val.labels).double() for name, each in votes.items()})
    first, last = right
    gains = {name: bootstrap_interval((last[name] - first[name]).numpy()) for name in first}
    verdicts = {judge_interval(interval) for interval in gains.values()}
    worse = " and ".join(name for name, gain in gains.items() if gain[1] < 0)
    images = len(first["knn"])
    verdict = "better" if "held" in verdicts else f"not better, as far as {images:,} images can show"
    scores = [{name: float(each.mean()) for name, each in one.items()} for one in right]
    return {
        **dict(zip(("before", "after"), scores, strict=True)),
        "images": images,
        "gains": gains,
        "verdict": f"not better: worse by {worse}" if worse else verdict,
    }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """List a row for each start: scores before and after, what each probe gained, and the verdict."""
    rows = []
    for name, one in results["runs"].items():
        cells = []
        for probe in ("knn", "linear"):
            low, high = one["gains"][probe]
            before, after = (100 * one[when][probe] for when in ("before", "after"))
            cells.append(f"{before:.1f}, {after:.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
        rows.append((name, str(one["steps"]), *cells, one["verdict"]))
    return rows


def main() -> None:
    """Train, score and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10/ and camvid/")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--patches", type=int, nargs=2, default=(2000, 1000), metavar=("TRAIN", "VAL"))
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"patches": args.patches, "runs": {}}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_patches(args.data / "camvid", scratch / "patches", *args.patches)
        streets = str(scratch / "patches")
        cifar10, change = str(args.data / "cifar10" / "train.parquet"), ("patch=8", "depth=4")
        first = recipe("dinov2", cifar10, steps=args.steps, base_lr=2e-3, change=change, **SIZES, dinov2=DINOV2)
        run_task(task_for(first), Launch(out=scratch / "vit", workers=0, threads=1), None, tensorboard=False)
        warm = DinoV2(**{**vars(DINOV2), "head_epochs": args.steps / 4 * 64 / args.patches[0], "decay": 0.996})
        runs = {
            "resnet-nano, SimCLR": recipe(
                "simclr", streets, encoder="weights:resnet-nano", steps=args.steps, **SIZES, base_lr=2e-4
            ),
            "ViT-Tiny's first blocks, DINOv2": recipe(
                "dinov2", streets, encoder=str(scratch / "vit"), change=(), steps=args.steps, **SIZES, base_lr=5e-4, dinov2=warm
            ),
        }
        for number, (start, run) in enumerate(runs.items()):
            task, launch = task_for(run), Launch(out=scratch / str(number), workers=0, threads=1)
            made = run_task(task, launch, None, tensorboard=False)
            assert made is not None
            scored = compare(first_encoder(task, launch), tapetum.load(made.encoder), Path(streets))
            results["runs"][start] = {"steps": args.steps, **scored}
            args.json.write_text(json.dumps(results, indent=1) + "\n")
            print(table(results)[-1], flush=True)


if __name__ == "__main__":
    main()
