"""Odin once more, in 64 bits and loops over cells: masks by k-means, means inside of them, DetCon's contrast, three networks.

    spanning view --discovery network--> cells --k-means--> ids, brought to both views
    view 1, view 2 --online--> means of masks -> projector -> predictor     gradients
    view 1, view 2 --target--> means of masks -> projector                  none

Odin: arXiv 2203.08777, section 3 and figure 1; the loss: DetCon, 2103.10957, section 3, and its public code, in which negatives
are of both views. The encoder is two convolutions as wide as their strides; the pyramid 1612.03144, section 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twins import loop

Parameters = dict[str, Tensor]
Rows = dict[tuple[int, int], Tensor]
"""Vectors by (image, mask), of masks that a view shows."""


@dataclass
class Form:
    """What of Odin is a choice."""

    clusters: int
    predicts: bool = True
    """There are a predictor and a target network; else the online network is its own target."""
    pyramid: bool = True
    projections: bool = False
    """k-means is of the projections of cells."""
    cosine: bool = True
    spread: bool = False
    """k-means begins with k-means++."""
    rounds: int = 10
    place: float = 0.0
    local: bool = True
    """Other masks of the same image are negatives."""


@dataclass
class Images:
    """Views of the images of a process, the boxes of both and of the spanning one, and the draws of k-means."""

    views: list[Tensor]
    boxes: list[list[list[float]]]
    """Top, left, height and width by view and image."""
    flipped: list[list[bool]]
    draws: Tensor
    ids: Tensor | None = None
    """(b, rows, columns): masks that come with whole images, in place of k-means."""


def features(p: Parameters, view: Tensor, pyramid: bool) -> Tensor:
    """Compute the map of a view: the pyramid's finest level, of 4 pixels a cell, or without one the coarsest map, of 8."""
    maps = []
    for name, x, size in (("fine", view, 4), ("coarse", None, 2)):
        x = maps[-1] if x is None else x
        patches = x.unfold(2, size, size).unfold(3, size, size)  # (b, c, rows, columns, size, size)
        y = torch.einsum("bcrskl,dckl->bdrs", patches, p[f"encoder.{name}.weight"])
        maps.append(torch.tanh(y + p[f"encoder.{name}.bias"][:, None, None]))
    if not pyramid:
        return maps[1]
    levels = [
        torch.einsum("bcrs,dc->bdrs", x, p[f"pyramid.lateral.{k}.weight"][:, :, 0, 0])
        + p[f"pyramid.lateral.{k}.bias"][:, None, None]
        for k, x in enumerate(maps)
    ]
    x, rows, columns = levels[0].clone(), *levels[0].shape[2:]
    for r in range(rows):
        for c in range(columns):
            x[:, :, r, c] += levels[1][:, :, r // 2, c // 2]
    bordered = torch.zeros(*x.shape[:2], rows + 2, columns + 2, dtype=x.dtype)
    bordered[:, :, 1:-1, 1:-1] = x
    around = bordered.unfold(2, 3, 1).unfold(3, 3, 1)
    y = torch.einsum("bcrskl,dckl->bdrs", around, p["pyramid.output.0.weight"])
    return y + p["pyramid.output.0.bias"][:, None, None]


def perceptron(p: Parameters, name: str, rows: Rows) -> Rows:
    """Linear, batch norm over all rows of all processes, ReLU, linear without bias."""
    hidden = {key: p[f"{name}.0.weight"] @ row + p[f"{name}.0.bias"] for key, row in rows.items()}
    mean = torch.stack([*hidden.values()]).mean(0)
    variance = torch.stack([(row - mean) ** 2 for row in hidden.values()]).mean(0)
    normed = {key: (row - mean) / (variance + 1e-5).sqrt() for key, row in hidden.items()}
    scaled = {key: row * p[f"{name}.1.weight"] + p[f"{name}.1.bias"] for key, row in normed.items()}
    return {key: p[f"{name}.3.weight"] @ row.clamp(min=0) for key, row in scaled.items()}


def first_centres(points: list[np.ndarray], draws: list[float], f: Form) -> list[np.ndarray]:
    """Choose the points with the smallest draws, or by k-means++ each in proportion to its squared distance (2007)."""
    if not f.spread:
        return [points[k] for k in sorted(range(len(points)), key=lambda k: draws[k])[: f.clusters]]
    centres = [points[int(draws[0] * len(points))]]
    for draw in draws[1:]:
        far = [min(((x - c) ** 2).sum() for c in centres) for x in points]
        total, k = 0.0, -1
        while total <= draw * sum(far) and k < len(far) - 1:
            k += 1
            total += far[k]
        centres.append(points[k])
    return centres


def clustered(cells: np.ndarray, draws: list[float], f: Form) -> list[int]:
    """Compute k-means of one image's cells (n, d); a centre without members stays."""
    points = [cell / np.linalg.norm(cell) if f.cosine else cell for cell in cells]
    centres = first_centres(points, draws, f)

    def nearest(point: np.ndarray) -> int:
        return min(range(len(centres)), key=lambda k: -point @ centres[k] if f.cosine else ((point - centres[k]) ** 2).sum())

    for _ in range(f.rounds):
        ids = [nearest(point) for point in points]
        for k in range(len(centres)):
            members = [point for point, own in zip(points, ids, strict=True) if own == k]
            if members:
                mean = sum(members) / len(members)
                centres[k] = mean / np.linalg.norm(mean) if f.cosine else mean
    return [nearest(point) for point in points]


def with_places(cells: np.ndarray, rows: int, columns: int, weight: float) -> np.ndarray:
    """Append each cell's row and column, which at weight 1 vary as much as all features together."""
    places = np.array([[2 * r / (rows - 1) - 1, 2 * c / (columns - 1) - 1] for r in range(rows) for c in range(columns)])
    ratio = cells.var(0).sum() / places.var(0).sum()
    return np.concatenate([cells, weight * math.sqrt(ratio) * places], 1)


def in_view(ids: np.ndarray, span: list[float], box: list[float], flipped: bool, side: int) -> list[list[int]]:
    """Look up ids of the crop `span` at the middle of each cell of a view."""
    shown = np.zeros((side, side), int)
    for i in range(side):
        for j in range(side):
            y = box[0] + (i + 0.5) / side * box[2]  # in pixels of the image
            x = box[1] + ((side - 1 - j if flipped else j) + 0.5) / side * box[3]
            row, column = (y - span[0]) / span[2] * ids.shape[0], (x - span[1]) / span[3] * ids.shape[1]
            shown[i, j] = ids[math.floor(row), math.floor(column)]
    return shown.tolist()


def mask_means(maps: Tensor, ids: list[list[list[int]]], first: int) -> Rows:
    """Average the map inside of each mask that a view shows; images are numbered from `first`."""
    means: Rows = {}
    for b in range(len(maps)):
        cells = {(i, j): own for i, row in enumerate(ids[b]) for j, own in enumerate(row)}
        for k in sorted(set(cells.values())):
            inside = [maps[b, :, i, j] for (i, j), own in cells.items() if own == k]
            means[first + b, k] = sum(inside[1:], inside[0]) / len(inside)
    return means


def one_way(predictions: Rows, other: Rows, own: Rows, local: bool, masks: int) -> Tensor:
    """Compute the mean over all masks of - log of the share of the same mask in the other view, among both views' masks."""
    predictions, other, own = ({name: row / row.norm() for name, row in rows.items()} for rows in (predictions, other, own))
    total = torch.zeros((), dtype=torch.float64)
    for name, p in predictions.items():
        if name in other:
            apart = [t for rows in (other, own) for n, t in rows.items() if n != name and (local or n[0] != name[0])]
            positive = torch.exp(p @ other[name] / 0.1)
            total = total - torch.log(positive / (positive + sum(torch.exp(p @ t / 0.1) for t in apart)))
    return total / masks


class Training(loop.Run):
    """A run; a micro-batch is the images of each process."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, form: Form):
        super().__init__(start, settings)
        self.form, self.figures = form, list[dict[str, float]]()

    def discover(self, batch: Sequence[Images]) -> list[np.ndarray]:
        """Find the masks of the spanning views of all processes: ids of each image."""
        if batch[0].ids is not None:
            return [each.numpy() for images in batch if images.ids is not None for each in images.ids]
        p, f = {name: torch.from_numpy(x) for name, x in self.averages["discovery"].items()}, self.form
        maps = torch.cat([features(p, images.views[2], f.pyramid) for images in batch])
        if f.projections:
            cells = {(b, k): cell for b, each in enumerate(maps) for k, cell in enumerate(each.flatten(1).T)}
            rows = perceptron(p, "projector", cells)
            maps = torch.stack([*rows.values()]).unflatten(0, (len(maps), -1)).mT.unflatten(2, maps.shape[2:])
        rows, columns = maps.shape[2:]
        every = [each.flatten(1).T.numpy() for each in maps]
        every = [with_places(cells, rows, columns, f.place) for cells in every] if f.place else every
        draws = torch.cat([images.draws for images in batch]).tolist()
        return [np.array(clustered(*each, f)).reshape(rows, columns) for each in zip(every, draws, strict=True)]

    def gradients(self, *batch: Any) -> tuple[float, loop.Parameters]:
        """Compute DetCon's loss of all processes' images together, and its gradients."""
        f, p = self.form, {name: torch.from_numpy(x).requires_grad_() for name, x in self.p.items()}
        target = {name: torch.from_numpy(x) for name, x in self.averages.get("target", {}).items()}
        online, targets, first, kept, entropies = [{}, {}], [{}, {}], 0, list[float](), list[float]()
        every = self.discover(batch)
        for images in batch:
            ids, boxes = every[first : first + len(images.draws)], images.boxes
            side = images.views[0].shape[2] // (4 if f.pyramid else 8)
            span = boxes[2] if images.ids is None else [[0.0, 0.0, *map(float, each.shape)] for each in ids]
            shown = [
                [in_view(ids[b], span[b], boxes[v][b], images.flipped[v][b], side) for b in range(len(ids))] for v in range(2)
            ]
            for v in range(2):
                online[v] |= mask_means(features(p, images.views[v], f.pyramid), shown[v], first)
                if target:
                    targets[v] |= mask_means(features(target, images.views[v], f.pyramid), shown[v], first)
            for one, two in zip(*shown, strict=True):
                shares = [sum(row.count(k) for row in one) / side**2 for k in range(f.clusters)]
                entropies.append(-sum(s * math.log(s) for s in shares if s) / math.log(f.clusters))
                both = [{k for row in each for k in row} for each in (one, two)]
                kept.append(len(both[0] & both[1]) / len(both[0] | both[1]))
            first += len(ids)
        projections = [perceptron(p, "projector", each) for each in online]
        predictions = [perceptron(p, "predictor", each) for each in projections] if f.predicts else projections
        goals = [perceptron(target, "projector", each) for each in targets] if f.predicts else projections
        masks = first * f.clusters
        loss = one_way(predictions[0], goals[1], goals[0], f.local, masks)
        loss = loss + one_way(predictions[1], goals[0], goals[1], f.local, masks)
        g = torch.autograd.grad(loss, [*p.values()], allow_unused=True)
        self.figures.append({"alive": float(np.mean(kept)), "entropy": float(np.mean(entropies))})
        return float(loss.detach()), {
            name: np.zeros_like(self.p[name]) if each is None else each.numpy() for name, each in zip(p, g, strict=True)
        }
