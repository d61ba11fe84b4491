"""Train odin-nano, the small network for `tapetum discover`, and say how good it is on real images.

    python evidence/odin/nano.py OUT --images photos.parquet camvid/train.parquet [--minutes 25]
    python evidence/odin/nano.py OUT --score camvid/test.parquet [--models OUT colours xy efficientnet-lite2]

The first goes on where it was stopped. Scores are ABO and OR of cars, pedestrians and bicyclists with 1 + 2 + ... + 32
proposals; the same with the objects of `tapetum discover` for some numbers of clusters, and CorLoc of the best of them. A model
is what discover takes; MODEL+xyW, which is its features of unit length with positions of weight W; or a control: untrained,
grid (squares), oracle (the true masks at the size of the cells of colours).
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from odin_data import Kept, rows_of, street_things
from tapetum.bench.image_jobs import image_features_of
from tapetum.encoders import Encoder
from tapetum.encoders.factory import load, make
from tapetum.systems.odin.masks import with_positions
from tapetum.systems.odin.metrics import best_in_cells, best_overlaps, corloc, discovery_scores, proposals
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.objects import cluster_metric, enlarge, find_objects, network_map, rgb
from tapetum.systems.odin.recipes import RECIPES, OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.odin.weights import ODIN_FILE, save
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.run import run_task
from tapetum.train.launch_config import Launch
from tapetum.transfer.propagation import Look
from tapetum.types import Masks

PROPOSALS = 32


class Begun(OdinTask):
    """Odin whose encoder begins with weights that are known."""

    def __init__(self, run: OdinRun, source: ImageSource, name: str):
        self.begun = load(name)
        super().__init__(run, ImageSource(source.images, about={**source.about, "begun": name}))

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
        return replace(run, base_lr=1e-3 * 256 / o.batch)
    odin = replace(odin, pyramid_width=0)
    return replace(run, encoder=o.encoder, change=(), base_lr=3e-4 * 256 / o.batch, odin=odin)


def trained(options: argparse.Namespace) -> None:
    """Train until done, or until the minutes are over."""
    images = Kept(options.images, options.stored)
    source = ImageSource(images, about={"data": f"{len(images)} images"})
    launch = Launch(out=options.out, device="cpu", workers=0, threads=1, minutes=options.minutes)
    kept: list[Any] = []
    run = run_of(options)
    task = OdinTask(run, source) if options.encoder is None else Begun(run, source, options.encoder)
    finished = run_task(task, launch, print, kept.append)
    if finished is not None:
        save(kept[0], options.out / ODIN_FILE)


def scored(look: Look | None, places: float, options: argparse.Namespace, model: str) -> dict[str, Any]:
    """Score a look on the things of streets; None stands for squares and for the true masks, by the model's name."""
    best, boxes, truth = [], [], []
    found: dict[int, list[np.ndarray]] = {clusters: [] for clusters in options.clusters}
    for image, mask in rows_of(options.score, options.most):
        things = street_things(mask)  # pyright: ignore[reportArgumentType]
        if not len(things):
            continue
        shown = np.asarray(image.convert("RGB"))
        if look is None:
            best.append(_of_squares(things) if model == "grid" else _of_truth(things))
            continue
        seen, alike = look(shown), look
        if places:  # features of unit length beside positions
            seen, alike = with_positions((seen if look is rgb else F.normalize(seen, dim=0))[None], places)[0], rgb
        best.append(best_in_cells(things, proposals(seen, PROPOSALS, cluster_metric(alike))))
        truth.append(np.asarray(Masks(masks=things).boxes.xyxy))
        for clusters in options.clusters:
            said, _ = find_objects(shown, alike, clusters, features=seen)
            overlaps = (things[:, None] & said.masks[None]).sum((2, 3)) / (things[:, None] | said.masks[None]).sum((2, 3))
            found[clusters].append(overlaps.max(1, initial=0))
            if clusters == options.clusters[0]:
                whole = np.array([0, 0, shown.shape[1], shown.shape[0]], float)
                boxes.append(np.asarray(said.boxes.xyxy[0]) if len(said) else whole)
    scores: dict[str, Any] = {**discovery_scores(best), "images": len(best), "each": [round(float(b.mean()), 4) for b in best]}
    if boxes:
        scores["corloc"] = corloc(boxes, truth)
        scores["discovered"] = {
            k: {**discovery_scores(b), "each": [round(float(x.mean()), 4) for x in b]} for k, b in found.items()
        }
    return scores


def _of_squares(things: np.ndarray) -> np.ndarray:
    """Find the best overlaps with grids of 1 to 32 cells, as near to squares as they come."""
    rows, columns = things.shape[1:]
    maps = []
    for count in range(1, PROPOSALS + 1):
        down = max(round((count * rows / columns) ** 0.5), 1)
        along = max(count // down, 1)
        maps.append((np.arange(rows) * down // rows)[:, None] * along + np.arange(columns) * along // columns)
    return best_overlaps(things, maps)


def _of_truth(things: np.ndarray) -> np.ndarray:
    """Find what the true masks come to at the size of the cells of colours, half covered or more."""
    scale = 56 / max(things.shape[1:])
    size = [max(round(side * scale), 2) for side in things.shape[1:]]
    cells = F.interpolate(torch.from_numpy(things[:, None]).float(), size=size, mode="area")[:, 0].numpy() >= 0.5
    drawn = np.stack([enlarge(cell.astype(int), *things.shape[1:]) > 0 for cell in cells])
    return (things & drawn).sum((1, 2)) / (things | drawn).sum((1, 2))


def compared(found: dict[str, Any], against: str) -> None:
    """Print all scores, and how much more than one of them each has: a mean and its 95 % interval over images."""
    rng = np.random.default_rng(0)

    def more(own: list[float], other: list[float]) -> list[float]:
        apart = np.subtract(own, other)
        means = apart[rng.integers(len(apart), size=(4000, len(apart)))].mean(1)
        return [round(float(x), 4) for x in (apart.mean(), *np.quantile(means, (0.025, 0.975)))]

    for name, scores in found.items():
        if against in found and name != against and len(scores["each"]) == len(found[against]["each"]):
            scores["more_than_" + against] = more(scores["each"], found[against]["each"])
            for clusters, own in scores.get("discovered", {}).items():
                other = found["colours"]["discovered"].get(clusters) if "colours" in found else None
                if other:
                    own["more_than_colours"] = more(own["each"], other["each"])
        print(f"{name:22}", {key: round(value, 3) for key, value in scores.items() if isinstance(value, float)})
        print(f"{'':22}", scores.get("more_than_" + against, ""))
        for clusters, own in scores.get("discovered", {}).items():
            print(
                f"{'':22}", clusters, "clusters:", {k: v if k[0] == "m" else round(v, 3) for k, v in own.items() if k != "each"}
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, nargs="+", default=[], help="parquet files to learn from")
    parser.add_argument("--score", type=Path, help="parquet file of CamVid")
    parser.add_argument("--models", nargs="+", default=["untrained", "colours", "rgb", "xy"])
    parser.add_argument("--clusters", type=int, nargs="+", default=[6, 12, 24], help="of discover")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--encoder", help="an encoder by name whose weights to begin with, such as resnet-nano")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--stored", type=int, default=96, help="shorter side of the images as they are kept")
    parser.add_argument("--seen", type=int, default=192, help="shorter side of images as the network sees them")
    parser.add_argument("--most", type=int, default=60, help="images to score with")
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.images:
        trained(options)
    if options.score:
        file = options.out / "real.json"
        found = json.loads(file.read_text()) if file.exists() else {}
        for model in options.models:
            name, _, places = model.partition("+xy")
            if model in ("grid", "oracle"):
                look = None
            elif name == "untrained":
                run = run_of(options)
                look = network_map(Odin(run.odin, make(run.architecture, run.seed)).eval(), options.seen)
            else:
                look = image_features_of(name, options.seen, device="cpu")
            found[Path(model).name] = scored(look, float(places or 0), options, model)
            found = json.loads(json.dumps(found))
            options.out.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found) + "\n")
        compared(found, "xy")
        file.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
