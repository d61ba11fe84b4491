"""Do the EfficientNet-Lites from the package index tell what is in photographs, and what does their preprocessing matter?

    python evidence/encoders/imagenet.py photos.parquet [--count 200] [--json OUT.json]

The table has columns `image` (bytes of an image file) and `label` (name of a class of ImageNet). Of it --count rows are drawn
by a fixed seed; 0 takes all. Prints top-1 and top-5 of each network with its authors' preprocessing, and top-1 with the mean
and deviation of ImageNet instead, without the margin that is cut off all around, and with the image squashed to a square.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

import tapetum
from tapetum.data.files import StoredFile, opened_image
from tapetum.encoders.config import IMAGENET_MEAN, IMAGENET_STD
from tapetum.encoders.features import prepare
from tapetum.encoders.imagenet import class_names

NAMES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def classes_called(label: str) -> set[int]:
    """The classes that a label may mean: "crane" is two, a bird and a machine."""
    plain = [name.partition(" (")[0].partition(",")[0].lower() for name in class_names()]
    return {number for number, name in enumerate(plain) if name == label.lower()}


def variants(authors):
    """Name to preprocessing."""
    return {
        "authors'": authors,
        "ImageNet's": replace(authors, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        "no margin": replace(authors, crop_fraction=1.0),
        "squashed": replace(authors, resize="squash", crop_fraction=1.0),
    }


@torch.inference_mode()
def scores(encoder, images, labels):
    """Share of images whose class is the likeliest, by variant, and among the five likeliest with the authors' own."""
    hits = dict.fromkeys(variants(encoder.preprocessing), 0)
    among_five = 0
    for image, label in zip(images, labels, strict=True):
        for name, how in variants(encoder.preprocessing).items():
            best = encoder.classify(prepare(image[None], how))[0].topk(5).indices.tolist()
            hits[name] += best[0] in label
            among_five += name == "authors'" and bool(label & set(best))
    return {name: count / len(labels) for name, count in hits.items()}, among_five / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=NAMES)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    table = pq.read_table(chosen.photos, columns=["image", "label"])
    rows = np.random.default_rng(0).permutation(table.num_rows)[: chosen.count or None]
    stored = table.column("image").take(rows).to_pylist()
    images = [np.array(opened_image(StoredFile("image", one["bytes"]), "RGB")) for one in stored]
    labels = [classes_called(label) for label in table.column("label").take(rows).to_pylist()]
    if not all(labels):
        raise SystemExit(f"{sum(not label for label in labels)} labels are no names of classes of ImageNet")
    print(f"{len(labels)} images, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'network':20} {'pixels':>6} {'top-1':>7} {'top-5':>7} {'ImageNet mean':>14} {'no margin':>10} {'squashed':>9}")
    measured = {}
    for name in chosen.models:
        encoder = tapetum.encoders.load(name)
        top1, top5 = scores(encoder, images, labels)
        mine, imagenet, whole, squashed = top1.values()
        pixels = encoder.preprocessing.size[0]
        print(f"{name:20} {pixels:6} {mine:7.3f} {top5:7.3f} {imagenet:14.3f} {whole:10.3f} {squashed:9.3f}", flush=True)
        measured[name] = {"pixels": pixels, "top5": top5} | top1
        if chosen.json:
            chosen.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
