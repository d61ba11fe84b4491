"""`tapetum.app.make.scenes.images`: images of the physical world with boxes, masks, captions and questions.

DIR/images/000000.jpg           the image
DIR/masks/000000.png              grey: which instance each pixel shows, 0 for what is fixed
DIR/truth/000000.json             objects, captions, and all questions that could be asked
DIR/images.jsonl                of each image: file, size, objects, captions, questions
DIR/questions.jsonl               of each question: image, text, options, answer
DIR/coco/instances.json, captions.json
DIR/shards/images-000000.tar    jpg, masks.png and json (what images.jsonl says of it)
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.make.scene_items import ItemOptions, begin, candidate_rows, make_items, questions_of, read_truth, write_truth
from tapetum.app.verb import Listener, Result, verb
from tapetum.core.reading import read_bytes

if TYPE_CHECKING:
    from tapetum.data.coco import CocoImage
    from tapetum.data.textures import Textures
    from tapetum.world.image import AnnotatedImage
    from tapetum.world.words import SceneQuestion

OPTIONS = 4
"""Of a question."""


@dataclass(frozen=True)
class ImagesOptions(ItemOptions):
    """Make images with boxes, masks, captions and questions, as JSON lines, files of COCO and tar shards.

    Needs tapetum[physics]. A run that was interrupted goes on when it is started again.
    """


@dataclass(frozen=True, kw_only=True)
class ImagesMade(Result):
    """Images in a folder."""

    out: Path
    images: int
    """How many."""
    size: int
    """Width and height in pixels."""
    objects: int
    """Things of which anything is seen, in all of them."""
    questions: int
    """About all of them."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        return {**asdict(self), "out": str(self.out)}

    def as_text(self) -> str:
        """Summarise."""
        lines = [f"made {self.images} images with {self.objects} things and {self.questions} questions"]
        lines += [f"coco    {self.out / 'coco'}", f"shards  {self.out / 'shards'}", f"lines   {self.out / 'images.jsonl'}"]
        return "\n".join(lines)


@verb(ImagesOptions, data=("textures",))
def images(options: ImagesOptions, listener: Listener) -> ImagesMade:
    """Make images with boxes, masks, captions and questions, as JSON lines, files of COCO and tar shards.

    A run that was interrupted goes on when it is started again. Raises BadInput for numbers that make no image, for textures
    that cannot be read, and for a folder that belongs to another run; MissingExtra without MuJoCo.

    >>> import tempfile
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tapetum.app.make.scenes.images(folder, n=1, size=32).images
    1
    """
    begin(options, "images", ("images", "masks"))
    out = Path(options.out)
    names = [f"{number:06d}" for number in range(options.n)]
    make_items(options, "images", names, partial(_make, out.absolute(), options.seed, options.size), listener)
    from tapetum.data.entries import read_lines, write_lines

    rows = partial(read_lines, write_lines(out / "images.jsonl", _rows(out, names, options.seed)))
    write_lines(
        out / "questions.jsonl", ({"image": row["file"], **question} for row in rows() for question in row["questions"])
    )
    _write_coco(out, rows)
    _write_shards(out, rows())
    objects, questions = (sum(len(row[part]) for row in rows()) for part in ("objects", "questions"))
    return ImagesMade(out=out, images=options.n, size=options.size, objects=objects, questions=questions)


def _make(out: Path, seed: int, size: int, number: int, textures: "Textures") -> None:
    """Make one image; its truth is written last."""
    from tapetum.world.image import make_image

    made = make_image(seed, number, size, textures)
    _write_image(out, number, made)
    write_truth(out, f"{number:06d}", _truth(number, made))


def _write_image(out: Path, number: int, made: "AnnotatedImage") -> None:
    """Write the image and the mask of what is seen."""
    import numpy as np
    from PIL import Image

    from tapetum.core.files import whole_file

    name = f"{number:06d}"
    visible_ids = (made.masks.visible * made.masks.ids[:, None, None]).sum(0).astype(np.uint8)
    for path, array, how in (
        (out / "images" / f"{name}.jpg", made.rgb, {"format": "JPEG", "quality": 95, "subsampling": 0}),
        (out / "masks" / f"{name}.png", visible_ids, {"format": "PNG"}),
    ):
        data = io.BytesIO()  # Pillow does not notice that a disk is full
        Image.fromarray(array).save(data, **how)
        with whole_file(path) as temporary:
            temporary.write_bytes(data.getvalue())


def _truth(number: int, made: "AnnotatedImage") -> dict[str, Any]:
    h, w = made.rgb.shape[:2]
    captions = made.captions
    return {
        "id": number,
        "file": f"images/{number:06d}.jpg",
        "masks": f"masks/{number:06d}.png",
        "height": h,
        "width": w,
        "story": made.episode.settings.get("story", ""),
        "captions": {"short": captions.short, "long": captions.long},
        "objects": list(_objects(made)),
        "relations": [[int(a), r, int(b)] for a, r, b in made.graph.relations()],
        "candidates": candidate_rows(made.candidates),
    }


def _objects(made: "AnnotatedImage") -> Iterator[dict[str, Any]]:
    """Describe each instance of which anything is seen; boxes are x1, y1, x2, y2 in raster pixels."""
    from tapetum.data.rle import encode_mask
    from tapetum.types import Masks

    episode, regions = made.episode, dict(made.captions.regions)
    boxes, whole_boxes = (Masks(masks=m).boxes.xyxy.astype(int).tolist() for m in (made.masks.visible, made.masks.amodal))
    for row, identity in enumerate(made.masks.ids.tolist()):
        visible, whole = made.masks.visible[row], made.masks.amodal[row]
        if not visible.any():
            continue
        number = episode.instance.tolist().index(identity)
        body = episode.bodies[number]
        hand = bool(body.group)
        yield {
            "id": identity,
            "body": number,
            "noun": body.group or body.noun,
            "colour": "" if hand else body.colour_name,
            "material": body.material,
            "box": boxes[row],
            "whole_box": whole_boxes[row],
            "seen_share": round(float(visible.sum() / whole.sum()), 4),
            "caption": regions.get(number, ""),
            "segmentation": encode_mask(visible),
            "whole_segmentation": encode_mask(whole),
        }


def _rows(out: Path, names: list[str], seed: int) -> Iterator[dict[str, Any]]:
    """Give what is known of each image, with the questions that are asked of it."""
    for name, choices in zip(names, questions_of(out, names, seed, OPTIONS), strict=True):
        truth = read_truth(out, name)
        del truth["candidates"]
        yield truth | {"questions": [_question(q) for q in choices]}


def _question(question: "SceneQuestion") -> dict[str, Any]:
    return {
        "question": question.text,
        "options": list(question.options),
        "answer": question.answer,
        "answer_id": question.correct,
        "template": question.template,
        "area": question.area,
    }


def _write_coco(out: Path, rows: Callable[[], Iterator[dict[str, Any]]]) -> None:
    from tapetum.core.files import cannot_write
    from tapetum.data.coco import CocoImage, instance, write_captions, write_instances
    from tapetum.world.physics.props import PROPS

    numbers = {noun: number for number, noun in enumerate([*sorted(PROPS), "hand"], start=1)}

    def images() -> Iterator["CocoImage"]:
        for row in rows():
            yield CocoImage(
                id=row["id"],
                file_name=Path(row["file"]).name,
                height=row["height"],
                width=row["width"],
                instances=[instance(numbers[thing["noun"]], thing["segmentation"]) for thing in row["objects"]],
                captions=list(dict.fromkeys(row["captions"].values())),
            )

    try:
        (out / "coco").mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(out / "coco", error) from error
    write_instances(out / "coco" / "instances.json", images, {number: noun for noun, number in numbers.items()})
    write_captions(out / "coco" / "captions.json", images)


def _write_shards(out: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write shards, unless they are there: a folder belongs to one setting, so they would be the same."""
    from tapetum.core.files import whole_folder
    from tapetum.data.shards import write_shards

    if (out / "shards").exists():
        return
    with whole_folder(out / "shards") as temporary:
        write_shards(map(partial(_sample, out), rows), temporary, "images")


def _sample(out: Path, row: dict[str, Any]) -> dict[str, Any]:
    image, masks = (out / row[name] for name in ("file", "masks"))
    return {"__key__": image.stem, "jpg": read_bytes(image), "masks.png": read_bytes(masks), "json": row}
