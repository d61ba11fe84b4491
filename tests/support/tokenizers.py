"""Tiny tokenizers trained on sentences in several scripts, in the formats of SigLIP, SigLIP 2 and CLIP."""

import io
import json
from pathlib import Path

import sentencepiece

STEMS = (
    "A dog's bed, (red)! number 42",
    "two cats on a sofa; it's 7 o'clock",
    "ein rotes Fahrrad auf der Straße",
    "une fenêtre à côté du café, été 1999",
    "猫がソファにいる",
    "一只猫坐在沙发上",
    "кошка на красном диване",
    "قطة على الأريكة الحمراء",
    "बिल्ली सोफे पर है",
    "İstanbul'da bir KEDİ",
    "photo 📷 of a cat 🐈‍⬛ & a dog",
    "  many   spaces\tand\nlines  ",
)
SENTENCES = [*[f"{a} {b} {k}" for k in range(4) for a in STEMS for b in STEMS[: 11 if k else 12]][:500], "", "   ", "x " * 200]


def train_pieces(kind: str, **ids: int) -> bytes:
    """Train a small SentencePiece model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([s for s in SENTENCES if s.strip()]),
        model_writer=model,
        vocab_size=600,
        hard_vocab_limit=False,
        minloglevel=2,
        model_type=kind,
        **ids,
        **({"byte_fallback": True, "add_dummy_prefix": False, "normalization_rule_name": "identity"} if kind == "bpe" else {}),
        **({"remove_extra_whitespaces": False} if kind == "bpe" else {}),
    )
    return model.getvalue()


def train_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train byte pairs as CLIP's are: words end in </w>, begin and end tokens come last."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), end_of_word_suffix="</w>", show_progress=False
    )
    made.train_from_iterator(SENTENCES, trainer)
    model = json.loads(made.to_str())["model"]
    vocabulary = dict(model["vocab"])
    for sign in sorted(pre_tokenizers.ByteLevel.alphabet()):  # every byte also as the end of a word
        vocabulary.setdefault(f"{sign}</w>", len(vocabulary))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    return vocabulary, [tuple(merge) for merge in model["merges"]]


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "ball", "##s", "fall", "then", "cube", "it", "'", ",", "!"]
WORDS += ["green", "blue", "sofa", "on", "##er", "cat", "##t", "c", "dog", "1", "##9", "7"]


def write_wordpiece(path: Path) -> Path:
    """Write a small vocabulary of BERT's WordPiece."""
    path.write_text("\n".join(WORDS) + "\n")
    return path
