"""The decoder by itself: masks of its own, the cache, transformers' Gemma and Gemma 2 with the same weights."""

from dataclasses import replace

import pytest
import torch

from support.paligemma import GEMMA, GEMMA_2, TINY, TINY_2, shaken, theirs, tiny
from tapetum.core.errors import BadInput
from tapetum.encoders.decoder import Decoder
from tapetum.encoders.tables.rows import under_our_names
from tapetum.systems.paligemma.official import huggingface

NARROW = replace(GEMMA_2, window=3)
IDS = torch.tensor([[2, 9, 17, 30, 5, 8, 50], [2, 11, 5, 60, 61, 7, 3]])


@pytest.mark.parametrize("config", [GEMMA, GEMMA_2, NARROW], ids=["gemma", "gemma-2", "narrow"])
@torch.no_grad()
def test_a_cache_gives_what_the_whole_text_gives(config):
    model = shaken(Decoder(config))
    whole = model(model.embed(IDS))
    cache = model.cache(2, 7)
    parts = [model(model.embed(part), cache=cache) for part in IDS.split([3, 1, 2, 1], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    with pytest.raises(BadInput, match="do not fit a cache of 7"):
        model(model.embed(IDS[:, :1]), cache=cache)
    cache.reorder(torch.tensor([1, 1, 0]))
    assert cache.blocks[2].keys.shape[0] == 3


@pytest.mark.parametrize("config", [TINY, TINY_2, replace(TINY_2, language=NARROW)], ids=["gemma", "gemma-2", "narrow"])
@torch.no_grad()
def test_text_alone_is_as_in_transformers(config):
    pytest.importorskip("transformers")
    other = theirs(config)
    state = {huggingface.plain_name(name): tensor for name, tensor in other.state_dict().items()}
    own = tiny(config)
    table = [piece for piece in huggingface.table(config) if piece.ours[0].startswith("language.")]
    expected = {name: tensor for name, tensor in own.state_dict().items() if name.startswith("language.")}
    found = under_our_names(expected, {piece.theirs: state[piece.theirs] for piece in table}, table, "transformers")
    own.load_state_dict(found, strict=False)
    text = other.model.language_model
    text.config.use_bidirectional_attention = False
    wanted = text(input_ids=IDS).last_hidden_state
    torch.testing.assert_close(own.language(own.language.embed(IDS)), wanted, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_mask_wider_than_the_window_wants_a_local_one():
    model = shaken(Decoder(NARROW))
    x, mask = model.embed(IDS), torch.ones(1, 1, 7, 7, dtype=torch.bool)
    with pytest.raises(BadInput, match="more than the window of 3"):
        model(x, mask=mask)
    torch.testing.assert_close(model(x, mask=mask, local_mask=mask), model(x, causal=False))


@pytest.mark.parametrize(
    "change", [{"width": 0}, {"heads": 3, "key_value_heads": 2}, {"head_width": 7}, {"dropout": 1.0}, {"window": 0}]
)
def test_sizes_that_cannot_be(change):
    with pytest.raises(BadInput):
        replace(GEMMA, **change)
