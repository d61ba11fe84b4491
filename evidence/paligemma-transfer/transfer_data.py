"""Data of `claims.py`, as files of JSON lines: easy-VQA and the streets of CamVid.

Both have test images of their own; a seed draws which training images a run has.
"""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.locations import box_text, mask_text
from tapetum.systems.paligemma.masks import codec as mask_codec

FOUND = ("car", "pedestrian", "bicyclist")
LEAST = 100
"""Pixels of a part that is a thing, of 480 x 360."""
Parts = list[tuple[tuple[float, float, float, float], np.ndarray]]
"""Boxes and masks of connected parts, the largest first."""


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write lines of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def easy_vqa(folder: Path, size: int, seed: int, tests: int) -> tuple[Path, Path]:
    """Write `size` training images that a seed draws, and the first test images, with all their questions."""
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
        made.append(write_lines(folder / (f"train-{size}-{seed}.jsonl" if part == "train" else "test.jsonl"), rows))
    return made[0], made[1]


def camvid(source: Path, folder: Path, size: int, seed: int, tests: int) -> tuple[Path, Path]:
    """Write images of streets at 112 pixels with questions, boxes, and the mask of the largest car.

    Of test images, frames of a few films, every n-th is taken, so that all films are there; their cars are in cars.npz.
    """
    import pyarrow.parquet as pq

    names = (source / "classes.txt").read_text().split()
    encode = mask_codec.load(mask_codec.DEFAULT).codes_of
    made = []
    prompts: list[str] = []
    for part, count in (("train", size), ("test", tests)):
        table = pq.read_table(source / f"{part}.parquet").to_pylist()
        masks = [make_image(row, "mask") for row in table]
        if part == "train":  # ask for what is neither always there nor hardly ever
            shares = {name: np.mean([(mask == k).sum() >= LEAST for mask in masks]) for k, name in enumerate(names)}
            prompts = [name for name, share in shares.items() if 0.1 <= share <= 0.9]
            order = np.random.default_rng(seed).permutation(len(table))[:count]
        else:
            order = np.arange(0, len(table), max(1, len(table) // count))[:count]
        rows, cars = [], {}
        for i in order.tolist():
            name = f"images/{part}-{i}.png"
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                pillow().fromarray(make_image(table[i], "image")).resize((112, 112)).save(folder / name)
            things = {noun: parts_of(masks[i] == names.index(noun)) for noun in FOUND}
            if things["car"]:
                cars[name] = things["car"][0][1]
            there = {noun: (masks[i] == names.index(noun)).sum() >= LEAST for noun in prompts}
            rows += [{"image": name, **answers} for answers in describe(things, there, masks[i].shape, encode)]
        made.append(write_lines(folder / (f"train-{size}-{seed}.jsonl" if part == "train" else "test.jsonl"), rows))
        if part == "test":
            np.savez_compressed(folder / "cars.npz", **cars)
    return made[0], made[1]


def pillow() -> Any:
    """Give Pillow's module of images."""
    from PIL import Image

    return Image


def make_image(row: dict[str, Any], name: str) -> np.ndarray:
    """Read an image or a mask of a row."""
    image = pillow().open(io.BytesIO(row[name]["bytes"]))
    return np.asarray(image.convert("RGB") if name == "image" else image)


def describe(
    things: dict[str, Parts], there: dict[str, Any], shape: tuple[int, ...], encode: Callable[..., np.ndarray]
) -> Iterator[dict[str, str]]:
    """Ask for classes, for boxes from left to right, and for the largest car."""
    for noun, yes in there.items():
        yield {"prefix": prompts.answer(f"is there a {noun}?"), "suffix": "yes" if yes else "no"}
    height, width = shape
    boxes = sorted((box, noun) for noun, every in things.items() for box, _ in every)
    text = prompts.BETWEEN.join(f"{box_text(box, width, height)} {noun}" for box, noun in boxes[:8])
    yield {"prefix": prompts.detect(list(FOUND)), "suffix": text}
    if things["car"]:
        box, part = things["car"][0]
        codes = mask_text(encode(part, np.array(box)))
        yield {"prefix": prompts.segment(["car"]), "suffix": f"{box_text(box, width, height)}{codes} car"}


def parts_of(mask: np.ndarray) -> Parts:
    """Find the connected parts of at least `LEAST` pixels."""
    from scipy.ndimage import find_objects, label

    numbers: np.ndarray = label(mask)[0]  # pyright: ignore[reportIndexIssue]
    parts: Parts = []
    for k, (rows, columns) in enumerate(find_objects(numbers), start=1):
        part = numbers == k
        if part.sum() >= LEAST:
            parts.append(((columns.start, rows.start, columns.stop, rows.stop), part))
    return sorted(parts, key=lambda each: -int(each[1].sum()))
