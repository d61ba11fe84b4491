"""A made encoder of images and words: it knows the mean colour of an image, and the names of some colours."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import Encoder, Features

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "white": (1, 1, 1)}
_CHANNELS = 8


class ColourWords(Encoder):
    """Vectors of 8 channels, of which images use three; a text is the sum of its colours, or any vector where it has none."""

    def __init__(self, bias: float | None = None, turned: bool = False):
        nn.Module.__init__(self)
        self.config, self.preprocessing = "colour words", Preprocessing(size=(8, 8), mean=(0.0,) * 3, std=(255.0,) * 3)  # pyright: ignore
        self.width, self.map_channels, self.strides, self.head = _CHANNELS, (), (), None
        self.axes = nn.Parameter(torch.eye(_CHANNELS).flip(0) if turned else torch.eye(_CHANNELS))
        self.logit_scale = nn.Parameter(torch.tensor(3.0))
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(bias))
        self.texts = 0
        """Texts that were embedded."""

    def forward(self, images: Tensor) -> Features:
        return Features(images.new_zeros(len(images), 1, 1), (1, 1), self.image_vectors(images), ())

    def image_vectors(self, images: Tensor) -> Tensor:
        return F.normalize(F.pad(images.mean((2, 3)), (0, _CHANNELS - 3)) @ self.axes, dim=1)

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([self.image_vectors(self.prepare(image[None])) for image in images]).numpy()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        raise AssertionError("nobody needs ids here")

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        rows = []
        for text in texts:
            named = [COLOURS[word] for word in re.findall(r"\w+", text.lower()) if word in COLOURS]
            seed = int.from_bytes(hashlib.md5(text.encode()).digest()[:4])
            other = np.random.default_rng(seed).standard_normal(_CHANNELS)
            rows.append(np.pad(np.sum(named, 0), (0, _CHANNELS - 3)) if named else other)
        vectors = np.array(rows, np.float32) @ self.axes.detach().numpy()
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def install(monkeypatch: pytest.MonkeyPatch, **models: ColourWords) -> None:
    """Make the models known by name to whatever loads weights."""
    from tapetum.hub import loading

    find, load = loading.find_loader, loading.load

    def find_or(reference, *args, **kwargs):
        return "" if str(reference) in models else find(reference, *args, **kwargs)

    def load_or(reference, *args, **kwargs):
        return models[str(reference)] if str(reference) in models else load(reference, *args, **kwargs)

    monkeypatch.setattr(loading, "find_loader", find_or)
    monkeypatch.setattr(loading, "load", load_or)
