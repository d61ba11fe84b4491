"""Settings of Odin, and whole runs as configs, which also define the options of `tapetum train odin`. Imports no torch.

`resnet` is the published run (arXiv 2203.08777, with DetCon's settings where the paper could not be read): ResNet-50 with a
pyramid on ImageNet, 1,000 epochs, batches of 4,096, for accelerators. `swin` is the same for Swin-T. `detcon` and `detcon-swin`
are DetCon-B (arXiv 2103.10957): no pyramid, 16 of Felzenszwalb's segments drawn for each view. `small` is ours: a core or two,
images of 64 pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.encoders.architectures import Architecture
from tapetum.systems.pretraining.recipes import ImageRun, fitting_changes

Source = Literal["features", "projections", "pixels", "grid", "segments", "given"]
"""Where masks come from; see `tapetum.systems.odin.masks`."""


@dataclass(frozen=True, kw_only=True)
class OdinConfig:
    """Settings of Odin (arXiv 2203.08777, section 3). Where the paper could not be read, the choice is ours."""

    pyramid_width: int = 256
    """Channels of the feature pyramid, of whose finest level masks are made and held; 0: no pyramid, the coarsest map."""
    finest_stride: int = 1
    """Pixels to a cell of the pyramid's finest level, at least: finer maps of the encoder are left out of it."""
    hidden_width: int = 4096
    """Width inside of projector and predictor."""
    projection_width: int = 256
    """Width of the vectors that are compared."""

    form: Literal["b", "s"] = "b"
    """b, as BYOL: a predictor, and targets from an average of the network; s, as SimCLR: neither."""
    temperature: float = 0.1
    """Of the loss."""
    local_negatives: bool = True
    """Other masks of the same image count as negatives."""
    sampled: int = 0
    """Masks drawn for each view, with replacement, of those that it shows; 0: all that it shows, each once."""

    source: Source = "features"
    """Where masks come from."""
    clusters: int = 16
    """Masks of an image, or rows and columns together of a grid: 16 is 4 by 4."""
    metric: Literal["cosine", "l2"] = "cosine"
    """Of k-means."""
    iterations: int = 10
    """Rounds of k-means."""
    seeds: Literal["random", "spread"] = "random"
    """Where the centres of k-means begin: at random vectors, or at ones far from each other (k-means++)."""
    place_weight: float = 0.0
    """How much the position counts in k-means beside the features or pixels; 1 gives it a variance as large as theirs."""
    segment_scale: float = 1000.0
    """Of Felzenszwalb's segments: scale and smallest size in pixels of an image of 224; larger means fewer."""

    target_decay: float = 0.996
    """Share of the target network that a step keeps; it rises to 1 by a cosine."""
    discovery: Literal["average", "copies", "fixed"] = "average"
    """How the network that finds masks follows: an average, copies from time to time, or never (the control of T3)."""
    discovery_decay: float = 0.999
    """Share of that network that a step keeps, if it is an average."""
    discovery_every: int = 1000
    """Steps from copy to copy, if it is copied."""

    def __post_init__(self) -> None:
        counts = "clusters", "hidden_width", "projection_width", "iterations", "discovery_every", "finest_stride"
        bounds = dict.fromkeys(counts, "[1, inf)") | dict.fromkeys(("pyramid_width", "sampled", "place_weight"), "[0, inf)")
        check_fields(self, temperature="(0, inf)", **bounds)
        if self.source == "grid" and round(self.clusters**0.5) ** 2 != self.clusters:
            raise BadInput(f"a grid cannot have {self.clusters} cells; give a square number, such as 16")

    @property
    def clusters_features(self) -> bool:
        """Check whether masks are k-means of what the discovery network computes."""
        return self.source in ("features", "projections")


Preset = Literal["small", "resnet", "swin", "detcon", "detcon-swin"]


@dataclass(frozen=True, kw_only=True)
class OdinRun(ImageRun):
    """A whole run; `RECIPES` has some."""

    preset: Preset = "small"
    """small: for a laptop; others as published, for accelerators: Odin or DetCon with a ResNet-50 or a Swin-T."""
    odin: OdinConfig = field(default_factory=OdinConfig)
    """What of Odin is a choice."""

    def settings(self) -> OdinConfig:
        """Look up the settings of Odin itself."""
        return self.odin

    @property
    def architecture(self) -> Architecture:
        """Describe family and sizes of the network, for views of `size`, without what a preset has for its own encoder."""
        return self._architecture(fitting_changes(self, RECIPES.values()))

    @property
    def views(self) -> tuple[int, ...]:
        """List the side of each view of an image: two, and the one that spans them."""
        return (self.size,) * 3


_RESNET = OdinRun(
    preset="resnet",
    encoder="resnet-50",  # section 4: ResNet-50, Swin-T and Swin-S
    size=224,
    epochs=1000,  # section 4, ImageNet without labels
    batch_size=4096,  # public configuration of DetCon
    micro_batch=64,
    optimizer="lars",  # the same: momentum 0.9, eta 1e-3
    base_lr=0.2,  # the same
    warmup_epochs=10,  # the same: num_epochs // 100
    weight_decay=1.5e-6,  # the same
    bf16=True,
    odin=OdinConfig(finest_stride=4),  # as of a pyramid on a ResNet-50; of others that begin with finer maps, too
)
_SWIN: dict[str, Any] = {"encoder": "swin-t", "optimizer": "adamw", "base_lr": 6.25e-5, "weight_decay": 0.05, "epochs": 1000}
_DETCON = OdinConfig(source="segments", pyramid_width=0, sampled=16)
"""DetCon-B: segments of scale 1,000 (its README), 16 drawn for a view, no pyramid (its public code)."""
RECIPES: Mapping[Preset, OdinRun] = {
    "small": OdinRun(
        batch_size=64,
        micro_batch=64,
        encoder="resnet-18",
        change=("stem_width=16",),
        weight_decay=0.05,
        odin=OdinConfig(
            pyramid_width=64,
            finest_stride=4,
            hidden_width=256,
            projection_width=64,
            clusters=8,
            target_decay=0.99,
            discovery_decay=0.99,
        ),
    ),
    "resnet": _RESNET,
    "swin": replace(_RESNET, preset="swin", **_SWIN),
    "detcon": replace(_RESNET, preset="detcon", odin=_DETCON),
    "detcon-swin": replace(_RESNET, preset="detcon-swin", odin=_DETCON, **_SWIN),
}
_OPEN = {
    "odin": "clusters 16, of features by cosine, 10 rounds, discovery an average of decay 0.999: the paper could not be read",
    "warmup_epochs": "a hundredth of the epochs, as in the public configuration of DetCon",
}
_SWIN_OPEN = {
    "optimizer": "AdamW, as Swin's own training (arXiv 2103.14030)",
    "base_lr": "1e-3 for batches of 4,096: ours",
    "weight_decay": "Swin's own",
    "epochs": "those of ResNet-50",
    "change": "no drop path; what the paper has is not known",
}
UNPUBLISHED: Mapping[str, Mapping[str, str]] = {
    "resnet": _OPEN,
    "swin": {**_OPEN, **_SWIN_OPEN},
    "detcon": {"epochs": "of its longest runs; the public configuration is of 100, and warms up for a hundredth of them"},
    "detcon-swin": _SWIN_OPEN,
}
"""Values that the papers do not give as far as they could be read, and what stands in their place."""


def recipe(data: str, preset: Preset = "small", **changes: Any) -> OdinRun:
    """Make the config of a run on `data` from the preset, with `changes`."""
    if preset not in RECIPES:
        raise BadInput(f"Odin has no preset {preset!r}; it has {', '.join(RECIPES)}")
    return replace(RECIPES[preset], data=data, **changes)
