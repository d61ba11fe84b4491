"""`tapetum.evaluate_zero_shot` and `evaluate_retrieval`: an image-text encoder names images, and finds them by captions."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options

if TYPE_CHECKING:
    from tapetum.bench.zero_shot import ImageTextRecall, ZeroShotScores


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions:
    """Score an encoder of images and words on labelled images, by the words of their classes; nothing is trained.

    For ImageNet's folders words and templates are those that published numbers are measured with.
    """

    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Labelled images: val/CLASS/*.jpg as ImageNet has them, CIFAR's binary files, a folder a class of which every fifth image
    is scored, parquet files or tar shards."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FOLDER")] = None
    """An encoder of images and words, such as siglip2-base-32; by default the first that is on this machine."""
    labels: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """Words of the classes, a line each in the order of the classes; by default their names."""
    templates: Literal["auto", "photo", "simple", "imagenet", "none"] = "auto"
    """What stands around the words: auto takes the 80 of CLIP for ImageNet's classes, and the 7 simple ones for others."""
    template: tyro.conf.UseAppendAction[tuple[Annotated[str, one_text("TEXT")], ...]] = ()
    """A text of your own with {} where the words go, in place of --templates; given again, the mean of all."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Look at so many images at most, evenly chosen."""
    device: Device = "auto"

    def check(self) -> None:
        check_options(self, most="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class ZeroShotResult(Result):
    """Scores of naming images by words."""

    model: str
    scores: "ZeroShotScores"
    templates: int
    """How many texts stand around the words of a class."""

    def as_json(self) -> dict[str, Any]:
        return {"benchmark": "zero-shot", "model": self.model, "templates": self.templates, **asdict(self.scores)}

    def as_text(self) -> str:
        scores = self.scores
        lines = [f"{self.model}: {scores.images:,} images, {scores.classes:,} classes, {self.templates} templates"]
        rows = {"top 1": scores.top_1, "top 5": scores.top_5, "mean of classes": scores.mean_per_class}
        return "\n".join([*lines, *(f"{name}  {value:.4f}" for name, value in rows.items())])


@verb(ZeroShotOptions, data=("data", "labels"))
def evaluate_zero_shot(options: ZeroShotOptions, listener: Listener) -> ZeroShotResult:
    """Score an image-text encoder on labelled images, by the names of their classes.

    Raises BadInput for data without classes, unless there is one name per class, and for a model that reads no words.
    """
    options.check()
    from tapetum.app.see.classify_labels import chosen_templates, load_word_model, read_labels
    from tapetum.bench import zero_shot
    from tapetum.data.labelled import labelled_images
    from tapetum.encoders.imagenet import synsets

    images, labels, names = labelled_images(Path(options.data), "val", options.most)
    words = zero_shot.words_of_classes(names) if options.labels is None else read_labels([str(options.labels)])
    if len(words) != len(names):
        raise BadInput(
            f"--labels {options.labels} has {len(words)} different lines for {len(names)} classes; give one for each"
        )
    named = options.templates
    if named == "auto":
        named = "imagenet" if set(names) <= set(synsets()) else "simple"
    templates = chosen_templates(named, options.template)
    name, model = load_word_model(options.model, options.device)
    scores = zero_shot.evaluate_zero_shot(model, images, labels, words, templates, listener.counting("naming images"))
    return ZeroShotResult(model=name, scores=scores, templates=max(len(templates), 1))


@dataclass(frozen=True, kw_only=True)
class RetrievalOptions:
    """Score an encoder of images and words on captioned images: recall of captions by images and of images by captions."""

    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """COCO with dataset_coco.json (the split of Karpathy) or annotations/captions_SPLIT.json; Flickr30k
    with dataset_flickr30k.json."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FOLDER")] = None
    """An encoder of images and words, such as siglip2-base-32; by default the first that is on this machine."""
    split: str = "test"
    """Which part: test, val or train of Karpathy's split; of COCO's own files such as val2017."""
    captions: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Captions of an image, at most; published numbers are of 5."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The first so many images only."""
    device: Device = "auto"

    def check(self) -> None:
        check_options(self, captions="[1, inf)", most="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class RetrievalResult(Result):
    """Recall both ways."""

    model: str
    scores: "ImageTextRecall"

    def as_json(self) -> dict[str, Any]:
        about = {"benchmark": "retrieval", "model": self.model}
        sides = {"text_of_image": self.scores.text_of_image, "image_of_text": self.scores.image_of_text}
        recalls = {name: {f"recall@{k}": value for k, value in of.items()} for name, of in sides.items()}
        return about | recalls | {"images": self.scores.images, "texts": self.scores.texts}

    def as_text(self) -> str:
        scores = self.scores
        lines = [f"{self.model}: {scores.images:,} images, {scores.texts:,} captions", f"{'':16}{'@1':>8}{'@5':>8}{'@10':>8}"]
        for name, recalls in (("text of image", scores.text_of_image), ("image of text", scores.image_of_text)):
            lines.append(f"{name:16}" + "".join(f"{value:8.4f}" for value in recalls.values()))
        return "\n".join(lines)


@verb(RetrievalOptions, data=("data",))
def evaluate_retrieval(options: RetrievalOptions, listener: Listener) -> RetrievalResult:
    """Score an image-text encoder on captioned images, in both directions.

    Raises BadInput for data of another layout, files that cannot be read, and a model that reads no words.
    """
    options.check()
    from tapetum.app.see.classify_labels import load_word_model
    from tapetum.bench import zero_shot
    from tapetum.data.vision_language.captions import read_captions

    samples = read_captions(Path(options.data), options.split)[: options.most]
    name, model = load_word_model(options.model, options.device)
    progress = listener.counting("looking at images")
    return RetrievalResult(model=name, scores=zero_shot.evaluate_retrieval(model, samples, options.captions, progress))
