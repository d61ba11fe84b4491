"""Images in which a piece repeats look the same one period on; a source without a share of them is left alone."""

import numpy as np

from tapetum.data.textures import procedural
from tapetum.world.facets.sampling import repeat_piece, with_repeats


def likeness(image: np.ndarray, shift: int, axis: int) -> float:
    """Correlate every second pixel of an image with itself, shifted along an axis."""
    grey = image[::2, ::2, 0].astype(float)
    length = grey.shape[axis] - shift
    first, second = (np.take(grey, range(start, start + length), axis).ravel() for start in (0, shift))
    return float(np.corrcoef(first, second)[0, 1])


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(256, size=(40, 40, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)


def test_a_piece_repeats_along_both_axes() -> None:
    def best(image: np.ndarray) -> list[float]:
        # bricks are shifted in every second row, so that they repeat along one axis after two periods
        return [max(likeness(image, shift, axis) for shift in range(10, 65)) for axis in (0, 1)]

    repeating = np.array([best(repeat_piece(np.random.default_rng(seed), noise)) for seed in range(8)])
    others = np.array([best(noise(np.random.default_rng(seed))) for seed in range(8)])
    assert np.median(repeating) > 0.9
    assert repeating.min() > 0.6
    assert others.max() < 0.3


def test_a_share_of_the_images_is_replaced() -> None:
    assert with_repeats(procedural, 0.0) is procedural
    calls = 0

    def source(rng: np.random.Generator) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.full((30, 50, 3), int(rng.integers(256)), np.uint8)

    draw = with_repeats(source, 0.5)
    shapes = [draw(np.random.default_rng(seed)).shape for seed in range(60)]
    replaced = shapes.count((320, 320, 3))
    assert 18 <= replaced <= 42
    assert calls == 60 + replaced  # one to take a piece of, one over it
