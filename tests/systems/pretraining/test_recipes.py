"""Recipes: published numbers, and what cannot be."""

import subprocess
import sys

import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.config import METHODS, Byol, Clip, Dino, Mae, SimClr
from tapetum.systems.pretraining.recipes import RECIPES, PretrainRun, encoder_architecture, recipe


def test_recipes_import_no_torch() -> None:
    modules = "tapetum.systems.pretraining.recipes, tapetum.systems.pretraining.methods, tapetum.data.views"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_every_method_has_its_presets() -> None:
    for method in METHODS:
        assert set(RECIPES[method]) == {"small", "vit"} | (set() if method in ("mae", "siglip") else {"resnet"})
        for preset, run in RECIPES[method].items():
            assert (run.method, run.preset) == (method, preset)
            assert run.architecture.family in ("resnet", "vit")


def test_published_numbers() -> None:
    simclr, byol, dino, mae = (
        recipe(m, "d", p) for m, p in (("simclr", "resnet"), ("byol", "resnet"), ("dino", "vit"), ("mae", "vit"))
    )
    assert (simclr.optimizer, simclr.base_lr * simclr.batch_size / 256, simclr.simclr.temperature) == ("lars", 4.8, 0.1)
    assert (byol.optimizer, byol.base_lr, byol.byol.hidden, byol.byol.projection) == ("lars", 0.2, 4096, 256)
    assert (dino.weight_decay, dino.final_weight_decay, dino.clip_norm, dino.dino.prototypes) == (0.04, 0.4, 3.0, 65536)
    assert dino.views == (224, 224, *(96,) * 8)
    assert (mae.mae.ratio, mae.mae.width, mae.mae.depth, mae.mae.heads, mae.betas) == (0.75, 512, 8, 16, (0.9, 0.95))


def test_numbers_of_siglip() -> None:
    run = recipe("siglip", "d", "vit")
    assert run.base_lr * run.batch_size / 256 == pytest.approx(1e-3)
    assert (run.batch_size, run.betas, run.weight_decay, run.steps) == (32768, (0.9, 0.95), pytest.approx(1e-4 / 1e-3), 274658)
    assert (run.siglip.width, run.siglip.depth, run.siglip.initial_scale, run.siglip.initial_bias) == (768, 12, 10.0, -10.0)
    network = run.architecture.config
    assert (network.width, network.depth, network.patch, network.pooling) == (768, 12, 16, "attention")  # pyright: ignore


def test_steps_views_and_sizes() -> None:
    run = recipe("dino", "d", epochs=2, batch_size=100)
    assert run.steps_of(1050) == 21
    assert recipe("dino", "d", steps=7).steps_of(1050) == 7
    assert (run.size, run.local_size, run.views) == (64, 32, (64, 64, *(32,) * 6))
    assert recipe("dino", "d", encoder="dinov2-small", size=224).local_size == 98  # a multiple of 14
    assert recipe("dino", "d", dino=Dino(local_size=24)).local_size == 24
    assert recipe("simclr", "d").views == (64, 64)
    assert recipe("mae", "d").views == (64,)


def test_encoders_by_name() -> None:
    found = encoder_architecture("timm:resnet18", 32, ("stem=3x3", "depths=(1, 1, 1, 1)"))
    assert (found.family, found.config.stem, found.config.depths) == ("resnet", "3x3", (1, 1, 1, 1))
    assert (found.preprocessing.size, found.preprocessing.crop_fraction) == ((32, 32), 1.0)
    assert encoder_architecture("vit-small-16", 96).config.image_size == (96, 96)
    for name, change, words in (
        ("resnet-19", (), "there is no encoder 'resnet-19'; did you mean resnet-18"),
        ("timm:convnext_tiny", (), "tapetum has no network like timm's 'convnext_tiny'"),
        ("resnet-18", ("stem",), "--change stem: give NAME=VALUE"),
        ("resnet-18", ("patch=3",), "a resnet has no setting 'patch'"),
        ("resnet-18", ("stem=5x5",), "stem is '5x5'; it must be 7x7 or 3x3"),
    ):
        with pytest.raises(BadInput, match=words):
            encoder_architecture(name, 32, change)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: recipe("simclr", "d", batch_size=1),
            "batch_size is 1; simclr takes 2 or more: an image is told from the others",
        ),
        (lambda: recipe("mae", "d", batch_size=0), "batch_size is 0; mae takes 1 or more"),
        (lambda: recipe("mae", "d", "resnet"), "mae has no preset 'resnet'; it has small, vit"),
        (lambda: recipe("moco", "d"), "there is no method 'moco'"),
        (lambda: PretrainRun(method="moco"), "there is no method 'moco'"),
        (lambda: recipe("mae", "d", size=4), "size is 4"),
        (lambda: recipe("mae", "d", epochs=0), "epochs is 0"),
        (lambda: Mae(ratio=1.0), "ratio is 1.0"),
        (lambda: Mae(width=40, heads=16), "must be a multiple of 4 x heads"),
        (lambda: SimClr(temperature=0), "temperature is 0; it must be above 0"),
        (lambda: SimClr(area=0), "area is 0"),
        (lambda: Byol(decay=1.0), r"decay is 1.0; it must be at least 0 and below 1"),
        (lambda: Dino(local_views=-1), "local_views is -1; it must be 0 or more"),
        (lambda: Clip(length=2), "length is 2; it must be 3 or more"),
        (lambda: Clip(template="photo"), "has no {} for the name"),
        (lambda: Clip(depth=0), "depth is 0; it must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(make, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        make()
