"""`tapetum.evaluate_paligemma`: the score of a PaliGemma, or of saved answers, on a transfer task of the papers."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.errors import BadInput
from tapetum.verbs.verb import File, Listener, verb

if TYPE_CHECKING:
    from tapetum.paligemma.transfer_rows import Row


@dataclass(frozen=True, kw_only=True)
class PaliGemmaOptions:
    """What may be asked of `evaluate_paligemma`."""

    task: Annotated[str, tyro.conf.arg(metavar="TASK")]
    """Task of the papers, such as vqav2, docvqa, pope, refcoco or coco-detection."""
    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder of its official files, or of lines of JSON for tasks whose files are not read."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|DIR")] = None
    """Name of weights (see: tapetum weights list), a file of them with its tokenizer beside it, or a folder of Hugging Face; by
    default paligemma-nano."""
    splits: str = ""
    """What is asked, such as val or refcoco/val+refcoco/testA; by default the published splits, or those whose answers are
    known in their place."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """Score these answers instead of a model: JSON lines with id and answer, as --save writes them, or a list as servers take
    it."""
    save: Annotated[File | None, tyro.conf.arg(metavar="FILE.jsonl")] = None
    """Keep the answers; what is there already is not asked again."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Ask so many at most, spread over all; the score is then not that of the benchmark."""
    batch_size: Annotated[int, tyro.conf.arg(metavar="N")] = 8
    """Examples that are asked at a time."""
    tokens: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The most tokens of an answer; by default as the task has it."""
    beams: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Follow so many answers at a time; by default as the task has it."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the model's, or the one that comes along."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights."""

    def check(self) -> None:
        """Raise `BadInput` for what cannot be done, before anything is."""
        for name in ("limit", "batch_size", "tokens", "beams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"--{name.replace('_', '-')} is {value}; it must be 1 or more")
        alone = {"--model": self.model, "--save": self.save, "--tokens": self.tokens, "--beams": self.beams}
        given = [name for name, value in alone.items() if value is not None]
        if self.predictions is not None and given:
            raise BadInput(f"{given[0]} is for a model, and --predictions are scored without one; give one of the two")


@dataclass(frozen=True, kw_only=True)
class PaliGemmaScores:
    """Scores on a transfer task, 0..1 (CIDEr 0..10)."""

    task: str
    model: str | None
    """What was scored; None for saved answers."""
    examples: int
    rows: "tuple[Row, ...]"
    """The first one is the number that papers report. None where right answers are hidden."""
    published: dict[str, str]
    """What the papers report, by model: at 224, 448, 896 pixels, in hundredths."""

    def as_json(self) -> dict[str, Any]:
        """Say all of it, with None in place of NaN."""
        rows = [{k: None if v != v else v for k, v in asdict(row).items()} for row in self.rows]
        about = {"task": self.task, "model": self.model, "examples": self.examples}
        return {"benchmark": "paligemma", **about, "scores": rows, "published": self.published}


@verb(PaliGemmaOptions)
def evaluate_paligemma(options: PaliGemmaOptions, listener: Listener) -> PaliGemmaScores:
    """Score a PaliGemma, or saved answers, on a transfer task of the papers.

    Raises BadInput for an unknown task, files that are missing or damaged, a model that is not there, and answers that do not
    belong to the task's examples.
    """
    options.check()
    from tapetum.paligemma.transfer_data import read_examples, split_names, there
    from tapetum.paligemma.transfer_results import RESULTS
    from tapetum.paligemma.transfers import task_named

    task = task_named(options.task)
    every = read_examples(task, options.data, split_names(task, options.splits, task.scored))
    kept = there(every)
    if not kept:
        raise BadInput(f"none of the {len(every)} videos of {task.title} are in {options.data}; put them there")
    if len(kept) < len(every):
        listener.note(f"{len(every) - len(kept)} of {len(every)} examples are of videos that are not there; left out")
    trained = set(task.train) & {example.id[0] for example in kept}
    if trained:
        listener.note(f"the published models learned {'+'.join(sorted(trained))} too: right answers of other splits are hidden")

    from tapetum.bench.paligemma_tasks import make_answers, read_answers, scorable, score_answers
    from tapetum.paligemma.transfer_samples import spread

    examples, unpack, model = spread(kept, options.limit), None, None
    if options.predictions is not None:
        answers = read_answers(options.predictions, kept)
        examples = [e for e in examples if e.id in answers.said] if options.limit else examples
        if task.metric == "referred":
            from tapetum.paligemma import mask_codec

            unpack = mask_codec.load(options.masks or mask_codec.DEFAULT, options.device).unpack
    else:
        import torch

        from tapetum.paligemma.answers import Answerer

        model = options.model or "paligemma-nano"
        dtype = getattr(torch, options.dtype)
        answerer = Answerer.load(model, masks=options.masks, device=options.device, dtype=dtype)
        answers = make_answers(
            answerer,
            task,
            examples,
            save=options.save,
            about={"model": model},
            batch=options.batch_size,
            longest=options.tokens,
            beams=options.beams,
            progress=listener.counting(task.name),
        )
        unpack = answerer.codec.unpack if task.metric == "referred" else None
    rows = score_answers(task, examples, answers, unpack) if options.predictions or scorable(task, examples) else []
    if not rows:
        listener.note(
            "the right answers are not here, so nothing is scored; the answers are in --save" if options.save else task.remark
        )
    if any(math.isnan(row.value) for row in rows[:1]):
        listener.note("there is nothing to find in these examples")
    return PaliGemmaScores(
        task=task.name, model=model, examples=len(examples), rows=tuple(rows), published=dict(RESULTS.get(task.name, {}))
    )
