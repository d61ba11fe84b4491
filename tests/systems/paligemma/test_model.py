"""Who sees whom, and that all ways to the same number agree: batches and single examples, cache and teacher forcing."""

from dataclasses import replace

import pytest
import torch

from support.networks import has_copies
from support.paligemma import BOTH, GEMMA_2, TINY, TINY_2, tiny
from tapetum.core.errors import BadInput
from tapetum.layers import cpu
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.paligemma import PaliGemma, build
from tapetum.systems.paligemma.model import prefix_lm_mask

PREFIX = torch.tensor([[2, 9, 17, 30, 5], [2, 11, 5, 0, 0], [2, 40, 41, 5, 0]])
SUFFIX = torch.tensor([[8, 50, 33, 1], [21, 1, 0, 0], [60, 7, 1, 0]])
WINDOWS = {f"window-{w}": replace(TINY_2, language=replace(GEMMA_2, window=w)) for w in (3, 18)}
MASKS = {mask: replace(TINY, prefix_mask=mask) for mask in ("images", "causal")}
ALL = BOTH | WINDOWS | MASKS


def pixels(images=1, batch=3, side=28):
    return torch.rand(batch, images, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(params=ALL, scope="module")
def model(request):
    return tiny(ALL[request.param])


@torch.no_grad()
def test_a_padded_batch_is_its_examples(model):
    whole = model.logits(pixels(2), PREFIX, SUFFIX)
    for row in range(3):
        prefix, suffix = PREFIX[row][PREFIX[row] != 0][None], SUFFIX[row][SUFFIX[row] != 0][None]
        alone = model.logits(pixels(2)[row : row + 1], prefix, suffix)
        torch.testing.assert_close(whole[row, : suffix.shape[1]], alone[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_decoding_with_the_cache_is_teacher_forcing(model):
    texts = model.generate(pixels(2), PREFIX, 6)
    longest = max(len(text.log_probabilities) for text in texts)
    assert longest > 2
    suffix = torch.zeros(3, longest, dtype=torch.int64)
    for row, text in enumerate(texts):
        ids = text.ids + ((1,) if text.ended else ())
        suffix[row, : len(ids)] = torch.tensor(ids)
    if bool((suffix[:, :-1] == 0).logical_and(suffix[:, 1:] != 0).any()):
        pytest.fail("choose other weights: an answer holds 0, which is padding")
    told = model.logits(pixels(2), PREFIX, suffix).log_softmax(-1)
    scored = model.score(pixels(2), PREFIX, suffix[:, None])[:, 0]
    for row, text in enumerate(texts):
        count = len(text.log_probabilities)
        wanted = told[row].gather(1, suffix[row][:, None])[:count, 0]
        torch.testing.assert_close(torch.tensor(text.log_probabilities), wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(scored[row, :count], wanted, atol=1e-5, rtol=1e-5)
        assert told[row, :count].argmax(-1).tolist() == suffix[row, :count].tolist()
    assert model.generate_ids(pixels(2), PREFIX, 6) == [list(text.ids) for text in texts]


def dependencies(model, images, prefix, suffix):
    """Which of the tokens that go in (images, prefix, suffix) each token that comes out depends on, by derivatives."""
    torch.manual_seed(0)
    tokens = torch.randn(1, images + prefix + suffix, model.config.language.width, requires_grad=True)
    valid = torch.ones(1, tokens.shape[1], dtype=torch.bool)
    layout = prefix_lm_mask(valid, images, prefix, model.config.prefix_mask, model.config.language.window)
    out = model.language(tokens, positions=layout.positions, mask=layout.mask, local_mask=layout.local_mask)
    rows = [torch.autograd.grad(out[0, i].square().sum(), tokens, retain_graph=True)[0][0] for i in range(out.shape[1])]
    return torch.stack(rows).abs().amax(-1) > 0


@pytest.mark.parametrize("family", BOTH)
def test_who_depends_on_whom(family):
    whole = torch.ones(9, 9, dtype=torch.bool)
    causal = whole.tril()
    prefix_lm = causal.clone()
    prefix_lm[:6, :6] = True
    assert torch.equal(dependencies(tiny(BOTH[family]), 4, 2, 3), prefix_lm)
    assert torch.equal(dependencies(tiny(BOTH[family], prefix_mask="causal"), 4, 2, 3), causal)
    images = causal.clone()
    images[:4, :4] = True
    assert torch.equal(dependencies(tiny(BOTH[family], prefix_mask="images"), 4, 2, 3), images)


def test_the_mask_with_padding_and_window_as_drawn():
    valid = torch.tensor([[1, 1, 1, 1, 0, 1, 1, 0]]).bool()  # two of images, two of prefix and a pad, two of suffix and a pad
    layout = prefix_lm_mask(valid, 2, 3, "full", window=3)
    drawn = ["xxxx....", "xxxx....", "xxxx....", "xxxx....", "xxxx....", "xxxx.x..", "xxxx.xx.", "xxxx.xx."]
    assert ["".join("x" if see else "." for see in row) for row in layout.mask[0, 0].tolist()] == drawn
    near = ["xxxx....", "xxxx....", "xxxx....", "xxxx....", "xxxx....", "..xx.x..", "...x.xx.", "...x.xx."]
    assert ["".join("x" if see else "." for see in row) for row in layout.local_mask[0, 0].tolist()] == near
    assert layout.positions[0, [0, 1, 2, 3, 5, 6]].tolist() == [0, 1, 2, 3, 4, 5]


@torch.no_grad()
def test_several_images_are_their_tokens_one_after_the_other(model):
    many = model.embed_images(pixels(3))
    one_by_one = [model.embed_images(pixels(3)[:, i : i + 1]) for i in range(3)]
    assert many.shape == (3, 48, 24)
    torch.testing.assert_close(many, torch.cat(one_by_one, 1))
    swapped = model.logits(pixels(2).flip(1), PREFIX, SUFFIX)
    assert not torch.allclose(swapped, model.logits(pixels(2), PREFIX, SUFFIX), atol=1e-3)


@torch.no_grad()
def test_images_of_another_size():
    assert tiny().logits(pixels(side=42), PREFIX, SUFFIX).shape == (3, 4, 64)


@torch.no_grad()
def test_scores_of_several_answers_are_those_of_each(model):
    answers = torch.stack((SUFFIX, SUFFIX.flip(0), torch.tensor([[4, 0, 0, 0]] * 3)), 1)
    found = model.score(pixels(), PREFIX, answers)
    for k in range(3):
        told = model.logits(pixels(), PREFIX, answers[:, k]).log_softmax(-1)
        wanted = told.gather(2, answers[:, k, :, None])[..., 0] * (answers[:, k] != 0)
        torch.testing.assert_close(found[:, k], wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.score(pixels(), PREFIX, answers[..., :1]), found[..., :1])


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


def test_beams_and_draws_over_the_model():
    model = tiny()
    plain = model.generate(pixels(), PREFIX, 5)
    beams = model.generate(pixels(), PREFIX, 5, SamplingConfig(beams=4))
    best = model.generate(pixels(), PREFIX, 5, SamplingConfig(temperature=1, best_of=4, seed=1))
    for texts in (plain, beams, best):
        for row, text in enumerate(texts):
            ids = torch.tensor([text.ids + ((1,) if text.ended else ())])
            if 0 not in ids:
                scored = model.score(pixels()[row : row + 1], PREFIX[row : row + 1], ids[None])[0, 0]
                torch.testing.assert_close(torch.tensor(text.log_probabilities), scored, atol=2e-5, rtol=1e-4)
    assert all(text.ended for text in beams)


def test_forced_and_forbidden():
    model = tiny()
    plain = model.generate_ids(pixels(), PREFIX, 6)
    assert len(plain[0]) > 2
    without = model.generate(pixels(), PREFIX, 6, forbidden=plain[0])
    assert not set(without[0].ids) & set(plain[0])
    begun = model.generate(pixels(), PREFIX, 6, forced=[plain[0][:2], [], [7]])
    assert list(begun[0].ids) == plain[0]
    assert list(begun[1].ids) == plain[1]
    assert begun[2].ids[0] == 7


def test_where_the_cap_on_logits_applies():
    """The cap is monotonic: answers are the same, log-probabilities are not."""
    always, later = tiny(TINY_2), tiny(TINY_2, soft_cap="big_vision")
    without = tiny(replace(TINY_2, language=replace(GEMMA_2, logit_soft_cap=None)))
    with torch.no_grad():
        logits = {model: model.logits(pixels(), PREFIX, SUFFIX) for model in (always, later, without)}
    assert torch.equal(logits[later], logits[without])
    torch.testing.assert_close(logits[always], 3 * torch.tanh(logits[without] / 3))
    texts = {model: model.generate(pixels(), PREFIX, 4) for model in logits}
    assert len({tuple(text.ids for text in found) for found in texts.values()}) == 1
    a, b, c = (texts[model][0].log_probabilities for model in (always, later, without))
    assert (b[0], b[1]) == pytest.approx((c[0], a[1]), abs=1e-5)
    assert abs(a[0] - c[0]) > 0.01


def test_ids_that_are_padding_rows_are_never_written():
    model = tiny(emitted=12)
    assert all(token < 12 for ids in model.generate_ids(pixels(), PREFIX, 8) for token in ids)
    with torch.no_grad():
        assert model.logits(pixels(), PREFIX, SUFFIX).shape[-1] == 64


def test_a_bfloat16_cache_is_read_by_the_prompt_too():
    model = tiny()
    plain, rounded = model.start(pixels(), PREFIX, 2), model.start(pixels(), PREFIX, 2, torch.bfloat16)
    assert rounded.cache.blocks[0].keys.dtype == torch.bfloat16
    difference = (plain.logits - rounded.logits).abs().max()
    assert 1e-4 < difference < 0.5


def test_gradients_reach_every_parameter():
    for config in BOTH.values():
        model = tiny(config).train()
        loss = torch.nn.functional.cross_entropy(model.logits(pixels(), PREFIX, SUFFIX)[:, :1].flatten(0, 1), SUFFIX[:, 0])
        loss.backward()
        assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in model.parameters())


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


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_eight_bits_are_near(family, kind):
    full, bytes_ = tiny(BOTH[family]), tiny(BOTH[family]).to(kind).to_int8(vision_encoder=True)
    with torch.no_grad():
        first, second = (model.logits(pixels(), PREFIX, SUFFIX)[0] for model in (full, bytes_))
    assert torch.nn.functional.cosine_similarity(first, second.float(), dim=-1).min() > 0.97
    assert not torch.equal(first, second.float())
    assert len(bytes_.generate_ids(pixels(), PREFIX, 4)) == 3


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
