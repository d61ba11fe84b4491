"""transformers' PaliGemma: the same weights give the same logits and the same greedy answers, in both families."""

import logging
from dataclasses import replace

import pytest
import torch

from support.paligemma import BOTH, asked, ours, theirs
from tapetum.systems.paligemma import load
from tapetum.systems.paligemma.config import siglip

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity(logging.ERROR)

PREFIX = torch.tensor([[2, 9, 17, 30, 5], [2, 11, 5, 0, 0], [2, 40, 41, 5, 0]])
SUFFIX = torch.tensor([[8, 50, 33, 1], [21, 1, 0, 0], [60, 7, 1, 0]])


def pixels(images, side=28):
    return torch.rand(3, images, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(params=BOTH, scope="module")
def pair(request):
    config = BOTH[request.param]
    model = theirs(config)
    return model, ours(model, config)


def their_logits(model, images, prefix, suffix):
    """Rows that predict the tokens of the suffix, as ours gives them; rows of padding are 0."""
    given = asked(model, images, prefix, suffix)
    with torch.no_grad():
        logits = model(**given).logits
    out = torch.zeros(*suffix.shape, logits.shape[-1])
    for row, count in enumerate((suffix != 0).sum(1).tolist()):
        out[row, :count] = logits[row, -count - 1 : -1]
    return out


@pytest.mark.parametrize("images", [1, 3])
def test_logits_are_those_of_transformers(pair, images):
    model, own = pair
    with torch.no_grad():
        found = own.logits(pixels(images), PREFIX, SUFFIX)
    assert found.shape == (3, 4, 64)
    wanted = their_logits(model, pixels(images), PREFIX, SUFFIX)
    assert wanted.std() > 0.5
    torch.testing.assert_close(found[SUFFIX != 0], wanted[SUFFIX != 0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("images", [1, 2])
def test_greedy_answers_are_those_of_transformers(pair, images):
    model, own = pair
    found = own.generate_ids(pixels(images), PREFIX, 12)
    with torch.no_grad():
        given = asked(model, pixels(images), PREFIX)
        whole = model.generate(**given, max_new_tokens=12, do_sample=False)[:, given["input_ids"].shape[1] :]
    wanted = [row[: row.index(1)] if 1 in row else row for row in whole.tolist()]
    assert found == wanted


@pytest.mark.parametrize("window", [3, 10, 18])
def test_a_window_that_is_reached(window):
    config = replace(BOTH["paligemma2"], language=replace(BOTH["paligemma2"].language, window=window))
    model = theirs(config)
    own = ours(model, config)
    with torch.no_grad():
        found = own.logits(pixels(1), PREFIX, SUFFIX)
    wanted = their_logits(model, pixels(1), PREFIX, SUFFIX)
    torch.testing.assert_close(found[SUFFIX != 0], wanted[SUFFIX != 0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("side", "patch"), [(48, 16), (20, 6)])
def test_a_folder_whose_vision_tower_has_other_patches(tmp_path, side, patch):
    """As SigLIP-B/16 at 384, whose patches of 14 would not fit; and with pixels left over, as So400m/14 at 384 has."""
    sight = siglip(side, width=16, depth=2, heads=2, mlp_width=24, patch=patch, ragged=side % patch != 0)
    model = theirs(replace(BOTH["paligemma"], vision_encoder=sight))
    model.save_pretrained(tmp_path)
    own = load(tmp_path)
    assert own.config.vision_encoder == sight
    with torch.no_grad():
        found = own.logits(pixels(1, side), PREFIX, SUFFIX)
    wanted = their_logits(model, pixels(1, side), PREFIX, SUFFIX)
    torch.testing.assert_close(found[SUFFIX != 0], wanted[SUFFIX != 0], atol=2e-5, rtol=1e-5)
