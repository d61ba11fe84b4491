"""`tapetum.discover`: unsupervised object discovery in images."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.see.replies import ImageResults
from tapetum.app.verb import File, Listener, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.report import check_report

if TYPE_CHECKING:
    from tapetum.data.coco import CocoImage

PAGE, INSTANCES = "objects.html", "instances.json"
"""What a folder of results has, beside a drawn image for each: a page of all, and COCO's file of masks."""
_STREETS = "on 51 street scenes of CamVid, whose cars, pedestrians and bicyclists are known, "
MEASURED = {
    "colours": _STREETS + "its best masks cover these by 0.23 (k-means of positions alone: 0.29), what it shows by 0.11 "
    "(with --clusters 24 by 0.18), and its first object is one of them in 1 image",
    "resnet-nano": _STREETS + "its best masks cover these by 0.26 (k-means of positions alone: 0.29, of colours and positions: "
    "0.23), what it shows by 0.14 (with --clusters 24 by 0.12), and its first object is one of them in 2 images",
}
"""Measured quality on real images whose objects are known (docs/evidence/odin.md)."""
_NOT_MEASURED = "not measured; on images whose things are known: tapetum eval objects"


@dataclass(frozen=True)
class DiscoverOptions:
    """Find objects in images without labels.

    Nobody says what they are: parts of an image that are alike and stand apart from their ground. By default k-means of
    colours and positions, which needs no network; an encoder sees more.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGES")], ...]]
    """Images; of a folder all images in it; or addresses of these. In Python also one alone, and arrays, tensors and images of
    Pillow."""
    _: KW_ONLY
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder for objects.html, instances.json (COCO) and drawn images."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|colours")] = "colours"
    """What looks at images: an encoder by name or file, the folder of a run of tapetum train odin, or colours, which is no
    network but k-means of colours and positions."""
    clusters: Annotated[int, tyro.conf.arg(metavar="K")] = 6
    """Clusters of an image; more of them split objects, fewer join them."""
    most: Annotated[int, tyro.conf.arg(metavar="N")] = 12
    """Objects of an image at most."""
    report: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Write the page objects.html to another place too."""
    seed: int = 0
    """The same seed finds the same objects."""

    def check(self) -> None:
        """Raise BadInput for invalid numbers."""
        check_options(self, clusters="[2, inf)", most="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class Discovered(ImageResults):
    """Objects discovered in images."""

    images: tuple[str, ...]
    objects: tuple[int, ...]
    page: Path
    instances: Path
    measured: str
    """Quality of the model on real images, in words."""

    def as_json(self) -> dict[str, Any]:
        images = [{"path": path, "objects": count} for path, count in zip(self.images, self.objects, strict=True)]
        content: dict[str, Any] = {"images": images, "failed": list(self.failed), "page": str(self.page)}
        content |= {"instances": str(self.instances), "measured": self.measured}
        return self.with_report(content)

    def as_text(self) -> str:
        count = f"{sum(self.objects)} objects in {len(self.images)} images"
        report = "" if self.report is None else f"\nreport    {self.report}"
        return f"{count}\npage      {self.page}{report}\nmasks     {self.instances}\nhow good  {self.measured}"


@verb(DiscoverOptions, data=("images",))
def discover(options: DiscoverOptions, listener: Listener) -> Discovered:
    """Find objects in images without labels: masks, drawn images and a page that shows them all.

    Raises BadInput if there are no images or none can be read, the model is unknown, or the folder cannot be written.
    """
    options.check()
    report = check_report(options.report)
    from tapetum.app.see.classify import image_sources
    from tapetum.bench.image_jobs import image_features_of
    from tapetum.core.files import whole_folder, write_text

    files, look, out = image_sources(options.images, "discover"), image_features_of(options.model), Path(options.out)
    with whole_folder(out, (PAGE, INSTANCES)) as folder:
        images, failed, page = _discover_all(options, files, look, folder, listener)
    if report is not None:
        write_text(report, page)
    return Discovered(
        images=tuple(image.file_name for image in images),
        objects=tuple(len(image.instances) for image in images),
        failed=failed,
        page=out / PAGE,
        instances=out / INSTANCES,
        measured=MEASURED.get(options.model, _NOT_MEASURED),
        report=report,
    )


def _discover_all(
    options: DiscoverOptions, files: Sequence[tuple[str, Any]], look: Any, folder: Path, listener: Listener
) -> "tuple[list[CocoImage], tuple[str, ...], str]":
    """Find the objects of all images and write the drawings into the folder; also returns the page."""
    import numpy as np
    from PIL import Image

    from tapetum.app.see.report import UNREAD, ReplyRow, read_or_none, rows_page
    from tapetum.core.files import write_text
    from tapetum.data.coco import CocoImage, instance, write_instances
    from tapetum.report.page import report_html
    from tapetum.systems.odin.objects import find_objects
    from tapetum.types import Masks
    from tapetum.video.draw_regions import draw_regions, enlarged
    from tapetum.video.read import read_image

    images: list[CocoImage] = []
    rows: list[ReplyRow] = []
    failed: list[str] = []
    for done, (name, source) in enumerate(files, 1):
        try:
            image = read_image(source, name)
            masks, _ = find_objects(image, look, options.clusters, most=options.most, seed=options.seed)
        except BadInput as error:
            if len(files) == 1:
                raise
            listener.note(str(error))
            failed.append(name)
            continue
        finally:
            listener.progress("discovering", done, len(files))
        number, (larger, times) = len(images) + 1, enlarged(image)
        whole = Masks(masks=masks.masks.repeat(times, 1).repeat(times, 2), labels=masks.labels, scores=masks.scores)
        file = folder / f"{number:05d}-{Path(name).stem}.jpg"
        Image.fromarray(draw_regions(larger, masks=whole)).save(file, quality=90)
        scores = np.asarray(masks.scores).tolist()
        shown = partial(read_or_none, file, name)
        rows.append(ReplyRow(Path(name).name, f"objects: {len(scores)}", max(scores, default=None), shown))
        instances = [instance(1, mask, score=round(score, 4)) for mask, score in zip(masks.masks, scores, strict=True)]
        height, width = image.shape[:2]
        images.append(CocoImage(id=number, file_name=name, height=height, width=width, instances=instances))
    if not images:
        raise BadInput(f"none of {len(files)} images could be read; give png, jpg or another common format")
    lines = [
        f"By {options.model}, {options.clusters} clusters; the score is the best object's. Colours tell objects of one image "
        "apart and mean nothing else.",
        f"How good that is: {MEASURED.get(options.model, _NOT_MEASURED)}.",
    ]
    unread = [(name, UNREAD) for name in failed]
    page = report_html(rows_page("Objects discovered without labels", lines, rows, unread), partial(listener.progress, "page"))
    write_text(folder / PAGE, page)
    write_instances(folder / INSTANCES, lambda: images, {1: "object"})
    return images, tuple(failed), page
