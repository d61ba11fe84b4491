"""Training tasks on top of a trunk: adapters and a head, for images; `clone` has the task for demonstrations.

Heads are for image classes, pixel classes, actions, and your own tasks. Features of images of one scene differ little, so a
head standardises them first, by a batch norm as in R3M (arXiv 2203.12601). Statistics measured once do not suffice: each step,
adapters move features by many of these small deviations (with such a head, they learned more slowly than none).
"""

from collections.abc import Callable, Mapping, Sequence
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
from tapetum.core.plugins import given_reference
from tapetum.data.samples import Shuffle
from tapetum.encoders.features import Encoder, Features, prepare
from tapetum.layers.convolution import Standardize
from tapetum.metrics.masks import Confusion
from tapetum.systems.adapters.adapted import Adapted
from tapetum.systems.adapters.data import IGNORED, Below, ListedImages, OwnImages, Recorded
from tapetum.systems.adapters.recipes import AdaptRun
from tapetum.systems.adapters.weaving import trunk_hash
from tapetum.systems.adapters.worlds.world import Observation
from tapetum.train import StepContext, Task
from tapetum.train.process_group import compute_shared


class FeatureNorm(nn.BatchNorm1d):
    """A batch norm of the last axis, without gains and offsets; its running statistics start from measured ones."""

    def __init__(self, width: int):
        super().__init__(width, affine=False)

    def measure(self, features: Float[Tensor, "n width"]) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.copy_(features.float().mean(0))
        self.running_var.copy_(features.float().var(0, correction=0))

    def forward(self, input: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Standardise features: mean 0 and deviation 1 in training, nearly so in evaluation."""
        return super().forward(input.flatten(0, -2)).view(input.shape)


def zero_linear(width: int, outputs: int) -> nn.Linear:
    """Build a linear layer whose outputs are 0 at first."""
    layer = nn.Linear(width, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class PixelHead(nn.Module):
    """A linear layer on each map of the encoder, with results upsampled to the finest and summed."""

    def __init__(self, channels: Sequence[int], classes: int):
        super().__init__()
        self.norms = nn.ModuleList(FeatureNorm(width) for width in channels)
        self.outs = nn.ModuleList(zero_linear(width, classes) for width in channels)

    def measure(self, features: Features) -> None:
        for norm, feature_map in zip(self.norms, features.maps, strict=True):
            norm.measure(feature_map.movedim(1, -1).flatten(0, 2))  # pyright: ignore[reportCallIssue]

    def forward(self, maps: Sequence[Float[Tensor, "b _c _h _w"]]) -> Float[Tensor, "b classes h w"]:
        """Compute logits at the resolution of the finest map."""
        size, total = maps[0].shape[-2:], None
        for norm, out, feature_map in zip(self.norms, self.outs, maps, strict=True):
            logits = out(norm(feature_map.movedim(1, -1))).movedim(-1, 1)
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            total = logits if total is None else total + logits
        assert total is not None
        return total


class PolicyHead(nn.Module):
    """Map the pooled vector and the robot's own state to an action: linear, or two layers of 256 with ReLU."""

    def __init__(self, width: int, actions: int, own: int = 0, hidden: tuple[int, ...] = (256, 256)):
        super().__init__()
        self.norm, self.own_norm, self.action = FeatureNorm(width), Standardize(own), Standardize(actions)
        layers: list[nn.Module] = []
        inward = width + own
        for outward in hidden:
            layers += [nn.Linear(inward, outward), nn.ReLU()]
            inward = outward
        self.layers = nn.Sequential(*layers, nn.Linear(inward, actions))

    def measure(self, pooled: Float[Tensor, "n e"], own: Float[Tensor, "n p"], actions: Float[Tensor, "n a"]) -> None:
        self.norm.measure(pooled)
        self.action.measure(actions)
        if self.own_norm.mean.numel():
            self.own_norm.measure(own)

    def forward(self, pooled: Float[Tensor, "b e"], own: Float[Tensor, "b p"]) -> Float[Tensor, "b a"]:
        """Compute standardised actions; see `actions`."""
        features = self.norm(pooled)
        if self.own_norm.mean.numel():
            features = torch.cat((features, self.own_norm(own)), 1)
        return self.layers(features)

    def actions(self, standardised: Float[Tensor, "b a"]) -> Float[Tensor, "b a"]:
        """Compute actions in the demonstrations' units."""
        return standardised * self.action.deviation + self.action.mean


class FeatureHead(nn.Module):
    """Any module on standardised pooled vectors, or on the maps: for classes and for your own tasks."""

    def __init__(self, width: int | None, out: nn.Module):
        """`width` is that of the pooled vectors; None for a head on maps."""
        super().__init__()
        self.norm, self.out = None if width is None else FeatureNorm(width), out

    def measure(self, features: Features) -> None:
        if self.norm is not None:
            self.norm.measure(features.pooled)

    def forward(self, features: Any) -> Tensor:
        return self.out(features if self.norm is None else self.norm(features))


def reads_maps(about: Mapping[str, Any]) -> bool:
    """Check whether a head takes the encoder's maps rather than its pooled vectors."""
    return about["task"] == "segment" or about.get("reads") == "maps"


def make_head(about: Mapping[str, Any]) -> nn.Module:
    """Make the head described in a file's header.

    Raises BadInput for an unknown one, or one of your own task whose class is not given in this process.
    """
    if about.get("reads"):
        from tapetum.systems.adapters.own import own_task

        cls = own_task(given_reference(str(about["task"]), "task"))
        width = about["width"]
        return FeatureHead(None if reads_maps(about) else width, cls.head(width, **about["sizes"]))
    try:
        if about["task"] == "classify":
            return FeatureHead(int(about["width"]), zero_linear(int(about["width"]), len(about["classes"])))
        if about["task"] == "segment":
            return PixelHead([int(c) for c in about["channels"]], len(about["classes"]))
        if about["task"] == "clone":
            hidden = tuple(int(h) for h in about["hidden"])
            return PolicyHead(int(about["width"]), int(about["actions"]), int(about["own"]), hidden)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the head in the file cannot be read ({str(error)[:80]}); get the file again") from error
    raise BadInput(f"the file has a head for {about['task']!r}, which this tapetum does not know; get a newer one")


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
        if reads_maps(self.about):
            return self.head(features.maps)
        return self.of_pooled(features.pooled, own)

    def of_pooled(self, pooled: Float[Tensor, "b e"], own: Tensor | None = None) -> Tensor:
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
            if name not in ("data", "suite", "cache", "strict", "rollouts", "patience")
            and (name, value) != ("observe", "image")  # an older checkpoint does not have it
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
        return self.train if self.below is None else Recorded(self.train, self.below, self.run.samples)

    def describe(self) -> Mapping[str, Any]:
        return self.described()


class ImageTask(TargetTask):
    """Classes of images, or of their pixels."""

    def __init__(self, run: AdaptRun, trunk: Callable[[], Encoder], train: ListedImages, checks: ListedImages):
        super().__init__(run.for_images(len(train)), trunk)
        self.train, self.checks = train, checks
        made = trunk()
        sizes: dict[str, Any] = {"width": made.width} if run.task == "classify" else {"channels": list(made.map_channels)}
        self.about = {"task": run.task, "classes": list(train.listing.classes), **sizes}
        self.watched = "accuracy" if run.task == "classify" else "mean_iou"

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        logits, target = self.answer(cast(Headed, model), batch), batch["target"]
        if target.ndim > 1:
            logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
        counted = target != IGNORED
        right = (logits.argmax(1) == target) & counted
        return F.cross_entropy(logits, target, ignore_index=IGNORED), {"accuracy": right.sum() / counted.sum().clamp(min=1)}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Measure accuracy on held-out images; for pixels also the mean intersection over union."""
        device, confusion = next(model.buffers()).device, Confusion(len(self.about["classes"]), ignore=IGNORED)

        def compute(k: int) -> Tensor:
            example = self.checks.plain(k)
            logits, target = model(example["image"][None].to(device)), example["target"][None]
            if target.ndim > 1:
                logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
            return torch.stack([logits.argmax(1).cpu(), target], 1)

        for predicted in compute_shared(compute, len(self.checks)):
            confusion.add(predicted[:, 0].numpy(), predicted[:, 1].numpy())
        if self.run.task == "classify":
            return {"accuracy": confusion.accuracy}
        occurs = confusion.counts.sum(1) > 0
        return {"accuracy": confusion.accuracy, "mean_iou": float(confusion.iou[occurs].mean())}
