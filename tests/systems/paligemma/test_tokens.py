"""Tokens: against SentencePiece itself with the tokens baked in, and against the processor of transformers."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.tokens import BOS, EOS, EXTRA, Tokens

LINES = [
    "caption en",
    "answer en what color is the red ball ?",
    "answer en how many green boxes are there ?  12 or 345",
    "detect ball ; box",
    "segment the small café",
    "a red ball\tand a box  beside it",
] * 9
TEXTS = [
    "answer en how many balls ?",
    "  caption en",
    "caption  en ",
    "detect box ; ball",
    "<loc0000><loc0512><loc1023><loc0007> ball ; <loc0001><loc0002><loc0003><loc0004><seg000><seg127> box",
    "two\ttabs\tand 日本 naïve 1234567",
    "a\nb\n\nc",
    "< loc0001 > <loc > <segment>",
    "",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens.train(LINES, 340, tmp_path_factory.mktemp("tokens") / "tokenizer.model")


def baked(tokens: Tokens) -> bytes:
    """The same model with the tokens of places and masks among its pieces, as the official file has them."""
    pieces = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    proto = pieces.ModelProto.FromString(tokens.model)
    for name in EXTRA:
        proto.pieces.add(piece=name, score=0.0, type=proto.SentencePiece.USER_DEFINED)
    return proto.SerializeToString()


def test_a_text_comes_back_as_it_was(tokens: Tokens):
    for text in TEXTS:
        assert tokens.decode(tokens.encode(text)) == text


def test_baked_in_or_behind_the_numbers_are_the_same_and_those_of_sentencepiece(tokens: Tokens):
    inside = Tokens(baked(tokens))
    own = sentencepiece.SentencePieceProcessor()
    own.load_from_serialized_proto(inside.model)
    assert (inside.size, inside.identity, inside.location_ids) == (tokens.size, tokens.identity, tokens.location_ids)
    assert tokens.location_ids[0] == 340
    assert tokens.segment_ids == tuple(range(340 + 1024, tokens.size))
    for text in TEXTS:
        ids = tokens.encode(text)
        assert ids == inside.encode(text) == own.encode(text)
        assert tokens.decode(ids) == inside.decode(ids) == own.decode(ids)


def test_the_end_ends_and_what_has_no_letters_is_passed_over(tokens: Tokens):
    ids = [BOS, *tokens.encode("red"), tokens.size + 63, 0, *tokens.encode(" ball"), EOS, *tokens.encode("more")]
    assert tokens.decode(np.array(ids)) == "red ball"
    assert tokens.is_location(tokens.location_ids[1023])
    assert not tokens.is_location(tokens.segment_ids[0])
    assert tokens.is_segment(tokens.segment_ids[0])
    with pytest.raises(BadInput, match="-1 is the number of no token"):
        tokens.decode([-1])


@pytest.mark.parametrize("text", ["<loc1024>", "<loc12>", "a<seg128>", "<loc>", "<seg0001>", "<loc-001><loc00001>"])
def test_a_token_of_no_place_is_refused(tokens: Tokens, text: str):
    with pytest.raises(BadInput, match=r"<\w+> is no token; places are <loc0000> to <loc1023>"):
        tokens.encode(text)


def test_half_a_character_is_refused(tokens: Tokens):
    with pytest.raises(BadInput, match="half a character"):
        tokens.encode("a\ud800")


def test_a_model_is_read_from_bytes_file_and_folder_and_pickled(tokens: Tokens, tmp_path: Path):
    (tmp_path / "tokenizer.model").write_bytes(tokens.model)
    same = [Tokens(tokens.model), Tokens.load(tmp_path), Tokens.load(tmp_path / "tokenizer.model")]
    same.append(pickle.loads(pickle.dumps(tokens)))
    assert {each.identity for each in same} == {tokens.identity}
    assert Tokens.train(LINES, 340, tmp_path / "again.model").identity == tokens.identity
    assert Tokens.train(LINES, 339, tmp_path / "other.model").identity != tokens.identity


def test_a_tokenizer_of_another_model_is_refused(tokens: Tokens):
    tokens.check(tokens.size)
    tokens.check(tokens.size + 64, tokens.identity)
    for rows in (tokens.size - 1, tokens.size + 128, 257216):
        with pytest.raises(
            BadInput, match=f"the tokenizer has {tokens.size} tokens and the weights {rows}: it belongs to another"
        ):
            tokens.check(rows)
    with pytest.raises(BadInput, match="the tokenizer is another one: it belongs to another model"):
        tokens.check(tokens.size, "0" * 64)


def test_what_is_no_tokenizer_is_refused_in_one_line(tokens: Tokens, tmp_path: Path):
    (tmp_path / "broken.model").write_bytes(tokens.model[:1000])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "tokenizer.json").write_text("{}")
    cases = {
        tmp_path / "none.model": "cannot read the tokenizer .*No such file",
        tmp_path / "broken.model": "broken.model: these bytes are no SentencePiece model",
        tmp_path / "folder": r"has no tokenizer.model \(its tokenizer.json is not read\)",
    }
    for source, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            Tokens.load(source)
        assert "\n" not in str(caught.value)


def test_a_model_of_another_kind_is_refused(tokens: Tokens):
    made = io.BytesIO()  # pad is off and bos comes first, as by default
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=made, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    with pytest.raises(BadInput, match=r"has pad, eos, bos, unk as \(-1, 2, 1, 0\)"):
        Tokens(made.getvalue())
    pieces = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    proto = pieces.ModelProto.FromString(baked(tokens))
    del proto.pieces[-1]
    with pytest.raises(BadInput, match="has 1151 of the 1152 tokens of places and masks"):
        Tokens(proto.SerializeToString())


def test_too_small_a_vocabulary_is_refused_and_writes_nothing(tmp_path: Path):
    for lines, count, why in (
        (LINES, 100, "Vocabulary size is smaller"),
        (LINES, 99999, "too high"),
        ([], 300, "there are none"),
    ):
        with pytest.raises(BadInput, match=f"cannot learn {count} pieces from these lines .*{why}"):
            Tokens.train(lines, count, tmp_path / "tokenizer.model")
    assert not list(tmp_path.iterdir())


def processor_of(tokens: Tokens, folder: Path):
    transformers = pytest.importorskip("transformers")
    (folder / "tokenizer.model").write_bytes(tokens.model)
    tokenizer = transformers.GemmaTokenizer.from_pretrained(folder)
    images = transformers.SiglipImageProcessor(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    return transformers.PaliGemmaProcessor(images, tokenizer)


@pytest.fixture(scope="module")
def processor(tokens: Tokens, tmp_path_factory: pytest.TempPathFactory):
    return processor_of(tokens, tmp_path_factory.mktemp("processor"))


def by_transformers(processor, prefix: str, suffix: str | None = None) -> tuple[list[str], list[str]]:
    """Pieces of prefix and suffix, images left out."""
    image = np.zeros((28, 28, 3), np.uint8)
    made = processor(images=image, text="<image>" + prefix, suffix=suffix)
    ids, kinds = made["input_ids"][0], made["token_type_ids"][0]
    names = processor.tokenizer.convert_ids_to_tokens(ids)
    parts = [[name for name, k in zip(names, kinds, strict=True) if k == kind and name != "<image>"] for kind in (0, 1)]
    return parts[0], parts[1]


@pytest.mark.slow
def test_as_the_processor_of_transformers(tokens: Tokens, processor):
    def named(ids: list[int]) -> list[str]:
        return [tokens.piece(number) for number in ids]

    for text in TEXTS:
        prefix, suffix = by_transformers(processor, text, text)
        assert prefix == named(tokens.encode_prefix(text)), text
        assert suffix == named(tokens.encode_suffix(text)), text
    for name in ("<eos>", "<pad>"):  # a token there, letters here
        prefix, _ = by_transformers(processor, f"a {name}")
        assert name in prefix
        assert name not in named(tokens.encode_prefix(f"a {name}"))


@pytest.mark.slow
def test_where_it_differs_from_transformers_a_prompt_that_ends_with_a_newline(tokens: Tokens, tmp_path: Path):
    pieces = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    proto = pieces.ModelProto.FromString(tokens.model)
    proto.pieces[-1].piece, proto.pieces[-1].type = "\n\n", proto.SentencePiece.USER_DEFINED  # Gemma has such a piece
    double = Tokens(proto.SerializeToString())
    assert [double.piece(number) for number in double.encode_prefix("ocr\n")][-2:] == ["\n", "\n"]
    prefix, _ = by_transformers(processor_of(double, tmp_path), "ocr\n")
    assert prefix[-1] == "\n\n"
