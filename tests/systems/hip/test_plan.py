"""Plans held against the networks that they foresee: parameters and multiplications exactly, kept numbers nearly."""

from dataclasses import replace

import pytest
import torch

from tapetum.account.flops import count_flops
from tapetum.core.errors import BadInput
from tapetum.systems.hip.config import LABELS, Modality, variant
from tapetum.systems.hip.model import Hip
from tapetum.systems.hip.plan import plan

TWO = {"image": Modality((17, 16), 3), "sound": Modality((100,), 1)}
CASES = [
    ("hip-mini", {"image": Modality((32, 32), 3), "label": Modality((10,), 1)}),
    ("hip-nano", TWO),
    ("hip-256", {"image": Modality((32, 32), 3)}),
    ("io-mini", TWO),
    ("hip-bottleneck-mini", {**TWO, LABELS[2]: Modality((10,), 4)}),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["learned", "fourier", "random"])
@pytest.mark.parametrize(("name", "modalities"), CASES, ids=[name for name, _ in CASES])
def test_parameters_and_multiplications(name: str, modalities: dict[str, Modality], kind: str) -> None:
    config = replace(variant(name), positions=kind)
    made = plan(config, modalities)
    with torch.device("cpu" if kind == "fourier" else "meta"):  # shapes are enough to count; Fourier codes are worked out
        model = Hip(config, modalities).to("meta")
    assert made.parameters == sum(p.numel() for p in model.parameters())
    inputs = {name: torch.randn(2, m.length, m.channels, device="meta") for name, m in modalities.items()}
    with torch.no_grad():
        assert made.macs(2) == count_flops(lambda: model(inputs)).forward // 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "modalities"), CASES, ids=[name for name, _ in CASES])
def test_what_training_keeps(name: str, modalities: dict[str, Modality]) -> None:
    model = Hip(variant(name), modalities)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model({name: torch.randn(2, m.length, m.channels) for name, m in modalities.items()})
    made = plan(variant(name), modalities)
    foreseen = made.bytes_in_training(2) - 16 * made.parameters
    assert sum(s.nbytes() for s in kept.values()) == pytest.approx(foreseen, rel=0.05)


# GMACs of a forward pass by the reference, where its compiler counted them
GMACS = {
    "hip-16": {1024: 25.4, 50176: 28.1, 262144: 39.7, 1048576: 82.5},
    "hip-256": {1024: 24.5, 50176: 24.7, 262144: 25.5, 1048576: 28.6},
    "hip-mini": {1024: 3.4, 50176: 6.1, 262144: 17.7, 1048576: 60.5},
    "io-mini": {50176: 9.1, 262144: 47.5, 1048576: 190.0},
    "io-c-50m": {1024: 41.3, 50176: 221.9},
}


@pytest.mark.parametrize("name", GMACS)
def test_multiplications_are_those_of_the_reference(name: str) -> None:
    for elements, wanted in GMACS[name].items():
        found = plan(variant(name), {"image": Modality((elements,), 3)}).macs() / 1e9
        assert found == pytest.approx(wanted, rel=0.02)


SOUND = Modality((122_880,), 1)  # 2.56 s at 48 kHz
VIDEO = Modality((8, 224, 224), 3)
TOGETHER = [
    # network, inputs, groups and padding by hand, GMACs of the public code
    ("hip-256", {"video": VIDEO, "audio": SOUND}, {"video": 196, "audio": 60}, 2048, 26.6),  # 256 x 2048, nothing padded
    ("hip-16", {"video": VIDEO, "audio": SOUND}, {"video": 12, "audio": 4}, 33_451, 54.5),
    ("hip-256", {"image": Modality((224, 224), 3), "audio": SOUND}, {"image": 74, "audio": 182}, 679, None),
    ("hip-16", {"image": Modality((224, 224), 3), "audio": SOUND}, {"image": 5, "audio": 11}, 11_171, None),
]
IMAGE_TOTALS = {"hip-16": 100_788_963, "hip-256": 96_367_411}
"""Parameters of the public code with ImageNet's images alone (tests/systems/hip/test_reference.py)."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "modalities", "groups", "width", "gmacs"), TOGETHER)
def test_images_or_video_together_with_sound_are_as_large_as_in_the_paper(
    name: str, modalities: dict[str, Modality], groups: dict[str, int], width: int, gmacs: float | None
) -> None:
    """Groups, parameters, shapes and multiplications, nothing computed; 524,288 inputs of AudioSet (table 2)."""
    config = variant(name)
    made = plan(config, modalities)
    assert {span.name: span.groups for span in made.grouping.spans} == groups
    assert (made.grouping.width, made.grouping.groups) == (width, config.groups[0])
    with torch.device("meta"):
        model = Hip(config, modalities)

    def own(modality: Modality) -> int:  # embedding, codes and their projection, and the way back to channels
        e, c = config.embedding, modality.channels
        return (c * e + e) + modality.length * e + e * e + (e * c + c)

    trunk = IMAGE_TOTALS[name] - own(Modality((224, 224), 3))
    total = trunk + sum(own(modality) for modality in modalities.values())
    assert sum(p.numel() for p in model.parameters()) == made.parameters == total
    if gmacs is None:
        return
    inputs = {key: torch.randn(1, m.length, m.channels, device="meta") for key, m in modalities.items()}
    with torch.no_grad():
        out = model(inputs)
    assert {key: tuple(x.shape) for key, x in out.reconstruction.items()} == {key: tuple(x.shape) for key, x in inputs.items()}
    assert [tuple(x.shape[1:]) for x in out.latents] == list(zip(config.groups, config.latents, config.channels, strict=True))
    assert made.macs() / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_memory_grows_with_the_batch() -> None:
    made = plan(variant("hip-16"), {"image": Modality((224, 224), 3)})
    weights = 4 * made.parameters
    assert made.bytes_in_use(3) - weights == 3 * (made.bytes_in_use(1) - weights)
    assert made.bytes_in_training(1) > made.bytes_in_use(1)


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(BadInput, match="17 modalities for 16 groups"):
        plan(variant("hip-16"), {f"m{i}": Modality((3,), 1) for i in range(17)})
    with pytest.raises(BadInput, match="no variant 'hip-17'"):
        variant("hip-17")
