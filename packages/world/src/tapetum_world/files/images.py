"""Images of the physical world with boxes, masks, captions and questions.

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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.core.errors import Listener
from tapetum.core.files import cannot_write, whole_file, whole_folder
from tapetum.core.reading import read_bytes
from tapetum.data.coco import CocoImage, instance, write_captions, write_instances
from tapetum.data.entries import read_lines, write_lines
from tapetum.data.rle import encode_mask
from tapetum.data.shards import write_shards
from tapetum.data.textures import Textures
from tapetum.types import Masks
from tapetum_world.files.items import (
    AnnotatedImage,
    ItemRequest,
    begin,
    candidate_rows,
    make_image,
    make_items,
    questions_of,
    read_truth,
    write_truth,
)
from tapetum_world.physics.props import PROPS
from tapetum_world.words import SceneQuestion

OPTIONS = 4
"""Of a question."""


def make_images(request: ItemRequest, listener: Listener) -> tuple[int, int]:
    """Make images with boxes, masks, captions and questions; returns the objects and the questions in all of them.

    Goes on where it was interrupted. Raises BadInput for numbers that yield no image, for textures that cannot be read, for a
    folder of another request.
    """
    begin(request, "images", ("images", "masks"))
    out = request.out
    names = [f"{number:06d}" for number in range(request.n)]
    make_items(request, "images", names, partial(_make, out.absolute(), request.seed, request.size), listener)
    rows = partial(read_lines, write_lines(out / "images.jsonl", _rows(out, names, request.seed)))
    write_lines(
        out / "questions.jsonl", ({"image": row["file"], **question} for row in rows() for question in row["questions"])
    )
    _write_coco(out, rows)
    _write_shards(out, rows())
    return sum(len(row["objects"]) for row in rows()), sum(len(row["questions"]) for row in rows())


def _make(out: Path, seed: int, size: int, number: int, textures: Textures) -> None:
    """Make one image; its ground truth is written last."""
    made = make_image(seed, number, size, textures)
    _write_image(out, number, made)
    write_truth(out, f"{number:06d}", _truth(number, made))


def _write_image(out: Path, number: int, made: AnnotatedImage) -> None:
    """Write the image and the mask of its visible instances."""
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


def _truth(number: int, made: AnnotatedImage) -> dict[str, Any]:
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


def _objects(made: AnnotatedImage) -> Iterator[dict[str, Any]]:
    """Describe each visible instance; boxes are x1, y1, x2, y2 in raster pixels."""
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
    """Return the ground truth of each image, with its chosen questions."""
    for name, choices in zip(names, questions_of(out, names, seed, OPTIONS), strict=True):
        truth = read_truth(out, name)
        del truth["candidates"]
        yield truth | {"questions": [_question(q) for q in choices]}


def _question(question: SceneQuestion) -> dict[str, Any]:
    return {
        "question": question.text,
        "options": list(question.options),
        "answer": question.answer,
        "answer_id": question.correct,
        "template": question.template,
        "area": question.area,
    }


def _write_coco(out: Path, rows: Callable[[], Iterator[dict[str, Any]]]) -> None:
    numbers = {noun: number for number, noun in enumerate([*sorted(PROPS), "hand"], start=1)}

    def images() -> Iterator[CocoImage]:
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
    """Write shards unless they exist: a folder belongs to one setting, so they would be the same."""
    if (out / "shards").exists():
        return
    with whole_folder(out / "shards") as temporary:
        write_shards(map(partial(_sample, out), rows), temporary, "images")


def _sample(out: Path, row: dict[str, Any]) -> dict[str, Any]:
    image, masks = (out / row[name] for name in ("file", "masks"))
    return {"__key__": image.stem, "jpg": read_bytes(image), "masks.png": read_bytes(masks), "json": row}
