"""`index`, `search`, `embed` and `classify --labels` with two towers and their tokenizers, in folders as of repositories."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.encoder_folders import open_clip, siglip2
from tapetum.app.see.classify_labels import LabelsFitted
from tapetum.desk.search.results import Searched
from tapetum.video import write_video


@pytest.mark.slow
@pytest.mark.parametrize("make", [open_clip, siglip2])
def test_an_index_a_table_and_labels_compare_as_the_towers_do(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "model")
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    photos.mkdir()
    images = rng.integers(0, 256, (4, 60, 80, 3), dtype=np.uint8)
    for k, image in enumerate(images):
        Image.fromarray(image).save(photos / f"{k}.png")
    write_video(photos / "f.mp4", rng.integers(0, 256, (8, 32, 48, 3), dtype=np.uint8), 4)
    model = str(tmp_path / "model")
    towers = tapetum.load(model)
    wanted = towers.embed_images(list(images)) @ towers.embed_texts(["ein Hund 猫"])[0]
    made = tapetum.index(photos, model=model, dtype="float32")
    assert (made.pieces, made.model) == (6, model)
    result = tapetum.search(photos, "ein Hund 猫", count=9)
    assert isinstance(result, Searched)
    cosines = {Path(each.path).name: each.cosine for each in result.moments}
    np.testing.assert_allclose([cosines[f"{k}.png"] for k in range(4)], wanted, atol=2e-3)
    fitted = tapetum.classify([*images], labels=("a cat", "an owl"), model=model)
    assert isinstance(fitted, LabelsFitted)
    logits = towers.logits(list(images), ["a cat", "an owl"])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for each, share, logit in zip(fitted.images, shares, logits, strict=True):
        order = [("a cat", "an owl").index(name) for name in each.names]
        np.testing.assert_allclose(each.shares, share[order], atol=1e-4)
        if make is siglip2:
            np.testing.assert_allclose(each.probabilities, 1 / (1 + np.exp(-logit[order])), atol=1e-4)
        else:
            assert each.probabilities is None
