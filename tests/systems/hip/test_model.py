"""Groups, masks, codes and the network's own properties, against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.hip import layers
from tapetum.systems.hip.config import NANO, HipConfig, Modality
from tapetum.systems.hip.grouping import grouping
from tapetum.systems.hip.layers import fourier_features, variance_scaling
from tapetum.systems.hip.masking import draw_mask
from tapetum.systems.hip.model import Hip

SMALL = HipConfig(
    groups=(4, 1, 4), latents=(4, 4, 4), channels=(8, 16, 8), self_layers=(1, 1, 1), self_heads=(2, 2, 2), embedding=8
)
MODALITIES = {"image": Modality((5, 4), 3), "sound": Modality((7,), 1)}


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def inputs_of(modalities: dict[str, Modality], batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, m.length, m.channels, generator=generator) for name, m in modalities.items()}


def awake(model: Hip, seed: int = 0) -> Hip:
    """With output weights that are not zero."""
    torch.manual_seed(seed)
    for layer in [*model.unembed.values(), *getattr(model, "label_unembed", {}).values()]:
        torch.nn.init.normal_(layer.weight)
    return model.eval()


@pytest.mark.parametrize(
    ("groups", "lengths", "counts", "width"),
    [
        # worked examples of the specification
        (16, (1024, 32), [15, 1], 69),
        (16, (128, 16), [14, 2], 10),
        (16, (50176,), [16], 3136),
        (256, (50176,), [256], 196),
        (256, (401408, 122880), [196, 60], 2048),
        (16, (50176, 12288), [13, 3], 4096),
        (256, (50176, 1), [255, 1], 197),
    ],
)
def test_groups_are_given_out_as_published(groups: int, lengths: tuple[int, ...], counts: list[int], width: int) -> None:
    plan = grouping({str(i): n for i, n in enumerate(lengths)}, groups)
    assert [span.groups for span in plan.spans] == counts
    assert plan.width == width
    assert plan.padding == groups * width - sum(lengths)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=5), st.integers(5, 40), st.booleans())
def test_grouping_loses_nothing(lengths: list[int], groups: int, flat: bool) -> None:
    plan = grouping({f"m{i}": n for i, n in enumerate(lengths)}, groups, flat)
    parts = {f"m{i}": torch.randn(2, n, 3) for i, n in enumerate(lengths)}
    grouped = plan.group(parts)
    assert grouped.shape == (2, 1 if flat else groups, plan.width, 3)
    assert int(plan.real().sum()) == sum(lengths)
    assert (grouped[:, ~plan.real()] == 0).all()
    for span in plan.spans:  # which says where each is: from an element of the one group, or in groups of its own
        whole = grouped[:, 0, span.first :] if flat else grouped[:, span.first :, : span.own].flatten(1, 2)
        assert torch.equal(whole[:, : span.length], parts[span.name])
    back = plan.ungroup(grouped)
    assert list(back) == list(parts)
    assert all(torch.equal(back[name], parts[name]) for name in parts)


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(BadInput, match="no modality"):
        grouping({}, 4)
    with pytest.raises(BadInput, match="3 modalities for 2 groups"):
        grouping({"a": 1, "b": 1, "c": 1}, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": (4, 2, 4)}, "the processor has 1 group"),
        ({"groups": (4, 4)}, "wanted 2 numbers"),
        ({"groups": (1, 1), "latents": (4, 4), "channels": (8, 8), "self_layers": (1, 1), "self_heads": (1, 1)}, "odd number"),
        ({"self_heads": (3, 2, 2)}, "heads must divide"),
        ({"latents": (4, 6, 4)}, "do not divide into the 4 groups"),
        ({"latents": (4, 4, 8)}, "a skip needs the same"),
        ({"processor_latents_train": 8}, "fewer in training"),
        ({"processor_latents_train": 2, "processor_latents_eval": 8}, "one of the two"),
        ({"flat": True}, "one block of one group"),
        ({"drop_path": 1.0}, "within 0..1"),
    ],
)
def test_configs_that_cannot_work_are_refused(change: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        replace(SMALL, **change)


def test_inputs_that_do_not_fit_are_refused() -> None:
    model, good = Hip(SMALL, MODALITIES), inputs_of(MODALITIES)
    for bad, words in (
        ({}, "no input"),
        ({"smell": good["image"]}, "'smell' is no modality"),
        ({"image": good["image"][:, :-1]}, r"shape \(2, 19, 3\); wanted \(batch, 20, 3\)"),
        ({"image": good["image"], "sound": good["sound"][:1]}, "batch sizes differ: image 2, sound 1"),
        ({"image": good["image"].int()}, "int32"),
        ({"image": good["image"].index_fill(1, torch.tensor([3]), torch.nan)}, "'image' holds 6 numbers that are not finite"),
    ):
        with pytest.raises(BadInput, match=words):
            model(bad)
    with pytest.raises(BadInput, match="'sound' is to be decoded but is no input"):
        model({"image": good["image"]}, decode=("sound",))
    with pytest.raises(BadInput, match=r"called 'a\.b'"):
        Hip(SMALL, {"a.b": Modality((3,), 1)})
    with pytest.raises(BadInput, match="all modalities are labels"):
        Hip(replace(SMALL, labels=("sound",)), {"sound": MODALITIES["sound"]})
    with pytest.raises(BadInput, match="shape"):
        Modality((0,), 3)


def test_a_new_network_gives_zeros_and_learns_everywhere() -> None:
    config = replace(SMALL, labels=("label",))
    modalities = {**MODALITIES, "label": Modality((3,), 2)}
    model = Hip(config, modalities)
    out = model(inputs_of(modalities)).reconstruction
    assert all((x == 0).all() for x in out.values())
    awake(model).train()
    sum(x.square().sum() for x in model(inputs_of(modalities)).reconstruction.values()).backward()
    for name, p in model.named_parameters():
        if name.endswith("key.bias"):  # adds the same to all logits of a query
            continue
        assert p.grad is not None, name
        assert p.grad.abs().max() > 0, name


def test_decoding_some_is_part_of_decoding_all() -> None:
    config = replace(SMALL, labels=("label",))
    modalities = {**MODALITIES, "label": Modality((3,), 2)}
    model, inputs = awake(Hip(config, modalities)), inputs_of(modalities)
    with torch.no_grad():
        every = model(inputs)
        for names in (("sound",), ("label",), ("image", "label"), ()):
            some = model(inputs, decode=names)
            assert set(some.reconstruction) == set(names)
            for name in names:
                torch.testing.assert_close(some.reconstruction[name], every.reconstruction[name], atol=1e-5, rtol=1e-5)
    assert len(some.latents) == config.processor + 1  # the decoder did not run
    assert len(every.latents) == config.blocks


@pytest.mark.parametrize("mask_padding", [False, True])
def test_groups_may_be_worked_on_a_few_at_a_time(mask_padding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    modalities = {"image": Modality((9, 9), 3), "audio": Modality((50,), 1)}
    torch.manual_seed(0)
    model = awake(Hip(replace(NANO, mask_padding=mask_padding), modalities)).eval()
    inputs = inputs_of(modalities)
    plan = grouping({name: m.length for name, m in modalities.items()}, 16)
    kept = draw_mask(2, 16, plan.width, 0.5, shared=False, generator=torch.Generator().manual_seed(0))
    numbered = torch.arange(2 * 16 * plan.width).view(2, 16, plan.width, 1)
    assert torch.equal(kept.drop(numbered).flatten(), numbered[..., 0][kept.visible])
    for chosen in (None, kept):
        whole = model(inputs, chosen)  # gradients are kept, so in one go
        for numbers in (1, 2000, 5000):
            monkeypatch.setattr(layers, "_IN_CACHE", numbers)
            with torch.no_grad():
                parts = model(inputs, chosen)
            for name in inputs:
                torch.testing.assert_close(parts.reconstruction[name], whole.reconstruction[name], atol=2e-5, rtol=0)
                assert not parts.reconstruction[name].requires_grad


def test_bfloat16_stays_near() -> None:
    model, inputs = awake(Hip(SMALL, MODALITIES)), inputs_of(MODALITIES)
    with torch.no_grad():
        exact = model(inputs).reconstruction
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(inputs).reconstruction
    for name, x in exact.items():
        assert (rough[name].float() - x).norm() < 0.05 * x.norm()


def test_fourier_features_by_hand() -> None:
    features = fourier_features((3, 2), 2)
    assert features.shape == (6, 2 + 2 * 4)
    np.testing.assert_allclose(features[:, 0], [-1, -1, 0, 0, 1, 1])  # rows
    np.testing.assert_allclose(features[:, 1], [-1, 1, -1, 1, -1, 1])  # columns
    # frequencies of the rows are 1 and 3 / 2, of the columns 1 and 1
    np.testing.assert_allclose(features[4, 2:6], np.sin(np.pi * np.array([1, 1.5, -1, -1])), atol=1e-6)
    np.testing.assert_allclose(features[4, 6:], np.cos(np.pi * np.array([1, 1.5, -1, -1])), atol=1e-6)


@pytest.mark.parametrize("kind", ["fourier", "random"])
def test_codes_that_are_not_learned(kind: str) -> None:
    model = Hip(replace(SMALL, positions=kind), MODALITIES)
    names = [name for name, _ in model.named_parameters() if name.startswith("positions")]
    assert names == ["positions.image.projection.weight", "positions.sound.projection.weight"]
    assert model(inputs_of(MODALITIES)).reconstruction["image"].shape == (2, 20, 3)


def test_initial_values_have_the_published_spread() -> None:
    torch.manual_seed(0)
    table = variance_scaling(2048, 128)
    assert float(table.std()) == pytest.approx(2048**-0.5, rel=0.01)
    assert float(table.abs().max()) < 2 * 2048**-0.5 / 0.879
    model = Hip(NANO, {"image": Modality((32, 32), 3)})
    layer = model.blocks[2].layers[0].mlp.hidden
    assert float(layer.weight.detach().std()) == pytest.approx(128**-0.5, rel=0.02)
    assert (layer.bias == 0).all()


def test_parts_that_are_left_out_in_training() -> None:
    torch.manual_seed(0)
    model = awake(Hip(replace(SMALL, drop_path=0.5, dropout=0.1), MODALITIES))
    inputs = inputs_of(MODALITIES)
    with torch.no_grad():
        assert torch.equal(model(inputs).latents[-1], model(inputs).latents[-1])
        model.train()
        assert not torch.equal(model(inputs).latents[-1], model(inputs).latents[-1])
