"""Scripts that text encoders cannot read, by CLIP's published vocabulary and by SentencePiece models trained here."""

import gzip
import io
from pathlib import Path

import pytest
import sentencepiece

from support.tokenizers import train_pieces
from tapetum.encoders.scripts import unread_scripts
from tapetum.encoders.tokenizers import Tokenizer, clip, siglip, siglip2

OTHERS = {
    "кошка на красном диване": ("Cyrillic",),
    "собака": ("Cyrillic",),
    "قطة على الأريكة الحمراء": ("Arabic",),
    "बिल्ली सोफे पर है": ("Devanagari",),
    "γάτα στον καναπέ": ("Greek",),
    "一只猫坐在沙发上": ("Chinese",),
    "a photo of a 犬": ("Chinese",),
    "猫がソファで寝ている": ("Chinese", "Japanese"),
    "고양이": ("Korean",),
}
LATIN = (
    "a photo of a cat",
    "ein rotes Fahrrad auf der Straße",
    "une fenêtre, été 1999",
    "żółty pies śpi",
    "kırmızı",
    "x y z",
    "",
    "📷 1",
)


@pytest.fixture(scope="module")
def openai() -> Tokenizer:
    """CLIP's tokenizer, of the vocabulary in open_clip's wheel."""
    open_clip = pytest.importorskip("open_clip")
    packed = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    from tokenizers import pre_tokenizers

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*signs, *(f"{sign}</w>" for sign in signs), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    return clip({token: k for k, token in enumerate(tokens)}, merges)


def train_english() -> bytes:
    """Train a SentencePiece model as SigLIP's: English alone, with an unknown token."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            ["a photo of a cat on a sofa", "two red dogs run by the blue sea", "quick zebras jump very far"]
        ),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    return model.getvalue()


@pytest.mark.slow
def test_clip_reads_latin_letters(openai: Tokenizer) -> None:
    assert {text: unread_scripts(openai, [text]) for text in OTHERS} == OTHERS
    assert unread_scripts(openai, LATIN) == ()


def test_an_english_sentencepiece_reads_latin_letters() -> None:
    english = siglip(train_english())
    assert {text: unread_scripts(english, [text]) for text in OTHERS} == OTHERS
    assert unread_scripts(english, LATIN) == ()


def test_a_sentencepiece_of_many_languages_reads_what_it_has_learned() -> None:
    many = siglip2(train_pieces("bpe", pad_id=0, eos_id=1, bos_id=2, unk_id=3))
    assert unread_scripts(many, ["кошка на красном диване", "قطة على الأريكة الحمراء", *LATIN]) == ()
    assert unread_scripts(many, ["고양이"]) == ("Korean",)
