"""LongViViT and MC-ViT once more, in 64 bits: one video and one segment at a time, without padding, masks or cached keys.

L: LongViViT, arXiv 2312.07395. M: MC-ViT, arXiv 2402.05861. MeMViT: 2201.08383. Flamingo: 2204.14198. The tokens that are
drawn are the first ones of `draw(layer, segment, count)`, a permutation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twins import loop
from twins.paligemma import Model, Network

Draw = Callable[[int, int, int], list[int]]


@dataclass
class Form:
    """What the parameters do not tell of a network."""

    heads: int
    tubelet: tuple[int, int, int] = (2, 8, 8)
    segment: int | None = None
    """Frames of a segment; None: the whole video is one."""
    memory: str = ""
    """Nothing, augmented, consolidated or compressed (M, section 3)."""
    consolidation: str = "kmeans"
    memories: int = 3
    rounds: int = 5
    output: bool = False
    """A layer stores what leaves it (M, algorithm 1) in place of what enters it (equation 4)."""
    norm_first: bool = False
    """Memories are normalised when stored (algorithm 1), not when read (equation 4)."""
    through: bool = False
    """Gradients pass through memories."""
    cap: int | None = None
    oldest_first: bool = False
    frame: bool = False
    """Attention stays within a time step (L, section 3.2)."""
    dropped: float = 0.0


@dataclass
class Stream:
    """A video, or a stream so far."""

    tokens: list[Tensor] = field(default_factory=list)
    """Of each segment."""
    cells: list[list[int]] = field(default_factory=list)
    slots: list[list[int]] = field(default_factory=list)
    memories: list[tuple[list[Tensor], list[float], list[int]]] = field(default_factory=list)
    """Of each layer: rows, tokens that each stands for, and segments."""
    compressed: list[list[Tensor]] = field(default_factory=list)
    """Of each layer: the last segment's normalised tokens, then keys and values of those before."""


class Encoder:
    """The video transformer; `p` are its parameters by name."""

    def __init__(self, p: dict[str, Tensor], form: Form):
        self.p, self.form = p, form

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Multiply rows by a matrix and add the bias."""
        return x @ self.p[f"{name}.weight"].T + self.p.get(f"{name}.bias", 0.0)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Standardise rows, with gain and bias."""
        apart = x - x.mean(-1, keepdim=True)
        return apart / ((apart**2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def mlp(self, name: str, x: Tensor) -> Tensor:
        """Compute the exact GELU between two matrices; with an adapter after it, that of L, section 3.3."""
        if f"{name}.adapter.out.weight" in self.p:
            x = self.mlp(f"{name}.mlp", x)
            return x + self.mlp(f"{name}.adapter", x)
        hidden = self.linear(f"{name}.hidden", x)
        return self.linear(f"{name}.out", hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)

    def attend(self, name: str, x: Tensor, keys: Tensor, values: Tensor | None = None, heads: int | None = None) -> Tensor:
        """Attend to rows: one softmax for each head."""
        query, key = self.linear(f"{name}.query", x), self.linear(f"{name}.key", keys)
        value, parts = self.linear(f"{name}.value", keys if values is None else values), []
        for part in torch.arange(query.shape[1]).chunk(heads or self.form.heads):
            odds = (query[:, part] @ key[:, part].T / math.sqrt(len(part))).softmax(1)
            parts.append(odds @ value[:, part])
        return self.linear(f"{name}.out", torch.cat(parts, 1))

    def position(self, slot: int, slots: int | None) -> Tensor:
        """Find the positions of a time step, (rows, columns, d); a longer video's are between two of the table (M, 3.1)."""
        table = self.p["tubelets.positions"]
        if slots is None or slots <= len(table):
            return table[min(slot, len(table) - 1)]
        at = min(max((slot + 0.5) * len(table) / slots - 0.5, 0.0), len(table) - 1)
        below = min(int(at), len(table) - 2)
        return table[below] * (below + 1 - at) + table[below + 1] * (at - below)

    def tubelets(self, frames: Tensor, first: int, slots: int | None) -> Tensor:
        """Make tokens of boxes of pixels (L, section 3.1); the last frame is repeated to fill the last box."""
        t, h, w = self.form.tubelet
        frames = torch.cat([frames, *[frames[-1:]] * (-len(frames) % t)])
        weight, bias, made = self.p["tubelets.video.weight"], self.p["tubelets.video.bias"], []
        for s in range(len(frames) // t):
            where = self.position(first + s, slots)
            for i in range(frames.shape[1] // h):
                for j in range(frames.shape[2] // w):
                    box = frames[t * s : t * s + t, h * i : h * i + h, w * j : w * j + w].permute(3, 0, 1, 2)
                    made.append((weight * box).sum((1, 2, 3, 4)) + bias + where[i, j])
        return torch.stack(made)

    def image(self, image: Tensor) -> Tensor:
        """Pool the tokens of an image, which has patches of its own and the first positions (L, section 3.1)."""
        _, h, w = self.form.tubelet
        weight, bias, made = self.p["tubelets.images.weight"], self.p["tubelets.images.bias"], []
        for i in range(image.shape[0] // h):
            for j in range(image.shape[1] // w):
                box = image[h * i : h * i + h, w * j : w * j + w].permute(2, 0, 1)
                made.append((weight * box).sum((1, 2, 3)) + bias + self.position(0, None)[i, j])
        stream = Stream()
        self.blocks(stream, torch.stack(made), [0] * len(made), [*range(len(made))], None)
        return self.pool(stream)

    def watch(self, video: Tensor, draw: Draw, frames: int | None, counted: int | None = None, live: bool = False) -> Stream:
        """Encode a video segment by segment.

        `frames` is its known length, `counted` that of the longest of its batch; live, the last segment is remembered too.
        """
        stream, t, counted = Stream(), self.form.tubelet[0], counted or len(video)
        size, slots = self.form.segment or counted, None if frames is None else -(-frames // t)
        for number, first in enumerate(range(0, len(video), size)):
            x = self.tubelets(video[first : first + size], first // t, slots)
            cells = math.prod(self.p["tubelets.positions"].shape[1:3])
            kept = range(len(x))
            if self.form.dropped:  # L, section 3.3: what is beyond the end is dropped first
                whole = -(-min(size, counted - first) // t) * cells
                order = draw(1 << 20, number, whole)
                inside = [k for k in order if k < len(x)][: max(int((1 - self.form.dropped) * whole + 1e-6), 1)]
                kept = sorted(inside)
            last = first + size >= counted and not live
            self.blocks(stream, x[[*kept]], [k // cells for k in kept], [k % cells for k in kept], None if last else draw)
        return stream

    def blocks(self, stream: Stream, x: Tensor, slots: list[int], cells: list[int], draw: Draw | None) -> None:
        """Pass a segment through the blocks, and remember it if `draw` is given."""
        number, form = len(stream.tokens), self.form
        old, stream.memories, stream.compressed = (stream.memories, stream.compressed), [], []
        for k in range(len({name.split(".")[1] for name in self.p if name.startswith("blocks.")})):
            before, x = x, self.block(k, x, slots, cells, old[0][k] if old[0] else None, old[1][k] if old[1] else None)
            if not form.memory or draw is None:
                continue
            if form.memory == "compressed":
                last = old[1][k][0] if old[1] else None
                pooled = [] if last is None or k % 2 else [self.pooled("keys", k, last), self.pooled("values", k, last)]
                rows = [self.norm(f"blocks.{k}.attention_norm", x if form.output else before), *pooled]
                stream.compressed.append([each.detach() for each in rows])
                continue
            rows = x if form.output else before
            rows = rows if form.through else rows.detach()
            rows = self.norm(f"blocks.{k}.attention_norm", rows) if form.norm_first else rows
            rows = rows if form.through else rows.detach()
            new, stand = [*rows], [1.0] * len(rows)
            if form.memory == "consolidated" and form.memories < len(rows):
                new, stand = consolidated(rows, form.memories, form.consolidation, draw(k, number, len(rows)), form.rounds)
            past = old[0][k] if old[0] else ([], [], [])
            parts = [*past[0], *new], [*past[1], *stand], [*past[2], *[number] * len(new)]
            stay = staying(parts[2], form.cap, form.oldest_first)
            stream.memories.append(tuple([part[i] for i in stay] for part in parts))  # pyright: ignore[reportArgumentType]
        stream.tokens.append(self.norm("norm", x))
        stream.slots.append(slots)
        stream.cells.append(cells)

    def block(self, k: int, x: Tensor, slots: list[int], cells: list[int], memory: Any, compressed: Any) -> Tensor:
        """Compute a block: of M, equation 4, or of L, section 3.2."""
        name = f"blocks.{k}.space" if f"blocks.{k}.gate" in self.p else f"blocks.{k}"
        y, factorised = self.norm(f"{name}.attention_norm", x), name.endswith("space")
        if factorised or self.form.frame:
            x = x + self.apart(f"{name}.attention", y, slots)
        else:
            keys = values = y
            if memory is not None and memory[0]:
                rows = torch.stack(memory[0])
                keys = values = torch.cat([rows if self.form.norm_first else self.norm(f"{name}.attention_norm", rows), y])
            if compressed is not None and k % 2 == 0:
                last, *earlier = compressed
                both = [self.pooled("keys", k, last), self.pooled("values", k, last)]
                pairs = [both] if not earlier else [earlier, both]
                keys, values = (torch.cat([*[pair[i] for pair in pairs], y]) for i in range(2))
            x = x + self.attend(f"{name}.attention", y, keys, values)
        if factorised:
            time = self.apart(f"blocks.{k}.time", self.norm(f"blocks.{k}.time_norm", x), cells)
            x = x + torch.tanh(self.p[f"blocks.{k}.gate"]) * time
        return x + self.mlp(f"{name}.mlp", self.norm(f"{name}.mlp_norm", x))

    def apart(self, name: str, y: Tensor, groups: list[int]) -> Tensor:
        """Attend among the tokens of one group at a time."""
        out = torch.zeros_like(y)
        for group in set(groups):
            rows = [k for k, own in enumerate(groups) if own == group]
            out = out.index_put((torch.tensor(rows),), self.attend(name, y[rows], y[rows]))
        return out

    def pooled(self, what: str, k: int, rows: Tensor) -> Tensor:
        """Pool a segment by 7 x 3 x 3 weights a channel, in steps of 4 x 2 x 2 (MeMViT, section 4)."""
        weight, grid = self.p[f"memory_bank.compression.{what}.{k}.weight"], self.p["tubelets.positions"].shape[1:3]
        x = F.pad(rows.reshape(-1, *grid, rows.shape[1]).permute(3, 0, 1, 2), (1, 1, 1, 1, 3, 3))
        boxes = x.unfold(1, 7, 4).unfold(2, 3, 2).unfold(3, 3, 2)
        return (boxes * weight[:, 0][:, None, None, None]).sum((4, 5, 6)).flatten(1).T

    def pool(self, stream: Stream) -> Tensor:
        """Make one vector of all segments: the mean, attention over time steps, or blocks over them (L, section 3.2)."""
        if not any(name.startswith("pooler") for name in self.p):
            return torch.cat(stream.tokens).mean(0)
        means = []
        for x, slots in zip(stream.tokens, stream.slots, strict=True):
            means += [x[[k for k, own in enumerate(slots) if own == slot]].mean(0) for slot in sorted(set(slots))]
        x = torch.stack(means)
        if "pooler.attention.query" in self.p:
            y = self.attend("pooler.attention.attention", self.p["pooler.attention.query"], x)
            return (y + self.mlp("pooler.attention.mlp", self.norm("pooler.attention.norm", y)))[0]
        for k in range(2):
            y = self.norm(f"pooler.blocks.{k}.attention_norm", x)
            x = x + self.attend(f"pooler.blocks.{k}.attention", y, y)
            x = x + self.mlp(f"pooler.blocks.{k}.mlp", self.norm(f"pooler.blocks.{k}.mlp_norm", x))
        return x.mean(0)


def consolidated(rows: Tensor, count: int, how: str, order: list[int], rounds: int) -> tuple[list[Tensor], list[float]]:
    """Consolidate tokens (M, section 3.3): some at random, those farthest from all before, or k-means, after some rounds."""
    apart = ((rows[:, None] - rows[None]) ** 2).sum(2).detach()
    chosen = order[:1] if how == "coreset" else order[:count]
    while len(chosen) < count:
        far = apart[:, chosen].amin(1)
        far[chosen] = -1
        chosen = [*chosen, int(far.argmax())]
    if how != "kmeans":
        return [rows[k] for k in chosen], [1.0] * count
    centres, sizes = [rows[k].detach() for k in chosen], [1.0] * count
    for _ in range(rounds):
        own = [min(range(count), key=lambda c, x=x: float(((x - centres[c]) ** 2).sum().detach())) for x in rows]
        members = [[x for x, k in zip(rows, own, strict=True) if k == c] for c in range(count)]
        centres = [torch.stack(each).mean(0) if each else centre for each, centre in zip(members, centres, strict=True)]
        sizes = [float(len(each)) for each in members]
    return centres, sizes


def staying(origins: list[int], cap: int | None, oldest_first: bool) -> list[int]:
    """Choose the memories that stay: the newest, or those spread over the past."""
    rows = [*range(len(origins))]
    while cap is not None and len(rows) > cap:
        left = [origins[k] for k in rows]
        each = sorted(set(left))
        most = max(left.count(o) for o in each)
        goes = 0
        if not oldest_first and most > 1:  # of the fullest segment, the oldest of several, the last
            full = next(o for o in each if left.count(o) == most)
            goes = max(k for k, o in enumerate(left) if o == full)
        elif not oldest_first and len(each) > 2:  # between the nearest neighbours; never the first or the newest
            goes = min(range(1, len(left) - 1), key=lambda k: left[k + 1] - left[k - 1])
        del rows[goes]
    return rows


@dataclass
class Example:
    """A video with its length and number, an image, their texts, and wrong texts; the longest of its batch."""

    number: int
    video: Tensor
    longest: int
    text: str
    image: Tensor
    image_text: str
    wrong: Sequence[str]


class Training(loop.Run):
    """Contrastive steps of two towers on images and videos with wrong answers (L, section 3; M, equation 8)."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, form: Form, draw: Callable[..., list[int]]):
        super().__init__(start, settings)
        self.form, self.draw = form, draw

    def gradients(self, *batch: Any) -> tuple[float, loop.Parameters]:
        """Compute the loss of all examples of a step and its gradients."""
        self.p["log_scale"] = np.minimum(self.p["log_scale"], math.log(100))
        p = {name: torch.from_numpy(np.array(value)).requires_grad_() for name, value in self.p.items()}
        encoder = Encoder({name[6:]: x for name, x in p.items() if name.startswith("video.")}, self.form)
        words = Encoder({name[5:]: x for name, x in p.items() if name.startswith("text.")}, Form(2))

        def say(text: str) -> Tensor:
            ids = [256, *text.encode(), 257]
            x = words.p["embedding.weight"][ids] + words.p["positions"][: len(ids)]
            stream = Stream()
            words.blocks(stream, x, [0] * len(ids), [0] * len(ids), None)
            return unit(p["text_projection.weight"] @ stream.tokens[0].mean(0))

        def show(x: Tensor) -> Tensor:
            return unit(p["video_projection.weight"] @ x)

        examples: list[Example] = batch[0]
        watched = [encoder.watch(e.video, lambda *a, e=e: self.draw(e.number, *a), e.longest, e.longest) for e in examples]
        videos, images = [show(encoder.pool(s)) for s in watched], [show(encoder.image(e.image)) for e in examples]
        scale, wrong = p["log_scale"].exp(), [[say(text) for text in e.wrong] for e in examples]
        loss = contrast(videos, [e.text for e in examples], say, wrong, scale)
        loss = (loss + contrast(images, [e.image_text for e in examples], say, [[]] * len(examples), scale)) / 2
        loss.backward()
        return float(loss.detach()), {n: np.zeros(x.shape) if x.grad is None else x.grad.numpy() for n, x in p.items()}


def unit(x: Tensor) -> Tensor:
    """Scale a vector to length 1."""
    return x / (x**2).sum().sqrt()


def contrast(
    shown: list[Tensor], texts: list[str], say: Callable[[str], Tensor], wrong: list[list[Tensor]], scale: Tensor
) -> Tensor:
    """Average the cross entropies of both directions (M, equation 8); equal texts are each right, in equal shares."""
    spoken, total = [say(text) for text in texts], torch.zeros(())
    for i, text in enumerate(texts):
        right = [j for j, other in enumerate(texts) if other == text]
        forth = torch.stack([scale * shown[i] @ each for each in [*spoken, *wrong[i]]]).log_softmax(0)
        back = torch.stack([scale * spoken[i] @ each for each in shown]).log_softmax(0)
        total = total - (forth[right].mean() + back[right].mean()) / 2
    return total / len(texts)


class Teller:
    """A frozen encoder and a frozen decoder of bytes with gated attention between (L, section 3.4; Flamingo, section 2)."""

    def __init__(self, p: dict[str, Tensor], form: Form, network: Network, heads: int):
        self.encoder = Encoder({name[6:]: x for name, x in p.items() if name.startswith("video.")}, form)
        self.between, self.p, self.heads = Encoder(p, form), p, heads
        self.language = Model({n.replace("own_language.decoder", "language"): x for n, x in p.items()}, network)

    def look(self, stream: Stream, cells: int) -> Tensor:
        """Average over time, and make the learned vectors look at the cells (Flamingo, figure 5)."""
        rows, where = torch.cat(stream.tokens), [cell for part in stream.cells for cell in part]
        groups = [[k for k, cell in enumerate(where) if cell == c] for c in range(cells)]
        means = torch.stack([rows[g].mean(0) if g else torch.zeros_like(rows[0]) for g in groups]).detach()
        x, b = self.p["resampler.latents"], self.between
        for k in range(len({name.split(".")[2] for name in self.p if name.startswith("resampler.blocks")})):
            name = f"resampler.blocks.{k}"
            own = b.norm(f"{name}.norm", x)
            around = torch.cat([b.norm(f"{name}.cell_norm", means), own])
            x = x + b.attend(f"{name}.attention", own, around, heads=self.heads)
            x = x + b.mlp(f"{name}.mlp", b.norm(f"{name}.mlp_norm", x))
        return b.linear("resampler.out", b.norm("resampler.norm", x))

    def odds(self, latents: Tensor, ids: list[int], every: int) -> Tensor:
        """Compute log-probabilities of the token after each."""
        table, b = self.language.p["language.token_embedding.weight"], self.between
        x = table[ids] * math.sqrt(table.shape[1])
        for k in range(self.language.blocks):
            if k % every == 0:
                name = f"cross_attention.{k // every}"
                gates = torch.tanh(self.p[f"{name}.gate"]), torch.tanh(self.p[f"{name}.mlp_gate"])
                x = x + gates[0] * b.attend(f"{name}.attention", b.norm(f"{name}.norm", x), latents, heads=1)
                x = x + gates[1] * b.mlp(f"{name}.mlp", b.norm(f"{name}.mlp_norm", x))
            x = self.language.block(k, x, 0, 0)
        return self.language.logits(self.language.rms_norm("language.norm", x), cap=True).log_softmax(-1)
