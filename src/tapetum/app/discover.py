"""`tapetum.discover`: unsupervised object discovery in images."""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import write_text

if TYPE_CHECKING:
    import numpy as np

    from tapetum.data.coco import CocoImage
    from tapetum.types import Masks

PAGE, INSTANCES = "objects.html", "instances.json"
"""What a folder of results has, beside a drawn image for each: a page of all, and COCO's file of masks."""
_SHOWN = 320
_STREETS = "on 51 street scenes of CamVid, whose cars, pedestrians and bicyclists are known, "
MEASURED = {
    "colours": _STREETS + "its best masks cover these by 0.23 (k-means of positions alone: 0.29), what it shows by 0.11 "
    "(with --clusters 24 by 0.18), and its first object is one of them in 1 image",
    "resnet-nano": _STREETS + "its best masks cover these by 0.26 (k-means of positions alone: 0.29, of colours and positions: "
    "0.23), what it shows by 0.14 (with --clusters 24 by 0.12), and its first object is one of them in 2 images",
}
"""How good a look is on real images whose things are known, where this project measured it; docs/evidence/odin.md."""
_NOT_MEASURED = "not measured; on images whose things are known: tapetum eval objects"


@dataclass(frozen=True)
class DiscoverOptions:
    """Find objects in images without labels.

    Nobody says what they are: parts of an image that are alike and stand apart from their ground. By default k-means of
    colours and positions, which needs no network; an encoder sees more.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGES")], ...]]
    """Images; of a folder all images in it. In Python also one alone, and arrays, tensors and images of Pillow."""
    _: KW_ONLY
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder for what is found: objects.html, instances.json (COCO) and drawn images."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|colours")] = "colours"
    """What looks at images: an encoder by name or file, the folder of a run of tapetum train odin, or colours, which is no
    network but k-means of colours and positions."""
    clusters: Annotated[int, tyro.conf.arg(metavar="K")] = 6
    """Clusters of an image; more of them split objects, fewer join them."""
    most: Annotated[int, tyro.conf.arg(metavar="N")] = 12
    """Objects of an image at most."""
    seed: int = 0
    """The same seed finds the same objects."""

    def check(self) -> None:
        """Raise BadInput for numbers that cannot be."""
        if self.clusters < 2 or self.most < 1:
            raise BadInput(
                f"--clusters is {self.clusters} and --most {self.most}; give 2 clusters or more, and 1 object or more"
            )


@dataclass(frozen=True, kw_only=True)
class Discovered(Result):
    """Objects discovered in images."""

    images: tuple[str, ...]
    """Those that could be read, in their order."""
    objects: tuple[int, ...]
    """Objects of each."""
    failed: tuple[str, ...]
    """Paths of those that could not be read."""
    page: Path
    instances: Path
    measured: str
    """How good what looked is on real images, in words."""

    def as_json(self) -> dict[str, Any]:
        """Write all of it as JSON values."""
        images = [{"path": path, "objects": count} for path, count in zip(self.images, self.objects, strict=True)]
        return {
            "images": images,
            "failed": list(self.failed),
            "page": str(self.page),
            "instances": str(self.instances),
            "measured": self.measured,
        }

    def as_text(self) -> str:
        """Count the objects, and say where they are."""
        count = f"{sum(self.objects)} objects in {len(self.images)} images"
        return f"{count}\npage      {self.page}\nmasks     {self.instances}\nhow good  {self.measured}"

    def failure(self) -> str | None:
        """Count the images that could not be read."""
        count = len(self.failed) + len(self.images)
        where = f"the others are in {self.page.parent}"
        return f"{len(self.failed)} of {count} images could not be read; {where}" if self.failed else None


@verb(DiscoverOptions)
def discover(options: DiscoverOptions, listener: Listener) -> Discovered:
    """Find objects in images without labels: masks, drawn images and a page that shows them all.

    Raises BadInput: there are no images or none can be read, the model is unknown, or the folder cannot be written.
    """
    options.check()
    from tapetum.app.classify import image_sources
    from tapetum.app.image_features import image_features_of
    from tapetum.core.files import whole_folder

    files, look, out = image_sources(options.images, "discover"), image_features_of(options.model), Path(options.out)
    with whole_folder(out, (PAGE, INSTANCES)) as folder:
        images, failed = _discover_all(options, files, look, folder, listener)
    return Discovered(
        images=tuple(image.file_name for image in images),
        objects=tuple(len(image.instances) for image in images),
        failed=failed,
        page=out / PAGE,
        instances=out / INSTANCES,
        measured=MEASURED.get(options.model, _NOT_MEASURED),
    )


def _discover_all(
    options: DiscoverOptions, files: Sequence[tuple[str, Any]], look: Any, folder: Path, listener: Listener
) -> "tuple[list[CocoImage], tuple[str, ...]]":
    """Find the objects of all images and write what there is to see into the folder."""
    import numpy as np
    from PIL import Image

    from tapetum.data.coco import CocoImage, instance, write_instances
    from tapetum.systems.odin.objects import find_objects
    from tapetum.video.read import read_image

    images: list[CocoImage] = []
    cells: list[str] = []
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
        number, drawn = len(images) + 1, _drawn(image, masks)
        Image.fromarray(drawn).save(folder / f"{number:05d}-{Path(name).stem}.jpg", quality=90)
        cells.append(_cell(image, drawn, Path(name).name, len(masks)))
        scored = zip(masks.masks, np.asarray(masks.scores).tolist(), strict=True)
        instances = [instance(1, mask, score=round(score, 4)) for mask, score in scored]
        height, width = image.shape[:2]
        images.append(CocoImage(id=number, file_name=name, height=height, width=width, instances=instances))
    if not images:
        raise BadInput(f"none of {len(files)} images could be read; give png, jpg or another common format")
    write_text(folder / PAGE, "\n".join(_page(cells, options)))
    write_instances(folder / INSTANCES, lambda: images, {1: "object"})
    return images, tuple(failed)


def _drawn(image: "np.ndarray", masks: "Masks") -> "np.ndarray":
    from tapetum.types import Masks as Regions
    from tapetum.video.draw_regions import draw_regions, enlarged

    larger, times = enlarged(image)
    whole = masks.masks.repeat(times, 1).repeat(times, 2) if times > 1 else masks.masks
    return draw_regions(larger, masks=Regions(masks=whole, labels=masks.labels, scores=masks.scores))


def _page(cells: Sequence[str], options: DiscoverOptions) -> Iterator[str]:
    yield "<!doctype html><meta charset='utf-8'><title>objects found without labels</title>"
    yield (
        "<style>body{font:13px sans-serif;margin:1em}figure{display:inline-block;margin:0 12px 12px 0;vertical-align:top}"
        f"img{{max-width:{_SHOWN}px;max-height:{_SHOWN}px;margin-right:2px}}figcaption{{max-width:{2 * _SHOWN}px}}</style>"
    )
    yield (
        f"<p>Left: an image. Right: what was found in it without labels, by {html.escape(options.model)}, "
        f"{options.clusters} clusters. Colours tell objects of one image apart and mean nothing else.</p>"
        f"<p>How good that is: {html.escape(MEASURED.get(options.model, _NOT_MEASURED))}.</p>"
    )
    yield from cells


def _cell(image: "np.ndarray", drawn: "np.ndarray", name: str, count: int) -> str:
    words = f"{html.escape(name)}: {count} object{'' if count == 1 else 's'}"
    return f"<figure>{_image(image)}{_image(drawn)}<figcaption>{words}</figcaption></figure>"


def _image(frame: "np.ndarray") -> str:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((_SHOWN, _SHOWN))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return f"<img src='data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}'>"
