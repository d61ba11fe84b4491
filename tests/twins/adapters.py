"""Lossless adapters once more, in 64 bits: the trunk is numbers that nothing writes to, an adapter adds to what a module gives.

Lossless Adaptation, arXiv 2304.06600, sections 3 and 4; bottlenecks: 1902.00751 (in series), 2205.13535 (in parallel);
convolutions: 1705.08045, 1803.10082; low-rank changes: 2106.09685. The head: R3M, 2203.12601. The trunk is a ViT, 2010.11929.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twins import loop
from twins.longvideo import Encoder, Form

Parameters = Mapping[str, Tensor]


def gelu(x: Tensor) -> Tensor:
    """Compute the exact GELU."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def bottleneck(p: Parameters, name: str, x: Tensor) -> Tensor:
    """Compute up(gelu(down(x))) of rows, times the scale if there is one."""
    y = gelu(x @ p[f"{name}.down.weight"].T + p[f"{name}.down.bias"]) @ p[f"{name}.up.weight"].T + p[f"{name}.up.bias"]
    return y * p.get(f"{name}.scale", torch.ones(()))


def mixed(weight: Tensor, x: Tensor, rows: int, columns: int, stride: int = 1, first: int = 0) -> Tensor:
    """Sum over the pixels around (stride * r + first, stride * c + first), those outside being 0; each image (c, h, w)."""
    reach, out = weight.shape[2] // 2, []
    for r in range(rows):
        for c in range(columns):
            total = torch.zeros(len(weight), dtype=x.dtype)
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    i, j = stride * r + first + down, stride * c + first + right
                    if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
                        total = total + weight[:, :, reach + down, reach + right] @ x[:, i, j]
            out.append(total)
    return torch.stack(out, 1).unflatten(1, (rows, columns))


def adapted(p: Parameters, name: str, form: str, x: Tensor, y: Tensor, stride: int = 1, first: int = 0) -> Tensor:
    """Change what a convolution makes of a batch x: series and parallel mix channels, bottleneck has a depthwise 3 x 3."""
    if form == "bottleneck":
        maps = gelu(y.movedim(1, -1) @ p[f"{name}.down.weight"][:, :, 0, 0].T + p[f"{name}.down.bias"]).movedim(-1, 1)
        weight = torch.diag_embed(p[f"{name}.depthwise.weight"][:, 0].permute(1, 2, 0)).permute(2, 3, 0, 1)
        maps = torch.stack([mixed(weight, each, y.shape[2], y.shape[3]) for each in maps])
        maps = gelu(maps + p[f"{name}.depthwise.bias"][:, None, None]).movedim(1, -1)
        more = (maps @ p[f"{name}.up.weight"][:, :, 0, 0].T + p[f"{name}.up.bias"]).movedim(-1, 1)
    elif form == "series":
        more = torch.stack([mixed(p[f"{name}.mix.weight"], each, y.shape[2], y.shape[3]) for each in y])
    else:
        more = torch.stack([mixed(p[f"{name}.mix.weight"], each, y.shape[2], y.shape[3], stride, first) for each in x])
    return y + more * p.get(f"{name}.scale", torch.ones(()))


class Training(loop.Run):
    """Cloning: squared errors of standardised actions; the batch norm keeps running figures, of the first process."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, trunk: Parameters, parallel: bool, processes: int = 1):
        super().__init__(start, settings)
        self.trunk, self.beside, self.processes = trunk, parallel, processes
        self.figures: dict[str, Tensor] = {}

    def pooled(self, p: Parameters, images: Tensor) -> Tensor:
        """Compute the adapted trunk's vector of each image."""
        own = {name[6:]: x for name, x in p.items() if name.startswith("trunk.") and ".adapters." not in name}
        vit, out = Encoder({**self.trunk, **own}, Form(2)), []
        weight, n = vit.p["patches.weight"], "trunk.adapters.default."
        side = weight.shape[-1]

        def change(site: str, x: Tensor, y: Tensor) -> Tensor:
            return y if f"{n}{site}.up.weight" not in p else y + bottleneck(p, n + site, x if self.beside else y)

        for image in images.double():
            rows, columns = (length // side for length in image.shape[1:])
            boxes = [image[:, side * i :, side * j :][:, :side, :side] for i in range(rows) for j in range(columns)]
            x = torch.stack([(weight * box).sum((1, 2, 3)) for box in boxes]) + vit.p["patches.bias"]
            if f"{n}patches.up.weight" in p:
                x = x + bottleneck(p, f"{n}patches", x)
            x = x + vit.p["positions"]
            for k in range(len({name.split(".")[1] for name in vit.p if name.startswith("blocks")})):
                y = vit.norm(f"blocks.{k}.attention_norm", x)
                x = x + vit.attend(f"blocks.{k}.attention", y, y)
                y = vit.norm(f"blocks.{k}.mlp_norm", x)
                x = x + change(f"blocks/{k}/mlp", y, vit.mlp(f"blocks.{k}.mlp", y))
            x = vit.norm("norm", x).mean(0)
            out.append(change("pooled", x, x))
        return torch.stack(out)

    @torch.no_grad()
    def measure(self, images: Tensor, own: Tensor, actions: Tensor) -> None:
        """Take the first figures: the batch norm's of all images; of states and actions for good, 1 where one is constant."""
        pooled = self.pooled({name: torch.from_numpy(x) for name, x in self.p.items()}, images)
        self.figures = {"norm.running_mean": pooled.mean(0), "norm.running_var": ((pooled - pooled.mean(0)) ** 2).mean(0)}
        for name, values in (("own_norm", own.double()), ("action", actions.double())):
            apart = ((values - values.mean(0)) ** 2).sum(0).div(len(values) - 1).sqrt()
            self.figures |= {f"{name}.mean": values.mean(0), f"{name}.deviation": torch.where(apart > 1e-6, apart, 1.0)}

    def head(self, p: Parameters, x: Tensor, own: Tensor) -> Tensor:
        """Compute standardised actions from standardised vectors (1 or 3 layers), beside the robot's own state if it counts."""
        layers = sorted(int(name.split(".")[2]) for name in p if name.startswith("head.layers") and name.endswith("bias"))
        if p["head.layers.0.weight"].shape[1] > x.shape[1]:
            x = torch.cat([x, (own.double() - self.figures["own_norm.mean"]) / self.figures["own_norm.deviation"]], 1)
        for number in layers:
            x = x @ p[f"head.layers.{number}.weight"].T + p[f"head.layers.{number}.bias"]
            x = x if number == layers[-1] else x.clamp(min=0)
        return x

    def gradients(self, *batch: Any) -> tuple[float, loop.Parameters]:
        """Compute the error of a micro-batch, whose own figures standardise it, and its gradients."""
        images, own, actions, counts = batch
        p = {name: torch.from_numpy(x).requires_grad_() for name, x in self.p.items()}
        x = self.pooled(p, images)
        mean, apart = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
        made = self.head(p, (x - mean) / (apart + 1e-5).sqrt(), own)
        error = (made - (actions.double() - self.figures["action.mean"]) / self.figures["action.deviation"]) ** 2
        error.mean().backward()
        if counts:
            new = {"norm.running_mean": mean, "norm.running_var": apart * len(x) / (len(x) - 1)}
            self.figures |= {name: 0.9 * self.figures[name] + 0.1 * value.detach() for name, value in new.items()}
        return float(error.mean().detach()), {n: np.zeros(x.shape) if x.grad is None else x.grad.numpy() for n, x in p.items()}

    def step(self, micro_batches: Any) -> None:
        """Take a step, and keep the batch norm's figures with the parameters."""
        super().step([(*each, number == 0 or self.processes == 1) for number, each in enumerate(micro_batches)])
        self.states[-1]["model"] |= {f"head.{name}": value.numpy() for name, value in self.figures.items()}

    @torch.no_grad()
    def act(self, images: Tensor, own: Tensor) -> Tensor:
        """Compute actions in the demonstrations' units, with the running figures."""
        p = {name: torch.from_numpy(x) for name, x in self.p.items()}
        x = self.pooled(p, images) - self.figures["norm.running_mean"]
        made = self.head(p, x / (self.figures["norm.running_var"] + 1e-5).sqrt(), own)
        return made * self.figures["action.deviation"] + self.figures["action.mean"]


def chain(layers: list[dict[str, Any]], p: Parameters, x: Tensor) -> Tensor:
    """Pass a batch through convolutions or linear layers with adapters, and what stands between."""
    for k, layer in enumerate(layers):
        weight, bias, form, name = layer["weight"], layer["bias"], layer["form"], layer["name"]
        if weight.ndim == 4:
            stride, padding, dilation = layer["stride"], layer["padding"], layer["dilation"]
            y = F.conv2d(x, weight, bias, stride, padding, dilation)
            x = adapted(p, name, form, x, y, stride, max(weight.shape[2] // 2 * dilation - padding, 0))
        elif form == "lora":
            scale = p.get(f"{name}.scale", torch.ones(()))
            x = x @ (weight + scale * p[f"{name}.up.weight"] @ p[f"{name}.down.weight"]).T + bias
        else:
            y = x @ weight.T + bias
            x = y + bottleneck(p, name, x if form == "parallel" else y)
        x = torch.tanh(x) if k + 1 < len(layers) else x
    return x
