"""Evaluation of a PaliGemma on held-out images of the synthetic world, compared with baselines without a vision encoder.

Questions are those chosen by `tapetum scenes images` (`images.jsonl`): balanced, so that words and options alone give chance
accuracy. Each is answered in two ways: generated freely, correct only if verbatim; and chosen, as the option most likely under
the model. They are compared with:

    chance      1 / options
    blind       the same model, each image in the place of another's (shuffled) or all grey
    common      the most common answer to each template

Boxes are those after `detect all classes`, scored by the model's probability of their tokens; average precision is COCO's.
Objects under `LEAST_PIXELS` pixels are ignored. Masks are those after `segment NOUN` for the objects present. Both begin as
answers of `tapetum detect` and `segment` do: with a location if locations together are more likely than nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.data.entries import read_lines
from tapetum.metrics.boxes import TrueBoxes, detection_scores
from tapetum.metrics.statistics import bootstrap_interval, wilson_interval
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.answers import first_places
from tapetum.systems.paligemma.locations import Unpack, parse
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.types import Boxes
from tapetum_world.training.paligemma.scene_images import LEAST_PIXELS, SceneFolder, SceneImage, normalize_pixels

Sight = Literal["true", "shuffled", "grey"]
BATCH = 64
LONGEST_BOXES, LONGEST_ANSWER = 90, 24
"""Tokens."""


@dataclass(frozen=True, kw_only=True)
class SceneTestQuestion:
    """One of an image's."""

    image: int
    """Number in the folder."""
    template: str
    text: str
    options: tuple[str, ...]
    answer: str


class SceneTestSet:
    """Held-out images with their questions. Raises BadInput for a folder that is unfinished or has none."""

    def __init__(self, folder: str | Path, limit: int | None = None):
        self.folder = SceneFolder(folder, limit)
        rows = Path(folder) / "images.jsonl"
        if not rows.exists():
            raise BadInput(f"{folder} has no images.jsonl: it is not finished; run its tapetum scenes images again")
        numbers = {name: number for number, name in enumerate(self.folder.names)}
        self.questions = [
            SceneTestQuestion(
                image=numbers[Path(row["file"]).stem],
                template=question["template"],
                text=question["question"],
                options=tuple(question["options"]),
                answer=question["answer"],
            )
            for row in read_lines(rows)
            if Path(row["file"]).stem in numbers
            for question in row["questions"]
        ]
        if not self.questions:
            raise BadInput(f"none of the {len(self.folder)} images of {folder} has a question; make more, or raise --limit")

    def images(self) -> Iterator[SceneImage]:
        """Read them in order."""
        return map(self.folder.read, range(len(self.folder)))


@torch.no_grad()
def embed_images(model: PaliGemma, test_set: SceneTestSet, sight: Sight = "true") -> Float[Tensor, "p n d"]:
    """Embed all images, or their replacements."""
    tokens = []
    order = [(number + len(test_set.folder) // 2) % len(test_set.folder) for number in range(len(test_set.folder))]
    for start in range(0, len(test_set.folder), BATCH):
        numbers = range(start, min(start + BATCH, len(test_set.folder)))
        names = [order[n] if sight == "shuffled" else n for n in numbers]
        pixels = torch.from_numpy(np.stack([normalize_pixels(test_set.folder.read(n).rgb) for n in names]))[:, None]
        tokens.append(model.embed_images(pixels * 0 if sight == "grey" else pixels))
    return torch.cat(tokens)


@torch.no_grad()
def score_questions(
    model: PaliGemma, tokens: Tokens, test_set: SceneTestSet, images: Float[Tensor, "p n d"], write: bool = True
) -> list[dict[str, Any]]:
    """Score the answers to all questions, in rows with template, options, chosen (correct or not) and written."""
    rows: list[dict[str, Any]] = []
    for start in range(0, len(test_set.questions), BATCH):
        questions = test_set.questions[start : start + BATCH]
        prefix = _padded([tokens.encode_prefix(prompts.answer(q.text)) for q in questions])
        image_tokens = images[[q.image for q in questions]]
        likely = _likelihoods(model, tokens, image_tokens, prefix, [q.options for q in questions])
        texts = [""] * len(questions)
        if write:
            texts = [tokens.decode(ids) for ids, _ in greedy_answers(model, image_tokens, prefix, LONGEST_ANSWER)]
        for q, sure, text in zip(questions, likely, texts, strict=True):
            chosen = q.options[int(np.argmax(sure))]
            rows.append(
                {
                    "template": q.template,
                    "options": len(q.options),
                    "answer": q.answer,
                    "chosen": chosen == q.answer,
                    "greedy_answers": text == q.answer,
                    "text": text,
                }
            )
    return rows


def _likelihoods(
    model: PaliGemma, tokens: Tokens, image_tokens: Tensor, prefix: Tensor, options: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Log-probability of each option."""
    of = [row for row, each in enumerate(options) for _ in each]
    suffix = _padded([tokens.encode_suffix(option) for each in options for option in each])
    likelihoods = model.language.logits(model.read(image_tokens[of], prefix[of], suffix)).float().log_softmax(-1)
    sure = (likelihoods.gather(-1, suffix[..., None])[..., 0] * (suffix != 0)).sum(1).tolist()
    ends = np.cumsum([len(each) for each in options]).tolist()
    return [sure[end - len(each) : end] for end, each in zip(ends, options, strict=True)]


@torch.no_grad()
def greedy_answers(
    model: PaliGemma, images: Float[Tensor, "b n d"], prefix: Tensor, most: int, placed: Tokens | None = None
) -> list[tuple[list[int], list[float]]]:
    """Decode greedily; returns each row's ids and their log-probabilities, without the end token.

    With `placed`, answers are about locations, and begin as those of `Answerer`; see
    `tapetum.systems.paligemma.answers.first_places`.
    """
    from tapetum.systems.paligemma.decoding import PrefixDecodingState

    session = PrefixDecodingState(model, images, prefix, most)
    answers: list[tuple[list[int], list[float]]] = [([], []) for _ in range(len(prefix))]
    open_rows = set(range(len(prefix)))
    for count in range(most):
        sure = session.logits.float().log_softmax(-1)
        if placed is not None and not count:
            begun = first_places(session.logits, placed, model.config.end)
            sure[[row for row, first in enumerate(begun) if first], model.config.end] = -torch.inf
        best = sure.max(-1)
        for row in list(open_rows):
            if int(best.indices[row]) == model.config.end:
                open_rows.remove(row)
            else:
                answers[row][0].append(int(best.indices[row]))
                answers[row][1].append(float(best.values[row]))
        if not open_rows or count == most - 1:
            break
        session.step(best.indices)
    return answers


def _padded(rows: list[list[int]]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def scored_boxes(tokens: Tokens, ids: Sequence[int], sure: Sequence[float], width: int, height: int) -> Boxes:
    """Read boxes one by one, each scored by the mean probability of its tokens."""
    parts, first = [], 0
    separator = tokens.encode(" ;")[-1]
    for at in [*(k for k, token in enumerate(ids) if token == separator), len(ids)]:
        boxes = parse(tokens.decode(ids[first:at]), width, height).boxes
        score = float(np.exp(np.mean(sure[first:at]))) if at > first else 0.0
        parts.append(replace(boxes, scores=np.full(len(boxes), score)))
        first = at + 1
    return Boxes(
        xyxy=np.concatenate([p.xyxy for p in parts]),
        labels=[label for p in parts for label in p.labels],
        scores=np.concatenate([p.scores for p in parts]),
    )


def detection_results(
    model: PaliGemma, tokens: Tokens, test_set: SceneTestSet, images: Float[Tensor, "p n d"]
) -> dict[str, Any]:
    """Detect all classes in each image; returns COCO's average precisions."""
    truths, predictions = {}, {}
    prefix = torch.tensor([tokens.encode_prefix(prompts.DETECT_ALL)])
    for start in range(0, len(images), BATCH):
        image_tokens = images[start : start + BATCH]
        prefixes = prefix.expand(len(image_tokens), -1)
        for row, (ids, sure) in enumerate(greedy_answers(model, image_tokens, prefixes, LONGEST_BOXES, tokens)):
            image = test_set.folder.read(start + row)
            height, width = image.ids.shape
            predictions[start + row] = scored_boxes(tokens, ids, sure, width, height)
            truths[start + row] = _truth(image)
    scores = detection_scores(predictions, truths)
    small = sum(len(b) for b in predictions.values())
    return {"ap50": scores.ap50, "ap": scores.ap, "ap75": scores.ap75, "boxes": small, "images": len(truths)} | {
        "ap_by_label": dict(scores.ap_by_label)
    }


def _truth(image: SceneImage) -> TrueBoxes:
    sizes = np.bincount(image.ids.ravel(), minlength=256)
    return TrueBoxes(
        xyxy=np.array([t.box for t in image.things], float).reshape(-1, 4),
        labels=[t.noun for t in image.things],
        crowd=[bool(sizes[t.id] < LEAST_PIXELS) for t in image.things],
    )


def segmentation_results(
    model: PaliGemma, tokens: Tokens, test_set: SceneTestSet, images: Float[Tensor, "p n d"], unpack: Unpack, most: int = 1000
) -> dict[str, Any]:
    """Segment nouns with a single instance; mean overlap with its visible part, 0 if nothing is generated."""
    targets: list[tuple[int, str, int]] = []
    for number, image in enumerate(test_set.images()):
        nouns = Counter(t.noun for t in image.things)
        sizes = np.bincount(image.ids.ravel(), minlength=256)
        targets += [(number, t.noun, t.id) for t in image.things if nouns[t.noun] == 1 and sizes[t.id] >= LEAST_PIXELS]
    overlaps, groups = [], []
    for start in range(0, min(len(targets), most), BATCH):
        batch = targets[start : min(start + BATCH, most)]
        prefix = _padded([tokens.encode_prefix(prompts.segment(noun)) for _, noun, _ in batch])
        for (number, _, identity), (ids, _) in zip(
            batch, greedy_answers(model, images[[n for n, _, _ in batch]], prefix, 24, tokens), strict=True
        ):
            true = test_set.folder.read(number).ids == identity
            masks = parse(tokens.decode(ids), true.shape[1], true.shape[0], unpack).masks.masks
            overlap = (masks[0] & true).sum() / (masks[0] | true).sum() if len(masks) else 0.0
            overlaps.append(float(overlap))
            groups.append(number)
    return {
        "miou": float(np.mean(overlaps)),
        "interval": bootstrap_interval(np.array(overlaps), groups=groups),
        "things": len(overlaps),
    }


def summarize_by_template(rows: Sequence[dict[str, Any]], test_set: SceneTestSet) -> dict[str, dict[str, Any]]:
    """Summarise rows: accuracies with Wilson's intervals of 95%, chance, and the share of the most common answer."""
    table = {}
    for name in [*sorted({row["template"] for row in rows}), "all"]:
        mine = [row for row in rows if name in ("all", row["template"])]
        table[name] = {
            "questions": len(mine),
            "chance": float(np.mean([1 / row["options"] for row in mine])),
            "common": Counter(row["answer"] for row in mine).most_common(1)[0][1] / len(mine),
        }
        for how in ("chosen", "greedy_answers"):
            right = sum(row[how] for row in mine)
            table[name][how] = right / len(mine)
            table[name][f"{how}_interval"] = wilson_interval(right, len(mine))
    return table


def evaluate(
    model: PaliGemma,
    tokens: Tokens,
    test_set: SceneTestSet,
    *,
    unpack: Unpack | None = None,
    blind: Sequence[Sight] = ("shuffled", "grey"),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Score everything.

    Args:
        model: in evaluation mode.
        tokens: its tokens.
        test_set: images.
        unpack: decodes masks from codes; without it nothing is segmented.
        blind: further replacements for the images; grey is for questions only.
        say: receives progress.
    """
    result: dict[str, Any] = {"images": len(test_set.folder)}
    for sight in ("true", *blind):
        ending = "" if sight == "true" else f"_{sight}"
        say(f"questions, {sight} images")
        image_tokens = embed_images(model, test_set, sight)
        rows = score_questions(model, tokens, test_set, image_tokens, write=sight == "true")
        result[f"questions{ending}"] = summarize_by_template(rows, test_set)
        if sight == "grey":
            continue
        say(f"boxes, {sight} images")
        result[f"detection{ending}"] = detection_results(model, tokens, test_set, image_tokens)
        if unpack is not None:
            say(f"masks, {sight} images")
            result[f"segmentation{ending}"] = segmentation_results(model, tokens, test_set, image_tokens, unpack)
    return result
