"""Tells photographs from images of `tapetum scenes` by their distance (`tapetum.systems.paligemma.answers`).

    python evidence/paligemma-nano-2/familiarity.py WORLD OTHER_WORLD PHOTOS.parquet [--fit FILE.safetensors] \\
        --out evidence/paligemma-nano-2/familiarity.json

WORLD and OTHER_WORLD are folders of `tapetum scenes images`. With --fit the statistics are those of WORLD and the limit is that
of the first half of OTHER_WORLD, else both are the bundled ones; AUROC is of the other half and the photographs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tapetum.core.files import whole_file, write_text
from tapetum.data.labelled import labelled_images
from tapetum.systems.paligemma.answers import Answerer, fit_familiarity, image_tokens, load_familiarity, save_familiarity
from tapetum.systems.paligemma.images import read_images


def score(given: argparse.Namespace) -> dict[str, Any]:
    """Fit the statistics or load the bundled ones, and score them."""
    model = Answerer.load("paligemma-nano-2").model

    def features(images: list[np.ndarray]) -> torch.Tensor:
        return torch.cat([image_tokens(model, image[None]) for image in images])

    def world(folder: Path) -> list[np.ndarray]:
        return [read_images(path)[0] for path in sorted((folder / "images").glob("*.*g"))]

    photos = [np.asarray(image) for split in ("train", "val") for image in labelled_images(given.photos, split)[0]]
    others = features(world(given.other))
    half = len(others) // 2
    if given.fit:
        save_familiarity(fit_familiarity(features(world(given.world)), others[:half]), given.fit)
    familiarity = load_familiarity(given.fit) if given.fit else load_familiarity()
    near, far = familiarity.distances(others[half:]), familiarity.distances(features(photos))
    auroc = float(((far[:, None] > near[None]).float() + 0.5 * (far[:, None] == near[None]).float()).mean())
    rows = {
        name: {
            "images": len(distances),
            "median": float(distances.median()),
            "beyond the limit": float((distances > familiarity.limit).float().mean()),
        }
        for name, distances in (("world", near), ("photographs", far))
    }
    return {**rows, "limit": familiarity.limit, "auroc": round(auroc, 4)}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("world", "other", "photos"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--fit", type=Path, help="write the statistics to this file")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = json.dumps(score(given), indent=1)
    with whole_file(given.out) as temporary:
        write_text(temporary, result)
    print(result)


if __name__ == "__main__":
    main()
