"""Evaluation of a PaliGemma, or of saved answers, on the papers' transfer tasks (arXiv 2407.07726, 2412.03555).

The tasks are in `tapetum.systems.paligemma.transfer.tasks`, their metrics in `tapetum.systems.paligemma.transfer.scores`.
Answers are appended to a JSON lines file as they arrive, so a stopped evaluation can resume, and can be scored again without
the model:

    {"split": "val", "id": 42000, "answer": "red"}
    {"split": "val2017", "id": 9, "answer": "<loc0012>... cat", "chances": [0.9, ...]}     of each token of a place or mask

`split` may be omitted if only one split is scored. Such files from elsewhere are read too, and so are the lists that servers
take: [{"question_id", "answer"}] of VQA and [{"image_id", "caption"}] of COCO.
"""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tapetum.bench.own import Benchmark
from tapetum.core.devices import choose_device, choose_dtype
from tapetum.core.errors import BadInput, Listener
from tapetum.core.finished import Rows
from tapetum.core.reading import parse_json
from tapetum.data.entries import JsonEntry, text_of
from tapetum.systems.paligemma.answers import Answerer, Reply
from tapetum.systems.paligemma.transfer.data import Id, TransferExample, read_examples, split_names, there
from tapetum.systems.paligemma.transfer.form import Metric, Transfer
from tapetum.systems.paligemma.transfer.samples import PLACED, answer_examples, chances_of, spaced_subset
from tapetum.systems.paligemma.transfer.scores import score
from tapetum.systems.paligemma.transfer.tasks import RESULTS, task_named

Progress = Callable[[int, int], None]
_KEYS, _TEXTS = ("id", "question_id", "questionId", "image_id"), ("answer", "caption")


@dataclass(frozen=True, kw_only=True)
class Answers:
    texts: Mapping[Id, str]
    chances: Mapping[Id, Sequence[float]] = field(default_factory=dict)
    """Probabilities of the tokens of places and masks in an answer."""


_WHOLE: tuple[Metric, ...] = "cider", "pairs", "detection", "spotting", "music"
"""Metrics that no single answer has."""


class TransferBenchmark(Benchmark):
    """A PaliGemma on a task of its papers. An item is an example; the whole set where one answer alone has no score."""

    def __init__(self, name: str):
        super().__init__(name)
        self.task = task_named(name)

    def items(self, data: Path) -> Mapping[str, tuple[TransferExample, ...]]:
        """List the examples. Raises BadInput if none is there, or their right answers are not."""
        examples = there(read_examples(self.task, data))
        if not examples or not scorable(self.task, examples):
            raise BadInput(f"{data} has no example of {self.task.title} whose right answers are known; give its official files")
        if self.task.metric in _WHOLE:
            return {"all": tuple(spaced_subset(examples, self.limit))}
        return {"/".join(map(str, each.id)): (each,) for each in examples}

    def load(self, model: str, device: str | None) -> Answerer:
        return Answerer.load(model, device=device)

    def score(self, model: Answerer, item: Sequence[TransferExample]) -> Mapping[str, float]:
        """Score the answers: one alone under its split and kind."""
        unpack = model.codec.unpack if self.task.metric == "referred" else None
        answers = make_answers(model, self.task, item)
        first = score(self.task, item, answers.texts, chances=answers.chances, unpack=unpack)[0]
        group = "all" if len(item) > 1 else f"{item[0].id[0]} {item[0].kind if self.task.mean_of_kinds else ''}".rstrip()
        return {f"{first.name}: {group}": first.value}

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Average over the examples of each split and kind, over kinds, and over splits."""
        means = super().summary(rows)
        splits: dict[str, list[float]] = {}
        for name, value in means.items():
            splits.setdefault(name.rsplit(": ", 1)[1].split(" ")[0], []).append(value)
        metric = next(iter(means)).rsplit(": ", 1)[0]
        return {metric: statistics.fmean(map(statistics.fmean, splits.values())), **means}


def make_answers(
    answerer: Answerer,
    task: Transfer,
    examples: Sequence[TransferExample],
    *,
    save: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    batch: int = 8,
    longest: int | None = None,
    beams: int | None = None,
    noise_boxes: int = 0,
    progress: Progress = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Answers:
    """Generate answers with a model. Answers in the file `save` to the same examples and settings are reused.

    `about` describes what else the answers depend on, such as a fingerprint of the weights; `note` receives the number of
    answers in the file that do not match. With `noise_boxes`, an answer has that many boxes and no noise boxes, as in
    `answer_examples`. Raises BadInput for images that cannot be read, and a file with other content.
    """
    settings = {"task": task.name, "longest": longest, "beams": beams or task.beams, "noise_boxes": noise_boxes or None}
    settings |= about or {}
    with Rows(None if save is None else Path(save), settings, note) as rows:
        stamps = {e.id: rows.stamp(images=e.images, video=e.video, prompt=e.prefix) for e in examples}
        waiting = [example for example in examples if rows.get(_key(example.id), stamps[example.id]) is None]
        done = len(examples) - len(waiting)

        def heard(key: Id, reply: Reply) -> None:
            nonlocal done
            done += 1
            row: dict[str, Any] = {"split": key[0], "id": key[1], "answer": reply.text}
            if task.metric in PLACED:
                row["chances"] = chances_of(answerer, reply, noise_boxes)
            rows.add(_key(key), stamps[key], row)
            progress(done, len(examples))

        progress(done, len(examples))
        more: dict[str, Any] = {"longest": longest, "beams": beams, "noise_boxes": noise_boxes}
        answer_examples(answerer, task, waiting, batch=batch, heard=heard, **more)
        stored = {example.id: rows.get(_key(example.id), stamps[example.id]) or {} for example in examples}
    return Answers(
        texts={key: row["answer"] for key, row in stored.items()},
        chances={key: row["chances"] for key, row in stored.items() if "chances" in row},
    )


def read_answers(path: str | Path, examples: Sequence[TransferExample]) -> Answers:
    """Read answers to examples from a file: JSON lines as `make_answers` writes, or a list in the servers' format.

    Raises BadInput for a missing or damaged file, an example without an answer, and answers to other examples.
    """
    path = Path(path)
    known: dict[str, list[Id]] = {}
    for example in examples:
        known.setdefault(str(example.id[1]), []).append(example.id)
    texts: dict[Id, str] = {}
    chances: dict[Id, Sequence[float]] = {}
    for entry in _entries(path):
        name = next((n for n in _KEYS if n in entry), "id")
        key, ids = entry.key(name), known.get(str(entry.key(name)), [])
        ids = [each for each in ids if "split" not in entry or each[0] == entry.text("split")]
        if len(ids) != 1:
            what = "of several splits; write its split" if ids else "not asked; give answers to the same splits"
            raise BadInput(f"{entry.where} answers {key!r}, which is {what}")
        if ids[0] in texts:
            raise BadInput(f"{entry.where} answers {key!r} a second time; leave one of the two out")
        texts[ids[0]] = entry.text(*_TEXTS)
        if "chances" in entry:
            chances[ids[0]] = [float(value) for value in entry.fields["chances"]]
    return Answers(texts=texts, chances=chances)


def scorable(task: Transfer, examples: Sequence[TransferExample]) -> bool:
    """Check whether the task can be scored here and all right answers are public."""
    return task.metric != "none" and all(e.references or e.referred or e.things for e in examples)


def _key(id_: Id) -> str:
    return json.dumps(id_)


def _entries(path: Path) -> list[JsonEntry]:
    text = text_of(path)
    try:
        if text.lstrip().startswith("["):
            lines = list(enumerate(parse_json(text)))
        else:
            lines = [(k, parse_json(line)) for k, line in enumerate(text.splitlines(), 1) if line.strip()]
    except ValueError as error:
        raise BadInput(f"{path} is neither JSON lines nor a list ({' '.join(str(error).split())[:80]})") from None
    return [JsonEntry(row, f"answer {k} of {path}") for k, row in _last_made(lines)]


def _last_made(lines: Sequence[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The latest answers with the latest settings among lines written by `Rows`; other lines unchanged."""
    made: dict[str, dict[Any, tuple[int, Any]]] = {}
    current, plain = "", []
    for k, line in lines:
        if isinstance(line, dict) and "settings" in line:
            current = json.dumps(line["settings"], sort_keys=True)
        elif isinstance(line, dict) and "row" in line:
            made.setdefault(current, {})[json.dumps(line.get("key", k))] = k, line["row"]
        else:
            plain.append((k, line))
    return plain + list(made.get(current, {}).values())


def task_scores(options: Any, listener: Listener) -> dict[str, Any]:
    """Score a PaliGemma, or saved answers, on a transfer task of the papers.

    `options` has the fields of `PaliGemmaEvalOptions`. Returns the task, the number of examples, `scores` (rows with name,
    value, low, high, count: the first is the number that papers report; None for NaN; no rows if right answers are hidden), the
    papers' results (`published`), and whether a model answered or a file (`answers`).

    Raises BadInput for an unknown task, missing or damaged files, a missing model, and answers that do not belong to the task's
    examples.
    """
    task = task_named(options.task)
    if options.noise_boxes and task.metric != "detection":
        raise BadInput(f"--noise-boxes is for the detection of all things, and {task.name} is another task; leave it out")
    every = read_examples(task, options.data, split_names(options.splits, task.scored))
    kept = there(every)
    if not kept:
        raise BadInput(f"none of the {len(every)} videos of {task.title} are in {options.data}; put them there")
    if len(kept) < len(every):
        listener.note(f"{len(every) - len(kept)} of {len(every)} examples are of videos that are not there; left out")
    trained = set(task.train) & {example.id[0] for example in kept}
    if trained:
        listener.note(f"the published models learned {'+'.join(sorted(trained))} too: right answers of other splits are hidden")

    examples, unpack = spaced_subset(kept, options.limit), None
    device = choose_device(options.device)
    if options.predictions is not None:
        answers = read_answers(options.predictions, kept)
        examples = [e for e in examples if e.id in answers.texts] if options.limit else examples
        if task.metric == "referred":
            from tapetum.systems.paligemma.masks import codec as mask_codec

            unpack = mask_codec.load(options.masks or mask_codec.DEFAULT, device).unpack
    else:
        import torch

        from tapetum.hub.registry import weights_fingerprint
        from tapetum.systems.paligemma.answers import Answerer

        precision = choose_dtype(options.dtype, device)
        dtype = getattr(torch, precision)
        answerer = Answerer.load(options.model, config=options.model_config, masks=options.masks, device=device, dtype=dtype)
        answers = make_answers(
            answerer,
            task,
            examples,
            save=options.save,
            about={
                "weights": weights_fingerprint(options.model),
                "tokenizer": answerer.tokens.identity,
                "model_config": options.model_config,
                "dtype": precision,
            },
            batch=options.batch_size,
            longest=options.tokens,
            beams=options.beams,
            noise_boxes=options.noise_boxes,
            progress=listener.counting(task.name),
            note=listener.note,
        )
        unpack = answerer.codec.unpack if task.metric == "referred" else None
    known = options.predictions or scorable(task, examples)
    rows = score(task, examples, answers.texts, chances=answers.chances, unpack=unpack) if known else []
    if not rows:
        listener.note(
            "the right answers are not here, so nothing is scored; the answers are in --save" if options.save else task.remark
        )
    if any(math.isnan(row.value) for row in rows[:1]):
        listener.note("there is nothing to find in these examples")
    return {
        "task": task.name,
        "examples": len(examples),
        "scores": [{k: None if v != v else v for k, v in asdict(row).items()} for row in rows],
        "published": dict(RESULTS.get(task.name, {})),
        "answers": "model" if options.predictions is None else "file",
    }
