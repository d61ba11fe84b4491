"""Odin's task: masks from one network, contrast of what they hold in another (arXiv 2203.08777, section 3; DetCon's code).

    image --+-- view 1 --online--> map, pooled by masks, projected, predicted --.
              +-- view 2 --target--> map, pooled by masks, projected -------------'  DetCon's loss, and with views swapped
              +-- spanning view --discovery--> masks, brought to both views

The target is an average of the online network, whose decay rises to 1; the discovery network another average, or a copy taken
from time to time, or never changed. Batch norms of both use their batch (DetCon). The result is the online encoder.

A mask that is empty in a view has no row there: it is no negative, and no batch norm sees it, as in DetCon's code, which draws
among the masks that are there.

Differs from the paper where that could not be read: settings of `OdinConfig`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.data.samples import sample_generator
from tapetum.data.views import View, byol
from tapetum.data.views.draw import ViewParameters, draw
from tapetum.data.views.make import blur_radius, crop, recolour
from tapetum.encoders.features import Encoder
from tapetum.systems.odin.losses import detcon, detcon_s
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import OdinRun
from tapetum.systems.odin.regions import OUTSIDE, Crops, draw_regions, masked_mean, spanning, warp
from tapetum.systems.odin.sources import mask_source
from tapetum.systems.pretraining.data import ImageSource, TrainingImage
from tapetum.systems.pretraining.heads import use_batch_statistics
from tapetum.systems.pretraining.task import PretrainTask
from tapetum.train import Average, StepContext

_PURPOSE = 0x6F64696E
"""Begins the streams of Odin's views, apart from other uses of the same seed."""


class OdinTask(PretrainTask):
    """Objects and representations, discovered together."""

    def __init__(self, run: OdinRun, source: ImageSource, masks: "np.ndarray | None" = None):
        """`masks`: ids (images, rows, columns) that come with the images, where the source of masks is given."""
        self.masks = masks
        super().__init__(run, source)  # pyright: ignore[reportArgumentType]
        how = run.odin
        target = Average(name="target", decay=how.target_decay, schedule="cosine")
        followers = {
            "average": Average(name="discovery", decay=how.discovery_decay, schedule="constant"),
            "copies": Average(name="discovery", schedule="periodic", every=how.discovery_every),
            "fixed": Average(name="discovery", schedule="periodic", every=1 << 40),
        }
        clusters_features = how.source in ("features", "projections")
        self.averages = (*([target] if how.form == "b" else []), *([followers[how.discovery]] if clusters_features else []))
        self.teachers = tuple(average.name for average in self.averages)

    def views(self) -> Sequence[View]:
        """Give BYOL's two views, with which DetCon's agree."""
        return byol(self.run.size)

    def learner(self, encoder: Encoder) -> nn.Module:
        """Put pyramid, projector and predictor on the encoder."""
        return Odin(self.run.settings(), encoder)

    def collate(self, items: Sequence[TrainingImage]) -> dict[str, Any]:
        """Make both views, the one that spans them, and where all three were cut."""
        images, numbers = [item.image for item in items], [item.number for item in items]
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        views = self.views()
        drawn = [draw(view, sizes, self.run.seed, _PURPOSE + k, numbers) for k, view in enumerate(views)]
        cuts = [Crops(torch.from_numpy(each.boxes).float(), torch.from_numpy(each.mirrored)) for each in drawn]
        whole = spanning(*cuts)
        made = [_shown(images, each, view) for each, view in zip(drawn, views, strict=True)]
        plain = replace(drawn[0], boxes=whole.box.long().numpy(), mirrored=np.zeros(len(items), bool))
        made.append(crop(images, plain, views[0]).contiguous().float().div_(255))
        how = self.run.architecture.preprocessing
        mean, std = (torch.tensor(value).view(3, 1, 1) / 255 for value in (how.mean, how.std))
        batch: dict[str, Any] = {
            "views": [x.sub_(mean).div_(std) for x in made],
            "boxes": torch.stack([*(cut.box for cut in cuts), whole.box]),
            "flipped": torch.stack([*(cut.flipped for cut in cuts), whole.flipped]),
            "number": torch.tensor(numbers),
            "damaged": torch.tensor([k for item in items for k in item.damaged], dtype=torch.int64),
        }
        if self.masks is not None:
            batch["given"] = torch.from_numpy(self.masks[[item.index for item in items]].astype(np.int64))
            batch["sizes"] = torch.tensor(sizes, dtype=torch.float32)
        return batch

    def method_loss(
        self, model: Any, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Tensor, Mapping[str, float | Tensor]]:
        """Compute DetCon's loss of masks found in the spanning view."""
        how = self.run.settings()
        ids, regions = self._masks(batch, context, model.stride)
        online = [_cache(model, view, each, regions) for view, each in zip(batch["views"], ids, strict=False)]
        cells = [found[1] for found in online]
        chosen = [draw_regions(each, how.sampled, context.generator) for each in cells] if how.sampled else [None, None]
        names = [_names(each, own) for each, own in zip(cells, chosen, strict=True)]
        there = [each >= 0 for each in names]
        rows = [_taken(found[0], own) for found, own in zip(online, chosen, strict=True)]
        projections = [model.project(each, own) for each, own in zip(rows, there, strict=True)]
        if how.form == "s":
            loss = detcon_s(projections[0], projections[1], names[0], names[1], how.temperature, how.local_negatives)
        else:
            target: Any = use_batch_statistics(context.teachers["target"])
            with torch.no_grad():
                seen = [_cache(target, view, each, regions)[0] for view, each in zip(batch["views"], ids, strict=False)]
                wanted = [target.project(_taken(seen[k], chosen[k]), there[k]) for k in range(2)]
            said = [model.predict(each, own) for each, own in zip(projections, there, strict=True)]
            loss = detcon(
                said[0],
                said[1],
                wanted[0],
                wanted[1],
                pred_ids1=names[0],
                pred_ids2=names[1],
                target_ids1=names[0],
                target_ids2=names[1],
                temperature=how.temperature,
                local_negatives=how.local_negatives,
            )
        alive = ((cells[0] > 0) & (cells[1] > 0)).float().sum(1) / (cells[0] + cells[1] > 0).float().sum(1).clamp(min=1)
        return loss, online[0][2].mean((2, 3)), {"alive": alive.mean(), "entropy": _entropy(cells[0])}

    @torch.no_grad()
    def _masks(self, batch: Mapping[str, Any], context: StepContext, stride: int) -> tuple[list[Tensor], int]:
        """Give the ids of both views, a cell for each `stride` pixels, and how many there may be."""
        how = self.run.settings()
        discovery: Any = use_batch_statistics(context.teachers["discovery"]) if "discovery" in context.teachers else None
        source = mask_source(how, discovery)
        drawn = sample_generator(self.run.seed, int(batch["number"][0])).integers(2**32)
        generator = torch.Generator(batch["views"][2].device).manual_seed(int(drawn))
        found = source(batch["views"][2], batch.get("given"), generator)
        *cuts, whole = (Crops(box, flip) for box, flip in zip(batch["boxes"], batch["flipped"], strict=True))
        if "given" in batch:  # they are of whole images, not of the spanning view
            zeros = torch.zeros_like(batch["sizes"])
            whole = Crops(torch.cat([zeros, batch["sizes"]], 1), torch.zeros_like(whole.flipped))
        side = -(-self.run.size // stride)
        return [warp(found, whole, cut, (side, side)) for cut in cuts], source.regions

    def describe(self) -> Mapping[str, Any]:
        """List what decides what is learned, but for the images themselves."""
        left_out = ("data", "preset", "epochs", "micro_batch")
        settings = {name: value for name, value in asdict(self.run).items() if name not in left_out}
        return {"method": "odin", **settings, **self.source.about}


def _shown(images: Sequence[np.ndarray], drawn: ViewParameters, view: View) -> Tensor:
    x = crop(images, drawn, view).contiguous().float().div_(255)
    return recolour(x, drawn, blur_radius(view.sigma[1]))


def _cache(model: Any, view: Tensor, ids: Tensor, regions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give the mean of each mask, its cells, and the map."""
    found = model(view)
    means, cells = masked_mean(found, ids, regions)
    return means, cells, found


def _names(cells: Tensor, chosen: Tensor | None) -> Tensor:
    """Number the masks of a view (those chosen, or all), and those that are empty in it -1 (see `systems.odin.losses`)."""
    number = torch.arange(cells.shape[1], device=cells.device).expand_as(cells) if chosen is None else chosen
    return torch.where(cells.gather(1, number) > 0, number, OUTSIDE)


def _taken(rows: Tensor, chosen: Tensor | None) -> Tensor:
    return rows if chosen is None else rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[-1]))


def _entropy(cells: Tensor) -> Tensor:
    """Measure how evenly masks share an image: 0, all in one; 1, all of one size."""
    share = cells / cells.sum(1, keepdim=True).clamp(min=1)
    return -(share * share.clamp(min=1e-12).log()).sum(1).mean() / np.log(max(cells.shape[1], 2))
