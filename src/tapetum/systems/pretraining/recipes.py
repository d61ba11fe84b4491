"""Whole pre-training runs as configs, which also define the options of `tapetum pretrain`; and the networks that they and
`tapetum train odin` start from: a new one by name, or a trained one. Imports no torch by itself.

The values of each method's presets, with their sources, are in its file.
"""

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.identity import source_label
from tapetum.core.plugins import is_reference, record_of_class
from tapetum.encoders.architectures import Architecture, architecture, changed, check_side, names
from tapetum.systems.pretraining.methods import METHODS, NO_METHOD, MethodSettings, task_of
from tapetum.systems.pretraining.task import Preset

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder


WEIGHTS = "weights:"
"""Stands before the name of weights, where an architecture has the same name."""


def is_trained(encoder: str) -> bool:
    """Check whether an option names trained weights rather than an architecture with random weights."""
    if encoder.startswith(WEIGHTS):
        return True
    if encoder in names() or is_reference(encoder, "encoder"):
        return False
    from tapetum.hub.registry import entry_of

    return Path(encoder).exists() or "=" in encoder or entry_of(encoder) is not None


@lru_cache(maxsize=2)
def trained_encoder(reference: str) -> "Encoder":
    """Load the encoder of a reference (`tapetum.encoders.references`)."""
    from tapetum.encoders.references import load

    return load(reference.removeprefix(WEIGHTS), text=False)


def trained_architecture(reference: str, size: int) -> Architecture:
    """Describe the network of weights for images of `size`; a ViT interpolates its positions where it learned others.

    Raises BadInput if it only takes images of another size, or if its patches do not divide them.
    """
    from tapetum.encoders.factory import describe

    result = describe(trained_encoder(reference))
    side = getattr(result.config, "image_size", None) or (size, size)
    if result.family == "vit":
        check_side(result.config, size, "--size")
    elif side != (size, size):
        raise BadInput(
            f"{reference} has learned images of {side[1]}x{side[0]} pixels, and views have {size}; give --size {side[0]}"
        )
    return _prepared(result, size)


def encoder_architecture(name: str, size: int, change: tuple[str, ...] = ()) -> Architecture:
    """Look up the architecture of a name, ours or timm:NAME, for images of `size`, with some settings changed.

    >>> encoder_architecture("timm:vit_tiny_patch16_224", 64, ("patch=8",)).config.grid
    (8, 8)
    """
    changes = dict(parse_setting(text) for text in change)
    result = architecture(name)
    if getattr(result.config, "image_size", None):
        check_side(result.config, size, "--size", changes.get("patch"))
        changes = {"image_size": (size, size), **changes}
    return _prepared(changed(result, changes), size)


def _prepared(base: Architecture, size: int) -> Architecture:
    """Prepare images at `size`, without cropping small ones."""
    crop_fraction = 1.0 if size <= 64 else base.preprocessing.crop_fraction
    return replace(base, preprocessing=replace(base.preprocessing, size=(size, size), crop_fraction=crop_fraction))


def parse_setting(text: str, option: str = "--change") -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(f"{option} {text}: give NAME=VALUE, such as patch=8")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


@dataclass(frozen=True, kw_only=True)
class ImageRun:
    """The settings of every run that learns an encoder from images."""

    data: tuple[str, ...] = ()
    """Folder of images, in it or below (one folder a class where classes are asked for); or a parquet file or tar shards;
    or CIFAR's binary files; or the address of one of these, such as s3://bucket/photos. Several are joined."""
    data_weights: tuple[float, ...] = ()
    """How much each of several is shown, such as 0.7 0.3; by default every image once an epoch."""
    encoder: str = "resnet-18"
    """Network to train. A new one: a name such as resnet-50, vit-small-16, nfnet-f0, efficientnet-lite0; timm:NAME; or
    FILE.py:CLASS of your own. One that has learned: the folder of a run, a file, or weights:NAME (tapetum weights list)."""
    change: tuple[str, ...] = ()
    """Settings of the network, such as patch=8 stem=3x3; of one that has learned drop_path alone."""
    size: int = 64
    """Side of the views, in pixels."""
    enlarge: bool = False
    """Take images that are smaller than the views, and enlarge them."""
    epochs: float = 100.0
    """How often each image is seen."""
    steps: int | None = None
    """Optimiser steps, in place of epochs."""
    batch_size: int = 128
    """Images of an optimiser step, over all processes."""
    micro_batch: int = 128
    """Images that a process works on at a time; what is left of a step's is accumulated."""
    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    """What moves the weights."""
    base_lr: float = 1e-3
    """Learning rate for batches of 256; that of the run is in proportion to its batch."""
    warmup_epochs: float = 5.0
    """Epochs over which the learning rate rises; with the preset small a tenth of the run at most."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's."""
    trust_coefficient: float = 1e-3
    """LARS's."""
    weight_decay: float = 1e-4
    """Decay of matrices and filters; biases, norms, positions and tokens have none."""
    final_weight_decay: float | None = None
    """Where the decay goes by a cosine."""
    clip_norm: float | None = None
    """Longest gradient of a step; None: as long as it is."""
    bf16: bool = False
    """Compute in bfloat16; weights stay float32."""
    seed: int = 1
    """The same seed gives the same run."""
    probe_every: int = 0
    """Steps between scores of the encoder by nearest neighbours on labelled images, logged as knn; 0: none."""
    probe_data: str = ""
    """Labelled images for these, as tapetum probe --data takes them; by default those of --data."""
    probe_images: int = 2000
    """Of each part of them so many at most, evenly chosen."""
    patience: int = 0
    """Scores of knn in a row that may be no better than one before, after which the run ends; 0: it makes all steps."""

    def __post_init__(self) -> None:
        if isinstance(self.data, str | Path):
            object.__setattr__(self, "data", (str(self.data),) if str(self.data) else ())
        bounds = {"probe_every": "[0, inf)", "probe_images": "[2, inf)", "patience": "[0, inf)"}
        check_fields(self, size="[8, inf)", epochs="(0, inf)", steps="[1, inf)", **bounds)

    @property
    def architecture(self) -> Architecture:
        """Describe family and sizes of the network, for views of `size`. Raises BadInput for an unknown one."""
        return self._architecture(self.change)

    def _architecture(self, change: tuple[str, ...]) -> Architecture:
        if not is_trained(self.encoder):
            return encoder_architecture(self.encoder, self.size, change)
        changes = dict(parse_setting(text) for text in change)
        if set(changes) - {"drop_path"}:
            raise BadInput(
                f"--change is for a network that begins anew, and {self.encoder} has learned; drop_path alone may go"
            )
        return changed(trained_architecture(self.encoder, self.size), changes)

    def new_encoder(self, seed: int) -> "Encoder":
        """Make the network to train, with random weights of this seed, or with trained ones."""
        from tapetum.encoders.factory import make

        encoder = make(self.architecture, seed)
        if is_trained(self.encoder):
            encoder.load_state_dict(trained_encoder(self.encoder).state_dict())
        return encoder

    def encoder_label(self) -> str:
        """Name the network for the identity of a run; your own class and weights include their fingerprint."""
        if is_reference(self.encoder, "encoder"):
            return " ".join(record_of_class(self.encoder, "encoder").values())
        path = Path(self.encoder.removeprefix(WEIGHTS))
        return str(source_label(path)) if is_trained(self.encoder) and path.exists() else self.encoder

    def steps_of(self, images: int) -> int:
        """Compute the number of steps of the run on this many images."""
        return self.steps or max(1, math.ceil(self.epochs * images / self.batch_size))


@dataclass(frozen=True, kw_only=True)
class PretrainRun(MethodSettings, ImageRun):
    """A whole run; `presets_of` has some for every method."""

    method: str
    """One of `METHODS`, or the reference of a method of your own: FILE.py:CLASS, package.module:CLASS, an entry point."""
    preset: Preset = "small"
    """small: for a laptop and images of 32 to 64 pixels; resnet, vit: as published on ImageNet, for accelerators."""
    schedule: Literal["cosine", "milestones"] = "cosine"
    """How the rate goes on after the warm-up: by a cosine to 0, or a tenth at each of `milestones`."""
    milestones: tuple[float, ...] = (2 / 3, 8 / 9)
    """Shares of the run after which the rate is a tenth of what it was, where the schedule is milestones."""
    nesterov: bool = False
    """Of SGD and LARS: step from where the momentum leads."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    clip_each: bool = False
    """Hold the gradient of each parameter to `clip_norm` by itself, instead of all together."""
    frozen_patches: bool = False
    """The patch projection of a ViT stays as it begins (MoCo v3, arXiv 2104.02057, section 4.2)."""
    lora: int = 0
    """Rank of a low-rank change of every linear layer of an encoder that has learned, which alone learns then, with the heads
    (LoRA, arXiv 2106.09685); 0: all weights learn."""
    own: tuple[str, ...] = ()
    """Settings of a method of your own, such as temperature=0.5 hidden=512."""

    def __post_init__(self) -> None:
        if self.method not in METHODS and not is_reference(self.method, "method"):
            raise BadInput(f"there is no method {self.method!r}; {NO_METHOD}")
        if self.method in METHODS and self.settings() is None:
            object.__setattr__(self, self.method, task_of(self.method).Settings())  # pyright: ignore[reportOptionalCall]
        if self.own and self.method in METHODS:
            raise BadInput(f"--own {self.own[0]}: {self.method} has options of its own; leave it out")
        super().__post_init__()
        check_fields(self, lora="[0, inf)")
        least = METHODS[self.method].least_batch if self.method in METHODS else 1
        if self.batch_size < least:
            why = "an image is told from the others of its batch" if least > 1 else "a step needs an image"
            raise BadInput(f"batch_size is {self.batch_size}; {self.method} takes {least} or more: {why}")

    @property
    def architecture(self) -> Architecture:
        """Describe family and sizes of the network, for views of `size`.

        The preset's changes to its own encoder are dropped for a family without such a setting. Raises BadInput for an unknown
        network, and for an encoder that the method cannot train.
        """
        if self.lora and not is_trained(self.encoder):
            raise BadInput(
                f"--lora changes weights that have learned, and {self.encoder} begins anew; give --encoder weights:NAME, a "
                "file or a folder, or leave --lora out"
            )
        if self.method in METHODS and METHODS[self.method].hides_patches:
            config = trained_encoder(self.encoder).config if is_trained(self.encoder) else architecture(self.encoder).config
            if not {"patch", "class_token"} <= {each.name for each in fields(config)}:
                raise BadInput(
                    f"{self.method} needs a ViT, whose patches it hides, and {self.encoder} is none; take one such as "
                    "vit-tiny-16"
                )
        return self._architecture(fitting_changes(self, presets_of(self.method).values() if self.method in METHODS else ()))

    @property
    def views(self) -> tuple[int, ...]:
        """List the side length of each view of an image."""
        from tapetum.systems.pretraining.cost import blank_source

        return tuple(view.size for view in task_of(self.method)(self, blank_source()).views())

    def freeze(self, encoder: "Encoder") -> "Encoder":
        """Freeze what the run does not change, a ViT's patch projection or all but a low-rank change; returns the encoder.

        Raises BadInput for a low-rank change of a network without linear layers.
        """
        patches = getattr(encoder, "patches", None)
        if self.frozen_patches and patches is not None:
            patches.requires_grad_(False)
        if self.lora:
            from tapetum.layers.transformer import add_lora

            if not add_lora(encoder, self.lora):
                raise BadInput(f"--lora changes linear layers, and {self.encoder} has none; leave it out")
        return encoder

    def new_encoder(self, seed: int) -> "Encoder":
        """Make the network to train, as for any run, with its frozen part frozen."""
        return self.freeze(super().new_encoder(seed))

    def settings(self) -> Any:
        """Look up the settings of the run's method; for your own method, its `Settings` with the changes of `own`."""
        if self.method in METHODS:
            return getattr(self, self.method)
        kind, changes = task_of(self.method).Settings, dict(parse_setting(text, "--own") for text in self.own)
        known = [] if kind is None else [each.name for each in fields(kind)]
        for name in changes:
            if name not in known:
                raise BadInput(f"--own {name}: {self.method} has no such setting; it has {', '.join(known) or 'none'}")
        return kind and kind(**changes)

    def without_other_methods(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Drop other methods' settings from a run's settings; classes and weights appear by reference and fingerprint."""
        kept = {name: value for name, value in settings.items() if name not in METHODS or name == self.method}
        if self.method not in METHODS:
            kept["method"] = " ".join(record_of_class(self.method, "method").values())
        later = "own", "frozen_patches", "lora", "queue", "gram", "gram_every", "high_resolution", "high_resolution_steps"
        later = *later, "patch_bottleneck", "gain"
        for part in (kept, kept.get(self.method, {})):
            for name in later:  # an older checkpoint has none of them
                if not part.get(name, True):
                    del part[name]
        return {**kept, "encoder": self.encoder_label()}


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Results of a finished run, in its folder."""

    encoder: Path
    """File of the encoder; `tapetum.load`, `tapetum embed --model` and other commands take it, or the folder."""
    images: int
    """Of the data."""
    damaged: tuple[str, ...]
    """Names of those that could not be read in this call, and were skipped."""
    collapsed_at: int | None
    """Step at which the features of all images were first seen to be the same, in this call."""


def fitting_changes(run: ImageRun, presets: Iterable[ImageRun]) -> tuple[str, ...]:
    """Drop a preset's changes to its own encoder that this encoder has no setting for."""
    if not any(preset.change == run.change for preset in presets):
        return run.change
    if is_trained(run.encoder):
        return ()
    known = {each.name for each in fields(architecture(run.encoder).config)}
    return tuple(text for text in run.change if text.partition("=")[0] in known)


@cache
def presets_of(method: str) -> Mapping[Preset, PretrainRun]:
    """Make the runs of one of `METHODS` by preset, whose data is still to be named."""
    task: Any = METHODS[method]
    return {
        preset: PretrainRun(method=method, preset=preset, **{**values, method: task.Settings(**values.get(method, {}))})
        for preset, values in task.presets.items()
    }


def recipe(method: str, data: str | tuple[str, ...], preset: Preset = "small", **changes: Any) -> PretrainRun:
    """Make the config of a run on `data` from the preset, with `changes`.

    >>> recipe("dino", "photos", encoder="vit-small-16", size=224).views
    (224, 224, 96, 96, 96, 96, 96, 96)
    """
    places = (data,) if isinstance(data, str) else data
    if method not in METHODS:
        return PretrainRun(method=method, data=places, preset=preset, **changes)
    if preset not in (presets := presets_of(method)):
        raise BadInput(f"{method} has no preset {preset!r}; it has {', '.join(presets)}")
    return replace(presets[preset], data=places, **changes)
