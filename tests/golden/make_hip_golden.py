"""Runs the public code of HiP on random weights, for `tests/systems/hip/test_reference.py`.

    python make_hip_golden.py PATH                # tests/golden/hip.npz: tiny networks
    python make_hip_golden.py PATH --variants OUT # OUT/NAME.npz: released variants, to be compared by hand (0.4 GB each)

PATH is a folder with `hierarchical_perceiver` (google-deepmind/hierarchical_perceiver at a1c4cd2, with an empty __init__.py)
in it. Made with Python 3.11, jax and jaxlib 0.4.13, dm-haiku 0.0.9, chex 0.1.7, einshape 1.0, ml-collections, numpy 1.25; it
does not run on a current jax. A network's arrays are `CASE:module:leaf`, its inputs `CASE<NAME`, its answers `CASE>NAME`,
the processor's latents where they can be had `CASE>`.
"""

import sys
from pathlib import Path

import haiku as hk
import jax
import numpy as np

TINY = {
    "num_groups": (4, 2, 1, 2, 4),
    "num_self_attends_per_block": (1, 2, 1, 1, 1),
    "z_index_dim": (6, 8, 4, 8, 6),
    "num_z_channels": (8, 12, 16, 10, 8),
    "num_cross_attend_heads": (1, 1, 1, 1, 1),
    "num_self_attend_heads": (2, 3, 4, 2, 1),
    "cross_attend_widening_factor": (1, 1, 1, 1, 1),
    "self_attend_widening_factor": (4, 4, 4, 4, 4),
    "num_embedding_channels": 6,
}
FLAT = {
    "num_self_attends_per_block": 2,
    "z_index_dim": 9,
    "num_z_channels": 16,
    "num_cross_attend_heads": 2,
    "num_self_attend_heads": 4,
    "cross_attend_widening_factor": 4,
    "self_attend_widening_factor": 2,
    "num_embedding_channels": 8,
}
SHAPES = {"image": (23, 3), "sound": (9, 2), "label": (3, 4), "other_label": (2, 5)}
CASES = {
    "hip": ("HiP", TINY, {"num_position_encoding_channels": 512}, ("image", "sound")),
    "unprojected": ("HiP", TINY, {}, ("image",)),
    "transposed": ("HiP", TINY, {"regroup_type": "transpose_reshape"}, ("sound", "image")),
    "bottleneck": (
        "HiPClassBottleneck",
        TINY,
        {"num_position_encoding_channels": 512, "label_modalities": ("label", "other_label", "absent")},
        ("image", "label", "other_label"),
    ),
    "flat": ("PerceiverIO", FLAT, {"num_position_encoding_channels": 512}, ("image", "sound")),
}


def randomised(params, rng):
    out = {}
    for module, leaves in params.items():
        out[module] = {}
        for leaf, value in leaves.items():
            noise = rng.standard_normal(value.shape).astype(np.float32)
            if leaf == "w":
                noise *= value.shape[0] ** -0.5
            elif leaf == "scale":
                noise = 1 + 0.1 * noise
            elif leaf in ("b", "offset"):
                noise *= 0.1
            else:
                noise *= 0.5
            out[module][leaf] = noise
    return out


def run(build, inputs, rng):
    def apply(values):
        return build()("any", values, is_training=False)

    network = hk.transform(apply)
    params = randomised(network.init(jax.random.PRNGKey(0), inputs), rng)
    answers = network.apply(params, jax.random.PRNGKey(1), inputs)
    return params, {name: np.asarray(v) for name, v in answers["input_reconstruction"].items()}


def arrays(case, params, inputs, answers):
    out = {f"{case}:{module}:{leaf}": value for module, leaves in params.items() for leaf, value in leaves.items()}
    out |= {f"{case}<{name}": value for name, value in inputs.items()}
    return out | {f"{case}>{name}": value for name, value in answers.items()}


def main(path, variants=None):
    sys.path.insert(0, path)
    from hierarchical_perceiver import perceiver

    if variants is None:
        found = {}
        for number, (case, (model, sizes, more, names)) in enumerate(CASES.items()):
            rng = np.random.default_rng(number)
            inputs = {name: rng.standard_normal((2, *SHAPES[name])).astype(np.float32) for name in names}
            build = lambda: getattr(perceiver, model)(**sizes, **more, name="perceiver")  # noqa: B023, E731
            found |= arrays(case, *_with(run(build, inputs, rng), inputs))
        np.savez_compressed(Path(__file__).parent / "hip.npz", **found)
        return
    image, sound = {"image": (4096, 3)}, {"image": (1000, 3), "sound": (128, 16), "label": (10, 1)}
    for name, model, variant, shapes in (
        ("hip-mini", "HiP", "Mini", sound),
        ("hip-256", "HiP", "256", image),
        ("hip-bottleneck-mini", "HiPClassBottleneck", "Mini", sound),
        ("hip-16", "HiP", "16", {"image": (50176, 3)}),
        ("io-mini", "PerceiverIO", "io_mini", sound),
    ):
        rng = np.random.default_rng(7)
        inputs = {
            n: rng.standard_normal((2 if shapes is sound else 1, *shape)).astype(np.float32) for n, shape in shapes.items()
        }
        more = {"num_position_encoding_channels": 512}
        if model == "HiPClassBottleneck":
            more["label_modalities"] = ("label",)
        build = lambda: perceiver.build_perceiver(model, variant, more)  # noqa: B023, E731
        np.savez(Path(variants) / f"{name}.npz", **arrays("big", *_with(run(build, inputs, rng), inputs)))
        print(name, flush=True)


def _with(found, inputs):
    params, answers = found
    return params, inputs, answers


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3] if sys.argv[2:3] == ["--variants"] else None)
