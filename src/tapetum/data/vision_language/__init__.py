"""Sets of questions, captions and expressions about images and videos, read from their official files.

A reader takes the folder of the data and the name of a split, and returns records of `tapetum.data.questions`; each module
describes the folder. READERS names them; `read_refcoco` reads expressions. No image is opened.

RefCOCO, RefCOCO+ (Yu et al., arXiv 1608.00272) and RefCOCOg (Mao et al., arXiv 1511.02283) have the files of REFER:

    DIR/refcoco/refs(unc).p       a pickled list of {ref_id, ann_id, image_id, split, sentences: [{sent, sent_id}]}; refcoco+
                                  too; refs(umd).p of refcocog
    DIR/refcoco/instances.json    in COCO's form: {images: [{id, file_name, height, width}],
                                  annotations: [{id, image_id, bbox, segmentation}]}
    DIR/train2014/COCO_train2014_000000000009.jpg

Unusual: the references come as a pickle. It is read without running anything: a pickle that names any class or function is
refused. Splits: train, val, testA, testB; of RefCOCOg train, val, test.

>>> sorted(READERS)[:4]
['chartqa', 'coco', 'coco-35l', 'coco-karpathy']
"""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes
from tapetum.data.coco import corners
from tapetum.data.entries import JsonEntry, entries, one_of
from tapetum.data.questions import CaptionedImage, Question, ReferredObject, check_unique
from tapetum.data.video_language import read_msrvtt, read_vatex
from tapetum.data.vision_language import captions, questions

_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
"""Who made the splits that are usual."""


def read_refcoco(folder: Path, split: str, name: str = "refcoco") -> list[ReferredObject]:
    """Read the things that expressions of a split mean. `name` is refcoco, refcoco+ or refcocog.

    Raises BadInput for other names, files that are not there or damaged, a pickle that names code, and references to a thing
    that is not in instances.json.
    """
    one_of(name, _BY)
    one_of(split, ("train", "val", "test") if name == "refcocog" else ("train", "val", "testA", "testB"))
    folder, place = Path(folder), Path(folder) / name
    file = place / f"refs({_BY[name]}).p"
    instances = place / "instances.json"
    images = {entry.whole("id"): entry for entry in entries(instances, "images")}
    things = {entry.whole("id"): entry for entry in entries(instances, "annotations")}

    def referred(reference: JsonEntry) -> ReferredObject:
        thing = things.get(reference.whole("ann_id"))
        image = images.get(reference.whole("image_id"))
        if thing is None or image is None or thing.whole("image_id") != reference.whole("image_id"):
            raise BadInput(f"{reference.where} is of a thing or an image that {instances} has not; give files of one set")
        segmentation = thing.fields.get("segmentation")
        if not isinstance(segmentation, (list, dict)) or not segmentation:
            raise BadInput(f"segmentation of {thing.where} is {str(segmentation)[:60]}; wanted polygons or runs: copy it again")
        return ReferredObject(
            key=reference.key("ref_id"),
            image=folder / "train2014" / image.file_name("file_name"),
            size=(image.whole("height"), image.whole("width")),
            expressions=tuple(sentence.text("sent") for sentence in reference.entries("sentences")),
            xyxy=corners(thing),
            segmentation=segmentation,
        )

    records = [JsonEntry(item, f"reference {k} of {file}") for k, item in enumerate(_plain(file))]
    return check_unique((referred(reference) for reference in records if reference.text("split") == split), file)


class _Plain(pickle.Unpickler):
    """Lists, dicts, texts and numbers alone: there is no name that it would look up."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and plain data names nothing")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside")


def _plain(file: Path) -> list[Any]:
    try:
        plain = _Plain(io.BytesIO(read_bytes(file)), encoding="utf-8", errors="replace").load()
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}; put the official file there") from error
    except Exception as error:  # damaged pickles raise whatever they stumble over
        raise BadInput(f"{file} is no pickle of plain data ({' '.join(str(error).split())[:80]}); copy it again") from None
    if not isinstance(plain, list):
        raise BadInput(f"{file} holds {type(plain).__name__}; wanted a list of references: give the official file")
    return plain


READERS: Mapping[str, Callable[[Path, str], list[Question] | list[CaptionedImage]]] = {
    "vqav2": questions.read_vqav2,
    "gqa": questions.read_gqa,
    "textvqa": questions.read_textvqa,
    "docvqa": questions.read_docvqa,
    "chartqa": questions.read_chartqa,
    "scienceqa": questions.read_scienceqa,
    "coco-35l": captions.read_coco35l,
    "msrvtt-cap": read_msrvtt,
    "vatex": read_vatex,
    "coco": captions.read_coco_captions,
    "coco-karpathy": captions.read_karpathy,
    "textcaps": captions.read_textcaps,
}
