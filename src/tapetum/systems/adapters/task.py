"""Training tasks on top of a trunk: adapters and a head, for images; `clone` has the task for demonstrations."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle
from tapetum.encoders.features import Encoder, Features, prepare
from tapetum.metrics.masks import Confusion
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.caching import Below, Recorded
from tapetum.systems.adapters.heads import PolicyHead, make_head, reads_maps
from tapetum.systems.adapters.images import IGNORED, ListedImages, OwnImages
from tapetum.systems.adapters.recipes import AdaptRun
from tapetum.systems.adapters.weaving import trunk_hash
from tapetum.systems.adapters.worlds.world import Observation
from tapetum.train import StepContext, Task

MEASURED_ON = 256
"""Examples from whose features a head takes its first figures."""
AT_A_TIME = 64
"""Examples that go through the network together where nothing learns."""


class Headed(nn.Module):
    """A trunk, with adapters or alone, and a head."""

    def __init__(self, trunk: Adapted | Encoder, head: nn.Module, about: Mapping[str, Any]):
        super().__init__()
        self.trunk, self.head, self.about = trunk, head, dict(about)

    def forward(self, images: Float[Tensor, "b 3 h w"], own: Float[Tensor, "b p"] | None = None) -> Tensor:
        """Compute the head's output for prepared images: logits of classes or of pixels, or standardised actions."""
        return self.of(self.trunk(images), own)

    def of(self, features: Features, own: Tensor | None = None) -> Tensor:
        """Compute the head's output for features."""
        if reads_maps(self.about):
            return self.head(features.maps)
        return self.of_pooled(features.pooled, own)

    def of_pooled(self, pooled: Float[Tensor, "b e"], own: Tensor | None = None) -> Tensor:
        """Compute the head's output for pooled vectors."""
        return self.head(pooled, own) if isinstance(self.head, PolicyHead) else self.head(pooled)

    def prepare(self, images: Any) -> Float[Tensor, "b 3 H W"]:
        """Prepare uint8 images (b, h, w, 3) as the trunk expects them."""
        return prepare(images, self.trunk.preprocessing, next(self.head.parameters()).device)

    def classify(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Compute the logits of prepared images. Raises BadInput for another head."""
        if self.about["task"] != "classify":
            raise BadInput(f"this head is for {self.about['task']}, and tells no classes of images; give one of classify")
        return self(images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """List the names of the classes; none if the head has none."""
        return tuple(self.about.get("classes", ()))

    @torch.no_grad()
    def act(self, observation: Observation) -> np.ndarray:
        """Compute the action of a policy for an observation."""
        images = self.prepare(observation.frame[None])
        own = torch.from_numpy(observation.own[None]).to(images.device)
        return cast(PolicyHead, self.head).actions(self(images, own))[0].double().cpu().numpy()


class AdaptTask(Task):
    """Base of the tasks: the model, and its parameters in groups."""

    about: Mapping[str, Any]
    """Of the head; see `make_head`."""

    def __init__(self, run: AdaptRun, trunk: Callable[[], Encoder]):
        """`trunk` makes a new trunk with the run's preprocessing."""
        self.run, self._trunk = run, trunk
        self._resumed: Below | None = None

    def adapted(self) -> Adapted | Encoder:
        """Make the trunk for the run's regime."""
        trunk, run = self._trunk(), self.run
        if run.regime == "full":
            return trunk
        adapted = Adapted(trunk, strict=run.strict)
        if run.regime == "adapters":
            adapted.add(run.name, run.config, run.seed)
            adapted.use(run.name)
        return adapted

    def model(self) -> nn.Module:
        """Make the trunk with its adapters, and a head measured on the first examples."""
        model = Headed(self.adapted(), make_head(self.about), self.about)
        with torch.no_grad():
            self.measure(model.eval())
        return model

    def measure(self, model: Headed) -> None:
        """Let the head take its statistics."""
        raise NotImplementedError

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Group the parameters: adapters' matrices decay, and the head has its own learning rate."""
        headed, run = cast(Headed, model), self.run
        own = [p for p in headed.trunk.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in own if p.ndim >= 2], "weight_decay": run.weight_decay},
            {"params": [p for p in own if p.ndim < 2], "weight_decay": 0.0},
            {"params": list(headed.head.parameters()), "weight_decay": 0.0, "lr_scale": run.head_lr / run.lr},
        ]
        return [group for group in groups if group["params"]]

    @cached_property
    def below(self) -> Below | None:
        """Get the part below the lowest adapter, if it can be computed once."""
        run = self.run
        if not run.cache or run.shift or run.regime == "full" or reads_maps(self.about):
            return None
        below = Below(cast(Adapted, self.adapted()))
        return below if below.possible else None

    def described(self) -> dict[str, Any]:
        """Describe the identity of the run. Evaluation and speed settings may change on resume."""
        kept = {
            name: value
            for name, value in asdict(self.run).items()
            if name not in ("data", "suite", "cache", "strict", "rollouts")
        }
        return {"run": {**kept, "task": self.about["task"]}, "head": dict(self.about), "trunk": trunk_hash(self._trunk())}

    def answer(self, model: Headed, batch: Mapping[str, Tensor], own: Tensor | None = None) -> Tensor:
        """Compute the head's output for a batch of images, or of their recorded features."""
        if "recorded" not in batch:
            return model(batch["image"].contiguous(memory_format=torch.channels_last), own)
        if self._resumed is None or self._resumed.bank is not model.trunk:
            self._resumed = Below(cast(Adapted, model.trunk))
        return model.of_pooled(self._resumed.resume(batch["recorded"], model.trunk.preprocessing.size), own)


class TargetTask(AdaptTask):
    """Images with a target each."""

    train: ListedImages | OwnImages
    """To learn from."""

    def measure(self, model: Headed) -> None:
        """Measure features of the first training examples."""
        count = min(MEASURED_ON, len(self.train))
        order = Shuffle(len(self.train), self.run.seed)
        features = [model.trunk(self.train.plain(order(i))["image"][None]) for i in range(count)]
        joined = Features(
            tokens=features[0].tokens,
            grid=features[0].grid,
            pooled=torch.cat([f.pooled for f in features]),
            maps=tuple(torch.cat(maps) for maps in zip(*(f.maps for f in features), strict=True)),
        )
        model.head.measure(joined)  # pyright: ignore[reportCallIssue]

    def dataset(self) -> Dataset:
        """Build the data set of images with targets."""
        return self.train if self.below is None else Recorded(self.train, self.below, self.run.steps * self.run.batch_size)

    def describe(self) -> Mapping[str, Any]:
        """Describe everything that determines the result."""
        return self.described()


class ImageTask(TargetTask):
    """Classes of images, or of their pixels."""

    def __init__(self, run: AdaptRun, trunk: Callable[[], Encoder], train: ListedImages, checks: ListedImages):
        """Train on `train`, evaluate on `checks`."""
        super().__init__(run, trunk)
        self.train, self.checks = train, checks
        made = trunk()
        sizes: dict[str, Any] = {"width": made.width} if run.task == "classify" else {"channels": list(made.map_channels)}
        self.about = {"task": run.task, "classes": list(train.listing.classes), **sizes}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute cross entropy."""
        logits, target = self.answer(cast(Headed, model), batch), batch["target"]
        if target.ndim > 1:
            logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
        counted = target != IGNORED
        right = (logits.argmax(1) == target) & counted
        return F.cross_entropy(logits, target, ignore_index=IGNORED), {"accuracy": right.sum() / counted.sum().clamp(min=1)}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Measure accuracy on held-out images; for pixels also the mean intersection over union."""
        device, confusion = next(model.buffers()).device, Confusion(len(self.about["classes"]), ignore=IGNORED)
        for k in range(len(self.checks)):
            example = self.checks.plain(k)
            logits, target = model(example["image"][None].to(device)), example["target"][None]
            if target.ndim > 1:
                logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
            confusion.add(logits.argmax(1).cpu().numpy(), target.numpy())
        if self.run.task == "classify":
            return {"accuracy": confusion.accuracy}
        occurs = confusion.counts.sum(1) > 0
        return {"accuracy": confusion.accuracy, "mean_iou": float(confusion.iou[occurs].mean())}
