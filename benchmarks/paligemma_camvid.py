"""Transfer of paligemma-nano to CamVid (Brostow et al., 2009): real streets, by words.

    python benchmarks/paligemma_camvid.py CAMVID --runs RUNS --out evidence/paligemma-camvid [--minutes 60] [--codec MASKS]

CAMVID holds train.parquet and test.parquet with the columns image and mask, and classes.txt. Of each picture is said:

    segment car                     the box of all cars together, and their mask
    detect pedestrian ; bicyclist   boxes of connected parts of more than 100 pixels
    answer en is there a sign ?     yes or no

for the classes in ASKED. Arms, sizes and seeds are those of transfer_arms.py; the same command goes on. Scores: mask IoU, AP50,
share of right answers; beside them the answer that is more common for each class.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from tapetum.data.json_files import read_lines, write_lines
from tapetum.data.layouts import listing
from tapetum.metrics.detection import TrueBoxes, detection_scores
from tapetum.metrics.masks import mask_iou
from tapetum.paligemma import mask_codec, prompts
from tapetum.paligemma.answers import Answerer, Reply
from tapetum.paligemma.locations import box_text, mask_text, parse, suffix
from tapetum.paligemma.mask_codec import MaskCodec
from tapetum.paligemma.pictures import prepare, read_pictures
from tapetum.types import Boxes, Masks
from transfer_arms import parser, run_all, write_up

ASKED = ("car", "pedestrian", "bicyclist", "sign", "fence", "pole")
FOUND = ("pedestrian", "bicyclist")
LEAST = 100
"""Pixels of a part that has a box."""


def parts(mask: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Boxes x1, y1, x2, y2 of connected parts."""
    labels, _ = ndimage.label(mask)
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if place is not None and (labels[place] == number).sum() > LEAST:
            rows, columns = place
            found.append((float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)))
    return found


def write_data(source: Path, folder: Path, codec: MaskCodec) -> dict[str, Path]:
    """Pictures, masks of classes, and lines of JSON of both splits."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, official in (("train", "train"), ("test", "val")):
        files[split] = folder / f"{split}.jsonl"
        if files[split].exists():
            continue
        found, rows = listing("parquet", source, official), []  # type: ignore[arg-type]
        for k, (picture, stored) in enumerate(zip(found.files["image"], found.files["mask"], strict=True)):
            Image.open(picture.place).convert("RGB").save(folder / f"{split}-{k:04d}.png")
            classes = np.array(Image.open(stored.place))
            Image.fromarray(classes.astype(np.uint8)).save(folder / f"{split}-{k:04d}-classes.png")
            rows += [{"image": f"{split}-{k:04d}.png", **row} for row in said_of(classes, found.classes, codec)]
        write_lines(files[split], rows)
    return files


def said_of(classes: np.ndarray, names: tuple[str, ...], codec: MaskCodec) -> list[dict[str, str]]:
    """Prefixes and suffixes about one picture."""
    height, width = classes.shape
    rows = []
    for name in ASKED:
        mask = classes == names.index(name)
        there = mask.sum() > LEAST
        rows.append({"prefix": prompts.answer(f"is there a {name} ?"), "suffix": "yes" if there else "no"})
        if there and name in ("car", "pedestrian", "bicyclist", "fence"):
            box = Masks(masks=mask[None]).boxes.xyxy[0]
            text = box_text(box, width, height) + mask_text(codec.codes_of(mask)) + f" {name}"
            rows.append({"prefix": prompts.segment(name), "suffix": text})
    boxes = [(box, name) for name in FOUND for box in parts(classes == names.index(name))]
    made = Boxes(xyxy=np.array([box for box, _ in boxes], float).reshape(-1, 4), labels=[name for _, name in boxes])
    rows.append({"prefix": prompts.detect(list(FOUND)), "suffix": suffix(made, width, height)})
    return rows


@torch.no_grad()
def score(answerer: Answerer, codec: MaskCodec, lines: Path, names: tuple[str, ...], most: int | None) -> dict[str, float]:
    """Mask IoU, AP50, and the share of right answers."""
    by_picture: dict[str, list[dict[str, Any]]] = {}
    for row in read_lines(lines):
        by_picture.setdefault(row["image"], []).append(row)
    overlaps, right, truths, found = [], [], {}, {}
    for image in sorted(by_picture)[:most]:
        rows = by_picture[image]
        pixels = prepare(read_pictures(lines.parent / image), answerer.model.config.picture_size)
        classes = np.array(Image.open(lines.parent / image.replace(".png", "-classes.png")))
        height, width = classes.shape
        prefix = answerer.padded([answerer.tokens.encode_prefix(row["prefix"]) for row in rows])
        made = answerer.model.generate(pixels[None].expand(len(rows), -1, -1, -1, -1), prefix, 96)
        for row, g in zip(rows, made, strict=True):
            text, verb = answerer.tokens.decode(g.ids), row["prefix"].split()[0]
            if verb == "answer":
                right.append(text == row["suffix"])
            elif verb == "segment":
                masks = parse(text, width, height, codec.unpack).masks.masks
                true = classes == names.index(row["prefix"].removeprefix("segment "))
                overlaps.append(float(mask_iou(masks[0], true)) if len(masks) else 0.0)
            else:
                reply = Reply(text=text, ids=g.ids, log_probabilities=g.log_probabilities, ended=g.ended)
                found[image] = answerer.find(reply, width, height, masks=False).boxes
                true_parts = [(box, name) for name in FOUND for box in parts(classes == names.index(name))]
                truths[image] = TrueBoxes(
                    xyxy=np.array([box for box, _ in true_parts], float).reshape(-1, 4), labels=[name for _, name in true_parts]
                )
    ap50 = detection_scores(found, truths).ap50
    return {"answers": float(np.mean(right)), "mask IoU": float(np.mean(overlaps)), "AP50": ap50}


def more_common(files: dict[str, Path]) -> dict[str, dict[str, float]]:
    """The answer that is more common to each question in train."""
    told: dict[str, Counter] = {}
    for row in read_lines(files["train"]):
        if row["prefix"].startswith("answer"):
            told.setdefault(row["prefix"], Counter())[row["suffix"]] += 1
    asked = [row for row in read_lines(files["test"]) if row["prefix"].startswith("answer")]
    right = [told[row["prefix"]].most_common(1)[0][0] == row["suffix"] for row in asked]
    return {"more common answer": {"answers": float(np.mean(right))}}


def main() -> None:
    made = parser(__doc__ or "", (50, 150, 367))
    made.add_argument("data", type=Path, help="folder of CamVid's parquet files")
    made.add_argument("--codec", default=mask_codec.DEFAULT, help="codec of masks, by name or file")
    args = made.parse_args()
    codec = mask_codec.load(args.codec)
    files = write_data(args.data, args.runs / "data", codec)
    names = tuple((args.data / "classes.txt").read_text().split())
    results = run_all(args, files["train"], lambda answerer: score(answerer, codec, files["test"], names, args.tests))
    write_up(args, results, more_common(files))


if __name__ == "__main__":
    main()
