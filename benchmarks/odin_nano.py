"""Train odin-nano, the small network for `tapetum discover`, and say how good it is on real pictures.

    python benchmarks/odin_nano.py OUT --pictures photos.parquet camvid/train.parquet [--minutes 25]
    python benchmarks/odin_nano.py OUT --score camvid/test.parquet [--models OUT colours xy efficientnet-lite2]

The first goes on where it was stopped. Scores are ABO, OR and CorLoc of cars, pedestrians and bicyclists, with 1 + 2 + ... + 32
proposals, and with the best object of `tapetum discover`. A model is what that takes, or untrained.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from odin_world import Kept, rows_of, street_things
from tapetum.encoders import Encoder
from tapetum.encoders.factory import load, make
from tapetum.odin.looks import looked_at_by, metric_of
from tapetum.odin.metrics import corloc, discovery_scores
from tapetum.odin.model import Odin
from tapetum.odin.objects import find_objects
from tapetum.odin.proposals import best_in_cells, proposals
from tapetum.odin.recipes import RECIPES, OdinRun
from tapetum.odin.run import ODIN_FILE
from tapetum.odin.task import OdinTask
from tapetum.odin.weights import save
from tapetum.pretraining.data import Source
from tapetum.pretraining.run import run_task
from tapetum.train.launch_config import Launch
from tapetum.transfer.whole import Look
from tapetum.types import Masks
from tapetum.verbs.looks import look_of

PROPOSALS = 32


class Begun(OdinTask):
    """Odin whose encoder begins with weights that are known."""

    def __init__(self, run: OdinRun, source: Source, name: str):
        self.begun = load(name)
        super().__init__(run, Source(source.pictures, about={**source.about, "begun": name}))

    def learner(self, encoder: Encoder) -> nn.Module:
        """Put the heads on the encoder, which gets the weights."""
        encoder.load_state_dict(self.begun.state_dict())
        return super().learner(encoder)


def run_of(options: argparse.Namespace) -> OdinRun:
    """Give the config: as `small` with 16 clusters; of an encoder that is begun with, without pyramid and at a lower rate."""
    how, o = RECIPES["small"], options
    odin = replace(how.odin, clusters=16, place_weight=0.3, target_decay=0.99, discovery_decay=0.995)
    run = replace(how, data="photos", size=o.size, steps=o.steps, batch_size=o.batch, micro_batch=o.batch, odin=odin)
    if o.encoder is None:
        return replace(run, rate=1e-3 * 256 / o.batch)
    odin = replace(odin, pyramid_width=0)
    return replace(run, encoder=o.encoder, change=(), rate=3e-4 * 256 / o.batch, odin=odin)


def trained(options: argparse.Namespace) -> None:
    """Train until done, or until the minutes are over."""
    pictures = Kept(options.pictures, options.stored)
    source = Source(pictures, about={"data": f"{len(pictures)} pictures"})
    launch = Launch(out=options.out, device="cpu", workers=0, threads=1, minutes=options.minutes)
    kept: list[Any] = []
    run = run_of(options)
    task = OdinTask(run, source) if options.encoder is None else Begun(run, source, options.encoder)
    finished = run_task(task, launch, print, kept.append)
    if finished is not None:
        save(kept[0], options.out / ODIN_FILE)


def scored(look: Look, file: Path, most: int) -> dict[str, float]:
    """Score a look on the things of streets."""
    best, boxes, truth = [], [], []
    for picture, mask in rows_of(file, most):
        things = street_things(mask)  # pyright: ignore[reportArgumentType]
        if not len(things):
            continue
        shown = np.asarray(picture.convert("RGB"))
        seen = look(shown)
        best.append(best_in_cells(things, proposals(seen, PROPOSALS, metric_of(look))))
        found, _ = find_objects(shown, look, found=seen)
        whole = np.array([0, 0, shown.shape[1], shown.shape[0]], float)
        boxes.append(np.asarray(found.boxes.xyxy[0]) if len(found) else whole)
        truth.append(np.asarray(Masks(masks=things).boxes.xyxy))
    return {**discovery_scores(best), "corloc": corloc(boxes, truth), "pictures": len(best)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], help="parquet files to learn from")
    parser.add_argument("--score", type=Path, help="parquet file of CamVid")
    parser.add_argument("--models", nargs="+", default=["untrained", "colours", "rgb", "xy"])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--encoder", help="an encoder by name whose weights to begin with, such as resnet-nano")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--stored", type=int, default=96, help="shorter side of the pictures as they are kept")
    parser.add_argument("--seen", type=int, default=192, help="shorter side of pictures as the network sees them")
    parser.add_argument("--most", type=int, default=60, help="pictures to score with")
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.pictures:
        trained(options)
    if options.score:
        file = options.out / "real.json"
        found = json.loads(file.read_text()) if file.exists() else {}
        for model in options.models:
            if model == "untrained":
                run = run_of(options)
                look = looked_at_by(Odin(run.odin, make(run.architecture, run.seed)).eval(), options.seen)
            else:
                look = look_of(model, options.seen, device="cpu")
            found[Path(model).name] = scored(look, options.score, options.most)
            options.out.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found, indent=1) + "\n")
        for name, scores in found.items():
            print(f"{name:10}", {key: round(value, 3) for key, value in scores.items()})


if __name__ == "__main__":
    main()
