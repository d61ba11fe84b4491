"""Results of `tapetum search`: moments, and how far they stand out from chance."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from tapetum.app.verb import Result
from tapetum.bench.word_models import describe_model
from tapetum.core.errors import hide_secrets

if TYPE_CHECKING:
    import numpy as np

    from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex

JOINED_S = 2.0
"""Seconds of the longest pieces that are joined; longer ones, such as passages of a video model, are moments already."""
_FEW = 10
"""Number of pieces below which cosines have no statistics."""


@dataclass(frozen=True, kw_only=True)
class MomentMatch:
    """A moment of a film, or an image."""

    path: str
    start_s: float | None
    """None for an image."""
    stop_s: float | None
    cosine: float
    """Similarity to the query, in -1..1; only the order of moments means something."""
    thumbnails: tuple[bytes, ...] = field(default=(), repr=False)
    """Small JPEGs, if the index has some; pages show them, JSON does not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", hide_secrets(self.path))

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "thumbnails"}


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """Deviation of the best piece from all others."""

    deviations: float
    """Standard deviations of its cosine above the mean of all pieces."""
    chance: float
    """The same of the largest of as many independent numbers of a normal distribution (its median)."""
    pieces: int

    def as_text(self) -> str:
        verdict = "stands out" if self.deviations > self.chance else "does not stand out: it may be there by chance"
        return (
            f"the best {verdict}: {self.deviations:.1f} deviations above the mean of {self.pieces:,} pieces, where chance "
            f"alone gives {self.chance:.1f}"
        )


def sureness(best: float, mean: float, deviation: float, pieces: int) -> Sureness | None:
    """Compute how far the best cosine stands out from those of all pieces; None for few pieces, or if all are equal.

    >>> sureness(0.5, 0.1, 0.1, 1000)
    Sureness(deviations=4.0, chance=3.197..., pieces=1000)
    """
    if pieces < _FEW or deviation <= 1e-6:
        return None
    chance = NormalDist().inv_cdf(0.5 ** (1 / pieces))
    return Sureness(deviations=(best - mean) / deviation, chance=chance, pieces=pieces)


@dataclass(frozen=True, kw_only=True)
class Searched(Result):
    """Moments found by a search."""

    moments: tuple[MomentMatch, ...]
    """Best first."""
    model: str | None = None
    """Model of the index."""
    sure: Sureness | None = None
    """Deviation of the best; None for too few pieces."""
    notes: tuple[str, ...] = ()

    def remarks(self) -> list[str]:
        """Say how sure it is, and which model answers."""
        return [
            line for line in (self.sure and self.sure.as_text(), self.model and describe_model(self.model), *self.notes) if line
        ]

    def as_json(self) -> dict[str, Any]:
        about = {"model": self.model, "notes": list(self.notes), "sure": None if self.sure is None else asdict(self.sure)}
        return {"moments": [each.as_json() for each in self.moments], **about}

    def as_text(self) -> str:
        lines = []
        for each in self.moments:
            span = "        image      " if each.start_s is None else f"{each.start_s:8.1f} - {each.stop_s:8.1f}"
            lines.append(f"{span}  {each.cosine:6.3f}  {each.path}")
        return "\n".join([*lines, *self.remarks()])


@dataclass(frozen=True)
class TimeSpan:
    """Pieces of a file that follow each other, and the best of them."""

    rows: tuple[int, ...]
    best: "IndexedPiece"
    value: float
    """Similarity of the best of them."""


def join_spans(
    index: "VectorIndex",
    rows: Iterable[int],
    values: Iterable[float],
    measure: "Callable[[np.ndarray], np.ndarray]",
    base: float,
    passed: Sequence[int] = (),
) -> list[TimeSpan]:
    """Join neighbouring seconds of films into spans, ordered by each span's best second.

    A span grows from its best second over neighbours whose value is at least halfway from `base` to the best (its width at half
    maximum). Pieces longer than `JOINED_S` are not joined.

    Args:
        index: where the pieces are.
        rows: candidates, the best first.
        values: how well each matches.
        measure: computes the values of rows.
        base: the value of pieces that do not match, such as the mean.
        passed: rows that are in no span.
    """
    import numpy as np

    spans: list[TimeSpan] = []
    used = set(map(int, passed))
    for row, value in zip(map(int, rows), map(float, values), strict=True):
        if row in used:
            continue
        piece = index.pieces([row])[0]
        if piece.start_s is None or piece.stop_s is None or piece.stop_s - piece.start_s > JOINED_S:
            spans.append(TimeSpan((row,), piece, value))
            continue
        film = index.rows_of(piece.path)
        fits = measure(film) >= (base + value) / 2
        first = last = int(np.flatnonzero(film == row)[0])
        while first > 0 and fits[first - 1] and int(film[first - 1]) not in used:
            first -= 1
        while last + 1 < len(film) and fits[last + 1] and int(film[last + 1]) not in used:
            last += 1
        members = tuple(map(int, film[first : last + 1]))
        used.update(members)
        spans.append(TimeSpan(members, piece, value))
    return spans


def moment_of(index: "VectorIndex", span: TimeSpan) -> MomentMatch:
    """Build the moment of a span, with thumbnails of its beginning, best second and end."""
    ends = index.pieces(sorted({span.rows[0], span.rows[-1]}))
    shown = [ends[0], span.best, ends[-1]] if len(span.rows) > 2 else ends
    return MomentMatch(
        path=span.best.path,
        start_s=ends[0].start_s,
        stop_s=ends[-1].stop_s,
        cosine=span.value,
        thumbnails=tuple(piece.thumbnail for piece in shown if piece.thumbnail is not None),
    )
