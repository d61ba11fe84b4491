"""Makes mask_codec.npz: masks encoded and decoded by PaliGemma's reference (big_vision) with weights drawn at random.

    git clone https://github.com/google-research/big_vision
    python -m venv jax && jax/bin/pip install tensorflow-cpu jax flax einops ml_collections absl-py
    PYTHONPATH=big_vision jax/bin/python tests/golden/make_mask_codec_golden.py

Made with big_vision 0127fb6, TensorFlow 2.21, JAX 0.10.2. `weights` has names and shapes of the official file, as the code
that reads it knows them.
"""

import tempfile
from pathlib import Path

import numpy as np


def shapes() -> dict[str, tuple[int, ...]]:
    found = {f"encoder.{2 * k}": (c, b, 4, 4) for k, (b, c) in enumerate(((1, 16), (16, 32), (32, 64), (64, 128)))}
    for block in ("encoder.8", "encoder.9", "decoder.2", "decoder.3"):
        found |= {f"{block}.net.0": (128, 128, 3, 3), f"{block}.net.2": (128, 128, 3, 3), f"{block}.net.4": (128, 128, 1, 1)}
    found |= {"encoder.10": (512, 128, 1, 1), "decoder.0": (128, 512, 1, 1), "decoder.12": (1, 16, 1, 1)}
    found |= {f"decoder.{4 + 2 * k}": (b, c, 4, 4) for k, (b, c) in enumerate(((128, 128), (128, 64), (64, 32), (32, 16)))}
    return found


def weights() -> dict[str, np.ndarray]:
    """Random weights under the official names, float32."""
    rng = np.random.default_rng(7)
    made = {}
    for name, shape in shapes().items():
        transposed = name in ("decoder.4", "decoder.6", "decoder.8", "decoder.10")
        inputs = shape[0] * 4 if transposed else np.prod(shape[1:])
        made[f"{name}.weight"] = rng.normal(0, (2 / inputs) ** 0.5, shape).astype(np.float32)
        made[f"{name}.bias"] = rng.normal(0, 0.05, shape[1] if transposed else shape[0]).astype(np.float32)
    made["_vq_vae._embedding"] = rng.normal(0, 1, (128, 512)).astype(np.float32)
    return made


def masks() -> np.ndarray:
    """Discs and half planes with soft edges, float32 (5, 64, 64) from 0 to 1."""
    y, x = np.mgrid[:64, :64] + 0.5
    discs = [np.hypot(x - cx, y - cy) - r for cx, cy, r in ((32, 32, 30), (20, 40, 15), (50, 10, 25))]
    planes = [0.6 * x + 0.8 * y - 45, 20 - x]
    return np.clip(0.5 - np.stack([*discs, *planes]), 0, 1).astype(np.float32)


def main() -> None:
    """Encode and decode with the reference's functions."""
    from big_vision.evaluators.proj.paligemma.transfers.segmentation import get_reconstruct_masks
    from big_vision.pp.proj.paligemma.segmentation import encode_to_codebook_indices

    drawn = weights()
    codes = np.asarray(encode_to_codebook_indices(drawn, masks()[..., None]), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/vae.npz", **drawn)
        decoded = np.asarray(get_reconstruct_masks(f"{folder}/vae.npz")(codes.astype(np.int32)))[..., 0]
    np.savez_compressed(Path(__file__).parent / "mask_codec.npz", codes=codes, decoded=decoded[:, ::3, ::5])
    print(codes.shape, len(np.unique(codes)), decoded.shape, decoded.std())


if __name__ == "__main__":
    main()
