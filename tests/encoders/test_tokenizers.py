"""Tokenizers equal those of transformers on sentences of several scripts; what is damaged is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from support.tokenizers import SENTENCES, train_pairs, train_pieces
from tapetum.core.errors import BadInput
from tapetum.encoders.tokenizers import clip, read_tokenizer, siglip, siglip2, tipsv2


@pytest.fixture(scope="module")
def unigram() -> bytes:
    return train_pieces("unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)


@pytest.fixture(scope="module")
def bpe() -> bytes:
    return train_pieces("bpe", pad_id=0, eos_id=1, bos_id=2, unk_id=3)


@pytest.fixture(scope="module")
def pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    return train_pairs()


def test_siglip_is_that_of_transformers(unigram: bytes, tmp_path: Path) -> None:
    from transformers.models.siglip.tokenization_siglip import SiglipTokenizer

    (tmp_path / "spiece.model").write_bytes(unigram)
    texts = [text for text in SENTENCES if "_" not in text]
    theirs = SiglipTokenizer(str(tmp_path / "spiece.model"))
    expected = theirs(texts, padding="max_length", truncation=True, max_length=64)["input_ids"]
    np.testing.assert_array_equal(siglip(unigram)(texts), expected)
    short = theirs(texts, padding="max_length", truncation=True, max_length=16)["input_ids"]
    np.testing.assert_array_equal(siglip(unigram, 16)(texts), short)


def test_siglip_2_is_that_of_transformers(bpe: bytes) -> None:
    from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

    vocabulary, merges = extracted(bpe)
    theirs = Siglip2Tokenizer(vocabulary, merges).backend_tokenizer
    expected = []
    for text in SENTENCES:
        ids = [*theirs.encode(text, add_special_tokens=False).ids[:63], 1]
        expected.append(ids + [0] * (64 - len(ids)))
    np.testing.assert_array_equal(siglip2(bpe)(SENTENCES), expected)
    no_end = [row[: row.index(1)] if len(set(row)) > 2 else [] for row in expected[:500]]
    np.testing.assert_array_equal(tipsv2(bpe)(SENTENCES[:500]), [row + [0] * (64 - len(row)) for row in no_end])


def extracted(model: bytes) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Read vocabulary and merges of a SentencePiece model of pairs: a pair is merged in the order of its piece's rank."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocabulary = {pieces.id_to_piece(k): k for k in range(pieces.get_piece_size())}
    merges = []
    for piece, rank in vocabulary.items():
        if not (pieces.is_control(rank) or pieces.is_unknown(rank) or pieces.is_byte(rank)):
            for cut in range(1, len(piece)):
                if piece[:cut] in vocabulary and piece[cut:] in vocabulary:
                    merges.append((rank, vocabulary[piece[:cut]], vocabulary[piece[cut:]], piece[:cut], piece[cut:]))
    return vocabulary, [(left, right) for *_, left, right in sorted(merges)]


COMPOSED = ["cafe\u0301 no\u0308el", "ﬁne ﬂat", "x² ½ ①", "ＡＢＣ １２", "№ ™ …", "ｶﾞ", "A\u030a Å Å", "한 \u1112\u1161\u11ab"]
"""Letters that are composed, and letters that only compatibility makes others of (NFKC), which CLIP leaves alone."""


def test_clip_is_that_of_transformers(pairs: tuple[dict[str, int], Sequence[tuple[str, str]]], tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    vocabulary, merges = pairs
    theirs = CLIPTokenizer(vocabulary, [tuple(merge) for merge in merges])
    expected = theirs(SENTENCES + COMPOSED, padding="max_length", truncation=True, max_length=77)["input_ids"]
    ours, end = clip(vocabulary, merges)(SENTENCES + COMPOSED), vocabulary["<|endoftext|>"]
    for mine, other in zip(ours, expected, strict=True):  # they pad with the end token
        stop = other.index(end) + 1
        assert mine[:stop].tolist() == other[:stop]
        assert not mine[stop:].any()
    theirs.save_pretrained(tmp_path)
    np.testing.assert_array_equal(read_tokenizer(tmp_path, "clip", 77)(SENTENCES + COMPOSED), ours)
    assert clip(vocabulary, merges, 32)(["x " * 99])[0, -1] == end


@pytest.mark.parametrize("length", [2, 5, 9, 10, 11, 14, 40])
def test_either_end_of_a_text_is_cut_where_it_is_too_long(unigram: bytes, length: int) -> None:
    whole = siglip(unigram)(["two cats"])[0].tolist()
    pieces = whole[: whole.index(1)]
    assert 5 < len(pieces) < 12
    for from_end, kept in ((False, pieces[: length - 1]), (True, pieces[-(length - 1) :])):
        expected = [*kept, 1] + [1] * (length - 1 - len(kept))
        assert siglip(unigram, length)(["two cats"], from_end)[0].tolist() == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [("a cat", "texts is one text"), ([3], "a text is 3"), ([None], "a text is None"), (["x" * 100_001], "100,001 letters")],
)
def test_what_is_no_list_of_texts_is_refused(unigram: bytes, texts: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        siglip(unigram)(texts)


def test_damaged_files_are_named(unigram: bytes, pairs: tuple[dict[str, int], Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no spiece\.model"):
        read_tokenizer(tmp_path, "siglip", 64)
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        read_tokenizer(tmp_path, "clip", 77)
    (tmp_path / "spiece.model").write_bytes(unigram[:100])
    with pytest.raises(BadInput, match="no SentencePiece model"):
        read_tokenizer(tmp_path, "siglip", 64)
    with pytest.raises(BadInput, match="another model's"):
        siglip2(train_pieces("unigram", pad_id=0, eos_id=2, unk_id=1, bos_id=-1))
    vocabulary, _ = pairs
    for content, message in (
        ("{", "no JSON"),
        ("[]", "no model of byte pairs"),
        (json.dumps({"model": {"vocab": {"a": -1}, "merges": []}}), "damaged"),
        (json.dumps({"model": {"vocab": {"a": 0}, "merges": []}}), "lacks"),
        (json.dumps({"model": {"vocab": vocabulary, "merges": [["qqq", "zzz"]]}}), "do not fit"),
    ):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(BadInput, match=message):
            read_tokenizer(tmp_path, "clip", 77)
