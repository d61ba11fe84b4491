"""`tapetum.classify`: image classification, with class names."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
from tapetum.app.see.classify_labels import LabelsFitted, Templates, chosen_templates, fit_labels, read_labels
from tapetum.app.see.replies import ImageResults
from tapetum.app.see.settings import CLASSIFIER
from tapetum.app.verb import File, Listener, one_text, verb
from tapetum.bench.image_jobs import ImageJobs, Source, look_at_images, looked_at, read_source
from tapetum.core.batched_work import BatchedWork
from tapetum.core.devices import EncoderPrecision, find_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.jobs import Engine
from tapetum.report import check_report

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32
    from torch import Tensor

    from tapetum.encoders import Encoder
    from tapetum.systems.adapters.task import Headed

_AT_A_TIME = 16
"""Images that the network looks at together."""


@dataclass(frozen=True)
class ClassifyOptions:
    """Say what is in images, by name.

    The names are the 1,000 classes of ImageNet: animals, plants, food, tools, vehicles, places; not people. The default
    network comes with the extra imagenet. With --labels they are any words, and an encoder of images and words says which of
    these fit, or none.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGES")], ...]]
    """Images; of a folder all images in it; or addresses of these. In Python also one alone, and arrays, tensors and images of
    Pillow."""
    _: KW_ONLY
    top: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Classes to name for each image, the likeliest first."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """An encoder with a classifier: efficientnet-lite0, -lite1, -lite2 (the default; of the extra imagenet), a file of one, or
    what `tapetum adapt --task classify` learned. With --labels an encoder of images and words, by default the best that is
    on this machine."""
    labels: Annotated[tuple[str, ...], tyro.conf.arg(metavar="LABEL|FILE")] = ()
    """Words to choose from, such as cat dog "a red bicycle"; or a text file with a label a line."""
    template: tyro.conf.UseAppendAction[tuple[Annotated[str, one_text("TEXT")], ...]] = ()
    """With --labels, a text of your own with {} where the label goes, in place of --templates; given again, the mean of all."""
    templates: Templates = "photo"
    """With --labels, what stands around a label: "a photo of a {}.", but for labels with an article or of another script; the 7
    simple texts or the 80 for ImageNet that were published for CLIP, whose mean is taken; or nothing."""
    none_below: Annotated[Literal["auto"] | float, tyro.conf.arg(metavar="auto|NUMBER")] = "auto"
    """With --labels, when it is none of these: auto, where more than 3 % of other names of things fit the image as well; or
    where the probability of the best label (its share, for models with a softmax) is below a number."""
    engine: Annotated[Engine, tyro.conf.arg(metavar="local|ray")] = "local"
    """What works on the images: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    workers: int = 1
    """Processes that work at a time on this machine; each loads the model. One process alone makes batches of images."""
    device: Device = "auto"
    dtype: EncoderPrecision = "float32"
    """Precision of an encoder; auto takes bfloat16 where the device knows it. int8 is for convolutional networks on CPUs with
    VNNI, as most since 2021: three times as fast."""
    report: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Write a page that needs no network: a row an image, the least sure first."""

    def check(self) -> None:
        """Raise BadInput for options that cannot work, before any work starts."""
        check_options(self, top="[1, inf)", workers="[1, inf)")
        if not self.labels and (self.template or self.templates != "photo" or self.none_below != "auto"):
            raise BadInput("--template, --templates and --none-below are for --labels; give labels too")
        if self.none_below != "auto" and not 0 <= self.none_below <= 1:
            raise BadInput(f"--none-below is {self.none_below}; give auto, or a probability of 0 to 1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """What is in one image: its likeliest classes, the likeliest first."""

    path: str
    """The image; of one in memory its number, as image-0."""
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    probabilities: "Float32[np.ndarray, ' n']"
    """Those of all classes add up to 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classified(ImageResults):
    """What is in some images."""

    images: tuple[Classes, ...]

    def as_json(self) -> dict[str, Any]:
        def rows(image: Classes) -> list[dict[str, Any]]:
            columns = zip(image.names, image.numbers, image.probabilities.tolist(), strict=True)
            return [{"name": name, "number": number, "probability": probability} for name, number, probability in columns]

        images = [{"path": image.path, "classes": rows(image)} for image in self.images]
        return self.with_report({"images": images, "failed": list(self.failed)})

    def as_text(self) -> str:
        lines = []
        for image in self.images:
            lines.append(image.path)
            lines += [f"  {share:6.1%}  {name}" for name, share in zip(image.names, image.probabilities, strict=True)]
        lines += [f"report   {self.report}"] if self.report is not None else []
        return "\n".join(lines)


@verb(ClassifyOptions, data=("images",))
def classify(options: ClassifyOptions, listener: Listener) -> Classified | LabelsFitted:
    """Classify images, by the classes that a network was trained on or by given labels.

    Unreadable images are reported to the listener. Raises BadInput if there are no images or none can be read, the model is
    unknown or not on this machine, or it has no classifier.
    """
    files = image_sources(options.images)
    options.check()
    report = check_report(options.report)
    jobs = ImageJobs(engine=options.engine, workers=options.workers, device=options.device)
    if options.labels:
        labels, templates = read_labels(options.labels), chosen_templates(options.templates, options.template)
        made = fit_labels(options.model, files, labels, templates, options.none_below, options.top, listener, jobs)
        shown = [(each.path, each.names if each.fits else ("none of these", *each.names), each.shares) for each in made.images]
    else:
        made = _classify(options, files, jobs, listener)
        shown = [(each.path, each.names, each.probabilities.tolist()) for each in made.images]
    if report is None:
        return made
    from tapetum.app.see.report import UNREAD, ReplyRow, read_or_none, write_rows

    sources = dict(files)
    rows = [
        ReplyRow(
            path,
            ", ".join(names[:3]),
            None if len(names) > len(shares) else shares[0],
            partial(read_or_none, sources[path], path),
        )
        for path, names, shares in shown
    ]
    failed = [(name, UNREAD) for name in made.failed]
    return replace(made, report=write_rows(report, "What is in images", (), rows, failed, listener))


def _classify(options: ClassifyOptions, files: Sequence[tuple[str, Any]], jobs: ImageJobs, listener: Listener) -> Classified:
    """Classify by the network's own classes."""
    from tapetum.bench.word_models import portable
    from tapetum.hub.loading import find_loader

    model = portable(options.model or CLASSIFIER)
    find_loader(model, "classify", trackers=False)  # what can be said without torch is said at once
    make = partial(_classifier, model, jobs.device, options.dtype)
    encoder = make() if jobs.alone else None
    work = BatchedWork(
        read=_prepared, compute=partial(_look, options.top), finish=looked_at, size=_AT_A_TIME, ahead=2 * _AT_A_TIME
    )
    images, failed = look_at_images(work, files, make if encoder is None else lambda: encoder, jobs, listener)
    return Classified(images=tuple(images), failed=failed)


def _prepared(source: Source, encoder: "Encoder | Headed") -> "Iterator[tuple[str, Tensor]]":
    for name, image in read_source(source, encoder):
        yield name, encoder.prepare(image[None])


def image_sources(given: Any, verb: str = "classify") -> list[tuple[str, Any]]:
    """List images with their names: files and arrays unchanged, folders replaced by all images in and below them.

    Raises BadInput if there are none.
    """
    from tapetum.video.images import images_below
    from tapetum.video.read import in_memory, list_sources, name_of

    sources: list[Any] = []
    for source in list_sources(given):
        sources += images_below(source) if not in_memory(source) and source.is_dir() else [source]
    if not sources:
        raise BadInput(f"there are no IMAGES; give files or folders, as in: tapetum {verb} photo.jpg")
    return [(name_of(source, number), source) for number, source in enumerate(sources)]


def _classifier(model: str, device: str | None, dtype: str) -> "Encoder | Headed":
    from tapetum.encoders import Encoder
    from tapetum.encoders.embed import set_precision
    from tapetum.hub.loading import load
    from tapetum.layers.cpu import speed_up
    from tapetum.systems.adapters import Adapted, load_headed

    encoder = load(model, device)
    if isinstance(encoder, Adapted):
        headed = load_headed(Path(model))
        if headed.about["task"] != "classify":
            raise BadInput(f"{model} has a head for {headed.about['task']}; give one of: tapetum adapt --task classify")
        return headed.to(find_device(device))
    if not isinstance(encoder, Encoder) or encoder.head is None:
        raise BadInput(f"{model} holds no encoder with a classifier; give one, or the name {CLASSIFIER}")
    set_precision(encoder, dtype)
    return speed_up(encoder)


def _look(top: int, waiting: "Sequence[tuple[str, Tensor]]", encoder: "Encoder | Headed") -> list[Classes]:
    """Compute the most likely classes of prepared images, each (1, 3, h, w) with its path."""
    import torch

    from tapetum.encoders.batching import look_by_size
    from tapetum.encoders.imagenet import class_names

    with torch.inference_mode():
        logits = look_by_size([image for _, image in waiting], encoder.classify, encoder)
        count = logits.shape[1]
        probabilities, numbers = logits.float().softmax(1).topk(min(top, count))
    own: tuple[str, ...] = getattr(encoder, "class_names", ())
    names = own or (class_names() if count == len(class_names()) else tuple(f"class {number}" for number in range(count)))
    return [
        Classes(path=path, names=tuple(names[number] for number in row), numbers=tuple(row), probabilities=likely)
        for (path, _), row, likely in zip(waiting, numbers.tolist(), probabilities.cpu().numpy(), strict=True)
    ]
