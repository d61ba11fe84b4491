"""Tokenizers of text encoders: SigLIP, SigLIP 2, TIPSv2 (SentencePiece) and CLIP, PE (byte-level pairs). Imports no torch.

A text becomes ids in four steps: normalised, cut into pieces, between a begin and an end token, padded to one length.

    kind      normalised                                   begin  end    pad  length        source
    siglip    lower case, no punctuation, single spaces    -      1      1    64 (or 16)    arXiv 2303.15343, its public code
    siglip2   lower case                                   -      1      0    64            arXiv 2502.14786, its demo
    tipsv2    lower case                                   -      -      0    64            arXiv 2604.12012, its public code
    clip      lower case, single spaces (NFC)              49406  49407  0    77 (PE: 32)   arXiv 2103.00020

Users' own tokenizers, for text towers that are trained here, are in `tapetum.encoders.subwords`.

Texts that are too long are truncated at the end and still finish with the end token. Padding always reaches the full length:
SigLIP reads the last position and masks nothing, so ids of another length give another vector.

Differs from the public code: open_clip also repairs wrongly decoded text and HTML entities (ftfy) before the steps above;
transformers 5.24 removes "_" for SigLIP where the original inserts a space, and pads CLIP with its end token (without effect,
because attention is causal and the vector is read at the first end token).
"""

import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Int64

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

TokenizerKind = Literal["siglip", "siglip2", "tipsv2", "clip", "wordpiece", "sentencepiece", "json"]
SENTENCEPIECE_FILES = "spiece.model", "tokenizer.model", "sentencepiece.model"
PAIRS_FILE = "tokenizer.json"
TOKENIZER = "tokenizer"
"""Entry in the header of a file of weights, and name of the tensor with the bytes of the tokenizer's own file."""
LONGEST_ROW = 4096
"""Ids of a text, at most, that a tokenizer is asked for."""
LONGEST_TEXT = 100_000
"""Letters of a text: what is longer is a mistake, and none of it would be read."""
_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


@dataclass(frozen=True, kw_only=True)
class Format:
    """How pieces become a row of ids."""

    end: int | None
    pad: int
    length: int
    normalise: Callable[[str], str]
    begin: int | None = None


class Tokenizer:
    """Turns texts into ids, all of one length."""

    def __init__(self, encode: Callable[[str], Sequence[int]], kind: TokenizerKind, form: Format, size: int, content: bytes):
        self.kind, self.size, self.content = kind, size, content
        """Kind of the steps; number of pieces: ids are below it; the file that it was made of, for `from_content`."""
        self._encode, self._form = encode, form

    def __reduce__(self) -> tuple[Any, ...]:
        return from_content, (self.content, self.kind, self.length)

    @property
    def length(self) -> int:
        return self._form.length

    def __call__(self, texts: Sequence[str], from_end: bool = False) -> Int64[np.ndarray, "n length"]:
        """Compute the ids of texts; `from_end` truncates long texts at the beginning, not the end."""
        if isinstance(texts, str):
            raise BadInput(f"texts is one text, {texts[:40]!r}; give a list of texts")
        return np.array([self._row(text, from_end) for text in texts], np.int64).reshape(len(texts), self.length)

    def count(self, text: str) -> int:
        """Count the tokens of a text of any length, without begin, end and padding."""
        return len(self._encode(self._form.normalise(text)))

    def _row(self, text: str, from_end: bool) -> list[int]:
        if not isinstance(text, str):
            raise BadInput(f"a text is {text!r:.60}, a {type(text).__name__}; give strings")
        if len(text) > LONGEST_TEXT:
            raise BadInput(f"a text has {len(text):,} letters; give at most {LONGEST_TEXT:,}")
        form = self._form
        before = [] if form.begin is None else [form.begin]
        after = [] if form.end is None else [form.end]
        room = max(form.length - len(before) - len(after), 0)
        pieces = list(self._encode(form.normalise(text)))
        ids = [*before, *(pieces[max(len(pieces) - room, 0) :] if from_end else pieces[:room]), *after]
        return ids + [form.pad] * (form.length - len(ids))


def siglip(model: bytes, length: int = 64) -> Tokenizer:
    """Make SigLIP's tokenizer from a SentencePiece model (spiece.model). Raises BadInput if the bytes are something else."""
    return _sentencepiece(model, "siglip", Format(end=1, pad=1, length=length, normalise=_canonical))


def siglip2(model: bytes, length: int = 64) -> Tokenizer:
    """Make SigLIP 2's tokenizer from Gemma's SentencePiece model. Raises BadInput if the bytes are something else."""
    return _sentencepiece(model, "siglip2", Format(end=1, pad=0, length=length, normalise=str.lower))


def tipsv2(model: bytes, length: int = 64) -> Tokenizer:
    """Make TIPSv2's tokenizer from a SentencePiece model. Raises BadInput if the bytes are something else."""
    return _sentencepiece(model, "tipsv2", Format(end=None, pad=0, length=length, normalise=str.lower))


def clip(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], length: int = 77) -> Tokenizer:
    """Make CLIP's tokenizer (also PE's) from its vocabulary and merges.

    Raises:
        BadInput: the vocabulary lacks the begin or end token, or a merge has a piece that is not in it.
        MissingExtra: the library `tokenizers` is not installed.
    """
    encode, begin, end = _pairs(vocabulary, merges)
    form = Format(begin=begin, end=end, pad=0, length=length, normalise=lambda text: text)  # `tokenizers` normalises
    content = json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": list(map(list, merges))}}).encode()
    return Tokenizer(encode, "clip", form, len(vocabulary), content)


def from_content(content: bytes, kind: TokenizerKind, length: int) -> Tokenizer:
    """Make the tokenizer of a kind from the bytes of its file: a SentencePiece model; for CLIP the content of tokenizer.json;
    for a user's own, any file that `tapetum.encoders.subwords` reads.

    Raises:
        BadInput: the bytes are something else, or `kind` is unknown.
        MissingExtra: a tokenizer of pairs needs the library `tokenizers`.
    """
    makers = {"siglip": siglip, "siglip2": siglip2, "tipsv2": tipsv2}
    if kind in makers:
        return makers[kind](content, length)
    if kind in ("wordpiece", "sentencepiece", "json"):
        from tapetum.encoders.subwords import make_subwords

        return make_subwords(content, kind, length)
    if kind != "clip":
        raise BadInput(f"there is no tokenizer of kind {kind!r}; it is one of {', '.join(get_args(TokenizerKind))}")
    try:
        return clip(*_pairs_of(parse_json(content)), length)
    except ValueError as error:
        raise BadInput(f"these bytes are no JSON ({str(error)[:80]}); give the content of {PAIRS_FILE}") from error


def read_tokenizer(folder: Path, kind: TokenizerKind, length: int) -> Tokenizer:
    """Read the tokenizer in a folder of weights: a SentencePiece model; for CLIP tokenizer.json.

    Raises:
        BadInput: none of these files exists, or it has other content.
        MissingExtra: a tokenizer of pairs needs the library `tokenizers`.
    """
    try:
        if kind == "clip":
            if not (folder / PAIRS_FILE).is_file():
                raise BadInput(f"there is no {PAIRS_FILE}; put that of the same weights there")
            return from_content(read_bytes(folder / PAIRS_FILE), kind, length)
        path = next((folder / name for name in SENTENCEPIECE_FILES if (folder / name).is_file()), None)
        if path is None:
            raise BadInput(f"there is no {' or '.join(SENTENCEPIECE_FILES)}; put that of the same weights there")
        return from_content(read_bytes(path), kind, length)
    except OSError as error:
        raise BadInput(f"the tokenizer in {folder} cannot be read: {error.strerror or error}; get it again") from error
    except BadInput as error:
        raise BadInput(f"{folder}: {error}") from error


def _canonical(text: str) -> str:
    """Normalise as SigLIP does: no punctuation, lower case, single spaces.

    >>> _canonical("  A dog's_bed, (red)!")
    'a dogs bed red'
    """
    return " ".join(text.translate(_NO_PUNCTUATION).lower().split())


def _sentencepiece(model: bytes, kind: TokenizerKind, form: Format) -> Tokenizer:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.load_from_serialized_proto(model)
    except (RuntimeError, TypeError) as error:
        raise BadInput("these bytes are no SentencePiece model; give the one of the same weights") from error
    if form.end is not None and pieces.eos_id() != form.end:
        raise BadInput(
            f"the tokenizer ends texts with id {pieces.eos_id()}, and that of {kind} with {form.end}; it is another model's"
        )

    return Tokenizer(pieces.encode, kind, form, pieces.get_piece_size(), model)


_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What is cut apart before pairs are merged: English endings, runs of letters, single digits, runs of other signs."""


def _pairs(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> tuple[Callable[[str], list[int]], int, int]:
    """Build the byte-level pair encoding, and find the ids of its begin and end tokens."""
    try:
        import tokenizers
        from tokenizers import models, normalizers, pre_tokenizers
    except ImportError:
        raise MissingExtra("tokenizers", "text", "reading CLIP's tokenizer") from None
    if _BEGIN not in vocabulary or _END not in vocabulary:
        raise BadInput(f"the vocabulary lacks {_BEGIN if _BEGIN not in vocabulary else _END}; it is no tokenizer of CLIP")
    try:
        model = models.BPE(vocab=vocabulary, merges=list(merges), end_of_word_suffix="</w>", unk_token=_END)
    except Exception as error:  # the library raises a bare Exception for pieces that do not fit
        raise BadInput(f"vocabulary and merges do not fit each other ({str(error)[:80]}); get them again") from error
    built = tokenizers.Tokenizer(model)
    spaces = normalizers.Replace(tokenizers.Regex(r"\s+"), " ")
    built.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return lambda text: built.encode(text, add_special_tokens=False).ids, vocabulary[_BEGIN], vocabulary[_END]


def _pairs_of(content: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Find vocabulary and merges in the content of a tokenizer.json."""
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise BadInput(f"{PAIRS_FILE} holds no model of byte pairs; get it again")
    vocabulary, merges = model.get("vocab"), model.get("merges")
    added = content.get("added_tokens") or []
    if isinstance(vocabulary, dict) and isinstance(added, list):
        extra = [t for t in added if isinstance(t, dict) and isinstance(t.get("content"), str)]
        vocabulary = {**vocabulary, **{token["content"]: token.get("id") for token in extra}}
    whole = isinstance(vocabulary, dict) and all(type(n) is int and 0 <= n < 2**24 for n in vocabulary.values())
    if not whole or not isinstance(merges, list):
        raise BadInput(f"the vocabulary or the merges in {PAIRS_FILE} are damaged; get them again")
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    if not all(len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in pairs):
        raise BadInput(f"the merges in {PAIRS_FILE} are no pairs of pieces; get them again")
    return vocabulary, pairs  # type: ignore[return-value]


def store_tokenizer(tokenizer: Tokenizer) -> "tuple[dict[str, Any], Tensor]":
    """Write a tokenizer as JSON values for the header, and a tensor of bytes."""
    import torch

    content = torch.frombuffer(bytearray(tokenizer.content), dtype=torch.uint8)
    return {"kind": tokenizer.kind, "length": tokenizer.length}, content


def restore_tokenizer(about: Any, content: "Tensor | None", path: Path) -> Tokenizer:
    """Make the tokenizer of the file `path` from the output of `store_tokenizer`. Raises BadInput if that is damaged."""
    try:
        if content is None or content.numpy().dtype != np.uint8 or not 1 <= about["length"] <= LONGEST_ROW:
            raise ValueError("its bytes or its length are wrong")
        return from_content(content.numpy().tobytes(), about["kind"], about["length"])
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"the tokenizer in {path} cannot be read ({str(error)[:100]}); save it again") from error
