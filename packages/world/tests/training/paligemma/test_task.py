"""Where a decoder is told to look: which tokens of which images, and how its attention is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.decoder import DecoderAttention
from tapetum.layers.patches import rotary_angles
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.data import collate
from tapetum.systems.paligemma.losses import pack_texts, packed_loss, packed_mask
from tapetum.systems.paligemma.model import build
from tapetum.systems.paligemma.recipes import TextMixture
from tapetum.systems.paligemma.tokens import Tokens
from tapetum_world.training.paligemma.scene_images import SceneFolder, SceneTexts
from tapetum_world.training.paligemma.stages import texts_of
from tapetum_world.training.paligemma.task import (
    HEADS,
    AttentionTargets,
    attention_loss,
    attention_targets,
    patches_showing,
    record_inputs,
)
from world_support.scene_folder import write_scene_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SceneFolder:
    return SceneFolder(write_scene_folder(tmp_path_factory.mktemp("scenes") / "made"))


@pytest.fixture(scope="module")
def tokens(folder: SceneFolder, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens.train(texts_of(folder), 340, tmp_path_factory.mktemp("tokens") / "tokenizer.model")


def test_tokens_with_little_of_a_thing_are_no_spot() -> None:
    seen = np.zeros((32, 48), bool)
    seen[0:16, 10:34] = True  # 6, 16 and 2 columns of three tokens
    assert patches_showing(seen, 16).tolist() == [True, True, False, False, False, False]
    assert not patches_showing(np.zeros((32, 32), bool), 16).any()


def test_each_place_is_told_the_spot_of_its_thing(folder: SceneFolder, tokens: Tokens) -> None:
    codes = np.arange(16)
    pairs = SceneTexts(
        folder,
        TextMixture(answers=2, regions=1, captions=1, detect_all=1, detect=2, segment=1),
        lambda masks, boxes: np.stack([codes] * len(masks)),
    )
    items = [pairs.draw(0, number) for number in range(4)]
    packed = pack_texts(collate(items, tokens).groups, len(items), "examples", "blocks")
    targets = attention_targets([item.pairs for item in items], [item.image.ids for item in items], packed, tokens, 16, 49)
    assert targets.patches.shape[1] == 49
    places = 0
    for example, item in enumerate(items):
        by_box = {tuple(thing.box): thing.id for thing in item.image.things}
        ids, at = packed.target[example].tolist(), targets.index[example].tolist()
        run: list[int] = []
        for place, target in enumerate(ids):
            if tokens.is_location(target):
                run.append(place)
            if len(run) == 4:
                numbers = [tokens.location_ids.index(ids[p]) for p in run]
                box = tuple(round(numbers[k] * 112 / 1023) for k in (1, 0, 3, 2))
                expected = patches_showing(item.image.ids == by_box[box], 16)
                assert len({at[p] for p in run}) == 1
                assert np.array_equal(targets.patches[at[run[0]]], expected)
                places, last, run = places + 1, at[run[0]], []
            if tokens.is_segment(target):
                assert at[place] == last
        words = [p for p, t in enumerate(ids) if t and not (tokens.is_location(t) or tokens.is_segment(t))]
        supervised = [p for p in words if at[p] >= 0]
        regions = [pair for pair in item.pairs if pair.kind == "region"]
        assert len(supervised) == len(regions)
        for place, pair in zip(supervised, regions, strict=True):
            assert np.array_equal(targets.patches[at[place]], patches_showing(item.image.ids == pair.about[0], 16))
            assert ids[place] == tokens.encode_suffix(pair.suffix)[0]
    assert places > 8


def test_the_attention_on_spots_is_what_the_layer_gives_them() -> None:
    torch.manual_seed(0)
    config = DecoderConfig(width=24, depth=1, heads=4, key_value_heads=1, head_width=8, mlp_width=16, vocabulary=40)
    attention = DecoderAttention(config)
    count, seen = 7, 4
    x = torch.randn(1, count, 24)
    mask = torch.zeros(1, 1, count, count)
    mask[0, 0, 5, 6] = -1e9
    angles = rotary_angles(torch.arange(count)[None], 8)
    spots = torch.tensor([[True, False, True, False], [False, False, False, True]])
    targets = AttentionTargets(torch.tensor([[-1, 0, 1]]), spots)
    loss, share = attention_loss(attention, x, angles, mask, targets)

    # The same by hand: rotary positions as complex numbers, one query at a time.
    weight = attention.query_key_value.weight.detach().double()
    turned = (x[0].double() @ weight.T).unflatten(-1, (-1, 8))[:, :5]
    waves = torch.arange(count)[:, None, None] * 10_000.0 ** (-torch.arange(4).double() / 4)
    spun = torch.complex(turned[..., :4], turned[..., 4:]) * torch.polar(torch.ones_like(waves), waves)
    expected = []
    for place, number in ((5, 0), (6, 1)):
        for head in range(HEADS):
            logits = (spun[place, head] * spun[:, 4].conj()).real.sum(-1) / 8**0.5 + mask[0, 0, place]
            expected.append(float(logits.softmax(-1)[:seen][spots[number]].sum()))
    assert float(loss.detach()) == pytest.approx(-np.mean(np.log(expected)), abs=1e-5)
    assert float(share) == pytest.approx(np.mean(expected), abs=1e-5)
    nothing, _ = attention_loss(attention, x, angles, mask, AttentionTargets(torch.full((1, 3), -1), spots))
    assert float(nothing.detach()) == 0


@pytest.mark.slow
def test_a_decoder_that_is_told_learns_to_look(folder: SceneFolder, tokens: Tokens, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = PaliGemmaConfig(
        vision_encoder=siglip(112, width=16, depth=1, heads=2, mlp_width=16, patch=16),
        language=DecoderConfig(
            width=16, depth=2, heads=2, key_value_heads=1, head_width=8, mlp_width=16, vocabulary=tokens.size
        ),
        prefix_mask="blocks",
        newline=tokens.newline[0],
    )
    model = build(config)
    items = [SceneTexts(folder, TextMixture(answers=0, regions=0, captions=0)).draw(0, number) for number in range(2)]
    batch = collate(items, tokens)
    packed = pack_texts(batch.groups, len(items), "examples", "blocks")
    targets = attention_targets([item.pairs for item in items], [item.image.ids for item in items], packed, tokens, 16, 49)
    optimiser, shares = torch.optim.Adam(model.parameters(), 1e-2), []
    attention = model.language.blocks[0].attention
    assert isinstance(attention, DecoderAttention)
    for _ in range(40):
        with record_inputs(attention) as given:
            packed_loss(model, model.embed_images(batch.pixels), packed)
        loss, share = attention_loss(attention, **given, targets=targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(float(share))
    assert given["mask"].shape == packed_mask(packed, 49).shape
    assert shares[0] < 0.2
    assert shares[-1] > 0.6
