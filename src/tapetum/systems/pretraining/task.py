"""The base of all pre-training methods: images, their views, the encoder, a check for collapse, and shared presets.

A method is one class (`methods/`, or your own: docs/guides/bring-your-own.md) that provides four things:

    views()         the random crops of an image that it learns from
    learner()       the heads on the encoder
    method_loss()   the loss of a batch; gradients reach what it does not compute under `torch.no_grad()`
    averages        moving averages of the network that teach, if any

Batch norms and negatives span all processes of a run, so two processes compute the same as one with the joint batch.

Imports no torch by itself, and nor do the methods that come with tapetum: the command line reads their settings.

Presets shared by several methods are fields of `PretrainRun` by name; each method's own are in its file.
`resnet` and `vit` are the published runs (for ResNet-50 and ViT-B on ImageNet, batches of thousands: accelerators); `small` is
ours: one or a few cores, images of 32 to 64 pixels. Fields that a preset omits keep the defaults of `PretrainRun`.

"Where Should I Spend My FLOPs?" (arXiv 2209.15589) does not print its settings. Differences from the named sources are listed
in the methods' modules and in docs/guides/published-recipes.md.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tapetum.core.errors import BadInput
from tapetum.train.config import Average
from tapetum.train.launch import say
from tapetum.train.task import StepContext, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tapetum.data.views import View
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.data import ImageSource, ShuffledImages, TrainingImage
    from tapetum.systems.pretraining.recipes import PretrainRun

    Loss = tuple[Tensor, Tensor, Mapping[str, float | Tensor]]

Preset = Literal["small", "resnet", "vit"]
Presets = Mapping[Preset, Mapping[str, Any]]
"""Fields of `PretrainRun` by preset."""

RESNET: Mapping[str, Any] = {"encoder": "resnet-50", "size": 224, "micro_batch": 256, "bf16": True}
VIT: Mapping[str, Any] = {**RESNET, "encoder": "vit-base-16", "batch_size": 4096}
LARS: Mapping[str, Any] = {"optimizer": "lars", "warmup_epochs": 10.0, "batch_size": 4096}
"""LARS and batches of SimCLR (2.1) and BYOL (3.3)."""
MOCO_V3: Mapping[str, Any] = {
    "change": ("positions=sine",),
    "frozen_patches": True,
    "base_lr": 1.5e-4,
    "weight_decay": 0.1,
    "epochs": 300,
    "warmup_epochs": 40,
}
"""SimCLR and BYOL of a ViT: MoCo v3 (arXiv 2104.02057), section 4, and the public command for its ViT-B."""
_MOCO_V3_ITSELF = "of MoCo v3 itself; what it has for this method could not be read"
FOR_MOCO_V3 = {"base_lr": _MOCO_V3_ITSELF, "weight_decay": _MOCO_V3_ITSELF}
"""What `MOCO_V3` has that no paper gives for these methods."""


COLLAPSED = 0.01
"""Features whose deviation is less than this share of their length have collapsed."""
SURE, PATIENCE = 10, 100
"""Consecutive steps of collapse after which a run warns of another one than of its features, and after which it stops."""
RANK_EVERY = 100
"""Steps between logged effective ranks of the features."""
_UNDECAYED = "positions", "class_token", "registers", "mask_token", "log_scale"
"""Parameters of two and more dimensions that don't decay."""
PROBE = "probe_every", "probe_data", "probe_images", "patience"
"""Fields of a run that say how the encoder is scored on the way."""
_NOT_LEARNING = (
    *("data", "data_weights", "preset", "epochs", "micro_batch"),
    *("schedule", "milestones", "nesterov", "eps", "clip_each", *PROBE),
)
"""Fields of a run that don't change what is learned, or of which the loop's config knows."""


class PretrainTask(Task):
    """A method of pre-training; subclass it to make your own."""

    help: ClassVar[str] = ""
    """What the command line says of it."""
    Settings: ClassVar[type | None] = None
    """A dataclass with the method's settings; those of your own are changed by `--own NAME=VALUE`."""
    presets: ClassVar["Presets"] = {}
    """Fields of a run by the name of a preset, small first; under the method's name those of its `Settings`."""
    unpublished: ClassVar[Mapping[Any, Mapping[str, str]]] = {}
    """By preset: settings that its paper does not give, and what theirs lean on."""
    captions: ClassVar[bool] = False
    """It learns from the captions of images."""
    hides_patches: ClassVar[bool] = False
    """It shows the encoder some patches alone, so that must be a ViT."""
    least_batch: ClassVar[int] = 1
    """Images that a step needs: 2 or more where each is compared with the others."""
    negatives: ClassVar[int] = 0
    """Negatives of an image in each other one: such as both of its views, or its text."""
    joint_batch = True
    watched = "knn"
    idle_parameters: bool = False
    """In some steps a part of the model has no gradient, which several processes must know."""
    averages: tuple[Average, ...] = ()
    """The moving averages that `teachers` names."""
    kept: str = "model"
    """Whose encoder is the result: the model's or that of an average."""

    def __init__(self, run: "PretrainRun", source: "ImageSource"):
        self.run, self.source = run, source
        self.settings: Any = run.settings()
        self.damaged: set[int] = set()
        """Images that could not be read so far, by number; known in the process that trains."""
        self._images = 0
        """Images of the last micro-batch."""
        self.collapsed_at: int | None = None
        """The step in which a collapse was first seen."""
        self._collapsed_steps = 0
        self.check()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the images: workers have them in the dataset, and only need the task's `collate`."""
        from tapetum.systems.pretraining.data import NoImages

        return {**self.__dict__, "source": replace(self.source, images=NoImages(len(self.source)))}

    def check(self) -> None:
        """Raise BadInput if encoder, data and method do not fit together."""

    @abstractmethod
    def views(self) -> "Sequence[View]":
        """List the views of an image that the method learns from (`tapetum.data.views`)."""

    def views_at(self, step: int) -> "Sequence[View]":
        """List the views of a step: as many as `views` has, of other sizes from a step of `cost_changes` on."""
        return self.views()

    @abstractmethod
    def learner(self, encoder: "Encoder") -> "nn.Module":
        """Add the method's heads to the encoder, which the result has as `encoder`."""

    @abstractmethod
    def method_loss(self, model: Any, batch: Mapping[str, Any], context: StepContext) -> "Loss":
        """Compute the loss, the encoder's vectors (to detect collapse), and further values to log.

        `batch["views"]` has a tensor (b, 3, h, w) for each of the views; the batch also has what `extras` adds.
        """

    def extras(self, items: "Sequence[TrainingImage]") -> "Mapping[str, Tensor | list[Tensor]]":
        """Look up or draw what else the method needs of images (their `index`, their `number` as samples) for the batch.

        A list has the rows of the micro-batch in parts.
        """
        return {}

    def model(self) -> "nn.Module":
        """Make encoder and heads, with batch norms over all processes."""
        import torch

        from tapetum.train.gather import convert_sync_batchnorm

        encoder = self.run.new_encoder(seed=int(torch.randint(1 << 31, ())))
        learner = convert_sync_batchnorm(self.learner(encoder).train())
        if self._convolutional:
            for parameter in learner.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return learner

    @property
    def _convolutional(self) -> bool:
        """Whether to use channels-last memory, which makes convolutions a quarter faster."""
        return self.run.architecture.family not in ("vit", "towers")

    def dataset(self) -> "ShuffledImages":
        """Make the data set of images in shuffled order."""
        from tapetum.systems.pretraining.data import ShuffledImages

        return ShuffledImages(self.source, self.run.seed)

    def collate(self, items: "Sequence[TrainingImage]") -> dict[str, Any]:
        """Make the views of a micro-batch and its labels."""
        import torch

        from tapetum.data.views import Views

        numbers, preprocessing = [item.number for item in items], self.run.architecture.preprocessing
        make = Views(
            self.views_at(numbers[0] // self.run.batch_size), seed=self.run.seed, mean=preprocessing.mean, std=preprocessing.std
        )
        views = make([item.image for item in items], numbers)
        if self._convolutional:
            views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        damaged = tuple(k for item in items for k in item.damaged)
        return {"views": views, "number": tuple(numbers), "damaged": damaged, **self.extras(items)}

    def loss(self, model: "nn.Module", batch: Any, context: StepContext) -> "tuple[Tensor, Mapping[str, float | Tensor]]":
        """Compute the loss, and deviation and at times effective rank of the features, which reveal collapse."""
        from tapetum.systems.pretraining.heads import feature_rank, feature_std

        loss, features, metrics = self.method_loss(model, batch, context)
        self._images = len(features)
        for k in batch["damaged"]:
            if k not in self.damaged:
                self.damaged.add(k)
                say(f"{self.source.images.name(k)} cannot be read and is skipped ({len(self.damaged)} so far)")
        values: dict[str, float | Tensor] = {"feature_std": feature_std(features), **metrics}
        if context.step % RANK_EVERY == 0:
            values["feature_rank"] = feature_rank(features)
        return loss, values

    def collapse(self, metrics: Mapping[str, float]) -> str | None:
        """Say how the network has collapsed by a step's metrics, and which setting helps; None if it has not."""
        if (std := metrics["feature_std"]) >= COLLAPSED:
            return None
        return (
            f"the features of all images are the same but for {std:.1e} of their length; try a lower --base-lr or a larger "
            "--batch-size"
        )

    def after_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Warn once of a collapse, and stop the run if it stays; a single image cannot tell.

        Raises BadInput, in all processes alike, after `PATIENCE` steps without any other.
        """
        how = self.collapse(metrics) if self._images > 1 else None
        self._collapsed_steps = self._collapsed_steps + 1 if how else 0
        sure = metrics["feature_std"] < COLLAPSED or self._collapsed_steps >= SURE  # a teacher knows nothing at first
        if how and sure and self.collapsed_at is None:
            self.collapsed_at = step
            say(f"step {step + 1}: collapse, {how}")
        if self._collapsed_steps >= PATIENCE:
            raise BadInput(f"stopped at step {step + 1}, after {PATIENCE} steps of collapse: {how}, in another folder")

    def cost_parts(self, model: "nn.Module") -> "Mapping[str, nn.Module]":
        """Name the encoder and its heads."""
        return dict(model.named_children())

    def shards(self, model: "nn.Module") -> "Sequence[nn.Module]":
        """List the blocks, and the linear layers that heads chain: together as many weights as several blocks."""
        from torch import nn

        blocks = list(super().shards(model))
        known = {id(module) for block in blocks for module in block.modules()}
        chains = [module for module in model.modules() if isinstance(module, nn.Sequential)]
        layers = [layer for chain in chains for layer in chain if type(layer) is nn.Linear and id(layer) not in known]
        return [*blocks, *layers]

    def parameter_groups(self, model: "nn.Module") -> list[dict[str, Any]]:
        """Make two groups: matrices and filters, which decay; and biases, norms, positions and tokens, which don't."""
        learning = [(name.rpartition(".")[2], p) for name, p in model.named_parameters() if p.requires_grad]
        decaying = [p for name, p in learning if p.ndim >= 2 and name not in _UNDECAYED]
        others = [p for name, p in learning if p.ndim < 2 or name in _UNDECAYED]
        return [{"params": decaying}, {"params": others, "weight_decay": 0.0}]

    def evaluate(self, model: Any, step: int) -> Mapping[str, float]:
        """Score the encoder by nearest neighbours and by its features themselves, if the run asks for it."""
        if not self.run.probe_every:
            return {}
        from tapetum.systems.pretraining.scores import encoder_scores

        return encoder_scores(model.encoder, self)

    def describe(self) -> Mapping[str, Any]:
        """List the settings that determine the result, apart from the images themselves."""
        settings = {name: value for name, value in asdict(self.run).items() if name not in _NOT_LEARNING}
        return {**self.run.without_other_methods(settings), **self.source.about}


def vit_config(run: "PretrainRun", size: int = 0) -> Any:
    """Look up the config of the run's ViT for views of `size`, by default its large ones, whatever its positions are for."""
    return replace(run.architecture.config, image_size=(size or run.size, size or run.size))


def local_size(run: "PretrainRun", size: int) -> int:
    """Compute the side of small crops: `size`, or for 0, 96/224 of the large ones' to a multiple of 16 or of the patch."""
    if size:
        return size
    patch = getattr(run.architecture.config, "patch", 16)
    unit = 16 if 16 % patch == 0 else patch
    return max(unit, round(run.size * 96 / 224 / unit) * unit)
