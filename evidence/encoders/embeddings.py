"""Are a small HiP's vectors of any use? Neighbours and a linear probe on them, beside the same on the raw pixels.

    python evidence/encoders/embeddings.py WEIGHTS ... --train cifar10/train.parquet --test cifar10/test.parquet
    python evidence/encoders/embeddings.py WEIGHTS ... --train camvid/train.parquet --test camvid/test.parquet

WEIGHTS is a name (hip-nano, efficientnet-lite2), a file that `tapetum train hip` made (with --steps 0 it has never seen a
label), or `random`: hip-nano untrained, for 32x32. The vectors are those of `tapetum embed`. 5,000 images to learn from,
2,000 to score (or --count N M), drawn by a fixed seed; where the table has masks in place of labels, 2,000 and 1,000 patches of
64x64 pixels, whose label is the class of more than 60 % of their pixels.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import tapetum
from tapetum.data.files import StoredFile, opened_image
from tapetum.encoders.embed import EmbeddedPiece
from tapetum.systems.hip.config import NANO, Modality, Preparation
from tapetum.systems.hip.data import MEAN, STD
from tapetum.systems.hip.model import Hip

UNLABELLED = 11
"""Of CamVid's masks."""


def images(path, count):
    table = pq.read_table(path)
    rows = np.random.default_rng(0).permutation(table.num_rows)[:count]
    stored = table.column("image").take(rows).to_pylist()
    labels = np.array(table.column("label").take(rows).to_pylist())
    return [np.asarray(opened_image(StoredFile("image", one["bytes"]), "RGB")) for one in stored], labels


def patches(path, count):
    rows = pq.read_table(path).to_pylist()
    rng, found, labels = np.random.default_rng(0), [], []
    while len(found) < count:
        row = rows[rng.integers(len(rows))]
        frame = np.asarray(opened_image(StoredFile("image", row["image"]["bytes"]), "RGB"))
        mask = np.asarray(opened_image(StoredFile("image", row["mask"]["bytes"]), "L"))
        for _ in range(6):
            y, x = (int(rng.integers(n - 64)) for n in mask.shape)
            classes, counts = np.unique(mask[y : y + 64, x : x + 64], return_counts=True)
            if counts.max() > 0.6 * 64 * 64 and classes[counts.argmax()] != UNLABELLED:
                found.append(frame[y : y + 64, x : x + 64])
                labels.append(classes[counts.argmax()])
    return found[:count], np.array(labels[:count])


def untrained():
    torch.manual_seed(0)
    model = Hip(NANO, {"image": Modality((32, 32), 3)})
    model.preparations["image"] = Preparation(tuple(map(float, MEAN)), tuple(map(float, STD)))
    return model


def vectors(embedder, frames):
    pieces = [EmbeddedPiece("", None, None, {"image": embedder.prepare(frame)}) for frame in frames]
    return np.concatenate([embedder.embed(pieces[k : k + 64]) for k in range(0, len(pieces), 64)])


def score(name, train, train_labels, test, test_labels):
    scale = StandardScaler().fit(train)
    train, test = scale.transform(train), scale.transform(test)
    near = KNeighborsClassifier(20, metric="cosine").fit(train, train_labels).score(test, test_labels)
    line = LogisticRegression(max_iter=300, C=0.01).fit(train, train_labels).score(test, test_labels)
    print(
        f"{name:16} {train.shape[1]:5} numbers   20 neighbours {100 * near:.1f} %   linear probe {100 * line:.1f} %", flush=True
    )
    return {"numbers": train.shape[1], "20 neighbours": near, "linear probe": line}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--count", type=int, nargs=2)
    parser.add_argument("--out", type=Path, help="JSON file of what is printed")
    args = parser.parse_args()
    masked = "mask" in pq.read_schema(args.train).names
    read, counts = (patches, (2000, 1000)) if masked else (images, (5000, 2000))
    counts = args.count or counts
    (train, train_labels), (test, test_labels) = read(args.train, counts[0]), read(args.test, counts[1])
    small = [np.stack([np.asarray(Image.fromarray(f).resize((16, 16))).reshape(-1) for f in fs]) for fs in (train, test)]
    small = [each.astype(float) for each in small]
    found = {"raw pixels 16x16": score("raw pixels 16x16", small[0], train_labels, small[1], test_labels)}
    for name in args.weights:
        embedder = (untrained() if name == "random" else tapetum.load(name)).embedder()
        found[name] = score(name[-16:], vectors(embedder, train), train_labels, vectors(embedder, test), test_labels)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")
