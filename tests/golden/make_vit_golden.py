"""Makes vit.safetensors (a tiny ViT as a file of ours, random weights) and vit.npz (two images and what it sees in them).

    python tests/golden/make_vit_golden.py

They record that files stay readable and that results do not drift; that they are right is what the tests against timm and
transformers say.
"""

from pathlib import Path

import numpy as np
import torch

from tapetum import encoders

HERE = Path(__file__).parent


def main() -> None:
    encoder = encoders.build(
        "dinov2-small-reg",
        7,
        width=16,
        depth=2,
        heads=2,
        mlp_width=24,
        patch=8,
        image_size=(32, 32),
        classes=3,
        layer_scale=0.5,
    )
    with torch.no_grad():
        for tensor in encoder.parameters():
            tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(tensor.numel())) * 0.2)
    encoders.save(encoder, HERE / "vit.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    with torch.no_grad():
        prepared = encoder.prepare(images)
        features, larger = encoder(prepared), encoder(torch.nn.functional.pad(prepared, (0, 16, 0, 8)))
        logits = encoder.classify(prepared)
    arrays = {"tokens": features.tokens, "pooled": features.pooled, "map": features.maps[0], "logits": logits}
    arrays |= {"prepared": prepared, "larger": larger.pooled}
    np.savez_compressed(HERE / "vit.npz", pictures=images, **{name: array.numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    main()
