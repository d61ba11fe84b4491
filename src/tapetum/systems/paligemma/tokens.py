"""The tokenizer: a SentencePiece model, followed by 1,024 tokens of locations and 128 of masks.

Source: PaliGemma (arXiv 2407.07726, 3.2) and its public code; All in Tokens (arXiv 2301.02229) for the tokens of masks.

    [BOS] pieces of the prefix  pieces of "\\n"   |   pieces of the suffix [EOS]         each of the three encoded by itself:
                                                                                        pieces never reach across their borders
    0 pad  1 eos  2 bos  3 unk  4 ...   pieces      n ... n+1023  <loc0000> ... <loc1023>      n+1024 ... n+1151  <seg000> ...

The official file has the 1,152 tokens among its pieces (n = 256,000); a model without them gets them after its last piece.
Either way a text is first cut at such tokens, so they are never split and do not affect their neighbours.

How `transformers` (5.24, `PaliGemmaProcessor`) differs: it encodes the prompt and its "\\n" as one text; it reads `<bos>`,
`<eos>`, `<pad>`, `<unk>` and `<image>` in a text as tokens, while here, as in the reference, they are plain text; for an image
it repeats `<image>`, a later token that is never generated, so it has no id here.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import sentencepiece

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import check_length, read_bytes

LOCATIONS, SEGMENTS = 1024, 128
"""Tokens for places, `<loc0000>` on, and for pieces of masks, `<seg000>` on."""
EXTRA = tuple(f"<loc{n:04d}>" for n in range(LOCATIONS)) + tuple(f"<seg{n:03d}>" for n in range(SEGMENTS))
"""All of these, in the order of their numbers."""
FILES = "tokenizer.model", "paligemma_tokenizer.model"
"""Names that the file has in a folder of weights: of Hugging Face, and of big_vision."""
_SPECIAL = {"pad": 0, "eos": 1, "bos": 2, "unk": 3}
"""Numbers of the four tokens that have no letters."""
EOS, BOS, UNK = 1, 2, 3
_LIKE_EXTRA = re.compile(r"<(?:loc|seg)[0-9]*>")
_MARGIN = 128
"""Rows that a table of embeddings may have beyond the tokens: `<image>`, and padding to a multiple of 64."""


class Tokens:
    """The tokenizer of one model, from the bytes of a SentencePiece model. Raises BadInput for other bytes."""

    def __init__(self, model: bytes):
        self.model = model
        """The bytes of the SentencePiece model."""
        self._pieces = sentencepiece.SentencePieceProcessor()
        try:
            self._pieces.load_from_serialized_proto(model)
        except (RuntimeError, TypeError) as error:
            raise BadInput("these bytes are no SentencePiece model; give the tokenizer.model of the weights") from error
        own = tuple(getattr(self._pieces, f"{name}_id")() for name in _SPECIAL)
        if own != (0, 1, 2, 3):
            raise BadInput(
                f"the tokenizer has pad, eos, bos, unk as {own}; those of PaliGemma are (0, 1, 2, 3): it is another model's, "
                "give the tokenizer.model of the weights"
            )
        count = self._pieces.get_piece_size()
        baked = [self._pieces.piece_to_id(name) for name in EXTRA]
        known = sum(number != UNK for number in baked)
        if known not in (0, len(EXTRA)):
            raise BadInput(
                f"the tokenizer has {known} of the {len(EXTRA)} tokens of places and masks; give one that has all, or none"
            )
        numbers = baked if known else range(count, count + len(EXTRA))
        self._numbers = dict(zip(EXTRA, numbers, strict=True))
        self._names = {number: name for name, number in self._numbers.items()}
        self.size = count if known else count + len(EXTRA)
        """Tokens in all: numbers are below this."""
        self.location_ids: tuple[int, ...] = tuple(numbers[:LOCATIONS])
        self.segment_ids: tuple[int, ...] = tuple(numbers[LOCATIONS:])
        self.newline: tuple[int, ...] = tuple(self._pieces.encode("\n"))
        """Ids that end a prefix: one in the official model and in those that `train` makes."""

    @classmethod
    def load(cls, source: str | Path) -> "Tokens":
        """Read a SentencePiece model: its file, or a folder of weights with a tokenizer.model in it.

        Raises BadInput if there is none, or it is not such a model.
        """
        path = Path(source)
        if path.is_dir():
            other = " (its tokenizer.json is not read)" if (path / "tokenizer.json").exists() else ""
            absent = f"the folder {path} has no {FILES[0]}{other}; put that of the same weights there"
            path = _first([path / name for name in FILES], absent)
        try:
            model = read_bytes(path)
        except OSError as error:
            raise BadInput(f"cannot read the tokenizer {path}: {error.strerror or error}; give a tokenizer.model") from error
        try:
            return cls(model)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error

    @classmethod
    def beside(cls, weights: str | Path) -> "Tokens":
        """Read the weights' tokenizer: in their folder; for NAME.safetensors, NAME.model or tokenizer.model next to it.

        Raises BadInput if there is none.
        """
        path = Path(weights)
        if path.is_dir():
            return cls.load(path)
        places = [path.with_suffix(".model"), *(path.with_name(name) for name in FILES)]
        absent = f"there is no tokenizer beside {path}; put {places[0].name} or {FILES[0]} there"
        return cls.load(_first(places, absent))

    @classmethod
    def train(cls, lines: Iterable[str], vocabulary: int, path: str | Path) -> "Tokens":
        """Train a SentencePiece model of `vocabulary` pieces on lines of text, with Gemma's settings, and write it to `path`.

        Byte pairs with byte fallback; digits are split, spaces kept, none put before; "\\n" is one piece. Tokens of places and
        masks come behind these, and are left out of the lines. Raises BadInput for a vocabulary that is too small or too large.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokens = Tokens.train(["how many red balls are there ?"] * 9, 300, f"{folder}/tokenizer.model")
        >>> tokens.decode(tokens.encode_suffix("<loc0009> red\\u00e9"))
        '<loc0009> redé'
        """
        special: dict[str, Any] = {f"{name}_id": number for name, number in _SPECIAL.items()}
        special |= {f"{name}_piece": f"<{name}>" for name in _SPECIAL}
        made = io.BytesIO()
        texts = (part for line in lines for part in _LIKE_EXTRA.sub("\n", line).split("\n") if part)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=made,
                model_type="bpe",
                vocab_size=vocabulary,
                byte_fallback=True,
                split_digits=True,
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                allow_whitespace_only_pieces=True,
                normalization_rule_name="identity",
                character_coverage=1.0,
                **special,
                user_defined_symbols=["\n"],
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            why = " ".join(str(error).split()).rpartition("] ")[2].partition(". ")[0]
            why = "there are none" if "sentences_.empty()" in why else why
            raise BadInput(
                f"cannot learn {vocabulary} pieces from these lines ({why}); give another number, or more text"
            ) from None
        tokens = cls(made.getvalue())
        tokens.save(path)
        return tokens

    def save(self, path: str | Path) -> None:
        with whole_file(path) as temporary:
            temporary.write_bytes(self.model)

    @cached_property
    def identity(self) -> str:
        """Hash all tokens in id order; the same whether or not locations and masks are among the pieces."""
        count = self._pieces.get_piece_size()
        every = list(range(count))
        pieces, scores = self._pieces.id_to_piece(every), self._pieces.get_score(every)
        named = [f"{piece} {score:.6g}" for piece, score in zip(pieces, scores, strict=True)]
        named += [f"{name} 0" for name in EXTRA[: self.size - count]]
        return hashlib.sha256("\0".join(named).encode()).hexdigest()

    def check(self, rows: int, identity: str | None = None) -> None:
        """Raise BadInput if a model does not match: other `rows` in its token embedding, or another `identity`."""
        if not 0 <= rows - self.size < _MARGIN or identity not in (None, self.identity):
            what = f"has {self.size} tokens and the weights {rows}" if identity in (None, self.identity) else "is another one"
            raise BadInput(
                f"the tokenizer {what}: it belongs to another model; give the tokenizer.model that came with the weights"
            )

    def encode(self, text: str) -> list[int]:
        """Encode a text, without BOS or EOS. Raises BadInput for a token that does not exist, such as `<loc1024>`."""
        check_length(text, "a text for the model")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise BadInput(f"the text {text!r} holds half a character (a lone surrogate); write it again")
        ids: list[int] = []
        at = 0
        for match in _LIKE_EXTRA.finditer(text):
            number = self._numbers.get(match[0])
            if number is None:
                raise BadInput(
                    f"{match[0]} is no token; places are <loc0000> to <loc{LOCATIONS - 1}>, pieces of masks <seg000> to "
                    f"<seg{SEGMENTS - 1}>"
                )
            ids += [*self._pieces.encode(text[at : match.start()]), number]
            at = match.end()
        return ids + self._pieces.encode(text[at:])

    def encode_prefix(self, text: str) -> list[int]:
        """Encode BOS, the text and a newline."""
        return [BOS, *self.encode(text), *self.newline]

    def encode_suffix(self, text: str) -> list[int]:
        """Encode the text and EOS."""
        return [*self.encode(text), EOS]

    def decode(self, ids: Iterable[int]) -> str:
        """Decode ids up to the first EOS. Tokens without text and ids of padding rows are left out."""
        parts: list[str] = []
        run: list[int] = []
        for number in map(int, ids):
            if number == EOS:
                break
            if number in self._names:
                parts += [self._pieces.decode(run), self._names[number]]
                run = []
            elif number < 0:
                raise BadInput(f"{number} is the number of no token; numbers begin at 0")
            elif number < self.size:
                run.append(number)
        return "".join((*parts, self._pieces.decode(run)))

    def is_location(self, number: int) -> bool:
        return self._names.get(number, "").startswith("<loc")

    def is_segment(self, number: int) -> bool:
        return self._names.get(number, "").startswith("<seg")

    def piece(self, number: int) -> str:
        """Look up the text of one token as stored in the model, "▁" for a space. Raises BadInput for an unknown id."""
        if not 0 <= number < self.size:
            raise BadInput(f"{number} is the number of no token; this tokenizer has {self.size}")
        return self._names.get(number) or self._pieces.id_to_piece(number)

    def __getstate__(self) -> bytes:
        return self.model

    def __setstate__(self, model: bytes) -> None:
        self.__init__(model)


def _first(places: Sequence[Path], absent: str) -> Path:
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise BadInput(absent)
    return path
