"""DINOv2 (arXiv 2304.07193): DINO on class tokens and iBOT on hidden patches, with KoLeo, for training at scale or going on.

    2 large crops --+- average (no gradient) -- class tokens, hidden patches' tokens -> heads -> Sinkhorn-Knopp or centring
                    |                                                                             cross entropies of
    the same with --+- encoder -- class tokens, hidden patches' tokens -> heads -> softmax ------- class and patches
    hidden patches, |
    small crops     '
    loss = classes (as DINO, all pairs of different crops) + patches + 0.1 * KoLeo of each large crop's class tokens

`--encoder weights:dinov2-small` goes on from published weights, which have no heads: `head_epochs` trains those alone at first.
`gram` keeps patches as similar to each other as in the network that the run began with (DINOv3, arXiv 2508.10104, section 4);
theirs is an earlier average that teaches, and may see larger images. `queue` is SwAV's (2006.09882), of logits, not features.

Differs from the public code: the learning rate falls to 0, not 1e-6; the temperature rises per step, not per epoch; gradients
are clipped parameter by parameter, not by network; masks and the neighbours of KoLeo are of the joint batch of all processes.
In the steps of `high_resolution` learned positions keep their grid and are interpolated; theirs become more.
Of accumulated micro-batches each is a joint batch to Sinkhorn-Knopp, KoLeo and centres; masks are drawn for the whole step.
The queue has the step's earlier micro-batches first.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.systems.pretraining.methods.dino import Dino, DinoTask
from tapetum.systems.pretraining.task import VIT, vit_config
from tapetum.train.config import Average

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tapetum.data.views import View
    from tapetum.systems.pretraining.data import TrainingImage
    from tapetum.systems.pretraining.heads import Learner
    from tapetum.systems.pretraining.task import Loss
    from tapetum.train.task import StepContext


@dataclass(frozen=True, kw_only=True)
class DinoV2(Dino):
    """DINO on whole crops and on hidden patches of a ViT."""

    global_area: tuple[float, float] = (0.32, 1.0)
    local_area: tuple[float, float] = (0.05, 0.32)
    final_teacher_temperature: float = 0.07
    decay: float = 0.992
    centring: Literal["centre", "sinkhorn"] = "centre"
    """What keeps the teacher from saying the same of all: a running mean that is subtracted, or Sinkhorn-Knopp."""
    queue: int = 0
    """Class tokens of earlier batches that Sinkhorn-Knopp assigns together with a small batch's; 0: none."""
    mask_probability: float = 0.5
    """Part of the large crops that have hidden patches."""
    mask_shares: tuple[float, float] = (0.1, 0.5)
    """Least and greatest part of their patches."""
    patch_prototypes: int = 0
    """Numbers of a head of its own for patches; 0: they share the head of classes."""
    patch_bottleneck: int = 0
    """Width of that head before its prototypes; 0: as that of classes."""
    gain: bool = False
    """Learn the length of each prototype, as the public code does; otherwise it stays 1, as in DINO."""
    koleo: float = 0.1
    """Weight of KoLeo, which spreads class tokens; it wants batches of 32 and more."""
    gram: float = 0.0
    """Weight of Gram anchoring, against patches that decay in long runs; 0: none."""
    gram_every: int = 0
    """Steps after which its anchor becomes the network of then; 0: it stays what the run began with."""
    layer_decay: float = 0.9
    """Factor on the learning rate from each block to the one before it."""
    patch_rate: float = 0.2
    """Factor on the learning rate of the patch projection, beside that."""
    head_epochs: float = 0.0
    """Epochs at the start in which the heads alone learn, for an encoder that has learned before."""
    high_resolution: int = 0
    """Side of the large crops in the last steps, such as 518 after 224; 0: it does not change."""
    high_resolution_steps: int = 0
    """How many steps these are; 10,000 of 625,000 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(
            self,
            mask_probability="[0, 1]",
            **dict.fromkeys(("patch_prototypes", "patch_bottleneck", "koleo", "patch_rate", "head_epochs"), "[0, inf)"),
            **dict.fromkeys(("queue", "gram", "gram_every", "high_resolution", "high_resolution_steps"), "[0, inf)"),
            layer_decay="(0, 1]",
        )
        if self.queue and self.centring != "sinkhorn":
            raise BadInput("a queue is for Sinkhorn-Knopp; give --centring sinkhorn too, or leave --queue out")
        if bool(self.high_resolution) != bool(self.high_resolution_steps):
            raise BadInput("give both --high-resolution, a side in pixels, and --high-resolution-steps, or neither")
        low, high = self.mask_shares
        if not 0 <= low <= high < 1:
            raise BadInput(f"mask_shares is from {low} to {high}; give two numbers from 0 to below 1, the smaller first")


class DinoV2Task(DinoTask):
    """Predict the teacher's output for large crops from all crops, and for patches from what surrounds them."""

    help = "DINO on class tokens and on hidden patches; goes on from published weights."
    Settings = DinoV2
    presets: ClassVar = {
        "small": {
            "encoder": "vit-tiny-16",
            "change": ("patch=8",),
            "weight_decay": 0.04,
            "final_weight_decay": 0.4,
            "base_lr": 5e-4,
            "clip_norm": 3.0,
            "dinov2": {"local_views": 6, "prototypes": 4096, "hidden": 1024, "decay": 0.99, "koleo": 0.0},
        },
        # the public code's vitl16_short: 32 GPUs of 64 images; 4e-3 for 1,024 images, in proportion to the root of the batch;
        # its epochs are of 1,250 steps, two of ImageNet's at this batch
        "vit": {
            **VIT,
            "encoder": "vit-large-16",
            "change": ("drop_path=0.3", "layer_scale=1e-5"),
            "batch_size": 2048,
            "base_lr": 4e-3 * 2**0.5 / 8,
            "epochs": 200,
            "warmup_epochs": 20,
            "weight_decay": 0.04,
            "final_weight_decay": 0.4,
            "clip_norm": 3.0,
            "clip_each": True,
            "dinov2": {"teacher_warmup_epochs": 60, "frozen_epochs": 2},
        },
    }
    unpublished: ClassVar = {"vit": {"batch_size": "of the public command, 4 machines of 8 GPUs"}}
    hides_patches = True
    settings: DinoV2

    def __init__(self, run, source):
        super().__init__(run, source)
        self.head_steps = round(self.settings.head_epochs * len(source) / run.batch_size)
        self.idle_parameters |= self.head_steps > 0
        if self.settings.high_resolution and (run.steps or len(source)):  # without data nobody knows how long the run is
            self.cost_changes = (run.steps_of(len(source)) - self.settings.high_resolution_steps,)
        if self.settings.gram:
            self.teachers = (*self.teachers, "anchor")
            self.averages += (Average(name="anchor", schedule="periodic", every=self.settings.gram_every or sys.maxsize),)

    def views_at(self, step: int) -> "Sequence[View]":
        return self.crops(self._side(step))

    def _side(self, step: int) -> int:
        return self.settings.high_resolution if any(step >= first for first in self.cost_changes) else self.run.size

    def check(self) -> None:
        from tapetum.encoders.architectures import check_side
        from tapetum.systems.pretraining.recipes import is_trained

        config, steps = vit_config(self.run), self.run.steps_of(len(self.source))
        check_side(config, self.settings.high_resolution, "--high-resolution")
        if self.settings.high_resolution_steps >= steps and (self.run.steps or len(self.source)):
            raise BadInput(
                f"high resolution is for the last {self.settings.high_resolution_steps:,} steps, and the run has {steps:,}; "
                "give fewer --high-resolution-steps, or --size for all of them"
            )
        if config.projection and not self.settings.patch_prototypes:
            raise BadInput(
                f"patches of {self.run.encoder} have {config.width} channels and images {config.projection}, so that one head "
                "does not fit both; give patch_prototypes"
            )
        if self.settings.koleo and self.run.batch_size < 2:
            raise BadInput("KoLeo compares the images of a batch; give batch_size 2 or more, or koleo 0")
        if self.settings.queue % (2 * self.run.batch_size):
            raise BadInput(
                f"a queue of {self.settings.queue} holds a part of a batch, which has {2 * self.run.batch_size} large crops; "
                "give a multiple of that"
            )
        if self.settings.gram and not self.settings.gram_every and not is_trained(self.run.encoder):
            raise BadInput(
                f"gram keeps patches as the run found them, and {self.run.encoder} begins anew; give --gram-every, or an "
                "encoder that has learned"
            )

    def learner(self, encoder: Any) -> "Learner":
        import torch
        from torch import nn

        from tapetum.systems.pretraining.heads import DinoHead, Learner

        settings, heads = self.settings, {}
        sizes = encoder.width, settings.hidden, settings.bottleneck, settings.prototypes
        heads["head"] = DinoHead(*sizes, settings.gain)
        if settings.patch_prototypes:
            sizes = encoder.config.width, settings.hidden, settings.patch_bottleneck or settings.bottleneck
            heads["patches"] = DinoHead(*sizes, settings.patch_prototypes, settings.gain)
        learner = Learner(encoder, **heads)
        token = torch.zeros(encoder.config.width) if encoder.mask_token is None else encoder.mask_token.clone()
        del encoder.mask_token  # it learns here
        encoder.mask_token, encoder.config = nn.Parameter(token), replace(encoder.config, mask_token=True)
        learner.register_buffer("center", torch.zeros(settings.prototypes))
        learner.register_buffer("patch_center", torch.zeros(settings.patch_prototypes or settings.prototypes))
        if settings.queue:
            learner.register_buffer("queue", torch.zeros(settings.queue, settings.prototypes))
        return learner

    def extras(self, items: "Sequence[TrainingImage]") -> "dict[str, Tensor]":
        """Choose the hidden patches of both large crops."""
        import numpy as np
        import torch

        from tapetum.systems.pretraining.masks import step_masks

        settings, batch = self.settings, self.run.batch_size
        rows = []
        for item in items:
            step, place = divmod(item.number, batch)
            grid = vit_config(self.run, self._side(step)).grid
            masks = step_masks(grid, 2 * batch, settings.mask_shares, settings.mask_probability, self.run.seed, step)
            rows.append(masks[[place, batch + place]])
        return {"hidden": torch.from_numpy(np.stack(rows))}  # (b, 2, n)

    def _places(self, hidden: "Tensor") -> "Tensor":
        """Number the hidden patches of all crops; of a plan, whose tensors have no values, as many as there are on average."""
        import torch

        if hidden.is_meta:
            share = self.settings.mask_probability * sum(self.settings.mask_shares) / 2
            return torch.empty(round(hidden.numel() * share), dtype=torch.long, device="meta")
        return hidden.flatten().nonzero()[:, 0]

    def _queued(self, logits: "Tensor", model: Any, step: int) -> "Tensor":
        """Append this process's share of the queue to the batch's logits, and put those of all processes into the queue."""
        import torch

        from tapetum.train.gather import all_gather
        from tapetum.train.process_group import current_process_group

        if not self.settings.queue:
            return logits
        processes, filled = current_process_group(), min(self.settings.queue, 2 * self.run.batch_size * step)
        rows = torch.cat((logits, model.queue[:filled][processes.rank :: processes.size].to(logits.dtype)))
        newest = all_gather(logits.unflatten(0, (2, -1)).transpose(0, 1)).flatten(0, 1)  # by image, as in one process
        model.queue.copy_(torch.cat((newest.to(model.queue.dtype), model.queue))[: self.settings.queue])
        return rows

    def method_loss(self, model: Any, batch: Mapping[str, Any], context: "StepContext") -> "Loss":
        import torch

        from tapetum.systems.pretraining import losses
        from tapetum.systems.pretraining.heads import move_center, prototype_use

        settings, views, prefix = self.settings, batch["views"], model.encoder.config.prefix
        large, hidden = torch.cat(views[:2]), batch["hidden"].transpose(0, 1).flatten(0, 1)  # (2 b, n)
        places = self._places(hidden)
        teacher: Any = context.teachers["teacher"]
        patch_head = "patches" if settings.patch_prototypes else "head"
        epochs = context.step * self.run.batch_size / max(len(self.source), 1)
        temperature = settings.teacher_temperature_after(epochs)

        def targets(logits: "Tensor", center: "Tensor") -> "Tensor":
            if settings.centring == "sinkhorn":
                return losses.sinkhorn_knopp(logits, temperature)
            return losses.centred(logits, center, temperature)

        with torch.no_grad():
            taught = teacher.encoder(large)
            class_logits = teacher.heads["head"](taught.pooled)
            patch_logits = teacher.heads[patch_head](taught.tokens[:, prefix:].flatten(0, 1)[places])
            class_targets = targets(self._queued(class_logits, model, context.step), model.center)
            class_targets = class_targets[: len(class_logits)].unflatten(0, (2, -1))
            patch_targets = targets(patch_logits, model.patch_center)
        frozen = context.step < self.frozen_steps
        with torch.set_grad_enabled(torch.is_grad_enabled() and context.step >= self.head_steps):
            masked = model.encoder(large, hidden, model.encoder.mask_token)
            classes = [masked.pooled]
            if len(views) > 2:
                classes.append(model.encoder(torch.cat(views[2:])).pooled)
        student_classes = model.heads["head"](torch.cat(classes), frozen=frozen).unflatten(0, (len(views), -1))
        student_patches = model.heads[patch_head](masked.tokens[:, prefix:].flatten(0, 1)[places], frozen=frozen)
        image = places // hidden.shape[1]
        class_loss = losses.pairs(student_classes, class_targets, settings.student_temperature)
        patch_loss = losses.masked_patches(student_patches, patch_targets, image, len(hidden), settings.student_temperature)
        loss = class_loss + patch_loss
        metrics: dict[str, Any] = {"class_loss": class_loss.detach(), "patch_loss": patch_loss.detach()}
        metrics |= prototype_use(class_targets.flatten(0, 1))
        if settings.gram:
            with torch.no_grad():
                anchor: Any = context.teachers["anchor"]
                similar_to = anchor.encoder(large).tokens[:, prefix:]
            unlike = losses.gram(masked.tokens[:, prefix:], similar_to)
            metrics["gram"] = unlike.detach()
            loss = loss + settings.gram * unlike
        if settings.koleo:
            first, second = map(losses.koleo, classes[0].chunk(2))  # two crops never repel each other
            spread = first + second
            metrics["koleo"] = spread.detach()
            loss = loss + settings.koleo * spread
        if settings.centring == "centre":
            model.center.copy_(move_center(model.center, class_logits, settings.center_decay))
            model.patch_center.copy_(move_center(model.patch_center, patch_logits, settings.center_decay))
        return loss, classes[0][: len(views[0])], metrics

    def parameter_groups(self, model: "nn.Module") -> list[dict[str, Any]]:
        """Split the groups by rate: each block by its distance to the output, the patch projection slower still."""
        from tapetum.train.optim import layer_scales

        encoder: Any = model.encoder
        stem = [getattr(encoder, name, None) for name in ("patches", "class_token", "registers", "positions", "mask_token")]
        stem = [part for part in stem if part is not None]
        layers = [stem, *([block] for block in encoder.blocks)]
        scales = layer_scales(model, layers, self.settings.layer_decay)
        for parameter in encoder.patches.parameters():
            scales[id(parameter)] *= self.settings.patch_rate
        groups = []
        for group in super().parameter_groups(model):
            for scale in sorted({scales[id(p)] for p in group["params"]}):
                part = [p for p in group["params"] if scales[id(p)] == scale]
                groups.append({**group, "params": part, "lr_scale": scale})
        return groups
