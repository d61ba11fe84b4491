"""`tapetum.evaluate_paligemma`: evaluates a vision-language model on tasks of the papers, or on JSON lines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options


@dataclass(frozen=True, kw_only=True)
class PaliGemmaEvalOptions:
    """Score a PaliGemma on a task of its papers (--task): VQAv2, DocVQA, POPE, RefCOCO, COCO detection and others; or on
    lines of JSON, whose answers it is to write letter for letter.

    Numbers are shares from 0 to 1; those of a task have intervals of 95%; CIDEr is 0 to 10, a hundredth of what papers print.
    Images of scenes are for `tapetum eval scenes`.
    """

    task: Annotated[str, tyro.conf.arg(metavar="TASK")] = ""
    """Task of the papers, such as vqav2, docvqa, pope, refcoco or coco-detection; by default lines of JSON."""
    data: Annotated[File, tyro.conf.arg(metavar="DIR|FILE.jsonl")]
    """Lines of JSON with image, prefix and suffix; with --task the folder of its official files."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|DIR")] = "paligemma-nano-2"
    """Weights: a name (see: tapetum weights list), a file or a folder."""
    model_config: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What a file that does not say it is, such as paligemma-3b-224 for an official .npz; its tokenizer lies beside it."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the one that comes along."""
    limit: int | None = None
    """Images that are looked at, the first ones; with --task examples, spread over all; by default all."""
    splits: str = ""
    """With --task: what is asked, such as val or refcoco/val+refcoco/testA; by default the published splits, or those whose
    answers are known in their place."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """With --task: score these answers instead of a model: JSON lines with id and answer, as --save writes them, or a list as
    servers take it."""
    save: Annotated[File | None, tyro.conf.arg(metavar="FILE.jsonl")] = None
    """With --task: keep the answers; what is there of the same weights, settings and examples is not asked again."""
    batch_size: Annotated[int, tyro.conf.arg(metavar="N")] = 8
    """With --task: examples that are asked at a time."""
    tokens: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """With --task: the most tokens of an answer; by default as the task has it."""
    beams: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """With --task: follow so many answers at a time; by default as the task has it."""
    noise_boxes: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """With --task, of boxes: a model that learned to fill lists up with noise names so many boxes in each image; it may say
    neither noise nor the end, and a box's score is how likely it finds the class."""
    device: Device = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """With --task: precision of the weights; auto takes bfloat16 where the processor knows it, else float32."""

    def check(self) -> None:
        check_options(self, limit="[1, inf)", batch_size="[1, inf)", tokens="[1, inf)", beams="[1, inf)")
        named = {"--splits": self.splits, "--predictions": self.predictions, "--save": self.save}
        given = [name for name, value in named.items() if value]
        if given and not self.task:
            raise BadInput(f"{given[0]} is for a task of the papers; name it with --task")
        if self.noise_boxes < 0 or (self.noise_boxes and not self.task):
            raise BadInput(f"--noise-boxes is {self.noise_boxes}; give 0 or more, and more than 0 with a --task of boxes alone")
        if self.predictions is not None and self.save is not None:
            raise BadInput("--save is for a model, and --predictions are scored without one; give one of the two")


@dataclass(frozen=True, kw_only=True)
class PaliGemmaScores(Result):
    """Scores; shares are from 0 to 1."""

    model: str
    table: dict[str, Any]
    """Of lines of JSON `exact`; of a task what `task_scores` returns."""

    def as_json(self) -> dict[str, Any]:
        return {"benchmark": "paligemma", "model": self.model, **self.table}

    def as_text(self) -> str:
        table = self.table
        if "task" not in table:
            return "\n".join(f"{name}  {value:.4f}" for name, value in table.items())
        width = max((len(row["name"]) for row in table["scores"]), default=0)
        lines = []
        for row in table["scores"]:
            value = float("nan") if row["value"] is None else row["value"]
            interval = " " * 17 if row["low"] is None else f"  {row['low']:6.3f} to {row['high']:5.3f}"
            lines.append(f"{row['name']:{width}}  {value:6.3f}{interval}  {row['count']:7,}")
        lines += [""] if lines else []
        lines += [f"published: {name} {numbers}" for name, numbers in table["published"].items()]
        return "\n".join([*lines, f"{table['examples']:,} examples of {table['task']}, answers of a {table['answers']}"])


@verb(PaliGemmaEvalOptions, data=("data", "predictions"))
def evaluate_paligemma(options: PaliGemmaEvalOptions, listener: Listener) -> PaliGemmaScores:
    """Score a PaliGemma on a task, or on lines of JSON.

    Raises BadInput for a folder without --task, and for missing weights or a missing tokenizer.
    """
    options.check()
    if options.task:
        from tapetum.bench.paligemma_tasks import task_scores

        return PaliGemmaScores(model=options.model, table=task_scores(options, listener))
    from tapetum.systems.paligemma.answers import Answerer
    from tapetum.systems.paligemma.data import JsonLinesSamples
    from tapetum.systems.paligemma.transfer.run import ExactChecks

    if Path(options.data).is_dir():
        raise BadInput(f"{options.data} is a folder; name its task with --task, or run tapetum eval scenes on images of scenes")
    device = choose_device(options.device)
    answerer = Answerer.load(options.model, config=options.model_config, masks=options.masks, device=device)
    model, tokens = answerer.model, answerer.tokens
    lines = JsonLinesSamples(options.data, model.config.image_size)
    table = dict(ExactChecks(lines, tokens, most=options.limit or len(lines))(model))
    return PaliGemmaScores(model=options.model, table=table)
