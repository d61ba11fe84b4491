"""Runs the public networks of DetCon on random weights, for `tests/systems/odin/test_weights.py`.

    python make_detcon_golden.py CHECKOUT [OUT]    # writes detcon.npz here; OUT: also the checkpoints, in OUT/NAME.npy

CHECKOUT is google-deepmind/detcon at dda0567, of which utils/networks.py is run. Made with jax and jaxlib 0.10.2, dm-haiku
0.0.17, numpy 2.4. Weights are drawn by numpy from a seed, leaf by leaf in the order of the file, so that they need not be kept:
the golden file has names and shapes of all leaves, and what the network makes of two images.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("detcon.npz")
CASES = {"resnet-50": "ResNet50", "resnet-200": "ResNet200"}
SIZE = 64, 72
"""Rows and columns of the images: even, where JAX pads on one side alone."""


def images() -> np.ndarray:
    """Two images that are prepared, (b, h, w, 3)."""
    return np.random.default_rng(1).standard_normal((2, *SIZE, 3)).astype(np.float32)


def drawn(shapes: list[list[Any]]) -> dict[str, dict[str, np.ndarray]]:
    """Draw the leaves of (module, leaf, shape): branches stay small, so that deep networks do not grow."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, np.ndarray]] = {}
    for module, leaf, shape in shapes:
        fan_in = int(np.prod(shape[:-1])) if leaf == "w" else 1
        noise = rng.standard_normal(shape, np.float32)
        if leaf == "counter":
            value: Any = np.asarray(7, np.int32)
        elif leaf == "w":
            value = noise * np.float32((2 / fan_in) ** 0.5)
        elif leaf == "scale" or "var_ema" in module:
            value = np.abs(1 + 0.2 * noise) * np.float32(0.3 if "batchnorm_2" in module and leaf == "scale" else 1)
        else:
            value = 0.1 * noise
        found.setdefault(module, {})[leaf] = np.asarray(value, np.int32 if leaf == "counter" else np.float32)
    return found


def checkpoint(shapes: list[list[Any]]) -> dict[str, Any]:
    """Give a checkpoint's content: parameters and state of the network and the projector."""
    leaves = drawn(shapes)
    state = {module: leaves.pop(module) for module in [*leaves] if module.endswith("_ema")}
    return {"params": leaves, "state": state}


def seen(networks: Any, kind: str) -> tuple[list[list[Any]], dict[str, np.ndarray]]:
    import haiku as hk
    import jax

    def forward(x: Any, training: bool) -> Any:
        found = getattr(networks, kind)(num_classes=None, final_mean_pool=False, return_pyramid=True)(x, is_training=training)
        how = {"decay_rate": 0.9, "eps": 1e-5, "create_scale": True, "create_offset": True}
        networks.MLP(name="projector", hidden_size=8, output_size=4, bn_config=how)(found[5].mean((1, 2)), is_training=training)
        return found

    network = hk.without_apply_rng(hk.transform_with_state(forward))
    made = jax.eval_shape(lambda key: network.init(key, images(), True), jax.random.PRNGKey(0))
    shapes = [[module, leaf, [*v.shape]] for part in made for module, leaves in part.items() for leaf, v in leaves.items()]
    content = checkpoint(shapes)
    found, _ = jax.jit(network.apply, static_argnums=3)(content["params"], content["state"], images(), False)
    return shapes, {f"map{i}": np.asarray(found[i + 2]) for i in range(4)}


def main() -> None:
    spec = importlib.util.spec_from_file_location("networks", Path(sys.argv[1]) / "utils" / "networks.py")
    assert spec is not None
    assert spec.loader is not None
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    out = {}
    for name, kind in CASES.items():
        shapes, maps = seen(networks, kind)
        out[f"{name}/shapes"] = np.array(json.dumps(shapes))
        out |= {f"{name}/{key}": value[:, ::2, ::2, ::32].copy() for key, value in maps.items()}
        out |= {f"{name}/{key}/mean": value.mean((1, 2)) for key, value in maps.items()}
        print(name, {key: float(value.std()) for key, value in maps.items()})
        if len(sys.argv) > 2:
            np.save(Path(sys.argv[2]) / f"{name}.npy", checkpoint(shapes), allow_pickle=True)  # pyright: ignore[reportArgumentType]
    np.savez_compressed(GOLDEN, **out)


if __name__ == "__main__":
    main()
