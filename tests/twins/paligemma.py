"""PaliGemma and PaliGemma 2 once more, in 64 bits: one text at a time, without padding, packing or cached keys.

Sections are those of PaliGemma, arXiv 2407.07726, where no other paper is named. SigLIP's network is ViT's (2010.11929) with
GELU by tanh; Gemma: 2403.08295; Gemma 2: 2408.00118; rotary positions: 2104.09864; GEGLU: 2002.05202.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twins import loop

Row = tuple[int, list[int], list[int], list[bool]]
"""A text: number of its image, prefix, suffix, and which tokens of the suffix are learned."""


@dataclass
class Network:
    """Sizes that the parameters' shapes do not tell."""

    sight_heads: int
    merge: int
    heads: int
    groups: int
    scale: float
    """Of the logits of attention (Gemma 2, table 1)."""
    attention_cap: float | None = None
    logit_cap: float | None = None
    cap_later: bool = False
    """The logits' cap holds only for tokens after the first that is written, and never in training."""
    window: int | None = None
    mask: str = "full"
    emitted: int | None = None


@dataclass
class Loss:
    """The loss of a text (3.2)."""

    power: float = 1.0
    """A token counts one over this power of its text's tokens."""
    by_text: bool = True
    """The sum is divided by the number of texts; else by the sum of weights."""
    smoothing: float = 0.0
    deviation: float = 0.0
    first_location: int = 0


def gelu(x: Tensor) -> Tensor:
    """Compute GELU by its approximation (arXiv 1606.08415, section 2)."""
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def capped(x: Tensor, cap: float | None) -> Tensor:
    """Bound logits softly (Gemma 2, section 2)."""
    return x if cap is None else cap * torch.tanh(x / cap)


@dataclass
class Model:
    """The network of figure 1; `p` are its parameters by name."""

    p: dict[str, Tensor]
    n: Network
    blocks: int = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = len({name.split(".")[2] for name in self.p if name.startswith("language.blocks.")})

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Multiply rows by a matrix, and add its bias if it has one."""
        return x @ self.p[f"{name}.weight"].T + self.p.get(f"{name}.bias", 0.0)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """Standardise rows, with gain and bias (SigLIP; epsilon 1e-6)."""
        apart = x - x.mean(-1, keepdim=True)
        return apart / ((apart**2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def rms_norm(self, name: str, x: Tensor) -> Tensor:
        """Divide rows by the root of their mean square, times 1 + gain (Gemma)."""
        return x / ((x**2).mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + self.p[f"{name}.weight"])

    def see(self, images: Tensor) -> Tensor:
        """Make the tokens of an example's images, one image after the other (3.1)."""
        weight, tokens = self.p["vision_encoder.patches.weight"], []
        side = weight.shape[-1]
        for image in images.double():
            rows, columns = image.shape[1] // side, image.shape[2] // side
            patches = [
                image[:, side * i : side * i + side, side * j : side * j + side] for i in range(rows) for j in range(columns)
            ]
            x = torch.stack([(weight * each).sum((1, 2, 3)) for each in patches]) + self.p["vision_encoder.patches.bias"]
            x = x + self.p["vision_encoder.positions"]
            for k in range(len({n.split(".")[2] for n in self.p if n.startswith("vision_encoder.blocks")})):
                x = self.sight_block(f"vision_encoder.blocks.{k}", x)
            x, m = self.layer_norm("vision_encoder.norm", x).reshape(rows, columns, -1), self.n.merge
            squares = [
                torch.cat([x[m * i + a, m * j + b] for a in range(m) for b in range(m)])
                for i in range(rows // m)
                for j in range(columns // m)
            ]
            tokens.append(self.linear("projector", torch.stack(squares)))
        return torch.cat(tokens)

    def sight_block(self, name: str, x: Tensor) -> Tensor:
        """Compute a block of the vision encoder."""
        y, parts = self.layer_norm(f"{name}.attention_norm", x), []
        query, key, value = (self.linear(f"{name}.attention.{each}", y) for each in ("query", "key", "value"))
        width = x.shape[1] // self.n.sight_heads
        for at in range(0, x.shape[1], width):
            part = slice(at, at + width)
            parts.append((query[:, part] @ key[:, part].T / math.sqrt(width)).softmax(-1) @ value[:, part])
        x = x + self.linear(f"{name}.attention.out", torch.cat(parts, 1))
        return x + self.linear(
            f"{name}.mlp.out", gelu(self.linear(f"{name}.mlp.hidden", self.layer_norm(f"{name}.mlp_norm", x)))
        )

    def sees(self, query: int, key: int, images: int, prefix: int, local: bool) -> bool:
        """Say whether a token attends to another (figure 2; ablations in 4.2), in a local block within the window."""
        text = images + prefix
        ends = {"full": [text], "blocks": [images, text], "images": [images], "causal": []}[self.n.mask]
        own, other = (next((b for b, end in enumerate(ends) if at < end), len(ends)) for at in (query, key))
        together = own == other < len(ends)  # in one bidirectional block
        near = not local or self.n.window is None or query - key < self.n.window
        return together or (key <= query and near)

    def read(self, images: Tensor, prefix: list[int], suffix: list[int]) -> Tensor:
        """Compute the decoder's output for images, prefix and suffix, a row for each token (3.1)."""
        table = self.p["language.token_embedding.weight"]
        x = torch.cat([images, table[prefix + suffix] * math.sqrt(table.shape[1])])
        for k in range(self.blocks):
            x = self.block(k, x, len(images), len(prefix))
        return self.rms_norm("language.norm", x)

    def block(self, k: int, x: Tensor, images: int, prefix: int) -> Tensor:
        """Compute a block of the decoder; even ones are local where there is a window (Gemma 2, section 2)."""
        name, count = f"language.blocks.{k}", len(x)
        mask = torch.tensor([[self.sees(q, j, images, prefix, k % 2 == 0) for j in range(count)] for q in range(count)])
        rows = self.linear(f"{name}.attention.query_key_value", self.rms_norm(f"{name}.attention_norm", x))
        heads = rows.reshape(count, self.n.heads + 2 * self.n.groups, -1).unbind(1)
        query, key, value = heads[: self.n.heads], heads[self.n.heads : -self.n.groups], heads[-self.n.groups :]
        parts = []
        for h, own in enumerate(query):
            group = h * self.n.groups // self.n.heads
            logits = capped(rotated(own) @ rotated(key[group]).T * self.n.scale, self.n.attention_cap)
            parts.append(logits.masked_fill(~mask, -math.inf).softmax(-1) @ value[group])
        y = self.linear(f"{name}.attention.out", torch.cat(parts, 1))
        x = x + (self.rms_norm(f"{name}.attention_after", y) if f"{name}.attention_after.weight" in self.p else y)
        gate, up = self.linear(f"{name}.mlp.gate_up", self.rms_norm(f"{name}.mlp_norm", x)).chunk(2, 1)
        y = self.linear(f"{name}.mlp.out", gelu(gate) * up)
        return x + (self.rms_norm(f"{name}.mlp_after", y) if f"{name}.mlp_after.weight" in self.p else y)

    def logits(self, row: Tensor, cap: bool) -> Tensor:
        """Compute logits over the tokens that may be written; the embedding is the last layer too."""
        return capped(row @ self.p["language.token_embedding.weight"][: self.n.emitted].T, self.n.logit_cap if cap else None)

    def losses(self, images: Tensor, row: Row, loss: Loss) -> tuple[Tensor, Tensor]:
        """Compute the cross entropy of each token of a suffix, and whether each is the likeliest."""
        _, prefix, suffix, _ = row
        hidden = self.read(images, prefix, suffix[:-1])[-len(suffix) :]  # the newline tells the first token
        odds = self.logits(hidden, not self.n.cap_later).log_softmax(-1)
        target = torch.full_like(odds, loss.smoothing / (odds.shape[1] - 1))
        for at, token in enumerate(suffix):
            target[at, token] = 1 - loss.smoothing
            place = token - loss.first_location
            if loss.deviation and 0 <= place < 1024:  # a normal distribution over the 1024 locations
                bell = np.exp(-(((np.arange(1024) - place) / loss.deviation) ** 2) / 2)
                target[at] = 0
                target[at, loss.first_location : loss.first_location + 1024] = torch.from_numpy(bell / bell.sum())
        return -(target * odds).sum(1), odds.argmax(1) == torch.tensor(suffix)

    def loss(self, pixels: Sequence[Tensor], rows: list[Row], loss: Loss) -> tuple[Tensor, float]:
        """Compute the loss of the texts about some images, and the share of learned tokens that are the likeliest."""
        total, norm, right, learned = torch.zeros(()), 0.0, 0.0, 0
        images = [self.see(each) for each in pixels]
        for row in rows:
            each, likeliest = self.losses(images[row[0]], row, loss)
            counts = torch.tensor(row[3])
            weight = 1 / max(int(counts.sum()), 1) ** loss.power
            total = total + weight * each[counts].sum()
            norm += 1.0 if loss.by_text else weight * int(counts.sum())
            right, learned = right + int(likeliest[counts].sum()), learned + int(counts.sum())
        return total / norm, right / learned

    @torch.no_grad()
    def write(
        self, pixels: Tensor, prefix: list[int], most: int, forced: Sequence[int] = (), forbidden: Sequence[int] = ()
    ) -> tuple[list[int], list[float]]:
        """Write the likeliest token, and read all again, up to the end token 1; with the log-probability of each."""
        images, ids, odds = self.see(pixels), [], []
        while len(ids) < most and (not ids or ids[-1] != 1):
            logits = self.logits(self.read(images, prefix, ids)[-1], bool(ids) or not self.n.cap_later)
            allowed = logits.clone()
            allowed[list(forbidden)] = -math.inf
            ids.append(forced[len(ids)] if len(ids) < len(forced) else int(allowed.argmax()))
            odds.append(float(logits.log_softmax(0)[ids[-1]]))
        return ids, odds


def rotated(x: Tensor) -> Tensor:
    """Turn channels i and i + d/2 of the token at position t by t / 10000^(2i/d) (arXiv 2104.09864, Gemma's layout)."""
    half = x.shape[1] // 2
    angle = torch.arange(len(x))[:, None] * 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
    one, other = x[:, :half], x[:, half:]
    return torch.cat([one * angle.cos() - other * angle.sin(), other * angle.cos() + one * angle.sin()], 1)


def pieces_of(pieces: Any, text: str) -> list[int]:
    """Encode a text: places and codes of masks are tokens behind the pieces of the tokenizer (3.1, 3.2.5)."""
    ids: list[int] = []
    for part in re.split(r"(<loc\d{4}>|<seg\d{3}>)", text):
        if place := re.fullmatch(r"<(loc|seg)(\d+)>", part):
            ids.append(pieces.get_piece_size() + int(place[2]) + (1024 if place[1] == "seg" else 0))
        else:
            ids += pieces.encode(part)
    return ids


def row_of(pieces: Any, image: int, prefix: str, suffix: str, length: int | None, silent: str) -> Row:
    """Make [BOS prefix newline] and [suffix EOS], cut to `length` and one; places before the label `silent` are not learned."""
    ids, learned = [], []
    for number, part in enumerate(re.split(rf"((?:<loc\d{{4}}>){{4}})(?= {silent})", suffix)):
        more = pieces_of(pieces, part)
        ids, learned = ids + more, learned + [not silent or number % 2 == 0] * len(more)
    before, ids, learned = [2, *pieces_of(pieces, prefix), *pieces.encode("\n")], [*ids, 1], [*learned, True]
    if length is None:
        return image, before, ids, learned
    room = max(length - len(before), 0) + 1
    whole = len(before) <= length
    return image, before[:length], ids[:room], [each and whole for each in learned[:room]]


class Training(loop.Run):
    """Steps of training on texts, each micro-batch a list of images and their rows."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, network: Network, loss: Loss):
        super().__init__(start, settings)
        self.network, self.weighing = network, loss
        self.right: list[float] = []

    def gradients(self, *batch: Any) -> tuple[float, loop.Parameters]:
        """Compute the loss of a micro-batch and its gradients."""
        p = {name: torch.from_numpy(value).requires_grad_() for name, value in self.p.items()}
        loss, right = Model(p, self.network).loss(batch[0], batch[1], self.weighing)
        loss.backward()
        self.right.append(right)
        return float(loss.detach()), {n: np.zeros(x.shape) if x.grad is None else x.grad.numpy() for n, x in p.items()}
