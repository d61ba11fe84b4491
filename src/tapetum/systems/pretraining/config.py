"""Settings of the seven methods. Imports no torch.

Defaults are those of the papers: CLIP (arXiv 2103.00020), SigLIP (2303.15343), SimCLR (2002.05709), BYOL (2006.07733), DINO
(2104.14294), MAE (2111.06377). What a small machine takes instead is in `recipes`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.data.views.config import View

Method = Literal["supervised", "clip", "siglip", "simclr", "byol", "dino", "mae"]
METHODS: tuple[Method, ...] = get_args(Method)
"""All of them."""
TEXT_METHODS: tuple[Method, ...] = ("clip", "siglip")
"""Those that learn from captions."""


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Classes by cross entropy."""

    smoothing: float = 0.1
    """So much of the target is spread over all classes."""

    def __post_init__(self) -> None:
        check_fields(self, smoothing="[0, 1)")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Match images with their texts. The text tower reads bytes."""

    width: int = 512
    """Channels of the text tower."""
    depth: int = 12
    """Blocks of the text tower."""
    heads: int = 8
    """Heads of the text tower."""
    length: int = 77
    """Tokens of a text, begin and end included, so 3 or more; longer ones are cut."""
    projection: int = 512
    """Numbers of the embeddings that are compared."""
    template: str = "This is a photo of {}"
    """Caption of an image of which only the class is known; {} stands for its name."""
    equal_captions: bool = True
    """Images with equal captions are right for each other, not negatives."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("width", "depth", "heads", "projection"), "[1, inf)"), length="[3, inf)")
        if "{}" not in self.template:
            raise BadInput(f"the template {self.template!r} has no {{}} for the name of the class; give one that has")


@dataclass(frozen=True, kw_only=True)
class SigLip(Clip):
    """Say of every image and every text whether they belong together. The text tower reads bytes."""

    width: int = 768
    """Channels of the text tower."""
    heads: int = 12
    """Heads of the text tower."""
    projection: int = 768
    """Numbers of the embeddings that are compared."""
    initial_scale: float = 10.0
    """What the cosines are multiplied by at the start; its logarithm is learned."""
    initial_bias: float = -10.0
    """What is added to them at the start, and learned: most pairs don't belong together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, initial_scale="(0, inf)")


@dataclass(frozen=True, kw_only=True)
class SimClr:
    """Match two views of an image among all others."""

    temperature: float = 0.1
    """Cosines are divided by it."""
    layers: int = 2
    """Linear layers of the projection: 2 in the paper for ResNets, 3 in MoCo v3 for ViTs."""
    hidden: int = 2048
    """Channels between them."""
    projection: int = 128
    """Numbers of the projection."""
    strength: float = 1.0
    """Of the change of colours; 0.5 for CIFAR in the paper."""
    area: float = 0.08
    """Least part of an image that a view shows."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            **dict.fromkeys(("layers", "hidden", "projection"), "[1, inf)"),
            temperature="(0, inf)",
            strength="[0, inf)",
            area="(0, 1]",
        )


@dataclass(frozen=True, kw_only=True)
class Byol:
    """A network predicts what a slow average of itself says of another view."""

    hidden: int = 4096
    """Channels between the layers of projection and prediction."""
    layers: int = 2
    """Linear layers of the projection: 2 in the paper for ResNets, 3 in MoCo v3 for ViTs."""
    projection: int = 256
    """Numbers of the projection, and of the prediction."""
    decay: float = 0.99
    """Of the average at the start; it rises to 1 by a cosine. 0.99 for 100 epochs, 0.996 for 1,000."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("hidden", "layers", "projection"), "[1, inf)"), decay="[0, 1)")


@dataclass(frozen=True, kw_only=True)
class Dino:
    """A network says of small crops what a slow average of itself says of large ones."""

    local_views: int = 8
    """Small crops, beside the two large ones."""
    local_size: int = 0
    """Side of the small crops; 0: 96/224 of the large ones' side, to a multiple of 16 or of the patch."""
    global_area: tuple[float, float] = (0.4, 1.0)
    """Least and greatest part of an image that a large crop shows."""
    local_area: tuple[float, float] = (0.05, 0.4)
    """Least and greatest part of an image that a small crop shows."""
    prototypes: int = 65536
    """Numbers of the head's output."""
    hidden: int = 2048
    """Channels between the head's three layers."""
    bottleneck: int = 256
    """Channels before the last layer."""
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    """At the start; a long run ends with a higher one."""
    final_teacher_temperature: float = 0.04
    """Reached after `teacher_warmup_epochs`; 0.07 in the paper's long runs."""
    teacher_warmup_epochs: float = 30.0
    """Epochs in which the teacher's temperature rises."""
    frozen_epochs: float = 1.0
    """Epochs in which the last layer stays as it is."""
    center_decay: float = 0.9
    """Of the running mean of the teacher's outputs."""
    decay: float = 0.996
    """Of the average that teaches, at the start; it rises to 1 by a cosine."""

    def __post_init__(self) -> None:
        temperatures = "student_temperature", "teacher_temperature", "final_teacher_temperature"
        check_fields(
            self,
            **dict.fromkeys(("prototypes", "hidden", "bottleneck"), "[1, inf)"),
            **dict.fromkeys(("decay", "center_decay"), "[0, 1)"),
            **dict.fromkeys(temperatures, "(0, inf)"),
            **dict.fromkeys(("local_views", "local_size", "teacher_warmup_epochs", "frozen_epochs"), "[0, inf)"),
        )
        for area in (self.global_area, self.local_area):
            View(size=1, area=area)


@dataclass(frozen=True, kw_only=True)
class Mae:
    """A ViT sees a quarter of the patches, and a small decoder draws the others."""

    ratio: float = 0.75
    """Share of the patches that are hidden."""
    width: int = 512
    """Channels of the decoder."""
    depth: int = 8
    """Blocks of the decoder."""
    heads: int = 16
    """Heads of the decoder."""
    normalise: bool = True
    """The target is each patch at mean 0 and deviation 1."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("width", "depth", "heads"), "[1, inf)"), ratio="(0, 1)")
        if self.width % (4 * self.heads):
            raise BadInput(
                f"a decoder of width {self.width} with {self.heads} heads; the width must be a multiple of 4 x heads"
            )
