"""Plan of a transfer to segmentation or detection (`tapetum train fcn --dry`, `tapetum train coco --dry`)."""

from typing import Any

import torch
from torch import Tensor

from tapetum.account.run_plan import MeasuredStep, PhasePlan, RunPlan
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import architecture, changed, names
from tapetum.encoders.factory import make
from tapetum.encoders.features import Encoder
from tapetum.encoders.references import load
from tapetum.hub.registry import entry_of
from tapetum.train.measure_step import measure_step
from tapetum.transfer.coco import detector
from tapetum.transfer.config import CocoRun, FcnRun
from tapetum.transfer.segmentation import Segmenter, pixel_loss

_CLASSES = {"voc": 21, "cityscapes": 19, "camvid": 11, "ade20k": 150}
_THINGS, _REGIONS, _MASKED = 80, 512, 128
"""Classes of COCO; regions of an image whose boxes, and whose masks, are learned at most (torchvision's defaults)."""


def plan_run(run: FcnRun | CocoRun) -> RunPlan:
    """Plan a run."""
    step = _segmentation_step(run) if isinstance(run, FcnRun) else _detection_step(run)
    size = f"{run.crop}x{run.crop}" if isinstance(run, FcnRun) else f"{run.short_sides[-1]}x{run.long_side}"
    phase = PhasePlan(steps=run.steps, batch_size=run.batch_size, micro_batch=min(run.micro_batch, run.batch_size), step=step)
    return RunPlan(phases=(phase,), examples_are=f"images of {size}")


def _encoder(reference: str, side: int) -> Encoder:
    """Make the encoder with shapes only, if its name determines it; load it, if it is a file."""
    entry = entry_of(reference)
    name = reference.removeprefix("random:") if entry is None else entry.architecture
    if name not in names():
        return load(reference, text=False).to("meta")
    described = architecture(name)
    if hasattr(described.config, "image_size"):
        described = changed(described, {"image_size": (side, side)})
    with torch.device("meta"):
        return make(described)


def _segmentation_step(run: FcnRun) -> MeasuredStep:
    with torch.device("meta"):
        model = Segmenter(_encoder(run.encoder, run.crop), _CLASSES[run.layout], run.head).train()
        images, truth = torch.zeros(2, 3, run.crop, run.crop), torch.zeros(2, run.crop, run.crop, dtype=torch.int64)
    model.encoder.requires_grad_(not run.freeze)
    return measure_step(lambda: pixel_loss(model(images), truth), {"segmenter": model}, 2, bf16=run.bf16)


def _detection_step(run: CocoRun) -> MeasuredStep:
    """Measure a detector's computation for the largest image, with the maximum number of training regions."""
    unit = 32
    rows, columns = (-(-side // unit) * unit for side in (run.short_sides[-1], run.long_side))
    encoder = _encoder(run.encoder, rows)
    if hasattr(encoder.config, "image_size"):
        raise BadInput(f"a plan of a detector on {run.encoder}, which knows one size of images, cannot be made; give another")
    with torch.device("meta"):
        model: Any = detector(encoder, _THINGS, run).train()
        image = torch.zeros(1, 3, rows, columns)
        regions, masked = torch.zeros(_REGIONS, run.width, 7, 7), torch.zeros(_MASKED, run.width, 14, 14)
    encoder.requires_grad_(not run.freeze)
    heads = model.roi_heads

    def loss() -> Tensor:
        maps = [*model.backbone(image).values()]
        learned = regions + maps[0].mean()  # so that gradients go on to the maps
        outputs = [*(output for level in model.rpn.head(maps) for output in level)]
        outputs += heads.box_predictor(heads.box_head(learned))
        if run.masks:
            outputs.append(heads.mask_predictor(heads.mask_head(masked + maps[0].mean())))
        return torch.stack([output.float().square().mean() for output in outputs]).sum()

    return measure_step(loss, {"detector": model}, bf16=run.bf16)
