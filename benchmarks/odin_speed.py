"""Time a step of Odin against lightly's DetCon step, and k-means against scikit-learn's: CPU seconds, in one run, in turns.

    python benchmarks/odin_speed.py [--repeats 5] [--batch 32] [--json evidence/odin-speed/results.json]

DetCon: both get the same masks of a grid with the images; forward of two views in an online ResNet-18 and a target,
mean inside of masks on the last map, projector, predictor, loss, backward, AdamW, and the move of the target. lightly's is as
in its example (`pool_masked`, `DetConBLoss`) with torchvision's ResNet. Odin adds pyramid, discovery network on the spanning
view, k-means and the warping of masks; no other library has it, so it stands beside the step without.

k-means: 10 rounds from random vectors, of each image by itself; scikit-learn's Lloyd as well, with no early end.

CPU seconds of one thread are those of the process: the machine may be busy. Medians over turns, in each of which both
sides run. OPENBLAS_CORETYPE must not be set, or scikit-learn's products run on other instructions than the machine has.
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from lightly.loss import DetConBLoss
from lightly.models.utils import pool_masked, update_momentum
from sklearn.cluster import KMeans
from torch import nn

from pretraining_speed import stepping
from tapetum.systems.odin.masks import kmeans
from tapetum.systems.odin.model import perceptron
from tapetum.systems.odin.recipes import OdinConfig, recipe
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.pretraining.data import ImageSource, TrainingImage
from tapetum.systems.pretraining.sources import RawImages

SIZE, HIDDEN, WIDTH, GRID = 64, 1024, 256, 4
MAPS = {"56x56x64, K 16": (8, 3136, 64, 16), "56x56x256, K 16": (4, 3136, 256, 16), "28x28x384, K 20": (8, 784, 384, 20)}


def in_turns(steps: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """CPU seconds of each, the median of some turns after one that warms up; and of the ratio of the first two in a turn."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            taken[name].append(time.process_time() - began)
    ours, other = (np.array(values[1:]) for values in list(taken.values())[:2])
    ratios = ours / other
    spread = [round(float(x), 3) for x in np.quantile(ratios, (0.25, 0.75))]
    return {**{k: float(np.median(v[1:])) for k, v in taken.items()}, "ratio": float(np.median(ratios)), "quartiles": spread}


def our_step(batch: int, how: OdinConfig) -> Callable[[], None]:
    """A step of ours; with masks that are given, that of DetCon."""
    run = recipe("x", encoder="resnet-18", change=(), size=SIZE, batch_size=batch, odin=how)
    masks = np.arange(GRID**2).reshape(1, GRID, GRID).repeat(batch, 0) if how.source == "given" else None
    source = ImageSource(RawImages(np.zeros((batch, 3073), np.uint8), 1), np.zeros(batch, np.int64), ("none",))
    task = OdinTask(run, source, masks)
    noise = np.random.default_rng(0).integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
    made = task.collate([TrainingImage(noise[k], k, k, ()) for k in range(batch)])
    return stepping(task, made)[0]


def lightly_step(batch: int) -> Callable[[], None]:
    """A step of DetCon-B as lightly's example has it."""
    network = torchvision.models.resnet18()
    online = nn.ModuleList([nn.Sequential(*list(network.children())[:-2]), perceptron(512, HIDDEN, WIDTH)])
    target, predictor = copy.deepcopy(online).requires_grad_(False), perceptron(WIDTH, HIDDEN, WIDTH)
    views = [torch.randn(batch, 3, SIZE, SIZE) for _ in range(2)]
    side = SIZE // 32
    masks = [torch.randint(0, GRID**2, (batch, side, side)) for _ in range(2)]
    ids = torch.arange(GRID**2).expand(batch, -1)
    criterion = DetConBLoss(gather_distributed=False)
    learned = [*online.parameters(), *predictor.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)

    def projected(of: nn.ModuleList, k: int) -> torch.Tensor:
        rows = pool_masked(of[0](views[k]), masks[k], GRID**2).mT
        return of[1](rows.flatten(0, 1)).unflatten(0, rows.shape[:2])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        said = [projected(online, k) for k in range(2)]
        said = [predictor(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in said]
        with torch.no_grad():
            wanted = [projected(target, k) for k in range(2)]
        criterion(*said, *wanted, ids, ids).backward()
        optimizer.step()
        update_momentum(online, target, 0.99)

    return step


def kmeans_pair(shape: tuple[int, int, int, int]) -> dict[str, Callable[[], Any]]:
    """k-means of a batch of maps, ours and scikit-learn's."""
    images, vectors, channels, clusters = shape
    x = torch.randn(images, vectors, channels, generator=torch.Generator().manual_seed(0))
    own = [one.numpy() for one in x]
    how = {"n_init": 1, "init": "random", "max_iter": 10, "tol": 0.0, "algorithm": "lloyd", "random_state": 0}
    return {
        "ours": lambda: kmeans(x, clusters, 10, "l2"),
        "scikit-learn": lambda: [KMeans(clusters, **how).fit_predict(one) for one in own],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if "OPENBLAS_CORETYPE" in os.environ:
        parser.error("OPENBLAS_CORETYPE is set; run with env -u OPENBLAS_CORETYPE")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = OdinConfig(
        pyramid_width=0, hidden_width=HIDDEN, projection_width=WIDTH, source="given", clusters=GRID**2, target_decay=0.99
    )
    steps = {
        "ours": our_step(options.batch, plain),
        "lightly": lightly_step(options.batch),
        "Odin": our_step(options.batch, replace(plain, source="features", pyramid_width=64, clusters=GRID**2)),
    }
    seconds = in_turns(steps, options.repeats)
    found: dict[str, Any] = {"batch": options.batch, "torch": torch.__version__, "step": seconds, "kmeans": {}}
    print(
        f"DetCon step, {options.batch} images of {SIZE}: ours {seconds['ours']:.3f} s, lightly {seconds['lightly']:.3f} s, "
        f"ratio {seconds['ratio']:.2f}; Odin, with pyramid and discovery, {seconds['Odin']:.3f} s"
    )
    for name, shape in MAPS.items():
        both = in_turns(kmeans_pair(shape), options.repeats)
        found["kmeans"][name] = both
        print(
            f"k-means of {shape[0]} maps {name}: ours {both['ours']:.3f} s, scikit-learn {both['scikit-learn']:.3f} s, "
            f"ratio {both['ratio']:.2f}"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
