"""`tapetum.evaluate_paligemma`: evaluates a vision-language model on scenes, JSON lines, or tasks of the papers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class PaliGemmaEvalOptions:
    """Score a PaliGemma on images of scenes: questions, boxes and masks, beside chance and a blind model. Or on a task of its
    papers (--task): VQAv2, DocVQA, POPE, RefCOCO, COCO detection and others.

    Numbers are shares from 0 to 1. written: answers that are right letter for letter; chosen: the likeliest option is right.
    Those of a task have intervals of 95%; CIDEr is 0 to 10, a hundredth of what papers print.
    """

    task: Annotated[str, tyro.conf.arg(metavar="TASK")] = ""
    """Task of the papers, such as vqav2, docvqa, pope, refcoco or coco-detection; by default images of scenes."""
    data: Annotated[File, tyro.conf.arg(metavar="DIR|FILE.jsonl")]
    """Folder that tapetum scenes images made, of images that were not trained on; or lines of JSON with image, prefix and
    suffix, whose answers are to be written letter for letter; with --task the folder of its official files."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|DIR")] = "paligemma-nano-2"
    """Weights: a name (see: tapetum weights list), a file or a folder."""
    model_config: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What a file that does not say it is, such as paligemma-3b-224 for an official .npz; its tokenizer lies beside it."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the one that comes along."""
    segment: bool = True
    """Score masks too."""
    limit: int | None = None
    """Images that are looked at, the first ones; with --task examples, spread over all; by default all."""
    blind: bool = True
    """Also score the model on images in each other's place, and on grey ones."""
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
    device: str = "auto"
    """Where to compute: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """With --task: precision of the weights; auto takes bfloat16 where the processor knows it, else float32."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        for name in ("limit", "batch_size", "tokens", "beams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"--{name.replace('_', '-')} is {value}; give 1 or more")
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
    """All that `evaluate` of the bench returns; of lines of JSON `exact`; of a task what `task_scores` does."""

    def as_json(self) -> dict[str, Any]:
        return {"benchmark": "paligemma", "model": self.model, **self.table}

    def as_text(self) -> str:
        if "task" in self.table:
            return _task_lines(self.table)
        return _scene_lines(self.table)


@verb(PaliGemmaEvalOptions, data=("data", "predictions"))
def evaluate_paligemma(options: PaliGemmaEvalOptions, listener: Listener) -> PaliGemmaScores:
    """Score a PaliGemma on questions, boxes and masks of scene images, compared with chance and a blind model; or on a task.

    Raises BadInput for an unfinished folder, and for missing weights or a missing tokenizer.
    """
    options.check()
    if options.task:
        from tapetum.bench.paligemma_tasks import task_scores

        return PaliGemmaScores(model=options.model, table=task_scores(options, listener))
    from tapetum.systems.paligemma.answers import Answerer
    from tapetum.systems.paligemma.data import JsonLinesSamples
    from tapetum.systems.paligemma.transfer.run import ExactChecks
    from tapetum.world.training.paligemma.bench import SceneTestSet, evaluate

    device = choose_device(options.device)
    answerer = Answerer.load(options.model, config=options.model_config, masks=options.masks, device=device)
    model, tokens = answerer.model, answerer.tokens
    if Path(options.data).is_dir():
        table = evaluate(
            model,
            tokens,
            SceneTestSet(options.data, options.limit),
            unpack=answerer.codec.unpack if options.segment else None,
            blind=("shuffled", "grey") if options.blind else (),
            say=listener.status,
        )
        listener.status("")
    else:
        lines = JsonLinesSamples(options.data, model.config.image_size)
        table = dict(ExactChecks(lines, tokens, most=options.limit or len(lines))(model))
    return PaliGemmaScores(model=options.model, table=table)


def _scene_lines(table: dict[str, Any]) -> str:
    if "questions" not in table:
        return "\n".join(f"{name}  {value:.4f}" for name, value in table.items())
    blind = [name for name in table if name.startswith("questions_")]
    lines = [
        f"{'questions':12} {'asked':>6} {'chance':>7} {'written':>8} {'chosen':>8}" + "".join(f"{n[10:]:>10}" for n in blind)
    ]
    for name, row in table["questions"].items():
        others = "".join(f"{table[b][name]['chosen']:10.3f}" for b in blind)
        shares = f"{row['chance']:7.3f} {row['greedy_answers']:8.3f} {row['chosen']:8.3f}"
        lines.append(f"{name:12} {row['questions']:6} {shares}{others}")
    boxes = table["detection"]
    lines += ["", f"boxes  AP50 {boxes['ap50']:.3f}  AP {boxes['ap']:.3f}  ({boxes['boxes']} in {boxes['images']} images)"]
    if "segmentation" in table:
        lines.append(f"masks  mIoU {table['segmentation']['miou']:.3f}  ({table['segmentation']['things']} things)")
    if "detection_shuffled" in table:
        lines.append(f"blind  AP50 {table['detection_shuffled']['ap50']:.3f}")
    if "segmentation_shuffled" in table:
        lines[-1] += f"  mIoU {table['segmentation_shuffled']['miou']:.3f}"
    return "\n".join(lines)


def _task_lines(table: dict[str, Any]) -> str:
    width = max((len(row["name"]) for row in table["scores"]), default=0)
    lines = []
    for row in table["scores"]:
        value = float("nan") if row["value"] is None else row["value"]
        interval = " " * 17 if row["low"] is None else f"  {row['low']:6.3f} to {row['high']:5.3f}"
        lines.append(f"{row['name']:{width}}  {value:6.3f}{interval}  {row['count']:7,}")
    lines += [""] if lines else []
    lines += [f"published: {name} {numbers}" for name, numbers in table["published"].items()]
    return "\n".join([*lines, f"{table['examples']:,} examples of {table['task']}, answers of a {table['answers']}"])
