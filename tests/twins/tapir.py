"""TAPIR and BootsTAP once more, in 64 bits, one clip and one point at a time; gradients are torch's.

TAPIR: arXiv 2306.08637, section 3 and appendix, with the extra convolutions of BootsTAPIR (2402.00847, section 3.3). BootsTAP:
section 3, with what the product's docs say of second passes, of doubt and of matching. The product's network is what
tests/golden/make_tapir_golden.py compares with the public PyTorch code; this one knows neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twins import loop

Size = tuple[int, int]


@dataclass(frozen=True)
class Choices:
    """The network, and what is learned from it; sizes are (height, width)."""

    side: int
    """Of the clips, which are square."""
    base: Size
    sizes: tuple[Size, ...]
    """At which tracks are refined."""
    strides: tuple[int, ...]
    blocks: tuple[int, ...]
    mixer: int
    iterations: int
    causal: bool = False
    extra: int = 0
    pooled: int = 0
    temperature: float = 20.0
    antialias: bool = False
    mean_place: bool = True
    twice: bool = False
    matching: float = 0.0
    learn: int | None = None
    """How many points teach refinement."""
    footage: Mapping[str, Any] | None = None
    """Weight, confident, rebalance, requery, cycle, within, proximity, apart."""


@dataclass
class Track:
    """Of one point through a clip: places in pixels of the video [t, 2], and two logits [t]."""

    xy: Tensor
    hidden: Tensor
    far: Tensor

    @property
    def sure(self) -> Tensor:
        return torch.sigmoid(-self.hidden) * torch.sigmoid(-self.far)


def conv(p: Mapping[str, Tensor], name: str, x: Tensor, **how: Any) -> Tensor:
    return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **how)


def normal(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (x.var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()


def gelu(x: Tensor) -> Tensor:
    return x / 2 * (1 + torch.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def linear(p: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def scaled(xy: Tensor, source: Size, target: Size) -> Tensor:
    """A cell's outer corner is (0, 0) in every raster."""
    return torch.stack([xy[..., 0] * target[1] / source[1], xy[..., 1] * target[0] / source[0]], -1)


def backbone(p: Mapping[str, Tensor], c: Choices, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [t, 3, h, w] to vectors of length one, at strides 4 and 8."""

    def norm(name: str, x: Tensor) -> Tensor:
        return normal(x, (2, 3)) * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    x, fine = conv(p, "backbone.stem", F.pad(frames, (2, 3, 2, 3)), stride=2), frames
    for group, (stride, blocks) in enumerate(zip(c.strides, c.blocks, strict=True)):
        for block in range(blocks):
            at, step = f"backbone.groups.{group}.{block}", 1 if block else stride
            active = norm(f"{at}.norm_0", x).relu()
            shortcut = x if block else conv(p, f"{at}.projection", active, stride=step)
            around = (1, 1, 1, 1) if step == 1 else (0, 1, 0, 1)
            inner = norm(f"{at}.norm_1", conv(p, f"{at}.conv_0", F.pad(active, around), stride=step)).relu()
            x = shortcut + conv(p, f"{at}.conv_1", inner, padding=1)
        fine = x if group == 1 else fine
    for block in range(c.extra):
        at = f"backbone.extra.{block}"
        x = normal(x, (1,)) * p[f"{at}.norm.weight"][:, None, None] + p[f"{at}.norm.bias"][:, None, None]
        x = x + conv(p, f"{at}.narrow", gelu(conv(p, f"{at}.widen", x, padding=1)), padding=1)
    return fine / fine.norm(dim=1, keepdim=True), x / x.norm(dim=1, keepdim=True)


def pyramid(p: Mapping[str, Tensor], c: Choices, video: Tensor, size: Size) -> list[Tensor]:
    frames = video.permute(0, 3, 1, 2)
    if frames.shape[2:] != size:
        frames = F.interpolate(frames, size, mode="bilinear", align_corners=False, antialias=c.antialias)
    maps = [*backbone(p, c, frames)]
    for _ in range(c.pooled):
        maps.append(F.avg_pool2d(maps[-1], 2))
    return maps


def read(maps: Tensor, t: float, xy: Tensor, size: Size) -> Tensor:
    """The vector of `maps` [t, c, h, w] at a moment and a place in pixels of `size`; beyond the border the border's."""
    place = torch.stack([xy[0] / size[1], xy[1] / size[0], xy.new_tensor((t + 0.5) / len(maps))]).view(1, 1, 1, 1, 3) * 2 - 1
    return F.grid_sample(maps.transpose(0, 1)[None], place, padding_mode="border", align_corners=False).flatten()


def around(maps: Tensor, vector: Tensor, xy: Tensor, size: Size) -> Tensor:
    """Products [t, 49] of a point's vectors [t, c] with what lies -3..3 cells from its places [t, 2]; outside is nothing."""
    height, width = maps.shape[2:]
    steps = torch.tensor([[dx, dy] for dy in range(-3, 4) for dx in range(-3, 4)])
    places = (scaled(xy, size, (height, width))[:, None] + steps) / torch.tensor([width, height]) * 2 - 1
    return torch.einsum("tcxs,tc->ts", F.grid_sample(maps, places[:, None], align_corners=False), vector)


def match(p: Mapping[str, Tensor], c: Choices, maps: Tensor, vector: Tensor) -> tuple[Track, Tensor]:
    """Stage 1, frame by frame: a point's track in pixels of the base, and its heat [t, h, w]."""
    places, logits, heats = [], [], []
    height, width = maps.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for cells in maps:
        trunk = conv(p, "matching.trunk", torch.einsum("chw,c->hw", cells, vector)[None, None], padding=1).relu()
        heat = c.temperature * conv(p, "matching.position", trunk, padding=1)[0, 0]
        best = int(heat.argmax())
        near = (y - best // width) ** 2 + (x - best % width) ** 2 < 25
        share = torch.softmax(heat[near], 0)
        places.append(torch.stack([(share * (x[near] + 0.5)).sum(), (share * (y[near] + 0.5)).sum()]))
        even = F.pad(trunk, (width % 2, 1, height % 2, 1))
        pooled = conv(p, "matching.occlusion_conv", even, stride=2).relu().mean((2, 3))[0]
        logits.append(linear(p, "matching.occlusion_out", linear(p, "matching.occlusion_hidden", pooled).relu()))
        heats.append(heat)
    hidden, far = torch.stack(logits).T
    return Track(scaled(torch.stack(places), (height, width), c.base), hidden, far), torch.stack(heats)


def over_time(p: Mapping[str, Tensor], name: str, x: Tensor, causal: bool) -> Tensor:
    """Three taps over [t, c]; several outputs in a row may read one channel."""
    weight = p[f"{name}.weight"][:, 0]
    source = torch.arange(len(weight)) // (len(weight) // x.shape[1])
    window = F.pad(x, (0, 0, *((2, 0) if causal else (1, 1)))).unfold(0, 3, 1)  # t c 3
    return (window[:, source] * weight).sum(2) + p[f"{name}.bias"]


def mix(p: Mapping[str, Tensor], c: Choices, x: Tensor) -> Tensor:
    x = linear(p, "mixer.inward", x)
    for block in range(c.mixer):
        at = f"mixer.blocks.{block}"
        wide = over_time(p, f"{at}.time_up", normal(x, (1,)) * p[f"{at}.time_norm.weight"], c.causal)
        x = x + over_time(p, f"{at}.time_down", gelu(wide), c.causal).unflatten(1, (x.shape[1], -1)).sum(2)
        inner = linear(p, f"{at}.channel_up", normal(x, (1,)) * p[f"{at}.channel_norm.weight"])
        x = x + linear(p, f"{at}.channel_down", gelu(inner))
    return linear(p, "mixer.outward", normal(x, (1,)) * p["mixer.norm.weight"])


@dataclass
class Pass:
    """One pass over a point: what it answers, what led there, and the heat of matching."""

    final: Track
    before: list[Track]
    heat: Tensor


def follow(
    p: Mapping[str, Tensor],
    c: Choices,
    grids: list[list[Tensor]],
    coarse: Tensor,
    vectors: list[Tensor],
    query: Tensor,
    learn: bool,
) -> Pass:
    """One pass; `vectors` are those of the point: for matching, then fine and coarse of each size."""
    video, frames = (c.side, c.side), len(coarse)
    first, heat = match(p, c, coarse, vectors[0])
    own = torch.arange(frames) == int(query[0].round())
    first.xy = torch.where(own[:, None], scaled(query[1:], video, c.base), first.xy)
    every = [first]
    with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
        for level, (size, maps) in enumerate(zip(c.sizes, grids, strict=True)):
            now, fine = Track(every[-1].xy, first.hidden, first.far), len(vectors[1 + 2 * level])
            v = torch.cat(vectors[1 + 2 * level : 3 + 2 * level]).expand(frames, -1)
            for _ in range(c.iterations):
                parts = [around(m, v[:, fine:] if k else v[:, :fine], now.xy, c.base) for k, m in enumerate(maps)]
                x = torch.cat([torch.zeros(frames, 2), now.hidden[:, None], now.far[:, None], v, *parts], 1)
                out = mix(p, c, x)
                moved = now.xy + scaled(out[:, :2], size, c.base)
                now, v = Track(moved, now.hidden + out[:, 2], now.far + out[:, 3]), v + out[:, 4:]
                every.append(now)
    every = [Track(scaled(one.xy, c.base, video), one.hidden, one.far) for one in every]
    last = every[c.iterations :: c.iterations]
    xy, hidden, far = (torch.stack([getattr(one, name) for one in last]).mean(0) for name in ("xy", "hidden", "far"))
    return Pass(Track(xy if c.mean_place else every[-1].xy, hidden, far), every[:-1], heat)


def track(p: Mapping[str, Tensor], c: Choices, video: Tensor, queries: Tensor) -> list[list[Pass]]:
    """Follow each query (t, x, y) through a clip [t, h, w, 3]: one pass, or a second with the mean of what was seen."""
    size, points = (c.side, c.side), []
    grids = [pyramid(p, c, video, each) for each in c.sizes]
    coarse = pyramid(p, c, video, c.base)[1]
    every = [coarse, *(maps for grid in grids for maps in grid[:2])]
    for n, query in enumerate(queries):
        learn = c.learn is None or n < c.learn
        vectors = [read(maps, float(query[0]), query[1:], size) for maps in every]
        passes = [follow(p, c, grids, coarse, vectors, query, learn)]
        if c.twice:
            xy, sure = passes[0].final.xy.detach(), passes[0].final.sure.detach()
            inside = ((xy >= 0) & (xy <= c.side)).all(1)
            frames = [t for t in range(len(video)) if inside[t] and sure[t] > 0.5 and t != int(query[0].round())]
            for k in range(0, len(every), 2):  # the fine ones stay
                total = vectors[k] + sum(sure[t] * read(every[k], t, xy[t], size) for t in frames)
                vectors[k] = total / (1 + sum(sure[t] for t in frames))
            passes.append(follow(p, c, grids, coarse, vectors, query, learn))
        points.append(passes)
    return points


def entropy(logit: Tensor, target: Tensor) -> Tensor:
    return -target * F.logsigmoid(logit) - (1 - target) * F.logsigmoid(-logit)


def tracking_terms(made: Pass, xy: Tensor, hidden: Tensor, mask: Tensor, c: Choices, rebalance: float) -> Tensor:
    """Position, occlusion and expected distance, summed over all estimates and moments of a point."""
    total, visible = torch.zeros(3), 1 - hidden
    for one in (made.final, *made.before):
        squared = (((one.xy - xy) * 256 / c.side) ** 2).sum(1)
        error = (squared + 1e-12).sqrt()
        huber = torch.where(error < 4, squared / 2, 4 * error - 8)
        wrong = (error.detach() > 6).to(error)
        position = 0.05 * huber * visible * mask
        occlusion = entropy(one.hidden, hidden) * mask * (1 + rebalance * visible)
        total = total + torch.stack([position, occlusion, entropy(one.far, wrong) * visible * mask]).sum(1)
    return total


def matching_term(heat: Tensor, xy: Tensor, counts: Tensor, c: Choices) -> Tensor:
    """Cross entropy with a tent around the place, in cells, summed over the moments that count."""
    height, width = heat.shape[1:]
    at = scaled(xy, (c.side, c.side), (height, width)) - 0.5
    at = at.clamp(min=0).minimum(torch.tensor([width - 1, height - 1]).to(at))
    across = (1 - (at[:, :1] - torch.arange(width)).abs()).clamp(min=0)
    down = (1 - (at[:, 1:] - torch.arange(height)).abs()).clamp(min=0)
    log = torch.log_softmax(heat.flatten(1), 1).view_as(heat)
    return -((down[:, :, None] * across[:, None] * log).sum((1, 2)) * counts).sum()


def total(c: Choices, terms: Tensor, matching: Tensor, passes: int, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Means over all entries and passes, hidden ones included."""
    terms, matching = terms / passes / count, matching / passes / count
    logs = dict(zip(("position", "occlusion", "expected_dist"), terms, strict=True))
    return terms.sum() + c.matching * matching, logs | ({"matching": matching} if c.matching else {})


def clip_loss(p: Mapping[str, Tensor], c: Choices, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Exact tracks: `video`, `queries`, `xy` and `occluded` of some clips."""
    terms, matching, near, rightly = torch.zeros(3), torch.zeros(()), torch.zeros(()), torch.zeros(())
    occluded, passes = batch["occluded"], 1 + c.twice
    for b, video in enumerate(batch["video"]):
        for n, point in enumerate(track(p, c, video, batch["queries"][b])):
            xy, hidden = batch["xy"][b, n], occluded[b, n].to(video)
            for made in point:
                terms = terms + tracking_terms(made, xy, hidden, torch.ones_like(hidden), c, 0.0)
                matching = matching + matching_term(made.heat, xy, 1 - hidden, c)
            near += (((point[-1].final.xy - xy).norm(dim=1) < 2) * (1 - hidden)).sum()
            rightly += ((point[-1].final.hidden > 0) == occluded[b, n]).sum()
    loss, logs = total(c, terms, matching, passes, occluded.numel())
    return loss, logs | {"within_2px": near / (~occluded).sum(), "occlusion_accuracy": rightly / occluded.numel()}


def moved(maps: Tensor, xy: Tensor) -> Tensor:
    """Places [t, 2] through affine maps [t, 3, 3]."""
    return torch.einsum("tij,tj->ti", maps[:, :2, :2], xy) + maps[:, :2, 2]


def footage_loss(
    p: Mapping[str, Tensor], teacher: Mapping[str, Tensor], c: Choices, batch: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the teacher sees in the clean clips, asked of the student in the spoilt ones."""
    f, rows = c.footage or {}, []
    terms, matching, passes = torch.zeros(3), torch.zeros(()), 1 + c.twice
    for b, maps in enumerate(batch["maps"]):
        frames, queries, back = batch["frames"][b], batch["queries"][b], torch.linalg.inv(maps)
        own = torch.cat([frames[queries[:, :1].long()], queries[:, 1:]], 1)
        with torch.no_grad():
            taught = [point[-1].final for point in track(teacher, c, batch["video"][b, : batch["lengths"][b]], own)]
        labels, starts = [], []
        for n, whole in enumerate(taught):
            one = Track(whole.xy[frames], whole.hidden[frames], whole.far[frames])
            sure = torch.maximum(one.sure, torch.sigmoid(one.hidden)) >= f["confident"]
            usable = (one.hidden <= 0) & sure & ((one.xy >= 0) & (one.xy < c.side)).all(1)
            choice = [t for t in range(len(frames)) if usable[t]]
            t2, place = int(queries[n, 0]), queries[n, 1:]
            if f["requery"]:
                t2 = choice[int(batch["draw"][b, n] * len(choice))] if choice else 0
                place = one.xy[t2]
            there = moved(maps[t2 : t2 + 1], place[None])[0].clamp(0, c.side)
            starts.append(torch.cat([torch.tensor([float(t2)]), there]))
            labels.append((one, sure, bool(choice), t2))
        for n, point in enumerate(track(p, c, batch["spoilt"][b], torch.stack(starts))):
            one, sure, usable, t2 = labels[n]
            for made in point:
                for each in (made.final, *made.before):
                    each.xy = moved(back, each.xy)
            last, t1, hidden = point[-1].final, int(queries[n, 0]), (one.hidden > 0).to(maps)
            lost = (last.xy[t1] - queries[n, 1:]).norm() * 256 / c.side >= f["within"] or last.hidden[t1] > 0
            mask = sure.to(maps) * float(usable and not (f["cycle"] and lost))
            if f["proximity"] and t1 != t2:
                mask = mask * torch.tensor([float(abs(t - t1) < abs(t - t2)) for t in range(len(frames))])
            for made in point:
                terms = terms + tracking_terms(made, one.xy, hidden, mask, c, f["rebalance"])
                matching = matching + matching_term(made.heat, moved(maps, one.xy), mask * (1 - hidden), c)
            rows.append((mask, hidden, (last.xy - one.xy).norm(dim=1).detach()))
    mask, hidden, error = map(torch.stack, zip(*rows, strict=True))
    counted = mask * (1 - hidden)
    loss, logs = total(c, terms, matching, passes, mask.numel())
    return loss, logs | {
        "tracks_kept": mask.amax(1).mean(),
        "frames_kept": mask.mean(),
        "teacher_sees": 1 - hidden.mean(),
        "within_2px": ((error < 2) * counted).sum() / counted.sum().clamp(min=1),
    }


class Training(loop.Run):
    """A run on batches of `synthetic` clips, of `footage`, or of both, of which each part may have a momentum of its own."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, choices: Choices):
        super().__init__(start, settings)
        self.choices, self.numbers = choices, []
        names = ("synthetic", "footage") if (choices.footage or {}).get("apart") else ()
        self.first_of = {name: {key: np.zeros_like(x) for key, x in self.p.items()} for name in names}

    def gradients(self, *batch: Any) -> tuple[float, Any]:
        p = {name: torch.tensor(x, requires_grad=True) for name, x in self.p.items()}
        c, loss = self.choices, torch.zeros(())
        weight = 1.0 if self.first_of else (c.footage or {}).get("weight", 1.0)
        for name, part in batch[0].items():
            if name == "synthetic":
                one, logs = clip_loss(p, c, part)
                loss = loss + one
            elif weight:
                teacher = {key: torch.tensor(x) for key, x in self.averages["ema"].items()}
                one, logs = footage_loss(p, teacher, c, part)
                loss = loss + weight * one
            else:
                continue
            logs = {f"{name}/{key}": x for key, x in (logs | {"loss": one}).items()} if c.footage else logs
            self.numbers.append({key: float(x.detach()) for key, x in logs.items()})
        made = torch.autograd.grad(loss, list(p.values()), allow_unused=True)
        zeros = {name: np.zeros_like(x) for name, x in self.p.items()}
        return float(loss.detach()), zeros | {n: g.numpy() for n, g in zip(p, made, strict=True) if g is not None}

    def step(self, micro_batches: Any) -> None:
        before, self.numbers = dict(self.p), []
        if not self.first_of:
            super().step(micro_batches)
        else:  # each part clips and moves alone; the first one decays
            steps, decay, moved, logs = len(self.log), self.s.decay, dict(before), []
            kept = {name: dict(each) for name, each in self.averages.items()}
            for number, (name, first) in enumerate(self.first_of.items()):
                self.p, self.first, self.moved, self.s.decay = dict(before), first, steps, 0.0 if number else decay
                self.averages = {key: dict(each) for key, each in kept.items()}
                super().step([({name: each[0][name]},) for each in micro_batches])
                moved = {key: moved[key] + self.p[key] - before[key] for key in moved}
                logs.append(self.log.pop())
                self.states.pop()
            self.p, self.s.decay = moved, decay
            for name, (schedule, value) in self.s.averages.items():
                share = loop.kept(schedule, value, steps, self.s)
                self.averages[name] = {key: share * kept[name][key] + (1 - share) * x for key, x in moved.items()}
            norm = float(np.hypot(*(log["grad_norm"] for log in logs)))
            self.log.append({**logs[0], "loss": logs[0]["loss"] + logs[1]["loss"], "grad_norm": norm})
            self.states.append({"model": dict(self.p), **{name: dict(each) for name, each in self.averages.items()}})
        for name in {key for each in self.numbers for key in each}:
            self.log[-1][name] = float(np.mean([each[name] for each in self.numbers if name in each]))
