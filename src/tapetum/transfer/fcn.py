"""Segmentation by fine-tuning with a fully convolutional head: PASCAL VOC, Cityscapes, CamVid, ADE20K, from official folders.

Protocol of pre-training papers (MoCo, arXiv 1911.05722, appendix; DetCon, arXiv 2103.10957; Odin, arXiv 2203.08777, section
4): random scale of 0.5 to 2, crops, mirrored; SGD with rate drops at 70 and 90 % of the run; mean IoU of whole images at one
scale.

Differs: nothing is held out and no rate is selected, so the score on the val part is for the settings as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.data.segmentation import SEGMENTED, SegmentedImages
from tapetum.encoders.architectures import as_json, check_side, from_json
from tapetum.encoders.factory import describe, make
from tapetum.encoders.features import Encoder
from tapetum.encoders.references import load
from tapetum.hub.headed import load_headed, save_headed
from tapetum.metrics.masks import Confusion
from tapetum.train import StepContext, TrainConfig, fit
from tapetum.train.config import ParameterRule
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config
from tapetum.transfer.config import FcnRun, FineTuneConfig, TransferRun
from tapetum.transfer.fine_tune import SegmentationTask, cut_at_own_scale
from tapetum.transfer.segmentation import IGNORED, Segmenter, pixel_loss

SEGMENTER_FILE = "segmenter.safetensors"
"""Name of the network in the folder of a run."""


class FcnTask(SegmentationTask):
    """Trains on all images of the train part, in crops at their own scale."""

    def __init__(self, encoder: Callable[[], Encoder], parts: tuple[SegmentedImages, SegmentedImages], run: FcnRun):
        size = (run.crop, run.crop)
        super().__init__(encoder, *parts, FineTuneConfig(size=size, seed=run.seed), run.head)
        self.own, self.run = np.arange(len(parts[0])), run
        self.order = Shuffle(len(self.own), run.seed)

    def model(self) -> nn.Module:
        model = cast(Segmenter, super().model())
        check_side(model.encoder.config, self.run.crop, "--crop")
        return model

    def describe(self) -> Mapping[str, Any]:
        return {name: value for name, value in asdict(self.run).items() if name not in ("data", "micro_batch", "most")}

    def collate(self, items: Any) -> dict[str, Tensor]:
        made = []
        for number, k in zip(items, self.chosen(items), strict=True):
            image, truth = self.train_part.read(k)
            made.append(cut_at_own_scale(image, truth, self.size, sample_generator(self.run.seed, number)))
        return self._batch(made)

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        return pixel_loss(model(batch["image"]), batch["truth"]), {}

    @torch.no_grad()
    def mean_iou(self, model: nn.Module, most: int | None = None) -> float:
        """Compute the mean IoU of whole images of the val part, each at its own size."""
        segmenter = cast(Segmenter, model.eval())
        counted = Confusion(len(self.train_part.classes), IGNORED)
        for k in range(min(len(self.test_part), most or len(self.test_part))):
            image, truth = self.test_part.read(k)
            counted.add(segment(segmenter, image), truth)
        return counted.mean_iou


@torch.no_grad()
def segment(model: Segmenter, image: np.ndarray) -> np.ndarray:
    """Compute the class of every pixel of an image (h, w, 3), int64 (h, w); padding for the encoder's cells is grey."""
    device, how = next(model.parameters()).device, model.encoder.preprocessing
    mean, std = (torch.tensor(value, device=device)[:, None, None] for value in (how.mean, how.std))
    x = (torch.from_numpy(np.array(image)).to(device).movedim(-1, 0).float() - mean) / std
    cell = max(32, *model.encoder.strides)
    unit = cell if cell % max(model.encoder.strides) == 0 else max(model.encoder.strides)
    rows, columns = image.shape[:2]
    logits = model(F.pad(x, (0, -columns % unit, 0, -rows % unit))[None])
    return logits[0, :, :rows, :columns].argmax(0).cpu().numpy()


def parts_of(run: FcnRun) -> tuple[SegmentedImages, SegmentedImages]:
    """List the training and scoring parts. Raises BadInput for a folder with another layout."""
    if not run.data:
        raise BadInput("there is no data; give --data with the folder of the data set")
    folder, read = Path(run.data), SEGMENTED[run.layout]
    more = run.layout == "voc" and (folder / "SegmentationClassAug").is_dir()
    return read(folder, "trainaug" if more else "train"), read(folder, "val")


def train_fcn(run: FcnRun, launch: Launch, say: Callable[[str], None] = print) -> tuple[Path, Mapping[str, float]] | None:
    """Fine-tune in the folder `launch.out` and score; the same call continues after a stop. None if work remains.

    Raises BadInput for errors that the user can fix.
    """
    parts = parts_of(run)
    say(f"images to learn from: {len(parts[0]):,}; to score with: {len(parts[1]):,}; {len(parts[0].classes)} classes")
    task = FcnTask(partial(load, run.encoder, seed=run.seed, text=False), parts, run)
    result = fit(task, transfer_config(run, launch), launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    path = launch.out / SEGMENTER_FILE
    if not is_main():
        return path, {}
    save_segmenter(cast(Segmenter, result.model), run.head, parts[0].classes, path)
    return path, {"mean_iou": task.mean_iou(result.model, run.most)}


def transfer_config(run: TransferRun, launch: Launch, **settings: Any) -> TrainConfig:
    """Make the config of the loop: SGD with momentum and rate drops."""
    return train_config(
        run,
        launch,
        micro_batch=min(run.micro_batch, run.batch_size),
        optimizer="sgd",
        schedule="milestones",
        milestones=run.milestones,
        rules=(ParameterRule(pattern="*encoder.*", frozen=True),) if run.freeze else (),
        clip_norm=None,
        **settings,
    )


def save_segmenter(model: Segmenter, head: str, classes: tuple[str, ...], path: Path) -> None:
    """Write a complete segmenter: weights, description of its encoder, head and class names."""
    about = {"encoder": as_json(describe(model.encoder)), "head": head, "classes": list(classes)}
    save_headed(model, path, "segmenter", about)


def load_segmenter(path: Path) -> tuple[Segmenter, tuple[str, ...]]:
    """Load a file that `save_segmenter` wrote, and its class names. Raises BadInput for anything else."""
    classes: tuple[str, ...] = ()

    def maker(about: Any) -> Callable[[], Segmenter]:
        nonlocal classes
        architecture, head, classes = from_json(about["encoder"]), about["head"], tuple(map(str, about["classes"]))
        return lambda: Segmenter(make(architecture), len(classes), head)

    return cast(Segmenter, load_headed(path, "segmenter", "segmenter of tapetum train fcn", maker)), classes
