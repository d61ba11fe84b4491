"""`tapetum eval scenes`: evaluates a vision-language model on images of scenes."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.devices import choose_device
from tapetum.core.fields import check_options


@dataclass(frozen=True, kw_only=True)
class SceneEvalOptions:
    """Score a PaliGemma on images of scenes: questions, boxes and masks, beside chance and a blind model.

    Numbers are shares from 0 to 1. written: answers that are right letter for letter; chosen: the likeliest option is right.
    """

    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder that tapetum scenes images made, of images that were not trained on."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|DIR")] = "paligemma-nano-2"
    """Weights: a name (see: tapetum weights list), a file or a folder."""
    model_config: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What a file that does not say it is, such as paligemma-3b-224 for an official .npz; its tokenizer lies beside it."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the one that comes along."""
    segment: bool = True
    """Score masks too."""
    limit: int | None = None
    """Images that are looked at, the first ones; by default all."""
    blind: bool = True
    """Also score the model on images in each other's place, and on grey ones."""
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class SceneScores(Result):
    """Scores; shares are from 0 to 1."""

    model: str
    table: dict[str, Any]
    """All that `training.paligemma.bench.evaluate` returns."""

    def as_json(self) -> dict[str, Any]:
        return {"benchmark": "scenes", "model": self.model, **self.table}

    def as_text(self) -> str:
        table = self.table
        blind = [name for name in table if name.startswith("questions_")]
        heads = "".join(f"{name.removeprefix('questions_'):>10}" for name in blind)
        lines = [f"{'questions':12} {'asked':>6} {'chance':>7} {'written':>8} {'chosen':>8}{heads}"]
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


@verb(SceneEvalOptions, data=("data",))
def scenes(options: SceneEvalOptions, listener: Listener) -> SceneScores:
    """Score a PaliGemma on questions, boxes and masks of scene images, compared with chance and a blind model.

    Raises BadInput for an unfinished folder, and for missing weights or a missing tokenizer.
    """
    check_options(options, limit="[1, inf)")
    from tapetum.systems.paligemma.answers import Answerer
    from tapetum_world.training.paligemma.bench import SceneTestSet, evaluate

    device = choose_device(options.device)
    answerer = Answerer.load(options.model, config=options.model_config, masks=options.masks, device=device)
    table = evaluate(
        answerer.model,
        answerer.tokens,
        SceneTestSet(options.data, options.limit),
        unpack=answerer.codec.unpack if options.segment else None,
        blind=("shuffled", "grey") if options.blind else (),
        say=listener.status,
    )
    listener.status("")
    return SceneScores(model=options.model, table=table)
