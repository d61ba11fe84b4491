"""What masks lose when they are written as 16 tokens: round trips of held-out masks, at the size of their images.

    tapetum scenes images HELDOUT --n 500 --size 112 --seed 4242
    python evidence/paligemma-masks/claims.py HELDOUT [--model paligemma-masks] [--out evidence/paligemma-masks]

For each thing of each image: its tightest box as four tokens of places, its mask as 16, both back, and the intersection over
union with the mask at the size of the image. Beside it stand what the tokens of places alone allow (a mask of 64x64 numbers
pasted into the quantised box), the whole box, and
the ellipse in it. Intervals are 95 % over images (bootstrap, 2,000 draws).
Prints a table, and writes results.json and an image of round trips from the worst to the best.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.metrics.masks import mask_iou
from tapetum.systems.paligemma.locations import box_numbers, paste
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec, cut_out
from tapetum.systems.paligemma.masks.task import LEAST
from tapetum.types import Masks
from tapetum.video.images import folder_of_images

BINS = {"24 to 100 pixels": (LEAST, 100), "100 to 400": (100, 400), "400 and more": (400, 10**9)}


def ellipse() -> np.ndarray:
    """The ellipse in a box, as a mask of 64x64 numbers, above 0 inside."""
    y, x = (np.mgrid[:64, :64] + 0.5) / 32 - 1
    return (1 - x**2 - y**2).astype(np.float32)


def measure(codec: MaskCodec, masks: list[np.ndarray]) -> list[dict[str, float]]:
    """Scores of the masks of one image."""
    rows = []
    for mask in masks:
        box = Masks(masks=mask[None]).boxes.xyxy[0]
        numbers = box_numbers(box[None], mask.shape[1], mask.shape[0])[0]
        row: dict[str, float] = {"pixels": int(mask.sum())}
        back = codec.unpack(codec.codes_of(mask)[None])[0]
        for name, soft in (
            ("codec", back),
            ("no codec", 2 * cut_out(mask) - 1),
            ("box", np.ones((64, 64), np.float32)),
            ("ellipse", ellipse()),
        ):
            row[name] = float(mask_iou(paste(soft, numbers, mask.shape), mask))
        rows.append(row)
    return rows


def interval(per_image: list[list[float]], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over all masks, images drawn with replacement."""
    sums, counts = np.array([sum(v) for v in per_image]), np.array([len(v) for v in per_image])
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(sums), (2000, len(sums)))
    low, high = np.percentile(sums[draws].sum(1) / np.maximum(counts[draws].sum(1), 1), (2.5, 97.5))
    return float(low), float(high)


def sheet(codec: MaskCodec, masks: list[np.ndarray], scores: list[float], path: Path) -> None:
    """Draws masks and their round trips, from the worst to the best, 4 rows of 10 pairs."""
    order = np.argsort(scores)
    chosen = [order[round(q * (len(order) - 1))] for q in np.linspace(0, 1, 40)]
    tiles = []
    for k in chosen:
        back = codec.unpack(codec.codes_of(masks[k])[None])[0] > 0
        pair = np.concatenate([cut_out(masks[k]) > 0.5, np.zeros((64, 2), bool), back], 1)
        tiles.append(np.pad(pair * 255, 4, constant_values=60).astype(np.uint8))
    rows = [np.concatenate(tiles[r * 10 : r * 10 + 10], 1) for r in range(4)]
    Image.fromarray(np.concatenate(rows, 0)).save(path)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=mask_codec.DEFAULT)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    codec = mask_codec.load(given.model)
    per_image, kept = [], []
    for path in folder_of_images(given.folder / "masks"):
        ids = np.asarray(Image.open(path))
        masks = [ids == k for k in np.unique(ids[ids > 0])]
        masks = [mask for mask in masks if mask.sum() >= LEAST]
        per_image.append(measure(codec, masks))
        kept += masks
    every = [row for rows in per_image for row in rows]
    results: dict = {"images": len(per_image), "masks": len(every), "model": given.model}
    for name in ("codec", "no codec", "box", "ellipse"):
        low, high = interval([[row[name] for row in rows] for rows in per_image])
        mean = float(np.mean([row[name] for row in every]))
        results[name] = {"mean_iou": mean, "low": low, "high": high}
        print(f"{name:17} {mean:.4f}  [{low:.4f}, {high:.4f}]")
        for label, (least, most) in BINS.items():
            some = [row[name] for row in every if least <= row["pixels"] < most]
            results[name][label] = {"masks": len(some), "mean_iou": float(np.mean(some)) if some else None}
            print(f"                  {label:18} {results[name][label]}")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        sheet(codec, kept, [row["codec"] for row in every], given.out / "round-trips.png")


if __name__ == "__main__":
    main()
