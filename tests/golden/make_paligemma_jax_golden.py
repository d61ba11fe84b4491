"""Makes paligemma_jax.npz: PaliGemma's public code (big_vision, in JAX) run with weights drawn at random, from text to loss.

    git clone https://github.com/google-research/big_vision
    python -m venv jax && jax/bin/pip install tensorflow-cpu jax flax einops ml_collections absl-py sentencepiece scipy
    PYTHONPATH=big_vision jax/bin/python tests/golden/make_paligemma_jax_golden.py big_vision

Made with big_vision 0127fb6, JAX 0.10.2, Flax 0.12.8, TensorFlow 2.21. The sizes are small, everything else is theirs: reading
images and texts, the tree of weights and its names, the mask, logits, the loss (cut out of the middle of their training
loop), steps of their optimiser, and the samplers. Keys, for each family:

    weights/...         as an .npz of theirs has them; numbers of 16 bits
    one/..., two/...    logits with one image and with two; attention is who sees whom
    greedy/..., beam/...  what their samplers write

The tokenizer is paligemma_taught.model, beside this file.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SIZE, LENGTH, NEW = 28, 20, 8
"""Side of images, tokens of text, tokens of answers."""
SIZES: dict[str, Any] = {
    "width": 24,
    "depth": 3,
    "num_heads": 4,
    "num_kv_heads": 1,
    "head_dim": 8,
    "mlp_dim": 40,
    "norm_eps": 1e-6,
    "scan": True,
}
CAPS: dict[str, Any] = {
    "num_kv_heads": 2,
    "post_norms": True,
    "query_pre_attn_norm": "rsqrt_emb_per_head",
    "attn_logits_softcap": 5.0,
    "final_logits_softcap": 3.0,
}
FAMILIES: dict[str, dict[str, Any]] = {"paligemma": SIZES, "paligemma2": SIZES | CAPS}
EYE = {"patch_size": (7, 7), "width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 24, "pool_type": "none", "scan": True}
PREFIXES = ["answer en what color is the square ?", "detect square", "segment square"]
SUFFIXES = ["red", "<loc0100><loc0200><loc0700><loc1023> square", "<loc0000><loc0001>" + "<seg000><seg127>" * 8 + " red square"]
BEGUN = ["", "<loc0100>", "<loc0512><loc0003>"]
"""Beginnings of answers."""
FORBIDDEN = (0, 1, 2, 3)
STEPS = {"lr": 3e-3, "wd": 1e-3, "grad_clip_norm": 1.0, "label_smoothing": 0.1}
"""Of the optimiser, at a constant rate: their warm-up begins with a rate of 0, and ours does not."""


def make_image(number: int) -> np.ndarray:
    """Waves, uint8 (height, width, 3), all of different sizes and larger than the model's."""
    height, width = 40 + 7 * number, 61 - 5 * number
    y, x = np.mgrid[:height, :width]
    wave = np.stack([np.sin(x / (3 + number)), np.cos(y / 5), np.sin((x + y) / 4)], -1)
    return np.round(wave * 100 + 128).astype(np.uint8)


def drawn(shapes: Any) -> Any:
    """Weights for a tree of shapes, each of which numbers of 16 bits hold exactly."""
    import jax

    rng = np.random.default_rng(5)
    leaves, tree = jax.tree.flatten(shapes)
    return jax.tree.unflatten(tree, [rng.normal(0, 0.3, x.shape).astype(np.float16).astype(np.float32) for x in leaves])


def texts(kind: str) -> dict[str, np.ndarray]:
    """Images and texts of all examples as their preprocessing gives them: for training, or for evaluation."""
    import tensorflow as tf
    from big_vision.configs.proj.paligemma.transfers import common
    from big_vision.pp import builder

    common.TOKENIZER = f'gemma(tokensets=("loc", "seg"), model="{HERE / "paligemma_taught.model"}")'
    tail = common.combine_and_keep_train(LENGTH) if kind == "train" else common.combine_and_keep_eval(LENGTH)
    steps = builder.get_preprocess_fn(f"resize({SIZE}, antialias=True)|value_range(-1, 1)|{tail}")
    rows = []
    for k, prefix in enumerate(PREFIXES):
        suffix = SUFFIXES[k] if kind == "train" else BEGUN[k] * (kind == "begun")
        rows.append(steps({"image": tf.constant(make_image(k)), "prefix": tf.constant(prefix), "suffix": tf.constant(suffix)}))
    return {name: np.stack([row[name].numpy() for row in rows]) for name in rows[0]}


def model_of(family: str, vocabulary: int, cache: str | None = None) -> Any:
    import ml_collections
    from big_vision.models.ppp import gemma
    from big_vision.models.proj.paligemma import paligemma

    gemma.get_config = lambda variant: ml_collections.ConfigDict(
        {"variant": "tiny", "vocab_size": vocabulary, "remat_policy": "nothing_saveable", **FAMILIES[family]}
    )
    return paligemma.Model(
        img=ml_collections.FrozenConfigDict(EYE), llm=ml_collections.FrozenConfigDict({"cache_dtype": cache})
    )


def loss_of(source: Path, model: Any, batch: dict[str, np.ndarray], smoothing: float) -> Any:
    """The function of weights that their training loop calls `loss_fn`, out of its source."""
    import jax
    import jax.numpy as jnp

    tree = ast.parse(source.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "loss_fn"]
    known = {
        "jax": jax,
        "jnp": jnp,
        "model": model,
        "batch": batch,
        "config": {"label_smoothing": smoothing},
        "imgs": batch["image"],
        "txts": batch["text"],
        "mask_ar": batch["mask_ar"],
        "rng_model": jax.random.PRNGKey(0),
    }
    exec(compile(ast.Module(found, []), str(source), "exec"), known)
    return known["loss_fn"]


def learned(loss: Any, weights: Any) -> tuple[list[float], Any]:
    """Losses before each of a few steps of their optimiser, and how far each tensor has moved by then."""
    import jax
    import ml_collections
    import optax
    from big_vision.optax import make

    config = ml_collections.ConfigDict({**STEPS, "optax_name": "scale_by_adam", "schedule": {"decay_type": "stair"}})
    config.optax = {"b1": 0.9, "b2": 0.999}
    rule, _ = make(config, weights, sched_kw={"total_steps": 10})
    state, now, losses = rule.init(weights), weights, []
    for _ in range(5):
        (value, _), slopes = jax.value_and_grad(loss, has_aux=True)(now)
        losses.append(float(value))
        changes, state = rule.update(slopes, state, now)
        now = optax.apply_updates(now, changes)
    return losses, jax.tree.map(lambda a, b: np.float32(np.linalg.norm(a - b)), now, weights)


def written(family: str, vocabulary: int, weights: Any, kind: str, cache: str | None, **more: Any) -> dict[str, np.ndarray]:
    """What their samplers write, and its log-probabilities, with one image."""
    import jax
    from big_vision.trainers.proj.paligemma import predict_fns

    batch: dict[str, Any] = {**texts(kind), "_mask": np.ones(len(PREFIXES), bool)}
    if "forbidden" in more:
        batch["mask_logits"] = np.array(more.pop("forbidden"))
    way = predict_fns.get_all(model_of(family, vocabulary, cache))["beam_decode" if "beam_size" in more else "decode_with_logp"]
    found = way({"params": weights}, batch, devices=jax.devices(), max_decode_len=NEW, eos_token=1, **more)
    names = ("ids", "logp") if isinstance(found, tuple) else ("ids",)
    values = found if isinstance(found, tuple) else (found,)
    return {name: np.asarray(value).astype(kind_of(name)) for name, value in zip(names, values, strict=True)}


def kind_of(name: str) -> Any:
    return np.int16 if name == "ids" else np.float32


def nuclei() -> dict[str, np.ndarray]:
    """Which tokens their sampler may draw, by what it hands to the drawing."""
    import jax.numpy as jnp
    from big_vision.trainers.proj.paligemma import predict_fns

    logits = np.random.default_rng(3).normal(0, 2, (4, 20)).astype(np.float32)
    drawing, predict_fns.jax.random.categorical = predict_fns.jax.random.categorical, lambda rng, logits: logits
    kept = {f"{p}": np.asarray(predict_fns._nucleus_sampling(p, 0.7, logits=jnp.asarray(logits), rng=None)) > -1e6
            for p in (0.3, 0.6, 0.9)}  # fmt: skip
    predict_fns.jax.random.categorical = drawing
    return {"logits": logits, **kept}


def main() -> None:
    import jax
    from big_vision.models import vit
    from big_vision.pp import ops_general, ops_image, ops_text, tokenizer  # noqa: F401  (they register what they have)
    from big_vision.pp.proj.paligemma import ops  # noqa: F401
    from flax.traverse_util import flatten_dict

    source = Path(sys.argv[1], "big_vision/trainers/proj/paligemma/train.py")
    vocabulary = tokenizer.get_tokenizer(
        f'gemma(tokensets=("loc", "seg"), model="{HERE / "paligemma_taught.model"}")'
    ).vocab_size
    train, evaluated = texts("train"), texts("plain")
    pair = {**train, "image": np.stack([train["image"], train["image"][[1, 2, 0]]], 1)}
    made: dict[str, np.ndarray] = {f"train/{name}": train[name] for name in train}
    made |= {f"evaluate/{name}": evaluated[name] for name in evaluated if name != "image"}
    made |= {f"nucleus/{name}": value for name, value in nuclei().items()}
    for family in FAMILIES:
        print(family, flush=True)
        model = model_of(family, vocabulary)
        shapes = jax.eval_shape(
            model.init, jax.random.PRNGKey(0), train["image"], train["text"][:, :-1], train["mask_ar"][:, :-1]
        )
        weights = drawn(shapes["params"])
        found: dict[str, Any] = {f"weights/params/{k}": v.astype(np.float16) for k, v in flatten_dict(weights, sep="/").items()}
        for name, batch in {"one": train, "two": pair}.items():
            logits, out = model.apply({"params": weights}, batch["image"], batch["text"][:, :-1], batch["mask_ar"][:, :-1])
            found |= {f"{name}/logits": logits[:, :, ::7], f"{name}/attention": out["attn_mask"]}
        for name, batch in {"one": train, "two": pair}.items():
            for smoothing in (0.0, 0.1):
                value, _ = loss_of(source, model, batch, smoothing)(weights)
                found[f"{name}/loss at {smoothing}"] = value
        found["steps/losses"], moved = learned(loss_of(source, model, train, STEPS["label_smoothing"]), weights)
        found |= {f"steps/moved/{k}": v for k, v in flatten_dict(moved, sep="/").items()}
        ways: dict[str, tuple[str, str | None, dict[str, Any]]] = {
            "greedy": ("plain", None, {}),
            "greedy bfloat16": ("plain", "bfloat16", {}),
            "greedy begun": ("begun", None, {}),
            "greedy forbidden": ("plain", None, {"forbidden": FORBIDDEN}),
            "beam 2": ("plain", None, {"beam_size": 2}),
            "beam 3": ("plain", None, {"beam_size": 3}),
        }
        for name, (kind, cache, more) in ways.items():
            print(name, flush=True)
            told = written(family, vocabulary, weights, kind, cache, **more)
            found |= {f"{name}/{key}": value for key, value in told.items()}
        old = np.asarray(weights["img"]["pos_embedding"])
        found["positions of 42"] = vit.resample_posemb(old, np.empty((1, 36, old.shape[2])))
        made |= {f"{family}/{name}": np.asarray(value) for name, value in found.items()}
    np.savez_compressed(HERE / "paligemma_jax.npz", **made)  # pyright: ignore[reportArgumentType]
    for name, value in made.items():
        print(name, value.dtype, value.shape, value.ravel()[:6] if value.size < 60 else f"{value.std():.3g}")


if __name__ == "__main__":
    main()
