"""How well names find images without a text encoder: python evidence/encoders/tag_search.py --data photos.parquet

The data are a table of photographs with the name of an ImageNet class each: the columns image (bytes) and label (text).
They are put into an index by a classifier; then each class is searched for by its name, and by the
common nouns of `tapetum.encoders.imagenet.class_groups`. Printed beside chance, as JSON:

    recall_at_5      share of the classes of whose images one is among the first five
    precision_at_10  of common nouns with ten images or more: share of the first ten that are of their classes
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import tapetum
from tapetum.desk.search.index import HIDDEN
from tapetum.desk.search.tag_search import find_meanings, score_tags
from tapetum.desk.search.vector_index import VectorIndex
from tapetum.encoders.imagenet import class_groups, class_names


def write_images(data: Path, folder: Path) -> dict[str, str]:
    """Write the images of a table into a folder; returns the label of each by its name."""
    import pyarrow.parquet as pq

    labels = {}
    for number, row in enumerate(pq.read_table(data).to_pylist()):
        content = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
        name = f"{number:05d}.jpg"
        (folder / name).write_bytes(content)
        labels[name] = row["label"]
    return labels


def ranks(index: VectorIndex, words: str) -> list[str]:
    """The names of the images that have a tag of these words, the likeliest first, as `tapetum search` orders them."""
    meanings, _ = find_meanings(words, class_names(), class_groups())
    scores = {row: score_tags(tags, meanings) for row, tags in index.tags()}
    rows = sorted((row for row in scores if scores[row] > 0), key=lambda row: (-scores[row], row))
    return [Path(piece.path).name for piece in index.pieces(rows[:10])]


def main() -> None:
    """Make the index, search, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="efficientnet-lite2")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        labels = write_images(chosen.data, folder)
        tapetum.index(folder, model=chosen.model)
        with VectorIndex.open(folder / HIDDEN) as index:
            classes = sorted({label for label in labels.values() if label in class_names()})
            found = [any(labels[name] == label for name in ranks(index, f"{label}")[:5]) for label in classes]
            of_nouns, chances = [], []
            for noun, names in class_groups().items():
                inside = sum(label in names for label in labels.values())
                if inside >= 10:
                    of_nouns.append(np.mean([labels[name] in names for name in ranks(index, noun)] or [0.0]))
                    chances.append(inside / len(labels))
    each = len(labels) / len(classes)
    result = {
        "model": chosen.model,
        "images": len(labels),
        "classes": len(classes),
        "recall_at_5": round(float(np.mean(found)), 3),
        "chance_at_5": round(1 - (1 - each / len(labels)) ** 5, 4),
        "nouns": len(of_nouns),
        "precision_at_10": round(float(np.mean(of_nouns)), 3),
        "chance_at_10": round(float(np.mean(chances)), 3),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
