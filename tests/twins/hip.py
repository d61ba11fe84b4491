"""The Hierarchical Perceiver once more, in 64 bits and loops over examples and groups: packing, masks, blocks, decoder, losses.

    element --embedded + its code--> a place in a group --block 0--> latents --merged, block 1--> ... --head, asked by codes-->

HiP: arXiv 2202.10890, and its public code, where the text says nothing of sizes; what is hidden is left out, so that a group
looks at what is visible alone, and the error counts what was hidden. Padding is zeros, looked at unless it is masked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twins import loop

Parameters = dict[str, Tensor]
Place = tuple[str, int] | None
"""Modality and number of the element that is there, or padding."""


@dataclass
class Form:
    """What of a network is a choice."""

    groups: tuple[int, ...]
    heads: tuple[int, ...]
    layers: tuple[int, ...]
    mixed: bool = False
    """Latents of all groups are dealt out in turn, in place of neighbours that merge."""
    masks_padding: bool = False
    labels: tuple[str, ...] = ()
    """Modalities that enter and leave at the processor."""


def linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    bias = p.get(f"{name}.bias")
    return x @ p[f"{name}.weight"].T + (0 if bias is None else bias)


def norm(p: Parameters, name: str, x: Tensor) -> Tensor:
    """Compute a layer norm."""
    x = x - x.mean(1, keepdim=True)
    return x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]


def mlp(p: Parameters, name: str, x: Tensor) -> Tensor:
    hidden = linear(p, f"{name}.hidden", x)
    return linear(p, f"{name}.out", (hidden * (hidden > 0)) ** 2)


def attend(p: Parameters, name: str, x: Tensor, y: Tensor, heads: int) -> Tensor:
    """Compute what rows `x` find in rows `y`."""
    q, k, v = linear(p, f"{name}.query", x), linear(p, f"{name}.key", y), linear(p, f"{name}.value", y)
    wide = q.shape[1] // heads
    parts = []
    for h in range(heads):
        own = slice(h * wide, (h + 1) * wide)
        chance = (q[:, own] @ k[:, own].T / math.sqrt(wide)).exp()
        parts.append(chance / chance.sum(1, keepdim=True) @ v[:, own])
    return linear(p, f"{name}.out", torch.cat(parts, 1))


def cross(p: Parameters, name: str, x: Tensor, y: Tensor, residual: bool) -> Tensor:
    """Compute a cross-attention of one head, at the width of `y`, and its MLP."""
    z = attend(p, f"{name}.attention", norm(p, f"{name}.query_norm", x), norm(p, f"{name}.input_norm", y), 1)
    z = z + x if residual else z
    return z + mlp(p, f"{name}.mlp", norm(p, f"{name}.mlp_norm", z))


def layer(p: Parameters, name: str, x: Tensor, heads: int) -> Tensor:
    y = norm(p, f"{name}.norm", x)
    x = x + attend(p, f"{name}.attention", y, y, heads)
    return x + mlp(p, f"{name}.mlp", norm(p, f"{name}.mlp_norm", x))


def code(p: Parameters, name: str) -> Tensor:
    """Compute the codes of a modality's elements; those of labels are not projected."""
    table = p[f"{name}.table"]
    return linear(p, f"{name}.projection", table) if f"{name}.projection.weight" in p else table


def packed(lengths: Mapping[str, int], count: int) -> list[list[Place]]:
    """Give groups one by one to the modality that has most elements a group, and each its places, as many as the widest has."""
    own = dict.fromkeys(lengths, 1)
    while sum(own.values()) < count:
        own[max(lengths, key=lambda name: lengths[name] / own[name])] += 1
    each = {name: -(-lengths[name] // own[name]) for name in lengths}
    width = max(each.values())
    groups = []
    for name, n in lengths.items():
        for g in range(own[name]):
            inside: list[Place] = [(name, i) for i in range(g * each[name], min((g + 1) * each[name], n))]
            groups.append(inside + [None] * (width - len(inside)))
    return groups


def merged(groups: Sequence[Tensor], count: int, mixed: bool) -> list[Tensor]:
    """Give the rows of all groups to `count` groups of the next block."""
    rows = [row for several in zip(*groups, strict=True) for row in several] if mixed else [row for g in groups for row in g]
    size = len(rows) // count
    return [torch.stack(rows[k * size : (k + 1) * size]) for k in range(count)]


def forward(
    p: Parameters, f: Form, example: Mapping[str, Tensor], visible: Sequence[Sequence[int]] | None = None
) -> tuple[dict[str, Tensor], list[list[Tensor]]]:
    """Compute features of an example's elements, and the latents of all blocks; `visible`: places of each group, or of all."""
    inner = {name: len(x) for name, x in example.items() if name not in f.labels}
    groups, codes = packed(inner, f.groups[0]), {name: code(p, f"positions.{name}") for name in inner}
    zero = torch.zeros_like(codes[next(iter(inner))][0])
    elements = {name: linear(p, f"embed.{name}", example[name]) + codes[name] for name in inner}
    level = []
    for g, places in enumerate(groups):
        chosen = range(len(places)) if visible is None else visible[g if len(visible) > 1 else 0]
        shown = [places[k] for k in chosen if places[k] is not None or not f.masks_padding]
        level.append(torch.stack([zero if place is None else elements[place[0]][place[1]] for place in shown]))
    latents: list[list[Tensor]] = []
    processor, features = len(f.groups) // 2, dict[str, Tensor]()
    for i, count in enumerate(f.groups):
        name = f"blocks.{i}"
        level = merged(latents[-1], count, f.mixed) if i else level
        questions = {each: code(p, f"label_positions.{each}") for each in f.labels if each in example}
        if i == processor:
            new = [linear(p, f"label_embed.{each}", example[each]) + own for each, own in questions.items()]
            level = [torch.cat([level[0], *new])]
        queries, z = p[f"{name}.latents"], []
        for g, inputs in enumerate(level):
            own = queries[g * len(queries) // count : (g + 1) * len(queries) // count]
            if i > processor:
                skip = latents[len(f.groups) - 1 - i][g]
                own = own + (linear(p, f"{name}.skip", skip) if f"{name}.skip.weight" in p else skip)
            x = cross(p, f"{name}.cross", own, inputs, residual=True)
            for k in range(f.layers[i]):
                x = layer(p, f"{name}.layers.{k}", x, f.heads[i])
            z.append(x)
        latents.append(z)
        if i == processor:
            features |= {each: cross(p, "label_head", own, z[0], residual=False) for each, own in questions.items()}
    for name, n in inner.items():
        at = {place[1]: g for g, places in enumerate(groups) for place in places if place and place[0] == name}
        rows = [cross(p, "head", codes[name][i : i + 1], latents[-1][at[i]], residual=False) for i in range(n)]
        features[name] = torch.cat(rows)
    return features, latents


class Masking(loop.Run):
    """Masked auto-encoding; a micro-batch is the examples of each process, and the places that each may look at."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, form: Form):
        super().__init__(start, settings)
        self.form, self.figures = form, list[dict[str, float]]()

    def gradients(self, *batch: Any) -> tuple[float, loop.Parameters]:
        """Compute the mean over processes of the mean over modalities of the squared errors of hidden elements."""
        p = {name: torch.from_numpy(x).requires_grad_() for name, x in self.p.items()}
        parts = [self.loss(p, *each) for each in batch]
        self.figures.append({name: float(np.mean([float(f[name]) for _, f in parts])) for name in parts[0][1]})
        loss = torch.stack([loss for loss, _ in parts]).mean()
        made = torch.autograd.grad(loss, [*p.values()], allow_unused=True)
        named = zip(p, made, strict=True)
        return float(loss.detach()), {n: np.zeros_like(self.p[n]) if g is None else g.numpy() for n, g in named}

    def loss(self, p: Parameters, examples: list[dict[str, Tensor]], visible: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a process, and the error of each modality."""
        errors = {name: list[Tensor]() for name in examples[0]}
        for example, own in zip(examples, visible, strict=True):
            groups = packed({name: len(x) for name, x in example.items()}, self.form.groups[0])
            places = [own[g if len(own) > 1 else 0] for g in range(len(groups))]
            shown = {inside[k] for inside, some in zip(groups, places, strict=True) for k in some}
            for name, x in forward(p, self.form, example, own)[0].items():
                error = (linear(p, f"unembed.{name}", x) - example[name]) ** 2
                errors[name] += [error[i].mean() for i in range(len(x)) if (name, i) not in shown]
        means = {name: torch.stack(each).mean() for name, each in errors.items()}
        return torch.stack([*means.values()]).mean(), {name: x.detach() for name, x in means.items()}


class Classes(Masking):
    """Learning classes, of examples or of a modality's elements; a micro-batch is the examples of each process and targets."""

    def __init__(
        self, start: loop.Parameters, settings: loop.Settings, form: Form, buffers: Parameters, elements_of: str | None
    ):
        super().__init__(start, settings, form)
        self.buffers, self.elements_of, self.smoothing = buffers, elements_of, 0.1

    def loss(self, p: Parameters, examples: list[dict[str, Tensor]], visible: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy with smoothed targets over all that have one; `visible` are the targets, -1 for none."""
        hip = {name.removeprefix("hip."): x for name, x in p.items()}
        losses, right = [], []
        for example, target in zip(examples, visible, strict=True):
            features, latents = forward(hip, self.form, example)
            x = torch.cat(latents[len(latents) // 2]).mean(0, keepdim=True)
            x = x if self.elements_of is None else features[self.elements_of]
            logits = linear(p, "out", (x - self.buffers["norm.mean"]) / self.buffers["norm.deviation"])
            for row, k in zip(logits, target.reshape(-1).tolist(), strict=True):
                if k >= 0:
                    chances = row.exp() / row.exp().sum()
                    wish = torch.full_like(row, self.smoothing / len(row))
                    wish[k] += 1 - self.smoothing
                    losses.append(-(wish * chances.log()).sum())
                    right.append(float(row.argmax() == k))
        return torch.stack(losses).mean(), {"accuracy": torch.tensor(right).mean()}
