"""Tiny tokenizers trained on sentences in several scripts, in the formats of SigLIP, SigLIP 2 and CLIP."""

import io
from collections import Counter
from itertools import pairwise
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
    """Train byte pairs as CLIP's are: words end in </w>, begin and end tokens come last; the same in every run."""
    from tokenizers import normalizers, pre_tokenizers

    normalise = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]).normalize_str
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str
    counts = Counter(word for sentence in SENTENCES for word, _ in split(normalise(sentence)))
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges: list[tuple[str, str]] = []
    for _ in range(200):
        pairs = Counter[tuple[str, str]]()
        for word, parts in words.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append((left, right))
        for parts in words.values():
            for k in range(len(parts) - 2, -1, -1):
                if parts[k : k + 2] == [left, right]:
                    parts[k : k + 2] = [left + right]
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*signs, *(f"{sign}</w>" for sign in signs), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: k for k, token in enumerate(dict.fromkeys(tokens))}, merges


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "ball", "##s", "fall", "then", "cube", "it", "'", ",", "!"]
WORDS += ["green", "blue", "sofa", "on", "##er", "cat", "##t", "c", "dog", "1", "##9", "7"]


def write_wordpiece(path: Path) -> Path:
    path.write_text("\n".join(WORDS) + "\n")
    return path
