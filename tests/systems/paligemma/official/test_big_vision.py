"""big_vision's PaliGemma in JAX (golden/paligemma_jax.npz): the same from images and texts to losses, steps and answers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.paligemma import TINY, TINY_2
from support.scripts import GOLDEN, script
from tapetum.layers.generate import SamplingConfig, nucleus
from tapetum.systems.paligemma import load
from tapetum.systems.paligemma.config import PaliGemmaConfig
from tapetum.systems.paligemma.data import ImageTexts, TextPair, collate
from tapetum.systems.paligemma.images import prepare
from tapetum.systems.paligemma.losses import suffix_loss
from tapetum.systems.paligemma.model import PaliGemma, prefix_lm_mask
from tapetum.systems.paligemma.recipes import Learning
from tapetum.systems.paligemma.task import reference_groups, rows_loss
from tapetum.systems.paligemma.tokens import Tokens

maker = script("tests/golden/make_paligemma_jax_golden.py")
FAMILIES = {"paligemma": TINY, "paligemma2": replace(TINY_2, soft_cap="big_vision")}
TOKENS = Tokens.load(GOLDEN / "paligemma_taught.model")


@pytest.fixture(scope="module")
def golden() -> Mapping[str, np.ndarray]:
    with np.load(GOLDEN / "paligemma_jax.npz") as file:
        return dict(file)


@pytest.fixture(params=FAMILIES, scope="module")
def pair(request: Any, golden: Mapping[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> tuple[PaliGemma, dict]:
    """Ours with their weights, from a file with their names; and what theirs gave."""
    family = request.param
    theirs = {k.removeprefix(f"{family}/"): v for k, v in golden.items() if k.startswith(f"{family}/")}
    path = tmp_path_factory.mktemp(family) / "weights.npz"
    weights = {k.removeprefix("weights/"): v for k, v in theirs.items() if k.startswith("weights/")}
    np.savez(path, **weights)  # pyright: ignore[reportArgumentType]
    return load(path, config=sized(FAMILIES[family])), theirs


def sized(config: PaliGemmaConfig) -> PaliGemmaConfig:
    """With the rows of the tokenizer."""
    return replace(config, language=replace(config.language, vocabulary=TOKENS.size), newline=TOKENS.newline[0])


def pixels(images: int) -> torch.Tensor:
    """What the maker shows: with two images each example's own, then its neighbour's."""
    own = torch.cat([prepare(maker.make_image(k)[None], maker.SIZE) for k in range(3)])
    return torch.stack([own, own[[1, 2, 0]]], 1)[:, :images]


def batch(images: int) -> Any:
    """The maker's examples, read and cut by ours."""
    pairs = [TextPair(prefix=p, suffix=s) for p, s in zip(maker.PREFIXES, maker.SUFFIXES, strict=True)]
    seen = pixels(images).numpy()
    return collate([ImageTexts(pixels=s, pairs=(p,)) for s, p in zip(seen, pairs, strict=True)], TOKENS, maker.LENGTH)


def joined(row: int, rows: Any) -> tuple[list[int], int]:
    """Prefix and suffix of a row without padding, and where the suffix begins."""
    prefix, suffix = (part[row][part[row] != 0].tolist() for part in (rows.prefix, rows.suffix))
    return prefix + suffix, len(prefix)


def test_images_and_texts_are_theirs(golden: Mapping[str, np.ndarray]) -> None:
    """Numbers of pixels, ids, what is causal, what is learned: a text that is cut has lost its end."""
    wanted = torch.from_numpy(golden["train/image"]).movedim(-1, 1)
    torch.testing.assert_close(pixels(1)[:, 0], wanted, atol=1e-6, rtol=0)
    [rows] = batch(1).groups
    lost = 0
    for row in range(3):
        ids, begin = joined(row, rows)
        padding = [0] * (maker.LENGTH + 1 - len(ids))
        assert golden["train/text"][row].tolist() == ids + padding
        assert golden["train/mask_ar"][row].tolist() == [0] * begin + [1] * (len(ids) - begin) + [1] * len(padding)
        learned = rows.learned[row][rows.suffix[row] != 0].tolist()
        assert golden["train/mask_loss"][row].tolist() == [0] * begin + learned + padding
        lost += ids[-1] != 1
        prompt = TOKENS.encode_prefix(maker.PREFIXES[row])[: maker.LENGTH]
        assert golden["evaluate/text"][row].tolist() == prompt + [0] * (maker.LENGTH - len(prompt))
    assert 0 < lost < 3


@pytest.mark.parametrize(("name", "images"), [("one", 1), ("two", 2)])
def test_logits_and_who_sees_whom(pair: tuple[PaliGemma, dict], name: str, images: int) -> None:
    model, theirs = pair
    [rows] = batch(images).groups
    with torch.no_grad():
        found = model.logits(batch(images).pixels, rows.prefix, rows.suffix)
    seen = images * model.config.image_tokens
    valid = torch.cat((torch.ones(3, seen, dtype=torch.bool), torch.cat((rows.prefix, rows.suffix[:, :-1]), 1) != 0), 1)
    layout = prefix_lm_mask(valid, seen, rows.prefix.shape[1])
    for row in range(3):
        ids, begin = joined(row, rows)
        wanted = torch.from_numpy(theirs[f"{name}/logits"][row, begin - 1 : len(ids) - 1])
        assert wanted.std() > 0.5
        torch.testing.assert_close(found[row, : len(ids) - begin, ::7], wanted, atol=1e-4, rtol=1e-5)
        at = valid[row].nonzero()[:, 0][: seen + len(ids) - 1]
        attention = theirs[f"{name}/attention"][row, : len(at), : len(at)]
        assert np.array_equal(layout.mask[row, 0][at][:, at].numpy(), attention)


@pytest.mark.parametrize(("name", "images"), [("one", 1), ("two", 2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses(pair: tuple[PaliGemma, dict], name: str, images: int, smoothing: float) -> None:
    model, theirs = pair
    told = batch(images)
    [rows] = told.groups
    with torch.no_grad():
        logits = model.logits(told.pixels, rows.prefix, rows.suffix)
    found = suffix_loss(logits, rows.suffix, smoothing=smoothing)
    assert float(found) == pytest.approx(float(theirs[f"{name}/loss at {smoothing}"]), rel=1e-5)


@pytest.mark.slow
def test_steps_of_the_optimiser(pair: tuple[PaliGemma, dict]) -> None:
    """Losses on the way, and how far every tensor of theirs moves; their decay is not multiplied by the rate, torch's is."""
    from tapetum.encoders.tables.rows import to_official
    from tapetum.systems.paligemma.official import big_vision
    from tapetum.train.config import TrainConfig
    from tapetum.train.optim import build_optimizer

    start, theirs = pair
    model = PaliGemma(start.config)
    model.load_state_dict(start.state_dict())
    lr, decay, clip = (float(maker.STEPS[name]) for name in ("lr", "wd", "grad_clip_norm"))
    config = TrainConfig(steps=10, batch_size=3, lr=lr, betas=(0.9, 0.999), weight_decay=decay / lr, clip_norm=clip)
    optimizer = build_optimizer(reference_groups(model), config)
    told, losses = batch(1), []
    for _ in range(5):
        loss, _ = rows_loss(model, model.embed_images(told.pixels), told, Learning(smoothing=maker.STEPS["label_smoothing"]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert losses == pytest.approx(theirs["steps/losses"].tolist(), rel=1e-3)
    before, after = (to_official(each, big_vision.table(model.config)) for each in (start, model))
    for name, old in before.items():
        if name.endswith("key/bias"):  # changes no attention: its slope is rounding, and Adam makes steps of it
            continue
        moved = float((after[name] - old).norm())
        assert moved == pytest.approx(float(theirs[f"steps/moved/{name}"]), rel=0.02, abs=1e-6), name


WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy bfloat16": {"cache_dtype": torch.bfloat16},
    "greedy begun": {"forced": [TOKENS.encode(text) for text in maker.BEGUN]},
    "greedy forbidden": {"forbidden": maker.FORBIDDEN},
    "beam 2": {"sampling": SamplingConfig(beams=2)},
    "beam 3": {"sampling": SamplingConfig(beams=3)},
}


@pytest.mark.parametrize("name", WAYS)
def test_answers(pair: tuple[PaliGemma, dict], name: str) -> None:
    """A beginning is what they read and we write, so that what comes next is not capped there and is here; where an answer had
    ended, they go on and cut."""
    model, theirs = pair
    rows = [torch.tensor(TOKENS.encode_prefix(prefix)[: maker.LENGTH]) for prefix in maker.PREFIXES]
    prefix = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    begun = WAYS[name].get("forced", [()] * 3)
    for row in range(3):  # one at a time, since beginnings are of several lengths
        more = dict(WAYS[name])
        if "forced" in more:
            more["forced"] = [begun[row]]
        [found] = model.generate(pixels(1)[row : row + 1], prefix[row : row + 1], maker.NEW + len(begun[row]), **more)
        ids = [*found.ids[len(begun[row]) :], *[1] * found.ended]
        wanted = theirs[f"{name}/ids"][row].tolist()
        wanted = wanted[: wanted.index(1) + 1] if 1 in wanted else wanted
        assert ids == wanted
        if f"{name}/logp" in theirs:
            other = 1 if begun[row] and model.config.language.logit_soft_cap else 0
            told = theirs[f"{name}/logp"][row, other : len(wanted)]
            near = 0.05 if "bfloat16" in name else 1e-3
            assert list(found.log_probabilities[len(begun[row]) + other :]) == pytest.approx(told.tolist(), abs=near)


def test_what_a_nucleus_leaves(golden: Mapping[str, np.ndarray]) -> None:
    logits = torch.from_numpy(golden["nucleus/logits"]) / 0.7
    for part in (0.3, 0.6, 0.9):
        assert np.array_equal((nucleus(logits, part) > -torch.inf).numpy(), golden[f"nucleus/{part}"])


def test_positions_of_larger_images(pair: tuple[PaliGemma, dict], tmp_path: Path) -> None:
    model, theirs = pair
    weights = {k.removeprefix("weights/"): v for k, v in theirs.items() if k.startswith("weights/")}
    np.savez(tmp_path / "weights.npz", **weights)  # pyright: ignore[reportArgumentType]
    larger = replace(model.config, vision_encoder=replace(model.config.vision_encoder, image_size=(42, 42)))
    found = load(tmp_path / "weights.npz", config=larger).vision_encoder.positions.detach()
    torch.testing.assert_close(found, torch.from_numpy(theirs["positions of 42"][0]), atol=1e-5, rtol=0)
