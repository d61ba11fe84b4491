"""The loss on the suffix: which positions carry it, which mean, which smoothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.layers.transformer import TokenEmbedding
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.data import TextRows
from tapetum.systems.paligemma.losses import (
    SoftLocationTargets,
    mean_loss,
    pack_texts,
    packed_loss,
    packed_mask,
    suffix_loss,
    token_losses,
)
from tapetum.systems.paligemma.model import build

LANGUAGE = DecoderConfig(width=16, depth=2, heads=2, key_value_heads=1, head_width=8, mlp_width=24, vocabulary=40)
EYE = siglip(28, width=16, depth=1, heads=2, mlp_width=16)


def tiny(mask: str = "full") -> PaliGemmaConfig:
    return PaliGemmaConfig(vision_encoder=EYE, language=LANGUAGE, prefix_mask=mask, newline=4)  # pyright: ignore[reportArgumentType]


def rows() -> TextRows:
    """Three texts about two images, of different lengths."""
    prefix = torch.tensor([[2, 9, 8, 4], [2, 7, 4, 0], [2, 5, 6, 4]])
    suffix = torch.tensor([[11, 12, 13, 1], [14, 1, 0, 0], [15, 16, 1, 0]])
    return TextRows(torch.tensor([0, 0, 1]), prefix, suffix, suffix != 0)


def test_smoothing_is_the_references_and_torchs_under_another_number() -> None:
    torch.manual_seed(0)
    logits, suffix, s, v = torch.randn(2, 5, 11), torch.randint(1, 11, (2, 5)), 0.3, 11
    by_hand = torch.full((2, 5, v), s / (v - 1)).scatter(-1, suffix[..., None], 1 - s)
    expected = -(by_hand * logits.log_softmax(-1)).sum(-1)
    found = token_losses(logits, suffix, s)
    torch.testing.assert_close(found, expected)
    as_torch = F.cross_entropy(logits.flatten(0, 1), suffix.flatten(), label_smoothing=s * v / (v - 1), reduction="none")
    torch.testing.assert_close(found.flatten(), as_torch)
    padded = torch.cat((logits, torch.full((2, 5, 3), 50.0)), -1)
    torch.testing.assert_close(token_losses(padded, suffix, s, vocabulary=11), expected)
    with pytest.raises(BadInput, match="smoothing"):
        token_losses(logits, suffix, 1.0)


def test_three_means_of_uneven_answers() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0, 6.0], [8.0, 0.0, 0.0, 0.0]])
    counted = losses > 0
    assert float(mean_loss(losses, counted, "examples")) == pytest.approx((3 + 8) / 2)
    assert float(mean_loss(losses, counted, "tokens")) == pytest.approx(20 / 5)
    assert float(mean_loss(losses, counted, "roots")) == pytest.approx((12 / 2 + 8) / (2 + 1))
    nothing = torch.zeros_like(counted)
    assert float(mean_loss(losses * 0, nothing, "examples")) == 0
    with pytest.raises(BadInput, match="mean"):
        mean_loss(losses, counted, "sums")  # pyright: ignore[reportArgumentType]


def test_only_the_suffix_and_its_end_carry_a_loss() -> None:
    """Drawn: which rows of the decoder's output the loss asks, and for what."""
    r = rows()
    model = build(tiny())
    logits = torch.zeros(3, 4, 40, requires_grad=True)
    suffix_loss(logits, r.suffix).backward()
    assert logits.grad is not None
    touched = (logits.grad != 0).any(-1)
    assert ["".join(".x"[int(v)] for v in row) for row in touched] == ["xxxx", "xx..", "xxx."]
    # Row k of the logits predicts token k: the first is told by the newline, which ends the prefix.
    pixels = torch.randn(3, 1, 3, 28, 28)
    with torch.no_grad():
        plain = model.logits(pixels, r.prefix, r.suffix)
        other = r.suffix.clone()
        other[:, 1] = 20
        changed = model.logits(pixels, r.prefix, other)
    assert torch.equal(plain[:, :2], changed[:, :2])
    assert not torch.equal(plain[0, 2], changed[0, 2])


def test_what_is_unlearned_carries_no_loss() -> None:
    r = rows()
    learned = r.learned.clone()
    learned[0, 1:3] = False
    logits = torch.zeros(3, 4, 40, requires_grad=True)
    suffix_loss(logits, r.suffix, learned=learned).backward()
    assert logits.grad is not None
    touched = (logits.grad != 0).any(-1)
    assert ["".join(".x"[int(v)] for v in row) for row in touched] == ["x..x", "xx..", "xxx."]


@pytest.mark.parametrize("mask", ["blocks", "images"])
@pytest.mark.parametrize("mean", ["examples", "tokens", "roots"])
def test_rows_that_share_a_image_lose_what_they_lose_alone(mask: str, mean: str) -> None:
    r, model = rows(), build(tiny(mask))
    pixels = torch.randn(2, 1, 3, 28, 28)
    packed = pack_texts([r], 2, mean, mask)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        shared, _ = packed_loss(model, model.embed_images(pixels), packed, smoothing=0.1)
        alone = suffix_loss(model.logits(pixels[r.of], r.prefix, r.suffix), r.suffix, mean=mean, smoothing=0.1)  # pyright: ignore
    torch.testing.assert_close(shared, alone, atol=1e-5, rtol=1e-5)


def test_places_near_the_right_one_are_nearly_right() -> None:
    soft_locations = SoftLocationTargets(first=10, std=4.0)
    suffix = torch.tensor([[10 + 500, 7, 0]])
    logits = torch.zeros(1, 3, 10 + 1024)
    even = token_losses(logits, suffix, soft_locations=soft_locations)
    torch.testing.assert_close(even[0, :2], torch.full((2,), float(np.log(1034))))  # whatever the target, guesses are even
    found = {}
    for off in (0, 4, 40):  # a model that is sure of a place, with the target's own deviation
        sure = torch.full((1, 3, 1034), -30.0)
        sure[0, 0, 10:] = -(((torch.arange(1024) - 500 - off) / 4.0) ** 2) / 2
        found[off] = float(token_losses(sure, suffix, soft_locations=soft_locations)[0, 0])
    entropy = 0.5 * np.log(2 * np.pi * np.e * 4.0**2)
    assert abs(found[0] - entropy) < 1e-3
    assert abs(found[4] - found[0] - 0.5) < 1e-3  # one deviation off: a half, as between normal distributions
    assert abs(found[40] - found[0] - 50) < 1e-2
    # Words lose what they lost, and a packed row what it loses alone.
    drawn = torch.randn(1, 3, 1034)
    torch.testing.assert_close(
        token_losses(drawn, suffix, soft_locations=soft_locations)[0, 1], token_losses(drawn, suffix)[0, 1]
    )
    r, model = rows(), build(tiny("blocks"))
    pixels = torch.randn(2, 1, 3, 28, 28)
    table = model.language.token_embedding.weight
    assert isinstance(table, torch.Tensor)
    wider = torch.cat((table, torch.randn(1024, table.shape[1]) * 0.1))
    model.language.token_embedding = TokenEmbedding.from_pretrained(wider)
    moved = replace(r, suffix=torch.where(r.suffix > 10, r.suffix + 100, r.suffix))
    near = SoftLocationTargets(first=len(table), std=3.0)
    with torch.no_grad():
        logits = model.language.logits(model.read(model.embed_images(pixels)[r.of], r.prefix, moved.suffix))
        alone = mean_loss(token_losses(logits, moved.suffix, soft_locations=near), moved.suffix != 0, "tokens")
        shared, _ = packed_loss(
            model, model.embed_images(pixels), pack_texts([moved], 2, "tokens", "blocks"), soft_locations=near
        )
    torch.testing.assert_close(shared, alone, atol=1e-5, rtol=1e-5)


def test_the_packed_mask_is_the_one_that_is_drawn() -> None:
    r = TextRows(
        torch.tensor([0, 0]),
        torch.tensor([[2, 9, 4], [2, 4, 0]]),
        torch.tensor([[11, 12, 1], [14, 1, 0]]),
        torch.ones(2, 3).bool(),
    )
    drawn = {
        "blocks": ["xx", "xx", "xxxxx", "xxxxx", "xxxxx", "xxxxxx", "xxxxxxx", "xx.....xx", "xx.....xx", "xx.....xxx"],
        "images": ["xx", "xx", "xxx", "xxxx", "xxxxx", "xxxxxx", "xxxxxxx", "xx.....x", "xx.....xx", "xx.....xxx"],
    }
    for mask, lines in drawn.items():
        found = packed_mask(pack_texts([r], 1, "examples", mask), 2)[0, 0]  # pyright: ignore[reportArgumentType]
        assert ["".join(".x"[int(v)] for v in row).rstrip(".") for row in found] == lines
    with pytest.raises(BadInput, match="share"):
        pack_texts([r], 1, "examples", "full")  # pyright: ignore[reportArgumentType]
