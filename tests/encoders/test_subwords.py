"""A user's own tokenizers: those of transformers where they have one, else ids that stand to reason."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from support.tokenizers import SENTENCES, WORDS, train_pieces, write_wordpiece
from tapetum.core.errors import BadInput
from tapetum.encoders.subwords import make_subwords, read_subwords


def test_wordpiece_is_that_of_bert(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    path = write_wordpiece(tmp_path / "vocab.txt")
    ours = read_subwords(path, 8)
    number = {word: k for k, word in enumerate(WORDS)}
    expected = ["[CLS]", "a", "red", "ball", "##s", "fall", "[UNK]", "[SEP]"]
    assert ours(["A RED balls fall zzz"])[0].tolist() == [number[word] for word in expected]
    assert ours(["a red ball red fall a ball"], from_end=True)[0].tolist() == [
        number[word] for word in ["[CLS]", "red", "ball", "red", "fall", "a", "ball", "[SEP]"]
    ]
    theirs = BertTokenizer(number)
    texts = [*SENTENCES[:200], "Bälle, a ball!", ""]
    expected = theirs(texts, padding="max_length", truncation=True, max_length=8)["input_ids"]
    np.testing.assert_array_equal(ours(texts), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours))(texts), expected)
    cased = tmp_path / "cased"
    cased.mkdir()
    (cased / "vocab.txt").write_text("\r\n".join([*WORDS, "Ball", ""]))
    assert read_subwords(cased, 8)(["Ball A"])[0, :4].tolist() == [
        number["[CLS]"],
        len(WORDS),
        *[number["[UNK]"], number["[SEP]"]],
    ]


def test_pieces_end_as_their_model_says() -> None:
    import sentencepiece

    model = train_pieces("unigram")  # unknown 0, begin 1, end 2, no padding
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    ours = make_subwords(model, "sentencepiece", 90)
    text = SENTENCES[0]
    assert ours([text])[0].tolist() == [*(ids := pieces.encode(text)), 2, *[0] * (89 - len(ids))]
    with pytest.raises(BadInput, match="no SentencePiece model"):
        make_subwords(b"x", "sentencepiece", 30)


def test_what_a_json_adds_stands_around_a_text(tmp_path: Path) -> None:
    import tokenizers
    from transformers import BertTokenizer

    write_wordpiece(tmp_path / "vocab.txt")
    built = BertTokenizer({word: k for k, word in enumerate(WORDS)}).backend_tokenizer
    built.enable_truncation(4)
    built.enable_padding(length=99)
    ours = make_subwords(built.to_str().encode(), "json", 8)
    np.testing.assert_array_equal(ours(SENTENCES[:50]), read_subwords(tmp_path, 8)(SENTENCES[:50]))
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, "b"))
    with pytest.raises(BadInput, match="its token 0 is 'a', and 0 is padding"):
        make_subwords(plain.to_str().encode(), "json", 8)
    with pytest.raises(BadInput, match="cannot read it"):
        make_subwords(b"{}", "json", 8)


def test_what_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no tokenizer .*; give a tokenizer\.json, vocab\.txt"):
        read_subwords(tmp_path, 8)
    for lines, message in (
        (["a", "[UNK]"], r"it lacks \[PAD\], \[CLS\], \[SEP\]"),
        ([*WORDS, "a"], "lines are the same"),
        (["a", *[word for word in WORDS if word != "a"]], "is not the first"),
    ):
        (tmp_path / "vocab.txt").write_text("\n".join(lines))
        with pytest.raises(BadInput, match=rf"vocab\.txt: this is no vocabulary of BERT: .*{message}"):
            read_subwords(tmp_path, 8)
    with pytest.raises(BadInput, match="leave no room"):
        read_subwords(write_wordpiece(tmp_path / "vocab.txt"), 2)
