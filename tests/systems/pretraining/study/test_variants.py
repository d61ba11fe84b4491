"""Variants of data: what each has of the pool, the same every time."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.study.data import SHAPES, ShapePixels, VariedImages, balanced, inside, shape_source, varied
from tapetum.systems.pretraining.study.plan import VARIANTS

POOL = shape_source(600, 8)


def labels(source: ImageSource) -> np.ndarray:
    assert source.labels is not None
    return source.labels


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_its_length_and_is_the_same_again(variant: str) -> None:
    one, other, second = varied(POOL, variant, 90), varied(POOL, variant, 90), varied(POOL, variant, 90, seed=1)
    assert len(one) == len(labels(one)) == 90
    assert labels(one).tolist() == labels(other).tolist()
    assert all((one.images[k] == other.images[k]).all() for k in range(0, 90, 9))
    assert any((one.images[k] != second.images[k]).any() for k in range(0, 90, 9))
    assert one.about["variant"] == variant


def test_curated_data_have_all_classes_equally_often_and_no_image_twice() -> None:
    which = balanced(POOL, 90, 0)
    assert np.bincount(POOL.labels[which]).tolist() == [15] * 6  # type: ignore[index]
    assert len(set(which.tolist())) == 90
    assert balanced(POOL, 48, 0).tolist() == which[:48].tolist()  # fewer are the first of them
    bare = replace(POOL, labels=None, classes=())
    assert len(set(balanced(bare, 90, 0).tolist())) == 90


def test_a_long_tail_falls_by_a_hundred() -> None:
    counts = np.sort(np.bincount(labels(varied(shape_source(4000, 8), "long_tailed", 1000)), minlength=6))[::-1]
    assert counts.sum() == 1000
    wanted = 100 ** -(np.arange(6) / 5)
    np.testing.assert_allclose(counts, 1000 * wanted / wanted.sum(), atol=6)
    assert 60 < counts[0] / counts[-1] < 130


def test_duplicates_are_near_copies_of_a_fifth() -> None:
    made = varied(POOL, "duplicated", 50)
    assert isinstance(made.images, VariedImages)
    groups = made.images.places.reshape(10, 5)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0].tolist())) == 10
    for k in range(0, 50, 7):
        original = POOL.images[int(made.images.places[k])].astype(int)
        assert any((made.images[k] == moved).all() for moved in moves(original))
    assert len({made.images[k].tobytes() for k in range(5)}) > 1


def moves(image: np.ndarray) -> Iterator[np.ndarray]:
    """An image moved by up to two pixels, and up to eight levels darker or brighter."""
    wide = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    for y, x, level in product(range(5), range(5), range(-8, 9)):
        yield np.clip(wide[y : y + 8, x : x + 8] + level, 0, 255)


def test_noise_is_in_the_labels_alone() -> None:
    clean, noisy = varied(POOL, "curated", 200), varied(POOL, "noisy", 200)
    wrong = labels(clean) != labels(noisy)
    assert wrong.mean() == 0.4
    assert all((clean.images[k] == noisy.images[k]).all() for k in range(0, 200, 20))
    assert len(set(labels(noisy)[wrong].tolist())) == 6


@pytest.mark.slow
def test_half_is_off_the_domain() -> None:
    clean, strange = varied(POOL, "curated", 100), varied(POOL, "off_domain", 100)
    other = [(clean.images[k] != strange.images[k]).any() for k in range(100)]
    assert sum(other) == 50
    assert strange.images[other.index(True)].shape == (8, 8, 3)
    assert strange.images.name(other.index(True)).startswith("texture")
    assert labels(clean).tolist() == labels(strange).tolist()


def test_what_cannot_be_made_of_a_pool() -> None:
    bare = replace(POOL, labels=None, classes=())
    for source, variant, count, said in (
        (POOL, "dirty", 10, "no variant 'dirty'"),
        (bare, "long_tailed", 10, "by their classes, and these have none"),
        (bare, "noisy", 10, "by their classes, and these have none"),
        (POOL, "curated", 601, "wants 601 images of 600"),
        (POOL, "long_tailed", 600, "wants .* of one class, and there are 100"),
    ):
        with pytest.raises(BadInput, match=said):
            varied(source, variant, count)


def test_shapes_are_what_they_are_called() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 401), np.linspace(-1, 1, 401))
    share = {name: inside(name, x, y).mean() for name in SHAPES}
    assert share["disc"] == pytest.approx(np.pi / 4, abs=0.01)
    assert share["square"] == pytest.approx(0.85**2, abs=0.01)
    assert share["ring"] == pytest.approx(np.pi / 4 * (1 - 0.55**2), abs=0.01)
    assert share["cross"] == pytest.approx(2 * 0.3 - 0.3**2, abs=0.01)
    assert share["triangle"] == pytest.approx(1.7 * (1.7 / 1.7) / 4, abs=0.02)
    part = ShapePixels("val", 3, (24, 32))
    image, truth = part.read(1)
    assert image.shape == (24, 32, 3)
    assert truth.shape == (24, 32)
    assert 0 < (truth > 0).mean() < 1
    assert truth.max() < len(part.classes)
    assert (part.read(1)[0] == image).all()
    assert (ShapePixels("train", 3, (24, 32)).read(1)[0] != image).any()
