"""`tapetum.evaluate_objects`: evaluates unsupervised object discovery."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options


@dataclass(frozen=True, kw_only=True)
class ObjectsOptions:
    """Score how well objects are found without labels, on COCO's masks or VOC's boxes.

    ABO and OR: how well the best of all masks of k-means, for 1 to 128 clusters of the features of an image, covers each
    object. CorLoc: how often the one box that is said is right. Scores from 0 to 1.
    """

    annotations: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Things with masks in COCO's form, such as annotations/instances_val2017.json."""
    images: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images of that file, such as val2017."""
    voc: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of VOC instead (VOCdevkit/VOC2007), whose boxes give CorLoc alone."""
    split: str = "trainval"
    """Which images of VOC."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|RUN|colours")] = "colours"
    """What looks: an encoder by name or file, the folder of a run of tapetum train odin, or colours, rgb or xy, without a
    network."""
    proposals: Annotated[int, tyro.conf.arg(metavar="K")] = 128
    """Masks of k-means for 1 to K clusters are proposed: 8,256 for 128."""
    clusters: Annotated[int, tyro.conf.arg(metavar="K")] = 6
    """Clusters among which tapetum discover seeks the one object whose box counts for CorLoc."""
    short_side: int | None = None
    """Pixels of the shorter side of images that a network sees; by default as its preprocessing has it."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The first so many images only."""
    seed: int = 0
    """Of k-means."""
    device: Device = "auto"

    def check(self) -> None:
        if (self.voc is None) == (self.annotations is None) or (self.annotations is None) != (self.images is None):
            raise BadInput("give --annotations FILE.json with --images DIR, or --voc DIR: one of the two")
        check_options(self, proposals="[1, inf)", clusters="[2, inf)", most="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class ObjectScores(Result):
    """Scores from 0 to 1; means over images."""

    model: str
    images: int
    """How many have an object."""
    corloc: float
    """Share of images in which the one box that is said has an IoU of 0.5 or more with a true one."""
    abo: float | None
    """Mean over objects, then images, of the best overlap with a proposal; None without masks."""
    object_recovery: float | None
    """Share of objects with a best overlap above 0.5; None without masks."""
    proposals: int

    def as_json(self) -> dict[str, Any]:
        return {"benchmark": "objects", **asdict(self)}

    def as_text(self) -> str:
        lines = [f"{self.images:,} images, seen by {self.model}"]
        if self.abo is not None:
            lines.append(f"ABO     {self.abo:.3f}  best overlap with one of {self.proposals:,} proposals")
            lines.append(f"OR      {self.object_recovery:.3f}  objects with one above 0.5")
        return "\n".join([*lines, f"CorLoc  {self.corloc:.3f}  images whose one box is right"])


@verb(ObjectsOptions, data=("annotations", "images", "voc"))
def evaluate_objects(options: ObjectsOptions, listener: Listener) -> ObjectScores:
    """Score unsupervised object discovery: ABO and OR of k-means proposals, and CorLoc.

    Raises BadInput for missing or damaged files, and for a model that is not an image encoder.
    """
    options.check()
    from tapetum.bench.image_jobs import image_features_of
    from tapetum.bench.objects import coco_objects, evaluate, voc_objects

    if options.voc is not None:
        sought = voc_objects(Path(options.voc), options.split)
    else:
        sought = coco_objects(Path(str(options.annotations)), Path(str(options.images)))
    sought = sought[: options.most]
    look = image_features_of(options.model, options.short_side, device=options.device)
    scores = evaluate(sought, look, options.proposals, options.clusters, options.seed, listener.counting("images"))
    return ObjectScores(
        model=options.model,
        images=len(sought),
        corloc=scores["corloc"],
        abo=scores.get("abo"),
        object_recovery=scores.get("object_recovery"),
        proposals=options.proposals * (options.proposals + 1) // 2,
    )
