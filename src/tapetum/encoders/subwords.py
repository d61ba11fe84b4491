"""Subword tokenizers of a user's own, for text towers that are trained here. Imports no torch.

    file             pieces              begin, end                    lower case
    vocab.txt        WordPiece (BERT)    [CLS], [SEP]                  where no token but the special ones has a capital letter
    *.model          SentencePiece       none; its end token, if any   as the model normalises
    tokenizer.json   whatever it holds   those that it adds            as it normalises

A tower that is pooled by the mean treats token 0 as padding, so it must not represent any text. In a SentencePiece model
without padding it is the unknown piece, which such a tower then ignores.

Sources: BERT (arXiv 1810.04805), SentencePiece (arXiv 1808.06226). WordPiece and tokenizer.json need the library `tokenizers`.
"""

from pathlib import Path
from typing import Any, Literal

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import read_bytes
from tapetum.encoders.tokenizers import PAIRS_FILE, SENTENCEPIECE_FILES, Format, Tokenizer

SubwordKind = Literal["wordpiece", "sentencepiece", "json"]
_KINDS: dict[str, SubwordKind] = {".txt": "wordpiece", ".model": "sentencepiece", ".json": "json"}
_NAMES = PAIRS_FILE, "vocab.txt", *SENTENCEPIECE_FILES
_PAD, _UNKNOWN, _CLASS, _SEPARATOR = _SPECIAL = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
_LARGEST = 1 << 28
"""Bytes of a file."""


def read_subwords(path: Path, length: int) -> Tokenizer:
    """Read a tokenizer for texts of `length` tokens: a file (.txt, .model, .json), or a folder containing a usual file name.

    Raises:
        BadInput: there is none, it cannot be read, or its token 0 may stand in a text.
        MissingExtra: it needs the library `tokenizers`, which is not installed.
    """
    file = next((path / name for name in _NAMES if (path / name).is_file()), path) if path.is_dir() else path
    kind = _KINDS.get(file.suffix)
    if kind is None or not file.is_file():
        raise BadInput(f"there is no tokenizer {path}; give a {', '.join(_NAMES)}, or a folder that has one of these")
    try:
        return make_subwords(read_bytes(file, _LARGEST), kind, length)
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error


def make_subwords(content: bytes, kind: SubwordKind, length: int) -> Tokenizer:
    """Make a tokenizer from the content of its file. Raises BadInput and MissingExtra as `read_subwords` does."""
    return {"wordpiece": _wordpiece, "sentencepiece": _sentencepiece, "json": _json}[kind](content, length)


def _library(what: str) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingExtra("tokenizers", "text", what) from None
    return tokenizers


def _wordpiece(content: bytes, length: int) -> Tokenizer:
    """Make BERT's tokenizer from a vocab.txt: one token per line, whose id is the line number."""
    library = _library("reading a vocabulary of WordPiece")
    lines = content.decode(errors="replace").removesuffix("\n").split("\n")  # other signs that end lines are tokens
    vocabulary = {line.removesuffix("\r"): number for number, line in enumerate(lines)}
    missing = [token for token in _SPECIAL if token not in vocabulary]
    if missing or len(vocabulary) < len(lines) or vocabulary[_PAD] != 0:
        fault = f"it lacks {', '.join(missing)}" if missing else f"lines are the same, or {_PAD} is not the first"
        raise BadInput(f"this is no vocabulary of BERT: {fault}; give the vocab.txt of one")
    built = library.Tokenizer(library.models.WordPiece(vocab=vocabulary, unk_token=_UNKNOWN, max_input_chars_per_word=100))
    capitals = any(token != token.lower() for token in vocabulary if not (token.startswith("[") and token.endswith("]")))
    built.normalizer = library.normalizers.BertNormalizer(lowercase=not capitals)
    built.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    form = Format(
        begin=vocabulary[_CLASS], end=vocabulary[_SEPARATOR], pad=0, length=_checked(length, 2), normalise=lambda text: text
    )
    return _tokenizer(built, "wordpiece", form, len(vocabulary), content)


def _sentencepiece(content: bytes, length: int) -> Tokenizer:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.load_from_serialized_proto(content)
    except (RuntimeError, TypeError) as error:
        raise BadInput("these bytes are no SentencePiece model; give another file") from error
    if not (pieces.is_control(0) or pieces.is_unknown(0) or pieces.is_unused(0)):
        raise BadInput(f"its piece 0 is {pieces.id_to_piece(0)!r}, and 0 is padding; train it with pad_id or unk_id 0")
    end = pieces.eos_id() if pieces.eos_id() > 0 else None
    form = Format(end=end, pad=0, length=_checked(length, 1), normalise=lambda text: text)
    return Tokenizer(pieces.encode, "sentencepiece", form, pieces.get_piece_size(), content)


def _json(content: bytes, length: int) -> Tokenizer:
    """Make the tokenizer of a tokenizer.json, ignoring its truncation and padding."""
    library = _library(f"reading {PAIRS_FILE}")
    try:
        built = library.Tokenizer.from_str(content.decode())
        built.no_truncation()
        built.no_padding()
        probe = "a"
        inner, whole = (built.encode(probe, add_special_tokens=special).ids for special in (False, True))
    except Exception as error:  # the library raises a bare Exception
        raise BadInput(f"the library tokenizers cannot read it ({' '.join(str(error).split())[:80]}); get it again") from error
    special = {number for number, token in built.get_added_tokens_decoder().items() if token.special}
    if built.id_to_token(0) is not None and 0 not in special:
        raise BadInput(f"its token 0 is {built.id_to_token(0)!r}, and 0 is padding; give a tokenizer with a special token 0")
    before = next((k for k in range(len(whole)) if whole[k : k + len(inner)] == inner), 0)
    begin, end = whole[:before], whole[before + len(inner) :]
    if not inner or len(begin) > 1 or len(end) > 1:
        raise BadInput(f"it writes {probe!r} as {whole}; give one with at most one token before a text and one after it")
    form = Format(
        begin=begin[0] if begin else None,
        end=end[0] if end else None,
        pad=0,
        length=_checked(length, len(begin) + len(end)),
        normalise=lambda text: text,
    )
    size = 1 + max(built.get_vocab(with_added_tokens=True).values())
    return _tokenizer(built, "json", form, size, content)


def _tokenizer(built: Any, kind: SubwordKind, form: Format, size: int, content: bytes) -> Tokenizer:
    def encode(text: str) -> list[int]:
        return built.encode(text, add_special_tokens=False).ids

    return Tokenizer(encode, kind, form, size, content)


def _checked(length: int, special: int) -> int:
    if length <= special:
        raise BadInput(f"texts of {length} tokens leave no room beside {special} that begin and end one; give more")
    return length
