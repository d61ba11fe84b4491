"""Makes convolutional.npz: what small convolutional encoders with weights from numpy's generator see in two images.

    python tests/golden/make_convolutional_golden.py

It records that results do not drift; that they are right is what the tests against timm, torchvision and transformers say.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tapetum import encoders

GOLDEN = Path(__file__).with_name("convolutional.npz")
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet-18": {"stem_width": 8},
    "resnet-50": {"stem_width": 8, "depths": (1, 2, 1, 1)},
    "nfnet-f0": {"depths": (1, 2, 1, 1), "channels": (16, 32, 48, 48), "stem_width": 16, "group_width": 8, "final_width": 40},
    "efficientnet-lite2": {"width_multiplier": 0.5},
}
"""Architectures, each with changes that make it small."""


def seen(name: str) -> dict[str, np.ndarray]:
    """Give maps' means, pooled vectors and logits of a network on two images."""
    encoder = encoders.build(name, classes=3, **NETWORKS[name])
    rng = np.random.default_rng(len(name))
    for key, tensor in sorted(encoder.state_dict().items()):
        noise = rng.standard_normal(tensor.shape)
        if key.endswith("num_batches_tracked"):
            continue
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
        scaled = 0.2 * noise if fan_in == 1 else noise * (2.0 / fan_in) ** 0.5
        one = 1.0 if key.endswith(("running_var", "gain")) or (key.endswith("weight") and tensor.ndim == 1) else 0.0
        tensor.copy_(torch.as_tensor(one + (np.abs(scaled) if one else scaled)))
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 100, 3), dtype=np.uint8)
    with torch.no_grad():
        x = encoder.prepare(images)[:, :, 50:123, 40:137]
        features = encoder(x)
        out = {"pooled": features.pooled, "logits": encoder.classify(x)}
        out |= {f"map{i}": m.mean((2, 3)) for i, m in enumerate(features.maps)}
    return {key: value.numpy() for key, value in out.items()}


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **{f"{name}/{key}": value for name in NETWORKS for key, value in seen(name).items()})
