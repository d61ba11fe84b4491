"""The training loop once more, in numpy and by hand: gradients of two layers, optimisers, clipping, schedules and averages.

AdamW: arXiv 1711.05101, algorithm 2. SGD and its Nesterov form: Sutskever et al., ICML 2013, with the decay in the gradient.
LARS: arXiv 1708.03888, algorithm 1. Averages: BYOL, arXiv 2006.07733, section 3.2. All in 64 bits, of one process, one step
after the other; steps count from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Parameters = dict[str, np.ndarray]


@dataclass
class Settings:
    """What a run is told; the names say the same as the product's."""

    steps: int
    optimizer: str = "adamw"
    lr: float = 0.1
    final_lr: float = 0.0
    warmup: int = 0
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    decay: float = 0.0
    final_decay: float | None = None
    own_decay: dict[str, float] = field(default_factory=dict)
    """Of single parameters; vectors have none."""
    scale: dict[str, float] = field(default_factory=dict)
    """Factors on the rate of single parameters."""
    clip: float = np.inf
    clip_each: bool = False
    momentum: float = 0.9
    nesterov: bool = False
    trust: float = 0.01
    averages: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By name: the schedule, and the decay, or the steps between copies."""


def gradients(p: Parameters, x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> tuple[float, Parameters]:
    """Compute the loss of `0.weight tanh`-`2.weight` and its gradients: errors squared, averaged over what counts."""
    hidden = np.tanh(x @ p["0.weight"].T + p["0.bias"])
    error = (hidden @ p["2.weight"].T + p["2.bias"] - y) * counts[:, None]
    norm = counts.sum() * y.shape[1]
    out = 2 * error / norm
    inner = out @ p["2.weight"] * (1 - hidden**2)
    made = {"0.weight": inner.T @ x, "0.bias": inner.sum(0), "2.weight": out.T @ hidden, "2.bias": out.sum(0)}
    return float((error**2).sum() / norm), made


def rate(step: int, s: Settings) -> float:
    """Compute the learning rate of a step."""
    if step < s.warmup:
        return s.lr * (step + 1) / s.warmup
    if s.schedule == "constant":
        return s.lr
    if s.schedule == "milestones":
        return s.lr / 10 ** len([share for share in s.milestones if step >= share * s.steps])
    top = s.warmup - 1 if s.warmup else 0  # the step that has the full rate
    way = (step - top) / (s.steps - 1 - top)
    left = 1 - way if s.schedule == "linear" else (1 + np.cos(np.pi * way)) / 2
    return s.final_lr + (s.lr - s.final_lr) * left


def kept(schedule: str, value: float, update: int, s: Settings) -> float:
    """Compute which share of an average an update keeps; `update` counts those before."""
    if schedule == "rising":
        return min(value, (1 + update) / (10 + update))
    if schedule == "cosine":
        return 1 - (1 - value) * (np.cos(np.pi * update / (s.steps - 1)) + 1) / 2
    if schedule == "periodic":
        return float((update + 1) % value != 0)
    return value


class Run:
    """A whole run; `states` has the parameters and averages after each step, `log` its numbers."""

    def __init__(self, start: Parameters, settings: Settings):
        self.p = {name: value.astype(np.float64) for name, value in start.items()}
        self.s = settings
        self.averages = {name: dict(self.p) for name in settings.averages}
        self.first = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.second = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.moved = 0
        self.states: list[dict[str, Parameters]] = []
        self.log: list[dict[str, float]] = []

    def step(self, micro_batches: Sequence[tuple[Any, ...]]) -> None:
        """Take a step: the mean over micro-batches of loss and gradients, then clipping, the move and the averages."""
        s, step, parts = self.s, len(self.log), [self.gradients(*each) for each in micro_batches]
        loss = float(np.mean([loss for loss, _ in parts]))
        g = {name: np.mean([made[name] for _, made in parts], axis=0) for name in self.p}
        norm = float(np.sqrt(sum((each**2).sum() for each in g.values())))
        for name, each in g.items():
            length = np.sqrt((each**2).sum()) if s.clip_each else norm
            g[name] = each * min(1.0, s.clip / length)
        lr = float(rate(step, s))
        if np.isfinite(norm):
            way = (1 - np.cos(np.pi * step / (s.steps - 1))) / 2
            decay = s.decay if s.final_decay is None else s.decay + (s.final_decay - s.decay) * way
            for name, w in self.p.items():
                own = s.own_decay.get(name, decay if w.ndim > 1 else 0.0)
                self.p[name] = w - self.move(name, w, g[name], lr * s.scale.get(name, 1.0), own)
            for name, (schedule, value) in s.averages.items():
                share = kept(schedule, value, self.moved, s)
                self.averages[name] = {key: share * self.averages[name][key] + (1 - share) * w for key, w in self.p.items()}
            self.moved += 1
        self.log.append({"loss": loss, "lr": lr, "grad_norm": norm, "skipped": step + 1 - self.moved})
        self.states.append({"model": dict(self.p), **{name: dict(each) for name, each in self.averages.items()}})

    def gradients(self, *batch: Any) -> tuple[float, Parameters]:
        """Compute the loss of a micro-batch and its gradients; twins of other networks have their own."""
        return gradients(self.p, *batch)

    def move(self, name: str, w: np.ndarray, g: np.ndarray, lr: float, decay: float) -> np.ndarray:
        """Compute what is taken off a parameter."""
        if self.s.optimizer == "adamw":
            t = self.moved + 1
            self.first[name] = 0.9 * self.first[name] + 0.1 * g
            self.second[name] = 0.999 * self.second[name] + 0.001 * g**2
            adapted = self.first[name] / (1 - 0.9**t) / (np.sqrt(self.second[name] / (1 - 0.999**t)) + 1e-8)
            return lr * (adapted + decay * w)
        local, m = 1.0, self.s.momentum
        if self.s.optimizer == "lars" and w.ndim > 1:
            local = self.s.trust * np.linalg.norm(w) / (np.linalg.norm(g) + decay * np.linalg.norm(w))
        inside = lr * local if self.s.optimizer == "lars" else 1.0  # the rate is in the momentum of LARS alone
        pull = inside * (g + decay * w)
        self.first[name] = m * self.first[name] + pull
        ahead = pull + m * self.first[name] if self.s.nesterov else self.first[name]
        return ahead * (1.0 if self.s.optimizer == "lars" else lr)
