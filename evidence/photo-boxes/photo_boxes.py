"""Scores boxes, places and colours of things in photographs against marks (boxes.csv and colours.csv beside this script).

    python evidence/photo-boxes/photo_boxes.py photos.parquet [--out evidence/photo-boxes/results.json]

photos.parquet has the columns image (bytes, path) and label, a photograph of each of ImageNet's classes. Marked are those
whose class is a multiple of 15, and those whose class is 5 more than a multiple of 60; left out are photographs without one
main thing (rows of equal things, scenes, interiors, a wrong label) or without a noun for it. A model that reads images marked
them, not a person: twice, the second time mirrored, in another order and on another grid; a mark is the mean of both readings,
and two that overlapped by less than 0.7 would have been dropped. A colour counts where both readings gave the same.

Colours and places: CORE, CLEAR and BESIDE of `tapetum.app.see.photo_regions` were chosen on even rows by hand, so that at most
a tenth is wrong, a colour named where none is marked included, and then most is right; of BESIDE, the largest that costs no
right answer.

Even rows choose, by the share of boxes that overlap the mark by more than half: the sizes of the image, the share of the peak,
and the logistic of the score; and the level, the lowest with which 0.8 of the boxes, and a standard error more, are right when
every photograph is asked for the words of all others too. Odd rows are scored. The script ends with 1 if the constants of
`tapetum.encoders.class_maps` are not those chosen.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import minimize
from tapetum.tracks.masks import outline_map

from tapetum.app.see.photo_regions import clear_colour, find_place, outline, say_place
from tapetum.core.files import whole_file, write_text
from tapetum.encoders import class_maps, load
from tapetum.encoders.class_maps import DenseProbabilities, ThingMap, box_around, dense_probabilities
from tapetum.encoders.wordnet import find_thing
from tapetum.metrics.boxes import paired_box_iou
from tapetum.metrics.statistics import bootstrap_interval, wilson_interval

sys.path.append(str(Path(__file__).parents[2] / "docs" / "tools"))

from page_tables import write_table

HERE = Path(__file__).parent
MODEL = "efficientnet-lite2"
SIDES = (385, 641)
TRIED = ((385,), (641,), (385, 641))
SHARES = (0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3)
CENTRED = (0.5, 0.6, 0.7, 0.8, 0.9)
PRECISION = 0.8


def read_rows(name: str) -> list[dict[str, str]]:
    """Read a table of marks."""
    with open(HERE / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def corners(row: dict[str, str], prefix: str = "") -> list[float]:
    """Get a box of a row."""
    return [float(row[prefix + name]) for name in ("x1", "y1", "x2", "y2")]


def overlap(boxes: Sequence[Any], others: Sequence[Any]) -> np.ndarray:
    """Compute the overlap of each box with its mark; 0 where there is no box."""
    boxes = [(0, 0, 0, 0) if box is None else tuple(map(float, box)) for box in boxes]
    return paired_box_iou(np.array(boxes), np.array(others, float))


def centred(size: tuple[int, int], share: float) -> list[float]:
    """Make a box in the middle of an image, with a share of its sides."""
    height, width = size
    low, high = (1 - share) / 2, (1 + share) / 2
    return [width * low, height * low, width * high, height * high]


def cached(folder: Path | None, name: str, compute: Callable[[], DenseProbabilities]) -> DenseProbabilities:
    """Read probabilities from a folder, or compute and write them."""
    if folder is None:
        return compute()
    path = folder / f"{name}.npz"
    if not path.is_file():
        made = compute()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, made.whole.numpy(), *(each.numpy() for each in made.maps), size=np.array(made.size))
    with np.load(path) as file:
        whole, *maps = (torch.from_numpy(file[f"arr_{k}"]) for k in range(1 + len(SIDES)))
        return DenseProbabilities(size=tuple(file["size"].tolist()), maps=tuple(maps), whole=whole)


def only(dense: DenseProbabilities, sides: tuple[int, ...]) -> DenseProbabilities:
    """Keep some of the sizes."""
    return replace(dense, maps=tuple(dense.maps[SIDES.index(side)] for side in sides))


def mask_box(image: np.ndarray, made: ThingMap) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute the refined mask and the box around it."""
    mask = outline_map(image, made.odds, made.region)
    return mask, box_around(mask)


def fit_logistic(x: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Fit offset and slope, with a weak prior on both (standard deviation 10)."""

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] + parameters[1] * x
        return float(np.logaddexp(0, np.where(right, -z, z)).sum() + np.square(parameters).sum() / 200)

    fitted = minimize(loss, np.array([0.0, 1.0])).x
    return round(float(fitted[0]), 2), round(float(fitted[1]), 2)


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Describe a mean with its bootstrap interval over photographs."""
    return {
        "mean": round(float(np.mean(values)), 3),
        "95 %": [round(end, 3) for end in bootstrap_interval(np.array(values, float))],
    }


def share_of(right: int, count: int) -> dict[str, Any]:
    """Describe a share with Wilson's interval."""
    return {
        "share": round(right / max(count, 1), 3),
        "of": count,
        "95 %": [round(end, 3) for end in wilson_interval(right, max(count, 1))],
    }


def table(results: dict[str, Any]) -> str:
    """Write the table of both halves."""

    def cells(name: str) -> list[str]:
        rows = [results[half][name] for half in ("scored", "chosen on")]
        return [f"{row.get('mean', row.get('share')):.3f} ({row['95 %'][0]:.3f} to {row['95 %'][1]:.3f})" for row in rows]

    def counts(of: str, *names: str) -> list[str]:
        rows = [results[half][of] for half in ("scored", "chosen on")]
        return [", ".join(str(row[name]) for name in names) for row in rows]

    shares = {
        "boxes that overlap the mark by more than half": "overlap above 0.5",
        "the same, before colour and edges": "box of the map without colour and edges, above 0.5",
        "the same, the whole image as box": "whole image, above 0.5",
        "the same, a centred box": "centred box, above 0.5",
        "overlap": "overlap",
        "overlap before colour and edges": "box of the map without colour and edges",
        "precision at the level": "precision at the level",
        "coverage at the level": "coverage at the level",
        "precision without a standard error to spare": "precision at a level without a standard error to spare",
    }
    rows = [(text, *cells(name)) for text, name in shares.items()]
    others = [f"{results[half]['boxes of them at the level']} of {results[half]['words of other photographs']:,}"
              for half in ("scored", "chosen on")]  # fmt: skip
    rows += [
        ("boxes of things that other photographs show", *others),
        ("places: right, wrong, not said", *counts("place", "right", "wrong", "not said")),
        ("colours, where one is marked: right, wrong, unnamed", *counts("colour", "right", "wrong", "unnamed")),
        ("where none is marked: photographs, named", *counts("colour", "not marked", "named of these")),
    ]
    heads = [f"{results[half]['photographs']} photographs, {half}" for half in ("scored", "chosen on")]
    return write_table(("", *heads), rows)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--cache", type=Path, help="folder for the probabilities, which take a second or more a photograph")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    given = parser.parse_args()
    import pyarrow.parquet as parquet

    torch.set_num_threads(1)
    rows, colours = read_rows("boxes.csv"), read_rows("colours.csv")
    names = {row["file"] for row in rows}
    images = {
        image["path"]: np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB"))
        for image in parquet.read_table(given.photos, columns=["image"])["image"].to_pylist()
        if image["path"] in names
    }
    encoder = load(MODEL, "cpu")
    marks = [corners(row) for row in rows]
    classes = {row["word"]: find_thing(row["word"]).classes for row in rows}  # type: ignore[union-attr]
    dense = [
        cached(given.cache, row["file"], lambda row=row: dense_probabilities(encoder, images[row["file"]], SIDES))
        for row in rows
    ]
    halves = {"chosen on": range(0, len(rows), 2), "scored": range(1, len(rows), 2)}
    even = halves["chosen on"]

    tried = []
    for sides in TRIED:
        kept = {k: only(dense[k], sides) for k in even}
        for share in SHARES:
            boxes = [kept[k].of(classes[rows[k]["word"]], share).box for k in even]
            overlaps = overlap(boxes, [marks[k] for k in even])
            tried.append(
                {"sides": sides, "share": share, "right": float((overlaps > 0.5).mean()), "overlap": float(overlaps.mean())}
            )
    best = max(tried, key=lambda row: (round(row["right"], 6), row["overlap"]))
    sides, share = best["sides"], best["share"]
    centre = max(
        CENTRED,
        key=lambda c: float((overlap([centred(dense[k].size, c) for k in even], [marks[k] for k in even]) > 0.5).mean()),
    )

    probes = {}
    for half, numbers in halves.items():
        made = []
        for k in numbers:
            for word in sorted({rows[j]["word"] for j in numbers}):
                own = word == rows[k]["word"]
                if not own and set(classes[word]) & set(classes[rows[k]["word"]]):
                    continue
                thing = only(dense[k], sides).of(classes[word], share)
                mask, box = mask_box(images[rows[k]["file"]], thing) if own else (None, None)
                made.append((k, own, thing, mask, float(overlap([box], [marks[k]])[0]) if own else 0.0))
        probes[half] = made
    fitted = fit_logistic(
        np.array([p[2].evidence for p in probes["chosen on"]]), np.array([p[4] > 0.5 for p in probes["chosen on"]])
    )
    class_maps.SCORE, chosen_score = fitted, class_maps.SCORE
    scores = [(p[2].score, p[4] > 0.5) for p in probes["chosen on"]]
    level, lax_level = best_level(scores), best_level(scores, 0.0)
    result: dict[str, Any] = {
        "model": MODEL,
        "photographs": len(rows),
        "chosen": {
            "sides": sides,
            "share of the peak": share,
            "score": fitted,
            "level": level,
            "side of the centred box": centre,
        },
        "tried": [{**row, "right": round(row["right"], 3), "overlap": round(row["overlap"], 3)} for row in tried],
        "agreement of the two readings": round(
            float(overlap([corners(r, "first_") for r in rows], [corners(r, "second_") for r in rows]).mean()), 3
        ),
    }
    for half, numbers in halves.items():
        truth = [marks[k] for k in numbers]
        own = [p for p in probes[half] if p[1]]
        boxed = [p for p in probes[half] if p[2].score >= level]
        lax = [p for p in probes[half] if p[2].score >= lax_level]
        plain = overlap([p[2].box for p in own], truth)
        refined = np.array([p[4] for p in own])
        result[half] = {
            "photographs": len(own),
            "overlap above 0.5": interval(refined > 0.5),
            "overlap": interval(refined),
            "box of the map without colour and edges, above 0.5": interval(plain > 0.5),
            "box of the map without colour and edges": interval(plain),
            "whole image, above 0.5": interval(overlap([[0, 0, *dense[k].size[::-1]] for k in numbers], truth) > 0.5),
            "centred box, above 0.5": interval(overlap([centred(dense[k].size, centre) for k in numbers], truth) > 0.5),
            "precision at the level": share_of(sum(p[4] > 0.5 for p in boxed), len(boxed)),
            "precision at a level without a standard error to spare": share_of(sum(p[4] > 0.5 for p in lax), len(lax)),
            "coverage at the level": share_of(sum(p[1] for p in boxed), len(own)),
            "words of other photographs": len(probes[half]) - len(own),
            "boxes of them at the level": sum(not p[1] for p in boxed),
            "place": score_places(own, marks, dense, images, rows),
            "colour": score_colours(own, rows, colours, images),
        }
    with whole_file(given.out) as temporary:
        write_text(temporary, json.dumps(result, indent=1))
    print(json.dumps({name: value for name, value in result.items() if name != "tried"}, indent=1))
    same = (class_maps.SIDES, class_maps.SHARE, chosen_score, class_maps.LEVEL) == (sides, share, fitted, level)
    if not same:
        print("set these constants in tapetum.encoders.class_maps:", sides, share, fitted, level, file=sys.stderr)
    return int(not same)


def best_level(scores: Sequence[tuple[float, bool]], spare: float = 1.0) -> float:
    """Find the lowest score, in hundredths, from which on the share of right boxes, less standard errors, is as wanted."""
    for level in np.arange(1, 100) / 100:
        right = [good for score, good in scores if score >= level]
        share = float(np.mean(right or [0]))
        if share - spare * (share * (1 - share) / max(len(right), 1)) ** 0.5 >= PRECISION:
            return float(level)
    return 1.0


def score_places(own: Sequence[Any], marks: Sequence[Any], dense: Sequence[DenseProbabilities], images: Any, rows: Any) -> Any:
    """Count places as `ask` says them: right where all that is said of across and down is that of the mark's middle."""
    counts = {"right": 0, "wrong": 0, "not said": 0}
    for k, _, made, _, _ in own:
        found = outline(images[rows[k]["file"]], made)
        said = find_place(found[1], dense[k].size) if found else (None, None)
        x1, y1, x2, y2 = marks[k]
        height, width = dense[k].size
        across, down = int((x1 + x2) / 2 / width * 3), int((y1 + y2) / 2 / height * 3)
        true = ("left", "middle", "right")[across], ("top", "middle", "bottom")[down]
        wrong = any(a not in (None, b) for a, b in zip(said, true, strict=True))
        counts["not said" if say_place(*said) is None else "wrong" if wrong else "right"] += 1
    return counts


def score_colours(own: Sequence[Any], rows: Any, colours: Any, images: Any) -> dict[str, Any]:
    """Count colours of things as `ask` says them: right, wrong and unnamed where one is marked, and named where none is."""
    named = []
    for k, _, made, _, _ in own:
        image = images[rows[k]["file"]]
        found = outline(image, made)
        named.append((colours[k]["colour"], (clear_colour(image, made, found[0]) or "") if found else ""))
    clear = [(mark, name) for mark, name in named if mark]
    return {
        "marked": len(clear),
        "right": sum(mark == name for mark, name in clear),
        "wrong": sum(name not in ("", mark) for mark, name in clear),
        "unnamed": sum(not name for _, name in clear),
        "not marked": len(named) - len(clear),
        "named of these": sum(bool(name) for mark, name in named if not mark),
    }


if __name__ == "__main__":
    sys.exit(main())
