"""A whole step of Odin, written out in plain loops from the paper (arXiv 2203.08777, figure 1 and section 3) and DetCon's code.

    spanning view --discovery network--> cells --k-means--> ids, brought to both views
    view 1, view 2 --online--> means of masks -> projector -> predictor     gradients
    view 1, view 2 --target--> means of masks -> projector                  none

The networks differ in all weights, so that each must be asked for what is its own. Of the library, the loops use the map that
an encoder with its pyramid makes of a view, and the random choice with which k-means begins.
"""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from tapetum.data.samples import sample_generator
from tapetum.systems.odin.masks import _random_seeds
from tapetum.systems.odin.recipes import RECIPES, OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.run import loop_config
from tapetum.train import StepContext, fit
from tapetum.train.launch_config import Launch

CLUSTERS, BATCH, CELLS = 5, 4, 8
RESNET: dict[str, Any] = {"change": ("stem_width=4",)}
LIBRARY: dict[str, Any] = {"encoder": "timm:test_convnext", "change": ()}
Rows = dict[tuple[int, int], Tensor]
"""Vectors by (image, mask): of those that a view shows."""


class Patterns:
    """Images of stripes of many colours, by number."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, k: int) -> np.ndarray:
        rng = np.random.default_rng(k)
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        return coarse.repeat(13, 0).repeat(12, 1)

    def name(self, k: int) -> str:
        return f"pattern {k}"


def run_of(encoder: dict[str, Any] | None = None, **changes: Any) -> OdinRun:
    run = RECIPES["small"]
    odin = replace(run.odin, pyramid_width=8, hidden_width=16, projection_width=8, clusters=CLUSTERS, **changes)
    return replace(run, size=32, batch_size=BATCH, micro_batch=BATCH, steps=3, base_lr=0.05, odin=odin, **(encoder or RESNET))


def task_and_batch(**changes: Any) -> tuple[OdinTask, dict[str, Any]]:
    task = OdinTask(run_of(**changes), ImageSource(Patterns()))
    samples = task.dataset()
    return task, task.collate([samples[k] for k in range(BATCH)])


def first_draw(batch: dict[str, Any]) -> int:
    return int(sample_generator(run_of().seed, batch["number"][0]).integers(2**32))


def seen_by(network: Any, view: Tensor) -> Tensor:
    """The map that a network makes of a view, its batch norms by the batch (as all of DetCon's)."""
    return network.train()(view)


def clusters_of(cells: np.ndarray, seeds: np.ndarray) -> list[int]:
    """Spherical k-means of one image's cells (n, d), ten rounds from the given centres."""
    points = [cell / np.sqrt((cell**2).sum()) for cell in cells]
    centres = [*seeds]

    def nearest(point: np.ndarray) -> int:
        return max(range(len(centres)), key=lambda k: point @ centres[k])

    for _ in range(10):
        ids = [nearest(point) for point in points]
        for k in range(len(centres)):
            members = [point for point, own in zip(points, ids, strict=True) if own == k]
            if members:  # else the centre stays
                mean = sum(members) / len(members)
                centres[k] = mean / np.sqrt((mean**2).sum())
    return [nearest(point) for point in points]


def in_view(ids: list[int], span: list[float], box: list[float], flipped: bool) -> list[list[int]]:
    """The ids of the spanning view, looked up at the middle of each cell of a view."""
    found = []
    for i in range(CELLS):
        row = []
        for j in range(CELLS):
            along = CELLS - 1 - j if flipped else j
            y = box[0] + (i + 0.5) / CELLS * box[2]  # in pixels of the image
            x = box[1] + (along + 0.5) / CELLS * box[3]
            own_row = math.floor((y - span[0]) / span[2] * CELLS)
            row.append(ids[own_row * CELLS + math.floor((x - span[1]) / span[3] * CELLS)])
        found.append(row)
    return found


def mask_means(maps: Tensor, ids: list[list[list[int]]]) -> Rows:
    """The mean of the map inside of each mask that a view shows."""
    found: Rows = {}
    for b in range(len(maps)):
        for k in range(CLUSTERS):
            inside = [maps[b, :, i, j] for i in range(CELLS) for j in range(CELLS) if ids[b][i][j] == k]
            if inside:
                found[b, k] = sum(inside[1:], inside[0]) / len(inside)
    return found


def perceptron(layers: Any, rows: Rows) -> Rows:
    """Linear, batch norm over the masks of all images, ReLU, linear."""
    first, norm, _, last = layers
    hidden = {name: first.weight @ row + first.bias for name, row in rows.items()}
    mean = sum(hidden.values()) / len(hidden)
    variance = sum((row - mean) ** 2 for row in hidden.values()) / len(hidden)
    normed = {name: (row - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias for name, row in hidden.items()}
    return {name: last.weight @ row.clamp(min=0) for name, row in normed.items()}


def one_way(predictions: Rows, other: Rows, own: Rows, local: bool) -> Tensor:
    """- log of the share of the same mask in the other view among all masks of both views but itself; mean over all masks."""
    predictions, other, own = ({name: row / row.norm() for name, row in rows.items()} for rows in (predictions, other, own))
    total = torch.zeros((), dtype=torch.float64)
    for name, p in predictions.items():
        if name in other:
            apart = [t for rows in (other, own) for n, t in rows.items() if n != name and (local or n[0] != name[0])]
            negatives = sum(torch.exp(p @ t / 0.1) for t in apart)
            positive = torch.exp(p @ other[name] / 0.1)
            total = total - torch.log(positive / (positive + negatives))
    return total / (BATCH * CLUSTERS)


def plain_step(
    online: Any, target: Any, discovery: Any, batch: dict[str, Any], local: bool = True, ids: list[list[int]] | None = None
) -> tuple[Tensor, list[Rows]]:
    """The loss of a batch, and the masks' means in both views; `ids` are masks that were computed before."""
    view1, view2, spanning = batch["views"]
    if ids is None:
        with torch.no_grad():
            cells = seen_by(discovery, spanning).flatten(2).mT  # (b, n, d)
            units = cells / cells.norm(dim=-1, keepdim=True)
            seeds = _random_seeds(units, CLUSTERS, torch.Generator().manual_seed(first_draw(batch)))
            ids = [clusters_of(cells[b].numpy(), seeds[b].numpy()) for b in range(BATCH)]
    box, flipped = batch["boxes"].double().tolist(), batch["flipped"].tolist()
    shown = [[in_view(ids[b], box[2][b], box[v][b], flipped[v][b]) for b in range(BATCH)] for v in range(2)]
    means = [mask_means(seen_by(online, view), shown[v]) for v, view in enumerate((view1, view2))]
    projections = [perceptron(online.projector, each) for each in means]
    if target is None:  # form s: the online network is its own target, and learns on both sides
        predictions = targets = projections
    else:
        predictions = [perceptron(online.predictor, each) for each in projections]
        with torch.no_grad():
            seen = [mask_means(seen_by(target, view), shown[v]) for v, view in enumerate((view1, view2))]
            targets = [perceptron(target.projector, each) for each in seen]
    loss = one_way(predictions[0], targets[1], targets[0], local) + one_way(predictions[1], targets[0], targets[1], local)
    return loss, means


def other_network(task: OdinTask, seed: int) -> Any:
    """A network whose weights and norms are all its own."""
    torch.manual_seed(seed)
    network = task.model().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    ("form", "local", "encoder"),
    [("b", True, RESNET), ("b", False, RESNET), ("s", True, RESNET), ("s", False, RESNET), ("b", True, LIBRARY)],
)
def test_loss_and_gradients_are_those_of_the_loops(form: str, local: bool, encoder: dict[str, Any]) -> None:
    task, batch = task_and_batch(form=form, local_negatives=local, encoder=encoder)
    batch["views"] = [view.double() for view in batch["views"]]
    online, target, discovery = (other_network(task, seed) for seed in range(3))
    plain = [copy.deepcopy(network) for network in (online, target, discovery)]
    plain[1] = plain[1] if form == "b" else None
    teachers = {name: net.requires_grad_(False).eval() for name, net in (("target", target), ("discovery", discovery))}
    loss, _ = task.loss(online, batch, StepContext(teachers=teachers))
    loss.backward()
    wanted, means = plain_step(*plain, batch, local)
    wanted.backward()
    shown = [set(each) for each in means]
    assert min(len(each) for each in shown) < BATCH * CLUSTERS  # some masks are empty in a view
    assert shown[0] != shown[1]
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)
    for (name, found), own in zip(online.named_parameters(), plain[0].parameters(), strict=True):
        assert (found.grad is None) == (own.grad is None), name
        if own.grad is not None:
            torch.testing.assert_close(found.grad, own.grad, rtol=1e-6, atol=1e-9, msg=name)
    assert all(p.grad is None for network in (target, discovery) for p in network.parameters())
    assert next(online.encoder.parameters()).grad.abs().sum() > 0


@pytest.mark.parametrize(("follows", "decays"), [("average", (0.99, 0.99)), ("copies", (1.0, 0.0)), ("fixed", (1.0, 1.0))])
def test_averages_follow_the_online_network_as_the_paper_has_it(
    follows: str, decays: tuple[float, float], tmp_path: Path
) -> None:
    """Three steps: xi with a decay that rises to 1 by a cosine; tau by a constant one, by copies (the 3rd step), or never."""
    task, _ = task_and_batch(discovery=follows, discovery_every=3)
    launch = Launch(out=tmp_path, device="cpu", workers=0, threads=1, save_every=1)
    fit(task, loop_config(task, launch, keep_last=9, tensorboard=False), tmp_path)
    folders = [tmp_path / "checkpoints" / f"step_{step:08d}" for step in (1, 2, 3)]
    states = [
        {name: load_file(folder / f"{name}.safetensors") for name in ("model", "target", "discovery")} for folder in folders
    ]
    moved = 0.0
    for k in (1, 2):
        rising = 1 - (1 - 0.99) * (math.cos(math.pi * k / 2) + 1) / 2
        for average, decay in (("target", rising), ("discovery", decays[k - 1])):
            for name, now in states[k][average].items():
                if now.is_floating_point():
                    before, online = states[k - 1][average][name], states[k]["model"][name]
                    torch.testing.assert_close(now, decay * before + (1 - decay) * online, rtol=1e-5, atol=1e-6, msg=name)
                    moved += float((online - before).abs().sum())
    assert moved > 1
    if follows != "average":
        return
    # the second step's loss, of the networks as they were after the first
    samples = task.dataset()
    batch = task.collate([samples[k] for k in range(BATCH, 2 * BATCH)])
    networks = []
    for name in ("model", "target", "discovery"):
        network = task.model()
        network.load_state_dict(states[0][name])
        networks.append(network.double())
    batch["views"] = [view.double() for view in batch["views"]]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = next(line["loss"] for line in log if line.get("step") == 2 and "loss" in line)
    assert logged == pytest.approx(float(plain_step(*networks, batch)[0].detach()), rel=1e-4)


def test_the_spanning_view_is_cut_and_scaled_alone_and_the_others_are_coloured() -> None:
    task, batch = task_and_batch()
    how = task.run.architecture.preprocessing
    changed = []
    for b, number in enumerate(batch["number"]):
        image = Image.fromarray(Patterns()[int(task.dataset().order(number))])
        for v, view in enumerate(batch["views"]):
            top, left, rows, columns = (int(x) for x in batch["boxes"][v][b])
            cut = np.array(image.crop((left, top, left + columns, top + rows)).resize((32, 32), Image.Resampling.BICUBIC))
            cut = cut[:, ::-1] if batch["flipped"][v][b] else cut
            apart = np.abs(view[b].movedim(0, -1).numpy() * how.std + how.mean - cut).max()
            if v == 2:
                assert apart < 1.01  # pixels are rounded, of 255
            else:
                changed.append(apart)
    assert sum(apart > 5 for apart in changed) > BATCH  # a view may be left as it is, but seldom
