"""Groups by hand, and parameters and multiplications of the public code, counted on shapes alone."""

import pytest
import torch

from tapetum.account.flops import count_on_meta
from tapetum.systems.hip.config import Modality, variant
from tapetum.systems.hip.grouping import grouping
from tapetum.systems.hip.model import Hip


def on_meta(name: str, modalities: dict[str, Modality]) -> tuple[Hip, float]:
    """Build a network, and count the GMACs of its forward pass."""
    with torch.device("meta"):
        model = Hip(variant(name), modalities)
        inputs = {name: torch.zeros(1, m.length, m.channels) for name, m in modalities.items()}
    with torch.no_grad():
        return model, count_on_meta(lambda: model(inputs)).forward / 2e9


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
    for elements, expected in GMACS[name].items():
        assert on_meta(name, {"image": Modality((elements,), 3)})[1] == pytest.approx(expected, rel=0.02)


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
    """Groups, parameters and multiplications, nothing computed; 524,288 inputs of AudioSet (table 2)."""
    config = variant(name)
    made = grouping({key: m.length for key, m in modalities.items()}, config.groups[0])
    assert {span.name: span.groups for span in made.spans} == groups
    assert (made.width, made.groups) == (width, config.groups[0])
    model, counted = on_meta(name, modalities)

    def own(modality: Modality) -> int:  # embedding, codes and their projection, and the way back to channels
        e, c = config.embedding, modality.channels
        return (c * e + e) + modality.length * e + e * e + (e * c + c)

    trunk = IMAGE_TOTALS[name] - own(Modality((224, 224), 3))
    assert sum(p.numel() for p in model.parameters()) == trunk + sum(own(modality) for modality in modalities.values())
    if gmacs is not None:
        assert counted == pytest.approx(gmacs, rel=0.02)
