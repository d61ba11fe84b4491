"""Who sees whom, and that all ways to the same number agree: batches and single examples, cache and teacher forcing."""

from dataclasses import replace

import pytest
import torch

from support.networks import has_copies
from support.paligemma import BOTH, TINY, tiny
from tapetum.core.errors import BadInput
from tapetum.layers import cpu
from tapetum.systems.paligemma import PaliGemma, build
from tapetum.systems.paligemma.losses import mean_loss, pack_texts, token_losses

PREFIX = torch.tensor([[2, 9, 17, 30, 5], [2, 11, 5, 0, 0], [2, 40, 41, 5, 0]])
SUFFIX = torch.tensor([[8, 50, 33, 1], [21, 1, 0, 0], [60, 7, 1, 0]])


def pixels(images=1, batch=3, side=28):
    return torch.rand(batch, images, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_images_of_another_size():
    assert tiny().logits(pixels(side=42), PREFIX, SUFFIX).shape == (3, 4, 64)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (SUFFIX, r"give \(batch, answers, tokens\)"),
        (torch.tensor([[[4, 0, 5]]] * 3), "answers has 0, which is padding, before other ids"),
        (torch.tensor([[[64]]] * 3), "answers has ids 64..64; this model knows 0..63"),
        (torch.zeros(3, 1, 0, dtype=torch.int64), "answers is"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(answers, told):
    with pytest.raises(BadInput, match=told):
        tiny().score(pixels(), PREFIX, answers)


def test_a_bfloat16_cache_is_read_by_the_prompt_too():
    model = tiny()
    plain, rounded = model.start(pixels(), PREFIX, 2), model.start(pixels(), PREFIX, 2, torch.bfloat16)
    assert rounded.cache.blocks[0].keys.dtype == torch.bfloat16
    difference = (plain.logits - rounded.logits).abs().max()
    assert 1e-4 < difference < 0.5


def test_dropout_works_in_training_alone():
    model = tiny(replace(TINY, language=replace(TINY.language, dropout=0.3)))
    with torch.no_grad():
        assert torch.equal(model.logits(pixels(), PREFIX, SUFFIX), model.logits(pixels(), PREFIX, SUFFIX))
        model.train()
        assert not torch.equal(model.logits(pixels(), PREFIX, SUFFIX), model.logits(pixels(), PREFIX, SUFFIX))


def test_a_model_in_bfloat16_is_near():
    for config in BOTH.values():
        full, half = tiny(config), tiny(config).bfloat16()
        with torch.no_grad():
            first, second = (model.logits(pixels(), PREFIX, SUFFIX)[0] for model in (full, half))
        assert second.dtype == torch.bfloat16
        assert torch.nn.functional.cosine_similarity(first, second.float(), dim=-1).min() > 0.98
        assert len(half.generate_ids(pixels(), PREFIX, 4)) == 3


def test_random_weights_depend_on_the_seed():
    first, second, third = build(TINY, 1), build(TINY, 1), build(TINY, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.language.token_embedding.weight, third.language.token_embedding.weight)
    assert isinstance(first, PaliGemma)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pixels": torch.zeros(3, 3, 28, 28)}, "give \\(batch, images"),
        ({"pixels": torch.zeros(3, 0, 3, 28, 28)}, "at least one image"),
        ({"pixels": torch.zeros(2, 1, 3, 28, 28)}, "a row for each example"),
        ({"pixels": torch.zeros(3, 1, 3, 27, 28)}, "patches"),
        ({"prefix": PREFIX.int()}, "int64"),
        ({"prefix": PREFIX.flip(1)}, "padding, before other ids"),
        ({"suffix": SUFFIX[:, :0]}, "suffix is"),
        ({"suffix": SUFFIX + 10}, "knows 0..63"),
        ({"suffix": -SUFFIX}, "ids -60"),
    ],
)
def test_bad_input_is_one_line(change, told):
    given = {"pixels": pixels(), "prefix": PREFIX, "suffix": SUFFIX} | change
    with pytest.raises(BadInput, match=told) as caught:
        tiny().logits(**given)
    assert "\n" not in str(caught.value)


def test_answers_of_swapped_layers_are_the_same(monkeypatch):
    """With copies of weights; then the weights change, and answers follow."""
    monkeypatch.setattr(cpu, "KERNEL", "onednn")  # on any processor
    for config in BOTH.values():
        plain, fast = tiny(config), cpu.speed_up(tiny(config), copies=True)
        assert has_copies(fast.language)
        assert fast.generate_ids(pixels(), PREFIX, 12) == plain.generate_ids(pixels(), PREFIX, 12)
        for model in (plain, fast):
            model.load_state_dict(tiny(config, seed=5).state_dict())
        assert fast.generate_ids(pixels(), PREFIX, 12) == plain.generate_ids(pixels(), PREFIX, 12)


def test_losses_that_there_are_not_are_refused():
    one = torch.ones(1, 1, dtype=torch.int64)
    for act, message in (
        (lambda: token_losses(torch.zeros(1, 1, 4), one, 1.0), "smoothing is 1.0"),
        (lambda: mean_loss(torch.zeros(1, 1), one > 0, "sums"), "mean is 'sums'"),  # pyright: ignore[reportArgumentType]
        (lambda: pack_texts([], 1, "examples", "full"), "cannot share an image"),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(BadInput, match=message):
            act()
