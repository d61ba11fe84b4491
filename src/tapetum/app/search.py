"""`tapetum.search`: moments of videos that words describe, in a table that `tapetum embed` made."""

from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.answer import load_towers
from tapetum.app.embedding_table import read_table
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class SearchOptions:
    """Find the moments of videos that words describe, in a table that tapetum embed made of them.

    A line a moment: from and to in seconds, how alike it is, the file.
    """

    words: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="WORDS")]
    """What to look for."""
    _: KW_ONLY
    index: Annotated[File, tyro.conf.arg(metavar="FILE")] = ""
    """Table of `tapetum embed VIDEO ... --model mcvit-nano --out FILE`: .parquet or .npz."""
    model: Annotated[File, tyro.conf.arg(metavar="NAME|FILE")] = "mcvit-nano"
    """The weights that the table was made with."""
    count: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Moments to give, at most."""
    sheet: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Write a contact sheet: a page with images of each moment, all in the one file."""

    def check(self) -> None:
        """Raise `BadInput` for what cannot be done, before anything is."""
        if not self.words.strip():
            raise BadInput("there are no WORDS; say what to look for")
        if not str(self.index):
            raise BadInput("there is no --index; make one: tapetum embed VIDEO --model mcvit-nano --out index.parquet")
        if self.count < 1:
            raise BadInput(f"--count is {self.count}; it must be 1 or more")
        if self.sheet is not None and Path(self.sheet).suffix.lower() not in (".html", ".htm"):
            raise BadInput(f"--sheet {self.sheet}: the ending must be .html")


@dataclass(frozen=True, kw_only=True)
class MomentMatch:
    """A moment of a video, or an image."""

    path: str
    start_s: float | None
    """None for an image."""
    stop_s: float | None
    cosine: float
    """How alike it and the words are, in -1..1: only the order of moments means something."""


@dataclass(frozen=True, kw_only=True)
class Searched(Result):
    """What was found."""

    moments: tuple[MomentMatch, ...]
    """The best first."""
    sheet: Path | None = None
    """A page that shows them, where one was asked for."""

    def as_json(self) -> dict[str, Any]:
        """Say it as JSON values."""
        moments = [asdict(each) for each in self.moments]
        return {"moments": moments} | ({} if self.sheet is None else {"sheet": str(self.sheet)})

    def as_text(self) -> str:
        """List the moments, a line for each."""
        lines = []
        for each in self.moments:
            span = "        image    " if each.start_s is None else f"{each.start_s:8.1f} - {each.stop_s:8.1f}"
            lines.append(f"{span}  {each.cosine:6.3f}  {each.path}")
        return "\n".join(lines if self.sheet is None else [*lines, f"{self.sheet}: images of them"])


@verb(SearchOptions)
def search(options: SearchOptions, listener: Listener) -> Searched:
    """Find the moments that are most like words, the best first.

    Raises BadInput for a table that cannot be read, or whose vectors this model did not make.
    """
    options.check()
    import numpy as np

    from tapetum.systems.longvideo.streaming import embed_words

    rows = read_table(Path(options.index))
    model = load_towers(options.model)
    vectors = rows["embedding"]
    if str(rows["model"]) != model.identity():
        raise BadInput(
            f"{options.index} is the index of another model than {options.model}, whose words mean nothing in it; give "
            "that one, or embed the videos again"
        )
    if vectors.ndim != 2 or vectors.shape[1] != model.config.projection or not np.isfinite(vectors).all():
        raise BadInput(
            f"{options.index} has vectors of shape {vectors.shape}, or such as are not finite; embed the videos again"
        )
    cosines = vectors @ embed_words(model, [options.words])[0]
    best = np.argsort(-cosines, kind="stable")[: options.count]
    moments = tuple(
        MomentMatch(
            path=str(rows["path"][k]),
            start_s=_seconds(rows["start_s"][k]),
            stop_s=_seconds(rows["stop_s"][k]),
            cosine=float(cosines[k]),
        )
        for k in best
    )
    if options.sheet is None:
        return Searched(moments=moments)
    from tapetum.app.sheet import write_sheet

    return Searched(moments=moments, sheet=write_sheet(options.words, moments, Path(options.sheet)))


def _seconds(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
