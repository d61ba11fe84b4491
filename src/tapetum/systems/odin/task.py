"""Odin's task: masks from one network, contrast of pooled features in another (arXiv 2203.08777, section 3; DetCon's code).

    image --+-- view 1 --online--> map, pooled by masks, projected, predicted --.
              +-- view 2 --target--> map, pooled by masks, projected -------------'  DetCon's loss, and with views swapped
              +-- spanning view --discovery--> masks, warped to both views

The target is an average of the online network, whose decay rises to 1; the discovery network another average, or a copy taken
from time to time, or never changed. Batch norms of both use their batch (DetCon). The result is the online encoder.

A mask that is empty in a view has no row there: it is not a negative, and no batch norm uses it, as in DetCon's code, which
draws only among visible masks.

Differs from the paper where it was not available: see the settings of `OdinConfig`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.data.samples import sample_generator
from tapetum.data.views import View, byol
from tapetum.data.views.make import blur_radius, channels_first, crop, draw, recolour
from tapetum.encoders.features import Encoder
from tapetum.systems.odin.losses import detcon, detcon_s
from tapetum.systems.odin.masks import OUTSIDE, Crops, MaskSource, pool_masks, sample_regions, span_crops, warp, whole_crops
from tapetum.systems.odin.model import Odin
from tapetum.systems.pretraining.heads import use_batch_statistics
from tapetum.systems.pretraining.task import PROBE, PretrainTask
from tapetum.train import Average, StepContext

if TYPE_CHECKING:
    from tapetum.systems.odin.recipes import OdinRun
    from tapetum.systems.pretraining.data import ImageSource, TrainingImage
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.launch_config import Launch

_PURPOSE = 0x6F64696E
"""Begins the streams of random numbers of Odin's views, apart from other uses of the same seed."""
_NEVER = 2**40
"""Steps between the copies of a network that is never copied: more than any run has."""


class OdinTask(PretrainTask):
    """Discover objects and representations together."""

    def __init__(self, run: "OdinRun", source: "ImageSource", masks: "np.ndarray | None" = None):
        """`masks`: ids (images, rows, columns) that come with the images, where the source of masks is given."""
        self.masks = masks
        super().__init__(run, source)  # pyright: ignore[reportArgumentType]
        config = run.odin
        target = Average(name="target", decay=config.target_decay, schedule="cosine")
        discovery = {
            "average": Average(name="discovery", decay=config.discovery_decay, schedule="constant"),
            "copies": Average(name="discovery", schedule="periodic", every=config.discovery_every),
            "fixed": Average(name="discovery", schedule="periodic", every=_NEVER),
        }[config.discovery]
        self.averages = (*([target] if config.form == "b" else []), *([discovery] if config.clusters_features else []))
        self.teachers = tuple(average.name for average in self.averages)
        self.idle_parameters = bool(config.pyramid_width)  # outputs of the coarser levels

    def views(self) -> Sequence[View]:
        """List BYOL's two views, with which DetCon's agree."""
        return byol(self.run.size)

    def learner(self, encoder: Encoder) -> nn.Module:
        """Add pyramid, projector and predictor to the encoder."""
        return Odin(self.run.settings(), encoder)

    def collate(self, items: "Sequence[TrainingImage]") -> dict[str, Any]:
        """Make both views, the one that spans them, and the boxes of all three."""
        images, numbers = [channels_first(item.image) for item in items], [item.number for item in items]
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        views = self.views()
        draws = [draw(view, sizes, self.run.seed, _PURPOSE + k, numbers) for k, view in enumerate(views)]
        crops = [Crops(torch.from_numpy(each.boxes).float(), torch.from_numpy(each.mirrored)) for each in draws]
        span = span_crops(*crops)
        pixels = [
            recolour(crop(images, each, view).contiguous().float().div_(255), each, blur_radius(view.sigma[1]))
            for each, view in zip(draws, views, strict=True)
        ]
        # the spanning view is cropped and resized, without flip and colours
        plain = replace(draws[0], boxes=span.box.long().numpy(), mirrored=np.zeros(len(items), bool))
        pixels.append(crop(images, plain, views[0]).contiguous().float().div_(255))
        preprocessing = self.run.architecture.preprocessing
        mean, std = (torch.tensor(value).view(3, 1, 1) / 255 for value in (preprocessing.mean, preprocessing.std))
        batch: dict[str, Any] = {
            "views": [x.sub_(mean).div_(std) for x in pixels],  # 3 of (b, 3, size, size)
            "boxes": torch.stack([*(each.box for each in crops), span.box]),  # (3, b, 4)
            "flipped": torch.stack([*(each.flipped for each in crops), span.flipped]),  # (3, b)
            "number": tuple(numbers),
            "index": tuple(item.index for item in items),
            "damaged": tuple(k for item in items for k in item.damaged),
        }
        if self.masks is not None:
            batch["given"] = torch.from_numpy(self.masks[[item.index for item in items]].astype(np.int64))
            batch["whole"] = whole_crops(sizes).box
        return batch

    def method_loss(self, model: Any, batch: Mapping[str, Any], context: StepContext) -> "Loss":
        """Compute DetCon's loss of masks discovered in the spanning view."""
        config = self.run.settings()
        ids, regions = self._discover(batch, context, model.stride)
        maps = [model(view) for view in batch["views"][:2]]  # (b, d, h, w)
        pooled = [pool_masks(each, own, regions) for each, own in zip(maps, ids, strict=True)]
        cells = [count for _, count in pooled]  # (b, regions), 0 where a mask is empty in the view
        draws = [sample_regions(each, config.sampled, context.generator) if config.sampled else None for each in cells]
        names = [_name_masks(each, own) for each, own in zip(cells, draws, strict=True)]  # (b, r)
        present = [each >= 0 for each in names]
        rows = [_select(means, own) for (means, _), own in zip(pooled, draws, strict=True)]  # (b, r, d)
        projections = [model.project(each, own) for each, own in zip(rows, present, strict=True)]
        if config.form == "s":
            loss = detcon_s(*projections, *names, temperature=config.temperature, local_negatives=config.local_negatives)
        else:
            target: Any = use_batch_statistics(context.teachers["target"])
            with torch.no_grad():
                means = [pool_masks(target(view), own, regions)[0] for view, own in zip(batch["views"][:2], ids, strict=True)]
                targets = [target.project(_select(means[k], draws[k]), present[k]) for k in range(2)]
            predictions = [model.predict(each, own) for each, own in zip(projections, present, strict=True)]
            settings = {"temperature": config.temperature, "local_negatives": config.local_negatives}
            loss = detcon(*predictions, *targets, *names, *names, **settings)
        kept = ((cells[0] > 0) & (cells[1] > 0)).float().sum(1) / (cells[0] + cells[1] > 0).float().sum(1).clamp(min=1)
        share = cells[0] / cells[0].sum(1, keepdim=True).clamp(min=1)  # entropy: 0, all in one mask; 1, all of one size
        entropy = -(share * share.clamp(min=1e-12).log()).sum(1).mean() / np.log(max(share.shape[1], 2))
        return loss, maps[0].mean((2, 3)), {"alive": kept.mean(), "entropy": entropy}

    @torch.no_grad()
    def _discover(self, batch: Mapping[str, Any], context: StepContext, stride: int) -> tuple[list[Tensor], int]:
        """Find masks in the spanning view: ids of both views, a cell for each `stride` pixels, and how many there may be."""
        discovery: Any = context.teachers.get("discovery")
        discovery = None if discovery is None else use_batch_statistics(discovery)
        source, spanning = MaskSource(self.run.settings(), discovery), batch["views"][2]
        seed = sample_generator(self.run.seed, batch["number"][0]).integers(2**32)
        ids = source(spanning, batch.get("given"), torch.Generator(spanning.device).manual_seed(int(seed)))
        *crops, span = (Crops(box, flip) for box, flip in zip(batch["boxes"], batch["flipped"], strict=True))
        if "given" in batch:  # they are of whole images, not of the spanning view
            span = Crops(batch["whole"], torch.zeros_like(span.flipped))
        side = -(-self.run.size // stride)
        return [warp(ids, span, each, (side, side)) for each in crops], source.regions

    def describe(self) -> Mapping[str, Any]:
        """List the settings that determine the result, apart from the images themselves."""
        left_out = ("data", "data_weights", "preset", "epochs", "micro_batch", *PROBE)
        settings = {name: value for name, value in asdict(self.run).items() if name not in left_out}
        settings["odin"] = {**settings["odin"], "cache_masks": False}  # as version 0.1.0 recorded it
        return {"method": "odin", **settings, "encoder": self.run.encoder_label(), **self.source.about}


def _name_masks(cells: Tensor, draws: Tensor | None) -> Tensor:
    """Number the masks of a view (those drawn, or all), and those that are empty in it -1 (see `systems.odin.losses`)."""
    number = torch.arange(cells.shape[1], device=cells.device).expand_as(cells) if draws is None else draws
    return torch.where(cells.gather(1, number) > 0, number, OUTSIDE)


def _select(rows: Tensor, draws: Tensor | None) -> Tensor:
    return rows if draws is None else rows.gather(1, draws[..., None].expand(-1, -1, rows.shape[-1]))


def train_odin(run: "OdinRun", launch: "Launch", say: Callable[[str], None] = print) -> Path | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. None if there is more to do.

    Leaves the encoder (`encoder.safetensors`, for `tapetum embed`) and the whole network (`odin.safetensors`, for
    `tapetum discover`), whose path is returned. Raises BadInput for anything the user can fix.
    """
    from tapetum.systems.odin.weights import ODIN_FILE, save
    from tapetum.systems.pretraining.run import run_task, source_of
    from tapetum.train.launch import is_main

    if run.odin.source == "given":
        raise BadInput("masks that are given want a program of yours (systems.odin.task.OdinTask); choose another source")
    source = source_of(run)
    models: list[Any] = []
    finished = run_task(OdinTask(run, source), launch, say, models.append)
    if finished is None:
        return None
    path = launch.out / ODIN_FILE
    if is_main():
        save(models[0], path)
    return path
