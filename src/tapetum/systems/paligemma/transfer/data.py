"""Examples of transfer tasks, read from official files: images, prompts, references.

Tasks whose files have a reader (`tapetum.data.vision_language`) are read in their original form. All others, and any task with
DIR/SPLIT.jsonl, are read from its lines of JSON, next to the images:

    {"id": 7, "image": "a.jpg", "question": "how many?", "answers": ["2", "two"]}       image: from DIR on, or a list
    {"id": 8, "video": "a.mp4", "answers": ["a man cooks"]}                             of a task of videos; start_s and stop_s
                                                                                        where a part of one is meant
    {"id": 9, "image": "b.jpg", "answers": ["..."], "language": "de"}                   of a task in several languages
    {"id": 3, "image": "c.jpg", "question": "which?", "options": ["a", "b"], "right": 1}
    {"id": 4, "image": "d.jpg", "width": 640, "height": 480, "boxes": [[x1, y1, x2, y2]], "labels": ["stop"]}     spotting

`id` may be left out: the number of the line, from 0. Captions are answers without a question. Illegible words are "###". A task
whose prompt is not published has it in `question`.

Nothing is decoded here, and torch is not imported; `transfer.samples` makes samples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data import vision_language
from tapetum.data.coco import InstanceAnnotation, Instances, read_instances
from tapetum.data.entries import JsonEntry, line_entries
from tapetum.data.questions import CaptionedImage, Key, Question, ReferredObject, check_unique
from tapetum.data.vision_language import read_refcoco
from tapetum.systems.paligemma.transfer.form import Transfer

UNREAD = "###"
"""Label of a word that nobody could read."""
Id = tuple[str, Key]
"""Split and key of an example."""


@dataclass(frozen=True, kw_only=True)
class TransferExample:
    """One example: images or a video, a prompt and its references."""

    id: Id
    images: tuple[Path, ...] = ()
    video: Path | None = None
    prefix: str
    references: tuple[str, ...] = ()
    """All right answers as the set has them; none where they are hidden, or where truth is places."""
    kind: str = ""
    question: Question | None = None
    referred: ReferredObject | None = None
    """Object of an expression."""
    things: Instances | None = None
    """Objects to be detected."""

    @property
    def source(self) -> Path:
        """Get the file that groups examples: the first image, or the video."""
        return self.video or self.images[0]


def read_examples(task: Transfer, folder: str | Path, splits: Sequence[str] | None = None) -> list[TransferExample]:
    """Read examples of a task; by default the splits that can be scored here.

    Raises BadInput for a missing folder, missing or damaged files, unknown splits, and splits without an example of the task's
    kinds.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give that of the files of {task.title}")
    examples: list[TransferExample] = []
    for split in splits or task.scored:
        ours = (folder / f"{split}.jsonl").is_file()  # lines of ours come before official files
        records = READERS["lines" if ours else task.reader](folder, split)
        part = [example for record in records for example in _examples(task, record, split)]
        if task.kinds:
            part = [example for example in part if example.kind in task.kinds]
        examples += part
    if not examples:
        raise BadInput(f"{folder} has nothing for {task.title} ({', '.join(task.kinds)}); give its official files")
    return examples


def split_names(splits: str, default: Sequence[str]) -> Sequence[str]:
    """Split a text such as "train+val" into names of splits. Names in `refcoco+` contain a plus themselves: refcoco+/val.

    >>> split_names("refcoco/val+refcoco+/testA", ())
    ['refcoco/val', 'refcoco+/testA']
    """
    return [part.replace("\0", "+/") for part in splits.replace("+/", "\0").split("+")] if splits else default


def there(examples: Sequence[TransferExample]) -> list[TransferExample]:
    """Remove examples whose video is missing, as many are no longer available; each file is looked up once."""
    known: dict[Path, bool] = {}
    return [e for e in examples if e.video is None or known.setdefault(e.video, e.video.is_file())]


def answers_of(task: Transfer, question: Question) -> tuple[str, ...]:
    """List the correct answers to a question; none if they are hidden."""
    if task.prompt in ("choose", "letter"):
        if question.right is None:
            return ()
        text = f"The answer is {chr(65 + question.right)}." if task.prompt == "letter" else question.options[question.right]
        return (text,)
    return tuple(answer.lower() for answer in question.answers) if task.lower else question.answers


def shuffled(task: Transfer, example: TransferExample, rng: np.random.Generator) -> TransferExample:
    """Shuffle the options of an example, if the task shuffles them."""
    question = example.question
    if not task.shuffle_options or question is None or question.right is None:
        return example
    order = rng.permutation(len(question.options)).tolist()
    question = replace(question, options=tuple(question.options[k] for k in order), right=order.index(question.right))
    return replace(example, question=question, prefix=task.prompt_of(question), references=answers_of(task, question))


def _examples(
    task: Transfer, record: Question | CaptionedImage | ReferredObject | Instances, split: str
) -> Iterator[TransferExample]:
    if isinstance(record, Question):
        _check_form(task, record, split)
        yield TransferExample(
            id=(split, record.key),
            images=record.images,
            video=record.video,
            prefix=task.prompt_of(record),
            references=answers_of(task, record),
            kind=record.kind,
            question=record,
        )
    elif isinstance(record, CaptionedImage):
        yield from _examples(
            task, Question(key=record.key, images=(record.image,), question="", answers=record.captions), split
        )
    elif isinstance(record, ReferredObject):
        for k, expression in enumerate(record.expressions):
            question = Question(key=f"{record.key}/{k}", question=expression)
            prefix = task.prompt_of(question)
            yield TransferExample(id=(split, question.key), images=(record.image,), prefix=prefix, referred=record)
    else:
        prefix = task.prompt_of(Question(key=record.key, question=getattr(record, "prompt", "")))
        yield TransferExample(id=(split, record.key), images=(record.image,), prefix=prefix, things=record)


def _check_form(task: Transfer, question: Question, split: str) -> None:
    where = f"example {question.key!r} of {split}"
    if question.video is None and len(question.images) != task.images:
        raise BadInput(f"{where} has {len(question.images)} images; {task.title} wants {task.images} of each")
    if (question.video is not None) != (task.frames is not None):
        raise BadInput(f"{where} has {'a video' if question.video else 'no video'}; that is another form than {task.title}'s")
    if task.prompt in ("choose", "letter") and not question.options:
        raise BadInput(f"{where} has no options to choose from; give them")


@dataclass(frozen=True, kw_only=True)
class Words(Instances):
    """An image with words in it, and the prompt that asks for them."""

    prompt: str = ""


def read_lines_of(folder: Path, split: str) -> list[Question | Instances]:
    """Read DIR/SPLIT.jsonl as described in the module's docstring. Raises BadInput if it is missing or has other lines."""
    file = folder / f"{split}.jsonl"
    if not file.is_file():
        raise BadInput(
            f"there is no {file}; official files of this task are not read: write lines of JSON with image (or video), "
            "question and answers there, as docs/guides/teach-a-task.md says"
        )
    rows = [(entry.key("id") if "id" in entry else k, entry) for k, entry in enumerate(line_entries(file))]
    return check_unique([_line(key, entry, folder) for key, entry in rows], file)  # pyright: ignore[reportArgumentType]


def _line(key: Key, entry: JsonEntry, folder: Path) -> Question | Instances:
    question = entry.optional_text("question")
    if "boxes" in entry:
        return _words(key, entry, folder, question)
    names: Sequence[str] = ()
    if isinstance(entry.fields.get("image"), list):
        names = [JsonEntry({"image": name}, entry.where).file_name("image") for name in entry.texts("image")]
    elif "video" not in entry:
        names = (entry.file_name("image"),)
    options, right = entry.optional_texts("options"), entry.whole("right") if "right" in entry else None
    if right is not None and not 0 <= right < len(options):
        raise BadInput(f"right of {entry.where} is {right}, of {len(options)} options; write the number of one, from 0")
    return Question(
        key=key,
        images=tuple(folder / name for name in names),
        video=folder / entry.file_name("video") if "video" in entry else None,
        start_s=entry.seconds("start_s"),
        stop_s=entry.seconds("stop_s"),
        question=question,
        answers=entry.optional_texts("answers"),
        kind=entry.text("language", "kind") if "language" in entry or "kind" in entry else "",
        options=options,
        right=right,
        context=entry.optional_text("context"),
    )


def _words(key: Key, entry: JsonEntry, folder: Path, prompt: str) -> Words:
    labels, boxes = entry.texts("labels"), entry.fields["boxes"]
    if not isinstance(boxes, list) or len(boxes) != len(labels):
        raise BadInput(f"boxes of {entry.where} are not as many as its {len(labels)} labels; give x1, y1, x2, y2 of each")
    things = []
    for label, box in zip(labels, boxes, strict=True):
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
            raise BadInput(f"a box of {entry.where} is {str(box)[:60]}; wanted x1, y1, x2, y2 in pixels")
        x1, y1, x2, y2 = map(float, box)
        area = (x2 - x1) * (y2 - y1)
        things.append(InstanceAnnotation(label=label, xyxy=(x1, y1, x2, y2), area=area, crowd=False, segmentation=None))
    size = entry.whole("height"), entry.whole("width")
    return Words(key=key, image=folder / entry.file_name("image"), size=size, things=tuple(things), prompt=prompt)


_EXPRESSIONS = {
    "refcoco": ("val", "testA", "testB"), "refcoco+": ("val", "testA", "testB"), "refcocog": ("val", "test"),
}  # fmt: skip
"""Sets of expressions, with their splits that are held out."""


def read_expressions(folder: Path, split: str) -> list[ReferredObject]:
    """Read RefCOCO, RefCOCO+ and RefCOCOg: "refcoco+/testA" and the like, or "train": all three together, without any image of
    a held-out split."""
    name, _, part = split.rpartition("/")
    if name:
        return read_refcoco(folder, part, name)
    if split != "train":
        raise BadInput(f"there is no split {split!r}; it is train, or such as refcoco/val, refcoco+/testA, refcocog/test")
    reserved = {r.image for name, parts in _EXPRESSIONS.items() for part in parts for r in read_refcoco(folder, part, name)}
    every = [replace(r, key=f"{name}/{r.key}") for name in _EXPRESSIONS for r in read_refcoco(folder, "train", name)]
    return [referred for referred in every if referred.image not in reserved]


READERS: Mapping[str, Callable[[Path, str], list]] = {
    **vision_language.READERS,
    "refcoco": read_expressions,
    "coco-instances": lambda folder, split: read_instances(folder / "annotations" / f"instances_{split}.json", folder / split),
    "doclaynet": lambda folder, split: read_instances(folder / "COCO" / f"{split}.json", folder / "PNG"),
    "lines": read_lines_of,
}
