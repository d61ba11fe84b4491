"""Transfer to detection and instance segmentation on COCO (Lin et al., arXiv 1405.0312), from its official folder.

    DIR/annotations/instances_train2017.json and instances_val2017.json
    DIR/train2017/000000000009.jpg ...   DIR/val2017/...

Training: train2017 without crowds and images that have nothing else; scoring: val2017, as COCO does (faster-coco-eval).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput, install_line
from tapetum.data.coco import Instances, read_instances
from tapetum.data.entries import entries
from tapetum.data.files import opened_image, stored_file
from tapetum.data.rle import encode_mask
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders.references import load
from tapetum.train import StepContext, Task, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch
from tapetum.transfer.detection import DETECTOR_FILE, detector, save_detector
from tapetum.transfer.fcn import transfer_config
from tapetum.transfer.recipes import CocoRun

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
        """Put heads on the encoder."""
        return detector(load(self.run.encoder, seed=self.run.seed, text=False), len(self.categories), self.run).train()

    def dataset(self) -> Dataset:
        """Load images with their annotations, some mirrored."""
        return _Things(self)

    def collate(self, items: Sequence[Any]) -> Any:
        """Keep images of all sizes."""
        return {"images": [image for image, _ in items], "targets": [target for _, target in items]}

    def describe(self) -> Mapping[str, Any]:
        """List the settings."""
        return {name: value for name, value in asdict(self.run).items() if name not in ("data", "micro_batch", "most")}

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Sum the losses of the detector's parts: regions, boxes, classes and masks, or FCOS's."""
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
