"""Segmentation heads and fine-tuning: shapes, learning, layer-wise rates, equal sweeps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.encoders.features import Encoder
from tapetum.metrics.masks import Confusion
from tapetum.train.optim import layer_scales
from tapetum.transfer.config import FineTuneConfig
from tapetum.transfer.fine_tune import SegmentationTask, cropped, encoder_layers, fine_tune
from tapetum.transfer.segmentation import IGNORED, Segmenter, confusions, pixel_loss


def vit() -> Encoder:
    return build("vit-nano", image_size=(16, 16), patch=4, width=16, depth=2, heads=2, mlp_width=32, pooling="mean")


def resnet() -> Encoder:
    return build("resnet-18", stem="3x3", stem_width=4, depths=(1, 1, 1, 1))


@pytest.mark.parametrize("head", ["linear", "upernet"])
@pytest.mark.parametrize("encoder", [vit, resnet])
def test_heads_give_every_pixel_and_all_of_them_learns(encoder: Callable[[], Encoder], head: str) -> None:
    model = Segmenter(encoder(), 5, head, width=8)  # type: ignore[arg-type]
    images = torch.randn(2, 3, 16, 24)
    logits = model.train()(images)
    assert logits.shape == (2, 5, 16, 24)
    truth = torch.zeros(2, 16, 24, dtype=torch.int64)
    truth[:, ::2] = 3
    pixel_loss(logits, truth).backward()
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(model(images)[:1], model(images[:1]), atol=1e-4, rtol=1e-4)


def test_ignored_pixels_do_not_count() -> None:
    logits, truth = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 2], [IGNORED, IGNORED]]])
    wanted = torch.nn.functional.cross_entropy(logits[:, :, 0], truth[:, 0])
    torch.testing.assert_close(pixel_loss(logits, truth), wanted)


class Stripes(torch.nn.Module):
    """Says class 1 where an image is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([-x[:, 0], x[:, 0]], 1)


def test_mean_iou_by_hand() -> None:
    images = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])[None, None].expand(1, 3, 2, 2)
    truth = torch.tensor([[[1, 0], [0, IGNORED]]])
    found = Confusion(2, IGNORED)
    found.counts += confusions(Stripes(), [(images, truth)], 2).sum(0)
    assert found.iou.tolist() == [0.5, 0.5]
    assert found.mean_iou == 0.5


@pytest.mark.parametrize("encoder", [vit, resnet])
def test_every_weight_of_an_encoder_has_its_layer(encoder: Callable[[], Encoder]) -> None:
    model = torch.nn.ModuleDict({"encoder": encoder(), "classes": torch.nn.Linear(4, 3)})
    layers = encoder_layers(model["encoder"])
    scales = layer_scales(model, layers, 0.5)
    names = dict(model.named_parameters())
    count = len(layers)
    assert scales[id(names["classes.weight"])] == 1.0
    for name, parameter in names.items():
        scale = scales[id(parameter)]
        if name.startswith(("encoder.stem", "encoder.patches", "encoder.positions", "encoder.class_token")):
            assert scale == 0.5**count, name
        elif name.startswith(("encoder.blocks", "encoder.stages")):
            assert 0.5**count < scale < 1, name
        else:
            assert scale == 1.0, name
    if encoder is vit:
        assert scales[id(names["encoder.blocks.0.mlp.out.weight"])] == 0.25
        assert scales[id(names["encoder.blocks.1.mlp.out.weight"])] == 0.5


@dataclass
class Halves:
    """Images whose bright part is class 1."""

    count: int
    seed: int
    classes: tuple[str, ...] = ("dark", "bright")

    def __len__(self) -> int:
        return self.count

    def read(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, k])
        truth = np.zeros((16, 16), np.int64)
        at, side = int(rng.integers(4, 12)), int(rng.integers(2))
        truth[(slice(at, None), slice(None)) if side else (slice(None), slice(at, None))] = 1
        image = (60 + 120 * truth[..., None] + rng.integers(-20, 20, (16, 16, 3))).astype(np.uint8)
        return image, truth


def test_crops_move_images_and_truths_alike() -> None:
    image, truth = Halves(1, 0).read(0)
    image = np.repeat((truth[..., None] * 200).astype(np.uint8), 3, -1)
    for number in range(6):
        x, y = cropped(image, truth, (16, 16), np.random.default_rng(number))
        assert x.shape == (3, 16, 16)
        counted = y != IGNORED
        assert (x[0, ~counted] == 127).all()
        assert ((x[0] > 100) == (y == 1))[counted].float().mean() > 0.9  # all but the border between both
    x, y = cropped(image, truth, (16, 16), None)
    assert torch.equal(x[0].long(), torch.from_numpy(truth) * 200)
    assert torch.equal(y, torch.from_numpy(truth))


@pytest.mark.slow
def test_segmentation_is_learned_at_every_rate_of_the_sweep(tmp_path: Path) -> None:
    config = FineTuneConfig(learning_rates=(1e-6, 1e-2), steps=25, batch_size=8, size=(16, 16), layer_decay=0.9)
    task = SegmentationTask(resnet, Halves(30, 0), Halves(6, 1), config)
    found = fine_tune(task, tmp_path, tensorboard=False)
    assert [learning_rate for learning_rate, _ in found.tried] == [1e-6, 1e-2]
    assert found.learning_rate == 1e-2
    assert found.score > 0.75
    assert {path.name for path in tmp_path.iterdir()} == {"rate-1e-06", "rate-0.01"}
    assert fine_tune(task, tmp_path, tensorboard=False).score == found.score  # finished runs are not run again
    with pytest.raises(BadInput, match="has no size"):
        SegmentationTask(vit, Halves(30, 0), Halves(6, 1), FineTuneConfig())
