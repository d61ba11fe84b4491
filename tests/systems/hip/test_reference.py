"""The network held against the public code: golden tensors made by `tests/golden/make_hip_golden.py` on random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.scripts import GOLDEN
from tapetum.core.errors import BadInput
from tapetum.systems.hip import weights
from tapetum.systems.hip.config import VARIANTS, HipConfig, Modality, variant
from tapetum.systems.hip.model import Hip

TINY = HipConfig(
    groups=(4, 2, 1, 2, 4),
    latents=(6, 8, 4, 8, 6),
    channels=(8, 12, 16, 10, 8),
    self_layers=(1, 2, 1, 1, 1),
    self_heads=(2, 3, 4, 2, 1),
    embedding=6,
)
FLAT = HipConfig(
    groups=(1,),
    latents=(9,),
    channels=(16,),
    self_layers=(2,),
    cross_heads=(2,),
    self_heads=(4,),
    cross_widening=4,
    self_widening=2,
    embedding=8,
    flat=True,
)
CASES = {
    "hip": TINY,
    "unprojected": replace(TINY, position_projection=False),
    "transposed": replace(TINY, position_projection=False, regroup="transpose_reshape"),
    "bottleneck": replace(TINY, labels=("label", "other_label", "absent")),
    "flat": FLAT,
}


def golden(case: str) -> tuple[dict, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Parameters, inputs and answers."""
    params: dict[str, dict[str, np.ndarray]] = {}
    inputs, answers = {}, {}
    with np.load(GOLDEN / "hip.npz") as stored:
        for key in stored.files:
            if key.startswith(f"{case}:"):
                _, module, leaf = key.split(":")
                params.setdefault(module, {})[leaf] = stored[key]
            elif key.startswith(f"{case}<"):
                inputs[key.partition("<")[2]] = torch.from_numpy(stored[key])
            elif key.startswith(f"{case}>"):
                answers[key.partition(">")[2]] = torch.from_numpy(stored[key])
    return params, inputs, answers


def built(case: str) -> tuple[Hip, dict, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    params, inputs, answers = golden(case)
    model = Hip(CASES[case], {name: Modality((x.shape[1],), x.shape[2]) for name, x in inputs.items()})
    weights.from_haiku(model, params)
    return model.eval(), params, inputs, answers


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_public_code(case: str) -> None:
    model, _, inputs, answers = built(case)
    with torch.no_grad():
        out = model(inputs).reconstruction
    assert list(out) == list(inputs)
    for name, wanted in answers.items():
        torch.testing.assert_close(out[name], wanted, atol=2e-5, rtol=0)
    learned = model.train()(inputs).reconstruction  # the slow path, with gradients
    torch.testing.assert_close(learned[name], wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_weights_come_back_as_they_were(case: str) -> None:
    model, params, inputs, _ = built(case)
    back: dict[str, dict[str, np.ndarray]] = {}
    for name, (module, leaf) in weights.haiku_names(model).items():
        array = model.state_dict()[name].numpy()
        back.setdefault(module, {})[leaf] = array.T if leaf == "w" else array
    assert {m: set(leaves) for m, leaves in back.items()} == {m: set(leaves) for m, leaves in params.items()}
    for module, leaves in params.items():
        for leaf, array in leaves.items():
            np.testing.assert_array_equal(back[module][leaf], array)
    other = Hip(model.config, model.modalities).eval()
    weights.from_haiku(other, back)
    torch.testing.assert_close(other(inputs).reconstruction, model(inputs).reconstruction, atol=0, rtol=0)


def test_own_files_round_trip_and_refuse_others(tmp_path: Path) -> None:
    model, _, inputs, _ = built("bottleneck")
    weights.save(model, tmp_path / "w.safetensors")
    again = weights.load(tmp_path / "w.safetensors").eval()
    assert (again.config, again.modalities) == (model.config, model.modalities)
    torch.testing.assert_close(again(inputs).reconstruction, model(inputs).reconstruction, atol=0, rtol=0)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-10])
    with pytest.raises(BadInput):
        weights.load(tmp_path / "cut.safetensors")


def test_weights_of_another_variant_are_refused() -> None:
    model, params, _, _ = built("hip")
    other = Hip(replace(TINY, channels=(8, 12, 32, 10, 8)), model.modalities)
    with pytest.raises(BadInput, match="another variant"):
        weights.from_haiku(other, params)
    deeper = Hip(replace(TINY, self_layers=(2, 2, 1, 1, 1)), model.modalities)
    with pytest.raises(BadInput, match=r"lack perceiver/block_0/~/self_attend_id_1"):
        weights.from_haiku(deeper, params)
    shallow = Hip(replace(TINY, self_layers=(1, 1, 1, 1, 1)), model.modalities)
    with pytest.raises(BadInput, match=r"no perceiver/block_1/~/self_attend_id_1"):
        weights.from_haiku(shallow, params)
    module = next(iter(params))
    params[module]["w"] = np.full_like(params[module]["w"], np.nan)
    with pytest.raises(BadInput, match="finite"):
        weights.from_haiku(model, params)


IMAGE = {"image": Modality((224, 224), 3)}
IMAGENET = {"imagenet_image": Modality((32, 32), 3), "imagenet_label": Modality((32,), 1)}
AUDIOSET = {"audioset_audio": Modality((128,), 16), "audioset_label": Modality((16,), 16)}
TOTALS = {
    # parameters and tensors, by running the public code: (image alone, ImageNet of its tests, AudioSet of its tests)
    "hip-mini": ((20_273_635, 145), (18_702_916, 151), (18_675_552, 151)),
    "hip-16": ((100_788_963, 589), (99_218_244, 595), (99_190_880, 595)),
    "hip-256": ((96_367_411, 739), (95_581_796, 745), (95_568_128, 745)),
    "hip-16x3": ((234_804_323, 433), (233_233_604, 439), (233_206_240, 439)),
    "hip-bottleneck-mini": (None, (21_103_332, 168), None),
    "hip-bottleneck-16": (None, (102_912_740, None), None),
    "hip-bottleneck-256": (None, (99_277_620, None), None),
    "io-mini": ((6_920_835, None), (650_244, None), (540_704, None)),
    "io-c-50m": ((56_169_475, None), (31_021_572, None), (30_583_328, None)),
    "io-c-150m": ((176_904_451, None), (133_698_436, None), (132_931_488, None)),
}


def count(name: str, modalities: dict[str, Modality]) -> tuple[int, int]:
    with torch.device("meta"):
        tensors = list(Hip(variant(name), modalities).parameters())
    return sum(p.numel() for p in tensors), len(tensors)


@pytest.mark.parametrize("name", TOTALS)
def test_parameter_totals(name: str) -> None:
    for modalities, wanted in zip((IMAGE, IMAGENET, AUDIOSET), TOTALS[name], strict=True):
        if wanted is not None:
            found = count(name, modalities)
            assert found[0] == wanted[0]
            assert wanted[1] in (None, found[1])


@pytest.mark.parametrize(
    ("name", "total", "shared"),
    [
        ("hip-16", 99_224_996, 2),
        ("hip-256", 95_585_188, 2),
        ("hip-mini", 18_709_668, 2),
        ("hip-bottleneck-mini", 21_114_788, 1),
    ],
)
def test_totals_of_the_released_tests(name: str, total: int, shared: int) -> None:
    """There one network meets two data sets, which share projections of codes by order; ours has one for each modality."""
    found, _ = count(name, IMAGENET | AUDIOSET)
    assert found - shared * VARIANTS[name].embedding ** 2 == total


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hip-mini", "hip-bottleneck-mini"])
@pytest.mark.parametrize(("train", "full"), [(None, 128), (32, None)])
def test_fewer_latents_in_training(name: str, train: int | None, full: int | None) -> None:
    config = replace(variant(name), processor_latents_train=train, processor_latents_eval=full)
    check_latents(Hip(config, IMAGENET | AUDIOSET), train or 64, full or 64)


@pytest.mark.parametrize(("train", "full"), [(None, 256), (64, None)])
def test_fewer_latents_of_a_flat_network(train: int | None, full: int | None) -> None:
    config = replace(variant("io-mini"), processor_latents_train=train, processor_latents_eval=full)
    check_latents(Hip(config, IMAGENET | AUDIOSET), train or 128, full or 128)


def check_latents(model: Hip, trained: int, used: int) -> None:
    for modalities in (IMAGENET, AUDIOSET):
        inputs = {name: torch.rand(2, m.length, m.channels) for name, m in modalities.items()}
        for mode, latents in ((True, trained), (False, used)):
            with torch.no_grad():
                out = model.train(mode)(inputs)
            assert {name: x.shape for name, x in out.reconstruction.items()} == {name: x.shape for name, x in inputs.items()}
            assert out.latents[model.config.processor].shape[2] == latents
