"""Recipes: published numbers, and what cannot be."""

import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.data import ImageSource, NoImages
from tapetum.systems.pretraining.methods import METHODS, Byol, Clip, Dino, Mae, SimClr, task_of
from tapetum.systems.pretraining.recipes import PretrainRun, encoder_architecture, presets_of, recipe
from tapetum.systems.pretraining.run import loop_config
from tapetum.systems.pretraining.task import Preset
from tapetum.train.config import TrainConfig
from tapetum.train.launch_config import Launch


def test_recipes_import_no_torch() -> None:
    modules = "tapetum.systems.pretraining.recipes, tapetum.systems.pretraining.methods, tapetum.data.views"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_every_method_has_its_presets() -> None:
    for method in METHODS:
        assert set(presets_of(method)) == {"small", "vit"} | (
            set() if METHODS[method].hides_patches or method == "siglip" else {"resnet"}
        )
        for preset, run in presets_of(method).items():
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
    settings = run.settings()
    assert (settings.width, settings.depth, settings.initial_scale, settings.initial_bias) == (768, 12, 10.0, -10.0)
    network = run.architecture.config
    assert (network.width, network.depth, network.patch, network.pooling) == (768, 12, 16, "attention")  # pyright: ignore


def test_dinov2s_rate_follows_the_root_of_the_batch() -> None:
    run = recipe("dinov2", "d", "vit")
    assert run.steps_of(1_281_167) == pytest.approx(100 * 1250, rel=1e-2)
    assert run.base_lr * run.batch_size / 256 == pytest.approx(4e-3 * (run.batch_size / 1024) ** 0.5)
    assert run.views == (224, 224, *(96,) * 8)


def test_steps_views_and_sizes() -> None:
    run = recipe("dino", "d", epochs=2, batch_size=100)
    assert run.steps_of(1050) == 21
    assert recipe("dino", "d", steps=7).steps_of(1050) == 7
    assert (run.size, run.views) == (64, (64, 64, *(32,) * 6))
    assert recipe("dino", "d", encoder="dinov2-small", size=224).views[-1] == 98  # a multiple of 14
    assert recipe("dino", "d", dino=Dino(local_size=24)).views[-1] == 24
    assert recipe("simclr", "d").views == (64, 64)
    assert recipe("mae", "d").views == (64,)


def test_encoders_by_name() -> None:
    found = encoder_architecture("timm:resnet18", 32, ("stem=3x3", "depths=(1, 1, 1, 1)"))
    assert (found.family, found.config.stem, found.config.depths) == ("resnet", "3x3", (1, 1, 1, 1))
    assert (found.preprocessing.size, found.preprocessing.crop_fraction) == ((32, 32), 1.0)
    assert encoder_architecture("vit-small-16", 96).config.image_size == (96, 96)
    for name, change, words in (
        ("resnet-19", (), "there is no encoder 'resnet-19'; did you mean resnet-18"),
        ("timm:convnxt_tiny", (), "has no model 'convnxt_tiny'; did you mean convnext_tiny or"),
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
        (lambda: Dino(local_area=(0.4, 0.05)), "area of a view is from 0.4 to 0.05"),
        (lambda: Clip(length=2), "length is 2; it must be 3 or more"),
        (lambda: Clip(template="photo"), "has no {} for the name"),
        (lambda: Clip(depth=0), "depth is 0; it must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(make, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        make()


_GOYAL = "Goyal et al. (arXiv 1706.02677), section 5.1"
_DINO_RESNET = "README of facebookresearch/dino, its command for ResNet-50 on 8 GPUs, and defaults of main_dino.py"
_DINO = "DINO (arXiv 2104.14294), section 3.2, and defaults of main_dino.py"
_DINOV2 = "ssl_default_config.yaml and train/vitl16_short.yaml of facebookresearch/dinov2"
_IJEPA = "configs/in1k_vith14_ep300.yaml of facebookresearch/ijepa, for 16 GPUs"
_CLIP = "CLIP (arXiv 2103.00020), tables 18 to 20"
_MOCO_V3 = "CONFIG.md of facebookresearch/moco-v3, its command for ViT-Base, and MoCo_ViT of moco/builder.py"
CITED: tuple[tuple[str, str, str, object, str], ...] = (
    ("supervised", "resnet", "schedule", "milestones", _GOYAL),
    ("supervised", "resnet", "milestones", (30 / 90, 60 / 90, 80 / 90), _GOYAL),
    ("supervised", "resnet", "nesterov", True, _GOYAL),
    ("supervised", "resnet", "supervised.smoothing", 0.0, _GOYAL),
    ("supervised", "vit", "warmup_epochs", 5, "DeiT (arXiv 2012.12877), table 9"),
    ("clip", "resnet", "clip.projection", 1024, f"{_CLIP}; open_clip's RN50.json"),
    ("clip", "resnet", "eps", 1e-8, _CLIP),
    ("clip", "vit", "clip.projection", 512, f"{_CLIP}; open_clip's ViT-B-16.json"),
    ("clip", "vit", "eps", 1e-6, _CLIP),
    ("clip", "vit", "encoder", "clip-base-16", f"{_CLIP}: a norm before the blocks, quick GELU in the public code"),
    ("dino", "resnet", "dino.global_area", (0.14, 1.0), _DINO_RESNET),
    ("dino", "resnet", "dino.local_area", (0.05, 0.14), _DINO_RESNET),
    ("dino", "resnet", "batch_size", 8 * 64, _DINO_RESNET),
    ("dino", "resnet", "clip_norm", 3.0, _DINO_RESNET),
    ("dino", "resnet", "clip_each", True, f"{_DINO_RESNET}; clip_gradients of its utils.py"),
    ("dino", "vit", "dino.global_area", (0.4, 1.0), _DINO),
    ("dino", "vit", "dino.local_area", (0.05, 0.4), _DINO),
    ("dino", "vit", "clip_each", True, f"{_DINO}; clip_gradients of its utils.py"),
    ("dino", "vit", "dino.teacher_warmup_epochs", 30, _DINO),
    ("dinov2", "vit", "batch_size", 32 * 64, _DINOV2),
    ("dinov2", "vit", "dinov2.decay", 0.992, _DINOV2),
    ("dinov2", "vit", "dinov2.prototypes", 65536, _DINOV2),
    ("dinov2", "vit", "dinov2.final_teacher_temperature", 0.07, _DINOV2),
    ("dinov2", "vit", "dinov2.layer_decay", 0.9, _DINOV2),
    ("dinov2", "vit", "dinov2.mask_shares", (0.1, 0.5), _DINOV2),
    ("ijepa", "vit", "encoder", "timm:vit_huge_patch14_224", _IJEPA),
    ("ijepa", "vit", "batch_size", 16 * 128, _IJEPA),
    ("ijepa", "vit", "epochs", 300, _IJEPA),
    ("ijepa", "vit", "ijepa.width", 384, _IJEPA),
    ("ijepa", "vit", "ijepa.depth", 12, _IJEPA),
    ("ijepa", "vit", "ijepa.target_area", (0.15, 0.2), _IJEPA),
    *(
        (method, "vit", name, value, _MOCO_V3)
        for method in ("simclr", "byol")
        for name, value in (("frozen_patches", True), ("change", ("positions=sine",)), (f"{method}.layers", 3))
    ),
)
"""Method, preset, setting, value, and where the value is printed."""


@pytest.mark.parametrize(("method", "preset", "name", "value", "source"), CITED)
def test_a_preset_has_the_numbers_that_it_cites(method: str, preset: Preset, name: str, value: object, source: str) -> None:
    assert attrgetter(name)(recipe(method, "d", preset)) == value, source


def test_dinos_resnet_sees_the_crops_of_the_public_command() -> None:
    run = recipe("dino", "d", "resnet", encoder="resnet-18")
    views = task_of("dino")(run, ImageSource(NoImages(1024), np.zeros(1024, np.int64), ())).views()
    assert [view.area for view in views] == [(0.14, 1.0)] * 2 + [(0.05, 0.14)] * 8


def test_the_loop_gets_what_a_preset_says(tmp_path: Path) -> None:
    images = ImageSource(NoImages(1000), np.zeros(1000, np.int64), ("a", "b"))

    def config(method: str, preset: Preset) -> TrainConfig:
        return loop_config(task_of(method)(recipe(method, "d", preset), images), Launch(out=tmp_path))

    goyal, dino, clip = config("supervised", "resnet"), config("dino", "vit"), config("clip", "vit")
    assert (goyal.schedule, goyal.milestones, goyal.nesterov) == ("milestones", (30 / 90, 60 / 90, 80 / 90), True)
    assert (dino.clip_norm, dino.clip_each) == (3.0, True)
    assert clip.eps == 1e-6


def test_what_came_later_and_changes_nothing_is_no_part_of_what_a_checkpoint_is_of() -> None:
    images = ImageSource(NoImages(10), np.zeros(10, np.int64), ("a", "b"))
    plain = task_of("byol")(recipe("byol", "d"), images).describe()
    assert {"frozen_patches", "schedule", "milestones", "nesterov", "eps", "clip_each"}.isdisjoint(plain)
    assert "layers" not in plain["byol"]
    published = task_of("byol")(recipe("byol", "d", "vit"), images).describe()
    assert (published["frozen_patches"], published["byol"]["layers"]) == (True, 3)
