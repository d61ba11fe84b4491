"""`tapetum.evaluate_paligemma`: the score of a vision-language model on pictures of scenes, or on lines of JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.errors import BadInput
from tapetum.verbs.verb import File, Listener, verb


@dataclass(frozen=True, kw_only=True)
class PaliGemmaEvalOptions:
    """What may be asked of `evaluate_paligemma`."""

    data: Annotated[File, tyro.conf.arg(metavar="DIR|FILE.jsonl")]
    """Folder that tapetum scenes pictures made, of pictures that were not trained on; or lines of JSON with image, prefix and
    suffix, whose answers are to be written letter for letter."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|DIR")] = "paligemma-nano"
    """Weights: a name (see: tapetum weights list), a file or a folder."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the one that comes along."""
    segment: bool = True
    """Score masks too."""
    limit: int | None = None
    """Pictures that are looked at, the first ones; by default all."""
    blind: bool = True
    """Also score the model on pictures in each other's place, and on grey ones."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""


@dataclass(frozen=True, kw_only=True)
class PaliGemmaScores:
    """Scores; shares are from 0 to 1."""

    model: str
    table: dict[str, Any]
    """All that `tapetum.bench.paligemma.evaluate` returns; of lines of JSON `exact`."""

    def as_json(self) -> dict[str, Any]:
        """Say all of it."""
        return {"benchmark": "paligemma", "model": self.model, **self.table}


@verb(PaliGemmaEvalOptions)
def evaluate_paligemma(options: PaliGemmaEvalOptions, listener: Listener) -> PaliGemmaScores:
    """Score a PaliGemma on questions, boxes and masks of pictures of scenes, beside chance and a blind model.

    Raises BadInput for a folder that is not finished, and weights or a tokenizer that are not there.
    """
    if options.limit is not None and options.limit < 1:
        raise BadInput(f"--limit is {options.limit}; give 1 or more")
    from tapetum.bench.paligemma import Held, evaluate
    from tapetum.paligemma.answers import Answerer
    from tapetum.paligemma.data import JsonLines
    from tapetum.paligemma.transfer import ExactChecks

    answerer = Answerer.load(options.model, masks=options.masks, device=options.device)
    model, tokens = answerer.model, answerer.tokens
    if Path(options.data).is_dir():
        table = evaluate(
            model,
            tokens,
            Held(options.data, options.limit),
            unpack=answerer.codec.unpack if options.segment else None,
            blind=("shuffled", "grey") if options.blind else (),
            say=listener.status,
        )
        listener.status("")
    else:
        lines = JsonLines(options.data, model.config.picture_size)
        table = dict(ExactChecks(lines, tokens, most=options.limit or len(lines))(model))
    return PaliGemmaScores(model=options.model, table=table)
