"""Transfer to detection and instance segmentation on COCO (Lin et al., arXiv 1405.0312), from its official folder.

    DIR/annotations/instances_train2017.json and instances_val2017.json
    DIR/train2017/000000000009.jpg ...   DIR/val2017/...

Training: train2017 without crowds and images that have nothing else; scoring: val2017, as COCO does (faster-coco-eval).
Detectors have a feature pyramid (arXiv 1612.03144) on any encoder; heads and boxes come from torchvision:

    Mask R-CNN (arXiv 1703.06870)
    images --encoder--> maps --pyramid--> levels of strides 4, 8, 16, 32, 64 --> regions --> boxes, classes, masks
    FCOS (arXiv 1904.01355, 2006.09214)
    images --encoder--> maps --pyramid--> levels of strides 8, 16, 32, 64, 128 --> class, box and centerness of every cell

For an encoder with one map, the pyramid gets up to four, of 4, 2, 1 and 1/2 times its size, as for ViTs with UperNet.

FCOS has the improvements of its later version: group norms in the heads, only cells near an object's centre learn its box,
GIoU as the box loss, centerness in the box branch. Differs from Odin's "FCOS*" (arXiv 2203.08777, section 4), as far as
documented: cells are assigned to objects by FCOS's ranges of sizes, not by ATSS (arXiv 1912.02424).

Needs the extra [coco] (torchvision). Images are lists of float (3, h, w), 0..1; boxes x1, y1, x2, y2 in raster pixels.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput, install_line
from tapetum.data.coco import Instances, read_instances
from tapetum.data.entries import entries
from tapetum.data.files import opened_image, stored_file
from tapetum.data.rle import encode_mask
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders.architectures import as_json, from_json
from tapetum.encoders.convolutional import FeaturePyramid
from tapetum.encoders.factory import describe, make
from tapetum.encoders.features import Encoder
from tapetum.encoders.references import load
from tapetum.hub.headed import load_headed, save_headed
from tapetum.train import StepContext, Task, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch
from tapetum.transfer.config import CocoRun
from tapetum.transfer.fcn import transfer_config

DETECTOR_FILE = "detector.safetensors"
"""Name of the network in the folder of a run."""
_OF_ONE = 4.0, 2.0, 1.0, 0.5
_FCOS_LEVELS = 3
"""Levels of FCOS that are made of an encoder's maps; two more are convolutions of the coarsest."""
_SMALLEST = 32
"""Sides are multiples of this at least, so that all levels of the pyramid fit one another."""


class PyramidBackbone(nn.Module):
    """An encoder and a pyramid in the form expected by torchvision's detectors."""

    def __init__(self, encoder: Encoder, width: int = 256, levels: int | None = None, coarser: nn.Module | None = None):
        """Use all maps of the encoder, or the `levels` coarsest. `coarser` adds levels (torchvision's `ExtraFPNBlock`); by
        default one is added, every second cell of the last.
        """
        super().__init__()
        self.encoder, self.out_channels, self.coarser = encoder, width, coarser
        self.one = len(encoder.map_channels) == 1
        strides = [round(encoder.strides[0] / scale) for scale in _OF_ONE] if self.one else encoder.strides
        self.levels = levels or len(strides)
        self.strides = list(strides[-self.levels :])
        """Pixels to a cell of each level, without what is added."""
        channels = (encoder.map_channels * (4 if self.one else 1))[-self.levels :]
        self.pyramid = FeaturePyramid(channels, width, extra_level=coarser is None)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> "OrderedDict[str, Tensor]":
        """Compute the levels by name: 0, 1 and so on, then pool, or those of `coarser`."""
        maps: Sequence[Tensor] = self.encoder(images).maps
        if self.one:
            scales = _OF_ONE[-self.levels :]
            maps = [F.interpolate(maps[0], scale_factor=scale, mode="bilinear", align_corners=False) for scale in scales]
        maps = maps[-self.levels :]
        levels = list(self.pyramid(maps))
        names = [str(k) for k in range(len(maps))]
        if self.coarser is None:
            names.append("pool")
        else:
            levels, names = self.coarser(levels, list(maps), names)
        return OrderedDict(zip(names, levels, strict=True))


class OneStageDetector(nn.Module):
    """torchvision's FCOS, with classes from 1 on like its two-stage detectors; it needs no background class."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    @property
    def backbone(self) -> PyramidBackbone:
        """Get encoder and pyramid."""
        return self.network.backbone  # pyright: ignore[reportReturnType]

    @property
    def transform(self) -> Any:
        """Get the transform that scales and normalises images."""
        return self.network.transform

    def forward(self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """Compute the losses by name in training, otherwise the detections in each image."""
        if targets is not None:
            targets = [{**each, "labels": each["labels"] - 1} for each in targets]
        outputs = self.network(list(images), targets)
        return outputs if self.training else [{**each, "labels": each["labels"] + 1} for each in outputs]


def detector(encoder: Encoder, classes: int, run: CocoRun) -> nn.Module:
    """Put torchvision's heads, with random weights, on an encoder; `classes` excludes background. BadInput without it."""
    ops, detection = _torchvision()
    how = encoder.preprocessing
    settings: dict[str, Any] = {
        "min_size": run.short_sides,
        "max_size": run.long_side,
        "image_mean": [value / 255 for value in how.mean],
        "image_std": [value / 255 for value in how.std],
    }
    made = (_fcos if run.detector == "fcos" else _mask_rcnn)(encoder, classes, run, settings, ops, detection)
    made.transform.size_divisible = lcm(_SMALLEST, max(encoder.strides))
    return made


def _mask_rcnn(encoder: Encoder, classes: int, run: CocoRun, settings: dict[str, Any], ops: Any, detection: Any) -> Any:
    backbone = PyramidBackbone(encoder, run.width)
    levels = len(backbone.strides)
    sizes = tuple((32 * 2**k,) for k in range(levels + 1))
    settings |= {
        "rpn_anchor_generator": detection.anchor_utils.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        "box_roi_pool": ops.MultiScaleRoIAlign([str(k) for k in range(levels)], 7, 2),
    }
    if run.masks:
        settings["mask_roi_pool"] = ops.MultiScaleRoIAlign([str(k) for k in range(levels)], 14, 2)
    return (detection.MaskRCNN if run.masks else detection.FasterRCNN)(backbone, classes + 1, **settings)


def _fcos(encoder: Encoder, classes: int, run: CocoRun, settings: dict[str, Any], ops: Any, detection: Any) -> Any:
    coarser = ops.feature_pyramid_network.LastLevelP6P7(run.width, run.width)
    backbone = PyramidBackbone(encoder, run.width, levels=_FCOS_LEVELS, coarser=coarser)
    strides = [*backbone.strides, 2 * backbone.strides[-1], 4 * backbone.strides[-1]]
    points = detection.anchor_utils.AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides))
    network = detection.FCOS(
        backbone, classes, anchor_generator=points, score_thresh=0.05, nms_thresh=0.6, detections_per_img=100, **settings
    )
    return OneStageDetector(network)


def _torchvision() -> tuple[Any, Any]:
    try:
        from torchvision import ops
        from torchvision.models import detection
    except ImportError:
        raise BadInput(f"detectors need torchvision: {install_line('coco')}") from None
    return ops, detection


def save_detector(model: Any, run: CocoRun, categories: Sequence[tuple[int, str]], path: Path) -> None:
    """Write a complete detector: weights, description of its encoder, settings, and numbers and names of its categories."""
    about = {
        "encoder": as_json(describe(model.backbone.encoder)),
        "categories": [list(pair) for pair in categories],
        "run": {
            "detector": run.detector,
            "masks": run.masks,
            "short_sides": list(run.short_sides),
            "long_side": run.long_side,
            "width": run.width,
        },
    }
    save_headed(model, path, "detector", about)


def load_detector(path: Path) -> tuple[nn.Module, list[tuple[int, str]]]:
    """Load a file that `save_detector` wrote, with its categories; the model takes images like torchvision's.

    Raises BadInput for anything else.
    """
    categories: list[tuple[int, str]] = []

    def maker(about: Any) -> Callable[[], nn.Module]:
        architecture = from_json(about["encoder"])
        categories[:] = [(int(number), str(name)) for number, name in about["categories"]]
        run = CocoRun(**{**about["run"], "short_sides": tuple(about["run"]["short_sides"])})
        return lambda: detector(make(architecture), len(categories), run)

    return load_headed(path, "detector", "detector of tapetum train coco", maker), categories


_LEAST = 1.0
"""Pixels that a box is wide and high, at least, to be learned from."""


class CocoTask(Task):
    """Boxes, classes and masks of objects."""

    def __init__(self, images: Sequence[Instances], categories: Sequence[tuple[int, str]], run: CocoRun):
        """`categories`: number in the files and name of each, in the classifier's order. Raises BadInput if there are none."""
        self.run, self.categories = run, list(categories)
        self.number = {name: k for k, (_, name) in enumerate(categories, 1)}
        self.images = [one for one in images if any(_learned(thing) for thing in one.things)]
        if not self.images:
            raise BadInput("no image has a thing to be learned from; give COCO's folder with instances_train2017.json")
        self.order = Shuffle(len(self.images), run.seed)

    def model(self) -> nn.Module:
        return detector(load(self.run.encoder, seed=self.run.seed, text=False), len(self.categories), self.run).train()

    def dataset(self) -> Dataset:
        return _Things(self)

    def collate(self, items: Sequence[Any]) -> Any:
        return {"images": [image for image, _ in items], "targets": [target for _, target in items]}

    def describe(self) -> Mapping[str, Any]:
        return {name: value for name, value in asdict(self.run).items() if name not in ("data", "micro_batch", "most")}

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        parts = model(batch["images"], batch["targets"])
        return sum(parts.values(), torch.zeros(())), {name: part.detach() for name, part in parts.items()}  # type: ignore[return-value]

    def target(self, one: Instances) -> dict[str, Tensor]:
        """Make the training targets of an image."""
        kept = [k for k, thing in enumerate(one.things) if _learned(thing)]
        things = [one.things[k] for k in kept]
        target = {
            "boxes": torch.tensor([thing.xyxy for thing in things], dtype=torch.float32).view(-1, 4),
            "labels": torch.tensor([self.number[thing.label] for thing in things], dtype=torch.int64),
        }
        if self.run.finds_masks:
            target["masks"] = torch.from_numpy(one.masks()[kept].astype(np.uint8))
        return target


def _learned(thing: Any) -> bool:
    x1, y1, x2, y2 = thing.xyxy
    return not thing.crowd and min(x2 - x1, y2 - y1) >= _LEAST


class _Things(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    def __init__(self, task: CocoTask):
        self.task = task

    def __getitem__(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        one = self.task.images[self.task.order(number)]
        image, target = _read(one), self.task.target(one)
        if sample_generator(self.task.run.seed, number).random() < 0.5:
            image, x = image.flip(-1), target["boxes"]
            target["boxes"] = torch.stack([image.shape[-1] - x[:, 2], x[:, 1], image.shape[-1] - x[:, 0], x[:, 3]], 1)
            if "masks" in target:
                target["masks"] = target["masks"].flip(-1)
        return image, target


def _read(one: Instances) -> Tensor:
    image = np.array(opened_image(stored_file(one.image), "RGB"))
    if image.shape[:2] != one.size:
        raise BadInput(
            f"{one.image} is {image.shape[1]}x{image.shape[0]} and its entry says {one.size[1]}x{one.size[0]}; "
            "give the images that the file is of"
        )
    return torch.from_numpy(image).movedim(-1, 0).float().div_(255)


@torch.no_grad()
def predictions(
    model: nn.Module,
    images: Sequence[Instances],
    categories: Sequence[tuple[int, str]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Detect objects in images, one after the other: the entries of COCO's results file."""
    device, entries = next(model.parameters()).device, []
    model.eval()
    for done, one in enumerate(images):
        progress(done, len(images))
        detections = {name: value.cpu() for name, value in model([_read(one).to(device)])[0].items()}
        for k, box in enumerate(detections["boxes"].tolist()):
            x1, y1, x2, y2 = box
            entry = {
                "image_id": one.key,
                "category_id": categories[int(detections["labels"][k]) - 1][0],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(detections["scores"][k]),
            }
            if "masks" in detections:
                entry["segmentation"] = encode_mask((detections["masks"][k, 0] > 0.5).numpy())
            entries.append(entry)
    progress(len(images), len(images))
    return entries


def coco_scores(
    annotations: Path, detections: Sequence[Mapping[str, Any]], keys: Sequence[Any], masks: bool
) -> dict[str, float]:
    """Score result entries on the images `keys` as COCO does: box_ap, box_ap50, box_ap75, and mask_ap and so on.

    Raises BadInput if faster-coco-eval is missing.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise BadInput(f"COCO's scores need faster-coco-eval: {install_line('coco')}") from None
    scores = {}
    kinds: tuple[tuple[Any, str], ...] = (("bbox", "box"), ("segm", "mask"))
    for kind, name in kinds[: 2 if masks else 1]:
        if not detections:
            scores |= dict.fromkeys((f"{name}_ap", f"{name}_ap50", f"{name}_ap75"), 0.0)
            continue
        truth = COCO(str(annotations))
        loaded = truth.loadRes([dict(entry) for entry in detections])
        judge = COCOeval_faster(truth, loaded, kind, print_function=lambda *_: None)
        judge.params.imgIds = list(keys)
        for step in (judge.evaluate, judge.accumulate, judge.summarize):
            step()
        scores |= {f"{name}_{which}": float(judge.stats[k]) for k, which in enumerate(("ap", "ap50", "ap75"))}
    return scores


def train_coco(run: CocoRun, launch: Launch, say: Callable[[str], None] = print) -> tuple[Path, Mapping[str, float]] | None:
    """Fine-tune in the folder `launch.out` and score; the same call continues after a stop. None if work remains.

    Raises BadInput for errors that the user can fix.
    """
    if not run.data:
        raise BadInput("there is no data; give --data with COCO's folder")
    folder = Path(run.data)
    files = {part: folder / "annotations" / f"instances_{part}2017.json" for part in ("train", "val")}
    categories = [(int(entry.key("id")), entry.text("name")) for entry in entries(files["train"], "categories")]
    task = CocoTask(read_instances(files["train"], folder / "train2017"), categories, run)
    scored = read_instances(files["val"], folder / "val2017")[: run.most]
    say(f"images to learn from: {len(task.images):,}; to score with: {len(scored):,}; {len(categories)} categories")
    result = fit(task, transfer_config(run, launch, find_unused_parameters=True), launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    path = launch.out / DETECTOR_FILE
    if not is_main():
        return path, {}
    save_detector(result.model, run, categories, path)
    detections = predictions(result.model, scored, categories)
    return path, coco_scores(files["val"], detections, [one.key for one in scored], run.finds_masks)
