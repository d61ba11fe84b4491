r"""Samples of transfer tasks, and models that answer them: pixels as each task has them, suffixes with boxes and masks.

Source: PaliGemma (arXiv 2407.07726, appendix J) and the public transfer configs. A visit takes one of an example's correct
answers at random; for RefCOCO one expression of an image; for ScienceQA and detection it reorders options and objects.

    RefCOCO     expression      <loc>x4 <seg>x16, without a label
    detection   detect all classes      <loc>x4 cat ; <loc>x4 dog
    spotting    as a line says  <loc>x4 word ; <loc>x4 word; words that nobody could read are left out

The detection transfer of PaliGemma 2 (arXiv 2412.03555, 4.2; as in Pix2Seq, arXiv 2109.10852) fills every list up to a fixed
number with boxes of the class `noise`, since a model that learned when to stop stops too early for COCO's average precision:

    detect all classes \n   <loc>x4 cat ; <loc>x4 dog ; <loc>x4 noise ; <loc>x4 noise ... EOS
                            in random order             no loss on the places of noise, loss on its name

At inference, `noise` and the end are forbidden: the model continues with boxes of the most likely classes, and a box's score is
the probability of its class, from before forbidden tokens are removed. Differs: the noise class is an ordinary word, forbidden
by its first piece, which no class may begin with.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.paligemma.answers import OFFICIAL_ROWS, Answerer, Reply
from tapetum.systems.paligemma.config import PaliGemmaConfig
from tapetum.systems.paligemma.data import ImageTexts, TextPair
from tapetum.systems.paligemma.images import prepare, read_images, strided_frames
from tapetum.systems.paligemma.locations import box_text, mask_text, suffix
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.prompts import DETECT_ALL
from tapetum.systems.paligemma.recipes import PaliGemmaTransfer
from tapetum.systems.paligemma.task import Checks
from tapetum.systems.paligemma.tokens import EOS, Tokens
from tapetum.systems.paligemma.transfer.data import UNREAD, Id, TransferExample, read_examples, shuffled, split_names, there
from tapetum.systems.paligemma.transfer.form import Transfer
from tapetum.systems.paligemma.transfer.scores import score
from tapetum.systems.paligemma.transfer.tasks import task_named
from tapetum.types import Boxes
from tapetum.video.read import open_video

NOISE = "noise"


def noise_boxes(true: np.ndarray, count: int, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Draw boxes x1, y1, x2, y2 (count, 4): half of them shifted and stretched true boxes, half random."""
    corners = np.sort(rng.uniform(size=(count, 2, 2)), 1) * [width, height]
    made = corners.reshape(count, 4)
    if len(true):
        near = np.asarray(true, float)[rng.integers(len(true), size=count)]
        sides = np.tile(near[:, 2:] - near[:, :2], 2)
        moved = near + np.tile(rng.uniform(-0.5, 0.5, (count, 2)), 2) * sides + rng.uniform(-0.3, 0.3, (count, 4)) * sides
        made = np.where(rng.random((count, 1)) < 0.5, moved, made)
    made = made.clip(0, [width, height, width, height])
    low, high = np.minimum(made[:, :2], made[:, 2:]), np.maximum(made[:, :2], made[:, 2:])
    return np.concatenate((low, np.maximum(high, low + 1e-3 * width)), 1)


def detection_pair(boxes: Boxes, width: int, height: int, count: int, rng: np.random.Generator) -> TextPair:
    """Make the text of an image: its boxes in random order, then noise up to `count` boxes.

    Raises BadInput if a true class is called noise.
    """
    if NOISE in boxes.labels:
        raise BadInput(f"a class is called {NOISE!r}, which stands for boxes that are none; call it otherwise")
    order = rng.permutation(len(boxes))[:count]
    false = noise_boxes(boxes.xyxy, count - len(order), width, height, rng)
    every = Boxes(
        xyxy=np.concatenate((boxes.xyxy[order], false)).reshape(-1, 4),
        labels=[str(boxes.labels[i]) for i in order.tolist()] + [NOISE] * len(false),
    )
    return TextPair(prefix=DETECT_ALL, suffix=suffix(every, width, height), unlearned=(NOISE,), long=True)


def forbidden_ids(tokens: Tokens, labels: Iterable[str]) -> tuple[int, ...]:
    """List the ids that are forbidden when detecting boxes of these classes: the beginning of noise, and the end.

    Raises BadInput for a class that begins like noise.
    """
    first = tokens.encode(f" {NOISE}")[0]
    alike = next((label for label in labels if tokens.encode(f" {label}")[0] == first), None)
    if alike is not None:
        raise BadInput(
            f"with this tokenizer the class {alike!r} begins with {tokens.piece(first)!r}, as {NOISE!r} does, and one cannot"
            " be forbidden without the other; ask without --noise-boxes"
        )
    return first, EOS


def label_chances(tokens: Tokens, ids: Sequence[int], log_probabilities: Sequence[float]) -> list[float]:
    """Compute the probability of its box's label, up to the `;`, for each location or mask token in an answer."""
    chances: list[float] = []
    waiting, label, named = 0, 0.0, False
    for number, value in zip(ids, log_probabilities, strict=False):
        placed = tokens.is_location(number) or tokens.is_segment(number)
        if (placed and named) or ";" in tokens.piece(number):
            chances += [math.exp(min(0.0, label))] * waiting
            waiting, label, named = 0, 0.0, False
        if placed:
            waiting += 1
        elif waiting:
            label, named = label + value, True
    return chances + [math.exp(min(0.0, label))] * waiting


def first_boxes(tokens: Tokens, ids: Sequence[int], count: int) -> int:
    """Count the tokens of an answer up to the end of its first `count` boxes, the last one's label included."""
    places = 0
    for at, number in enumerate(ids):
        places += tokens.is_location(number)
        if places > 4 * count:
            return at
    return len(ids)


LONGEST, OF_BOX = 256, 8
"""Tokens of an answer at most, where a task does not say; and of a box, where an answer has a fixed number of them."""
PLACED = "detection", "spotting"
"""Metrics of boxes, which go by how sure an answer is of each."""


def frames_of(
    task: Transfer, example: TransferExample, rng: np.random.Generator | None = None
) -> list[UInt8[np.ndarray, "1 _h _w 3"]]:
    """Read the images or frames of an example. With `rng`, frames start anywhere; without, at the first one.

    Raises BadInput for a file that is missing or cannot be read.
    """
    if example.video is not None and task.frames is not None:
        video, count, stride, part = open_video(example.video), task.frames.count, task.frames.stride, example.question
        begin, end = 0, len(video)
        if part is not None and part.start_s is not None and part.stop_s is not None:  # at least one frame
            begin = min(int(np.searchsorted(video.timestamps, part.start_s)), len(video) - 1)
            end = max(int(np.searchsorted(video.timestamps, part.stop_s, side="right")), begin + 1)
        last = end - begin - (count - 1) * stride
        first = int(rng.integers(last)) if rng is not None and last > 1 else 0
        return list(video[[begin + number for number in strided_frames(end - begin, count, stride, first)]][:, None])
    images = [read_images(path) for path in example.images]
    if not task.white_square:
        return images
    sides = [max(image.shape[1:3]) - np.array(image.shape[1:3]) for image in images]
    return [
        np.pad(image, ((0, 0), (0, below), (0, right), (0, 0)), constant_values=255)
        for image, (below, right) in zip(images, sides, strict=True)
    ]


def read_pixels(
    task: Transfer, example: TransferExample, size: int, rng: np.random.Generator | None = None
) -> Float[Tensor, "i 3 size size"]:
    """Read an example as model input: as in training with `rng`, as in evaluation without."""
    resize = task.resize if rng is not None else task.evaluation_resize or task.resize
    return torch.cat([prepare(frames, size, resize) for frames in frames_of(task, example, rng)])


def suffix_of(task: Transfer, example: TransferExample, rng: np.random.Generator, codec: MaskCodec | None = None) -> str:
    """Write the suffix of an example: one of the correct answers.

    Raises BadInput if answers are hidden, and for an expression without `codec`.
    """
    if example.referred is not None:
        if codec is None:
            raise BadInput(f"{task.title} is learned with masks, which need a codec; name its weights with --codec")
        thing, (height, width) = example.referred, example.referred.size
        return box_text(thing.xyxy, width, height) + mask_text(codec.codes_of(thing.mask(), thing.xyxy))
    if example.things is not None:
        things = [thing for thing in example.things.things if not thing.crowd and thing.label != UNREAD]
        things = [things[k] for k in rng.permutation(len(things))]
        boxes = Boxes(xyxy=np.array([t.xyxy for t in things], float).reshape(-1, 4), labels=[t.label for t in things])
        return suffix(boxes, example.things.size[1], example.things.size[0])
    if not example.references:
        raise _hidden(example)
    return str(rng.choice(example.references))


class TaskSamples:
    """Samples of a task by number, for training. Raises BadInput if there are none, or answers are hidden."""

    def __init__(self, task: Transfer, examples: Sequence[TransferExample], size: int, codec: MaskCodec | None = None):
        """`size`: of the squashed images; `codec`: makes codes of masks."""
        self.task, self.size, self.codec = task, size, codec
        visits: dict[Any, list[TransferExample]] = {}
        for example in examples:
            if not (example.references or example.referred or example.things):
                raise _hidden(example)
            visits.setdefault(example.source if task.by_image else example.id, []).append(example)
        self.visits = list(visits.values())
        """Examples of which each visit takes one."""
        if not examples:
            raise BadInput(f"there is nothing to learn {task.title} from; give its files")

    def __len__(self) -> int:
        return len(self.visits)

    def draw(self, seed: int, number: int) -> ImageTexts:
        rng = sample_generator(seed, number)
        several = self.visits[Shuffle(len(self), seed)(number)]
        example = shuffled(self.task, several[int(rng.integers(len(several)))], rng)
        text = suffix_of(self.task, example, rng, self.codec)
        pair = TextPair(prefix=example.prefix, suffix=text, long=example.things is not None, kind=example.kind)
        return ImageTexts(pixels=read_pixels(self.task, example, self.size, rng).numpy(), pairs=(pair,))

    def about(self) -> dict[str, Any]:
        return {"task": self.task.name, "examples": len(self), "size": self.size}


def _hidden(example: TransferExample) -> BadInput:
    split, key = example.id
    return BadInput(f"the answer to {key!r} of {split} is hidden; learn from other splits (--splits)")


def task_samples(run: PaliGemmaTransfer, config: PaliGemmaConfig, *, masks: bool = True) -> TaskSamples:
    """Read the training samples of a run's task; without the codec of `masks` they can only be counted.

    Raises BadInput for missing files and splits.
    """
    task = task_named(run.task)
    examples = there(read_examples(task, run.data, split_names(run.splits, task.train)))
    codec = mask_codec.load(codec_of(run, config)) if masks and task.metric == "referred" else None
    return TaskSamples(task, examples, config.image_size, codec)


def codec_of(run: PaliGemmaTransfer, config: PaliGemmaConfig) -> str:
    """Choose the mask codec whose codes a model writes."""
    official = config.language.vocabulary >= OFFICIAL_ROWS
    return run.codec or (mask_codec.OFFICIAL if official else mask_codec.DEFAULT)


@dataclass(frozen=True)
class TaskChecks(Checks):
    """The task's own scores, of answers written greedily to up to `most` examples, spread over all."""

    task: Transfer
    examples: Sequence[TransferExample]
    tokens: Tokens
    codec: str
    most: int = 1000
    noise_boxes: int = 0
    """Boxes that each answer has, of a model that learned to fill lists up with noise."""

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Generate answers, and score them; a task that is scored elsewhere has no scores."""
        assert isinstance(model, PaliGemma)
        if self.task.metric == "none":
            return {}
        some = spaced_subset(self.examples, self.most)
        answerer = Answerer(model, self.tokens, self.codec)
        replies = answer_examples(answerer, self.task, some, beams=1, noise_boxes=self.noise_boxes)
        unpack = answerer.codec.unpack if self.task.metric == "referred" else None
        placed = self.task.metric in PLACED
        chances = {key: chances_of(answerer, reply, self.noise_boxes) for key, reply in replies.items()} if placed else None
        texts = {key: reply.text for key, reply in replies.items()}
        return {row.name: row.value for row in score(self.task, some, texts, chances=chances, unpack=unpack)}


def spaced_subset(examples: Sequence[TransferExample], most: int | None) -> list[TransferExample]:
    """Select up to `most` examples, evenly spaced and in order.

    >>> spaced_subset("abcdefgh", 3)  # type: ignore[arg-type]
    ['a', 'c', 'f']
    """
    if most is None or most >= len(examples):
        return list(examples)
    return [examples[k * len(examples) // most] for k in range(most)]


def answer_examples(
    answerer: Answerer,
    task: Transfer,
    examples: Sequence[TransferExample],
    *,
    batch: int = 8,
    longest: int | None = None,
    beams: int | None = None,
    noise_boxes: int = 0,
    heard: Callable[[Id, Reply], None] = lambda key, reply: None,
) -> dict[Id, Reply]:
    """Generate answers, `batch` examples at a time; `heard` is called with each answer as it comes.

    An answer has up to `longest` tokens and is decoded with `beams`, both by default the task's. With `noise_boxes` it has that
    many boxes, none of them noise: neither noise nor the end may be generated (`forbidden_ids`). Raises BadInput like
    `frames_of`, and for a prompt that leaves no room.
    """
    most = longest or task.length or (OF_BOX * noise_boxes or LONGEST)
    sampling, forbidden = SamplingConfig(beams=beams or task.beams), ()
    if noise_boxes:
        labels = {thing.label for example in examples if example.things for thing in example.things.things}
        forbidden = forbidden_ids(answerer.tokens, sorted(labels))
    size, replies = answerer.model.config.image_size, {}
    for start in range(0, len(examples), batch):
        some = examples[start : start + batch]
        pixels = torch.stack([read_pixels(task, example, size) for example in some]).to(answerer.device)
        prefixes = [answerer.prefix(example.prefix, task.visible_objects, most) for example in some]
        made = answerer.model.generate(pixels, answerer.padded(prefixes), most, sampling, forbidden=forbidden)
        for example, g in zip(some, made, strict=True):
            count = first_boxes(answerer.tokens, g.ids, noise_boxes) if noise_boxes else len(g.ids)
            ids, values = g.ids[:count], g.log_probabilities[: count + (not noise_boxes)]
            reply = Reply(text=answerer.tokens.decode(ids), ids=ids, log_probabilities=values, ended=g.ended)
            replies[example.id] = reply
            heard(example.id, reply)
    return replies


def chances_of(answerer: Answerer, reply: Reply, noise_boxes: int = 0) -> list[float]:
    """Compute the probability of each token of a location or mask in an answer; with `noise_boxes` that of its box's label."""
    if noise_boxes:
        return label_chances(answerer.tokens, reply.ids, reply.log_probabilities)
    return answerer.chances(reply)
