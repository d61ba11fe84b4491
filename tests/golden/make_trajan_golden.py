"""Records what the public autoencoder of tracks makes of random weights.

    python tests/golden/make_trajan_golden.py PATH/OF/tapnet

PATH is a clone of google-deepmind/tapnet (c2cbab8), whose `tapnet/trajan` needs flax and einops. Writes trajan.npz here: names
and shapes of the weights, and the latents, tracks and logits for `inputs`. The weights are those of `weights`.
"""

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"num_latent_tokens": 16, "latent_token_dim": 32, "num_frequencies": 8, "track_token_dim": 64, "encoder_latent_dim": 96}
SCALES = {"track_scale_factor": 0.5, "time_scale_factor": 4.0}
FRAMES = 9


def inputs() -> dict[str, np.ndarray]:
    """Two videos, of 8 and 6 frames, whose first tracks are never visible, and visible in a frame of the padding only."""
    rng = np.random.default_rng(0)
    visible = rng.random((2, 4, FRAMES)) > 0.3
    visible[0, :2] = visible[1, :, 6:] = False
    visible[0, 1, 8] = True
    xy = rng.random((2, 4, FRAMES, 2)).astype(np.float32)
    queries = np.concatenate([rng.integers(0, FRAMES, (2, 3, 1)), rng.random((2, 3, 2))], -1).astype(np.float32)
    return {"xy": xy, "visible": visible, "frames": np.array([8, 6]), "queries": queries}


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Weights that depend on their names and shapes alone, of about the size that keeps numbers near 1."""
    arrays = {}
    for name, shape in shapes.items():
        draws = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
        inward = np.prod(shape[:-1]) if len(shape) == 2 or "dense_out" in name else shape[0]
        scales = {"kernel": (0, inward**-0.5), "scale": (1, 0.1), "bias": (0, 0.1)}
        start, factor = scales.get(name.rpartition("/")[2], (0, 1))
        arrays[name] = (start + factor * draws).astype(np.float32)
    return arrays


def public(repository: Path) -> dict[str, Any]:
    """Run the public code."""
    sys.path.insert(0, str(repository))
    import jax  # pyright: ignore[reportMissingImports]
    from flax.traverse_util import flatten_dict, unflatten_dict  # pyright: ignore[reportMissingImports]
    from tapnet.trajan.track_autoencoder import TrackAutoEncoder  # pyright: ignore[reportMissingImports]

    model, given = TrackAutoEncoder(num_output_frames=FRAMES, **SIZES, **SCALES), inputs()
    named = {"support_tracks": given["xy"], "support_tracks_visible": given["visible"][..., None].astype(np.float32)}
    named |= {"query_points": given["queries"], "boundary_frame": given["frames"]}
    flat = flatten_dict(jax.eval_shape(model.init, jax.random.PRNGKey(0), named)["params"], sep="/")
    shapes = {name: list(leaf.shape) for name, leaf in flat.items()}
    params = {"params": unflatten_dict(weights(shapes), sep="/")}
    made = model.apply(params, named)
    latents = np.asarray(model.apply(params, named, method=model.encode))
    return {
        "shapes": np.array(json.dumps(shapes)),
        "noise": np.asarray(jax.random.uniform(jax.random.PRNGKey(0), latents.shape)),
        "latents": latents,
        "xy": np.asarray(made.tracks),
        "visible": np.asarray(made.visible_logits)[..., 0],
        "certain": np.asarray(made.certain_logits)[..., 0],
    }


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent / "trajan.npz", **public(Path(sys.argv[1])))
