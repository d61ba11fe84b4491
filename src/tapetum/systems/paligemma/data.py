"""Training data: images, each with one or several (prefix, suffix), by number.

A sample is an image with its texts; a batch holds each image once, and rows of text that refer to their image:

    images   0          1
    rows       a  b  c    d  e          of = [0 0 0 1 1]
    of rows    [BOS prefix \\n . .]  [suffix EOS . .]       padding on the right

Rows are sorted into a short and a long group, so that one-word answers are not padded to the length of a list of boxes.

Your own data is a file of JSON lines: one object per line with `image` (a path relative to the file's folder, or a list of
paths), `prefix` and `suffix` (a text, or a list from which each visit takes one).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.entries import read_lines
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.systems.paligemma.images import prepare, read_images
from tapetum.systems.paligemma.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class TextPair:
    prefix: str
    suffix: str
    unlearned: tuple[str, ...] = ()
    """Tokens of the suffix that carry no loss in boxes of noise; see `tapetum.systems.paligemma.transfer.samples`."""
    long: bool = False
    """Goes with the long rows of a batch."""
    kind: str = ""
    """Group of its scores, such as the template of a question."""
    about: tuple[int, ...] = ()
    """Ids, in the image's mask, of the objects whose locations the text has, in their order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageTexts:
    """An image, or several that belong together, and its texts."""

    pixels: Float[np.ndarray, "i 3 h w"]
    pairs: tuple[TextPair, ...]


@dataclass(frozen=True)
class TextRows:
    """Texts of a batch, as ids."""

    of: Int[Tensor, " b"]
    """Index of each row's example in the batch."""
    prefix: Int[Tensor, "b p"]
    suffix: Int[Tensor, "b s"]
    learned: Bool[Tensor, "b s"]
    """Tokens that carry a loss."""


@dataclass(frozen=True)
class Batch:
    pixels: Float[Tensor, "e i 3 h w"]
    groups: tuple[TextRows, ...]
    """Short rows, then long ones; a group without rows is left out."""


class SampleSource(Protocol):
    """Samples by number: a function of (seed, number)."""

    def draw(self, seed: int, number: int) -> ImageTexts:
        """Draw sample `number` of the endless stream of a seed."""
        ...

    def __len__(self) -> int: ...


def collate(items: Sequence[ImageTexts], tokens: Tokens, length: int | None = None) -> Batch:
    """Make a batch of samples with the same number of images each.

    `length` is the maximum number of text tokens (BOS, prefix, newline and suffix); the tail is cut. As in the reference, one
    more may be predicted, the end of a suffix that just fits. If nothing of a suffix would remain, its first token is kept,
    without loss.
    """
    counts = {item.pixels.shape for item in items}
    if len(counts) > 1:
        raise BadInput(f"samples of one batch have images of shapes {sorted(counts)}; give as many to each, of one size")
    groups = collate_texts([item.pairs for item in items], tokens, length)
    return Batch(torch.from_numpy(np.stack([item.pixels for item in items])), groups)


def collate_texts(texts: Sequence[Sequence[TextPair]], tokens: Tokens, length: int | None = None) -> tuple[TextRows, ...]:
    """Make a batch's rows from the texts of each example; arguments as for `collate`."""
    groups = []
    for long in (False, True):
        of, rows = [], []
        for number, pairs in enumerate(texts):
            for pair in pairs:
                if pair.long == long:
                    of.append(number)
                    rows.append(_numbers(pair, tokens, length))
        if rows:
            prefix, suffix, learned = (pad_rows([row[k] for row in rows]) for k in range(3))
            groups.append(TextRows(torch.tensor(of), prefix, suffix, learned.bool()))
    return tuple(groups)


def _numbers(pair: TextPair, tokens: Tokens, length: int | None) -> tuple[list[int], list[int], list[int]]:
    prefix, suffix = tokens.encode_prefix(pair.prefix), tokens.encode_suffix(pair.suffix)
    prefix_length, learned = len(prefix), unlearned(suffix, tokens, pair.unlearned)
    if length is not None:
        prefix = prefix[:length]
        suffix = suffix[: length + 1 - len(prefix)]
    return prefix, suffix, learned[: len(suffix)] if len(prefix) == prefix_length else [0] * len(suffix)


def unlearned(suffix: list[int], tokens: Tokens, marks: tuple[str, ...]) -> list[int]:
    """Compute the loss mask of a suffix: 0 for the four locations before each label in `marks`, 1 for all other tokens."""
    learned = [1] * len(suffix)
    heads = [tokens.encode(f" {mark}") for mark in marks]
    for at in range(len(suffix)):
        before = suffix[max(at - 4, 0) : at]
        if len(before) == 4 and all(map(tokens.is_location, before)) and any(suffix[at : at + len(h)] == h for h in heads):
            learned[at - 4 : at] = [0] * 4
    return learned


def pad_rows(rows: Sequence[Sequence[int]]) -> Int[Tensor, "b n"]:
    """Pad rows of ids to one tensor, 0 on the right."""
    return pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True)


class SampleDataset(Dataset):
    """Samples by number, for `tapetum.train`."""

    def __init__(self, samples: SampleSource, seed: int):
        self.samples, self.seed = samples, seed

    def __getitem__(self, number: int) -> ImageTexts:
        return self.samples.draw(self.seed, number)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    images: tuple[str, ...]
    texts: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Prefixes, each with its suffixes."""


class JsonLinesSamples:
    """Examples of a file of JSON lines. Raises BadInput for a file or a line that cannot be used."""

    def __init__(self, path: str | Path, size: int, per_image: int = 1):
        """`size`: of the squashed images; `per_image`: texts of one image that a visit trains on."""
        self.path, self.size, self.per_image = Path(path), size, per_image
        entries: dict[Any, _Entry] = {}
        for number, row in enumerate(read_lines(path), start=1):
            images, prefix, suffixes = _checked(row, f"{path}, line {number}")
            key = images if per_image > 1 else number
            entries.setdefault(key, _Entry(images=images)).texts.append((prefix, suffixes))
        self.entries = list(entries.values())
        if not self.entries:
            raise BadInput(f"{path} has no lines; write objects with image, prefix and suffix")
        if len({len(entry.images) for entry in self.entries}) > 1:
            raise BadInput(f"{path}: lines have different numbers of images; give each as many")

    def __len__(self) -> int:
        return len(self.entries)

    def draw(self, seed: int, number: int) -> ImageTexts:
        rng = sample_generator(seed, number)
        entry = self.entries[Shuffle(len(self), seed)(number)]
        texts = [entry.texts[i] for i in rng.permutation(len(entry.texts))[: self.per_image]]
        pairs = tuple(TextPair(prefix=prefix, suffix=str(rng.choice(suffixes))) for prefix, suffixes in texts)
        return ImageTexts(pixels=self.pixels(entry.images), pairs=pairs)

    def read(self, index: int) -> tuple[ImageTexts, tuple[tuple[str, ...], ...]]:
        """Read example `index` of the file with all its texts, and all correct answers to each."""
        entry = self.entries[index]
        pairs = tuple(TextPair(prefix=prefix, suffix=suffixes[0]) for prefix, suffixes in entry.texts)
        return ImageTexts(pixels=self.pixels(entry.images), pairs=pairs), tuple(suffixes for _, suffixes in entry.texts)

    def pixels(self, images: Sequence[str]) -> Float[np.ndarray, "i 3 h w"]:
        """Read images and squash them to the model's size."""
        made = [prepare(read_images(self.path.parent / name), self.size, "reference").numpy() for name in images]
        return np.concatenate(made)

    def about(self) -> dict[str, Any]:
        return {"examples": len(self), "size": self.size, "per_image": self.per_image, "resize": "reference"}


def _checked(row: Any, where: str) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    if not isinstance(row, dict) or {"image", "prefix", "suffix"} - row.keys():
        raise BadInput(f"{where} has no image, prefix and suffix; write all three")
    images, suffixes = ([value] if isinstance(value, str) else value for value in (row["image"], row["suffix"]))
    for name, texts in {"image": images, "suffix": suffixes, "prefix": [row["prefix"]]}.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise BadInput(f"{where}: {name} is {row[name]!r}; give a text{'' if name == 'prefix' else ', or a list of them'}")
    return tuple(images), row["prefix"], tuple(suffixes)
