"""Makes paligemma.npz: images resized by TensorFlow as PaliGemma's reference does (`pp/ops_image.py`, `video.py`).

    python -m venv tf && tf/bin/pip install tensorflow-cpu && tf/bin/python tests/golden/make_paligemma_golden.py

It needs TensorFlow alone; made with 2.21. The images are small, and made by `image` below.
"""

from pathlib import Path

import numpy as np

SIZES = {"wide": (37, 53, 28), "tall": (90, 31, 14), "small": (9, 11, 28)}
"""Height and width of an image, and the size that it gets."""
EVEN = {(120, 134, 56): 255, (37, 289, 28): 190, (61, 40, 28): 77, (9, 11, 28): 255}
"""The same of images of one grey level."""


def make_image(height: int, width: int) -> np.ndarray:
    """Waves and noise, uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    wave = np.stack([np.sin(x / 3), np.cos(y / 5), np.sin((x + y) / 4)], -1) * 90 + 128
    return np.clip(wave + np.random.default_rng(height).normal(0, 30, wave.shape), 0, 255).astype(np.uint8)


def main() -> None:
    import tensorflow as tf

    made = {}
    for name, (height, width, size) in SIZES.items():
        image = tf.constant(make_image(height, width))
        for antialias in (True, False):
            resized = tf.image.resize(image, (size, size), method="bilinear", antialias=antialias)
            made[f"{name}/{'antialias' if antialias else 'plain'}"] = tf.cast(
                tf.clip_by_value(resized, 0, 255), tf.uint8
            ).numpy()
        made[f"{name}/video"] = (2 * (tf.image.resize(image, (size, size)) / 255.0) - 1.0).numpy()
    for (height, width, size), level in EVEN.items():
        for key in ("antialias", "plain"):
            even = tf.constant(np.full((height, width, 1), level, np.uint8))
            resized = tf.image.resize(even, (size, size), method="bilinear", antialias=key == "antialias")
            made[f"even {height} {width} {size}/{key}"] = tf.cast(tf.clip_by_value(resized, 0, 255), tf.uint8).numpy()[..., 0]
    np.savez_compressed(Path(__file__).parent / "paligemma.npz", **made)
    print(tf.__version__, {name: value.shape for name, value in made.items()})


if __name__ == "__main__":
    main()
