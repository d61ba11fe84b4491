"""Near duplicates in an index of images and films, and named clusters."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tapetum.desk.search.media_index import MediaIndex
from tapetum.desk.search.results import Grouped, MomentMatch, PieceGroup

if TYPE_CHECKING:
    import numpy as np

    from tapetum.app.verb import Listener
    from tapetum.desk.search.media_model import MediaModel
    from tapetum.desk.search.search import SearchOptions
    from tapetum.desk.search.vector_index import IndexedPiece

_SAMPLE = 20_000
"""Pieces of which centres are computed; all others go to the nearest."""
_ROUNDS, _BLOCK = 30, 1 << 16
_NAMES = 2
"""Names of a cluster."""


def find_groups(
    options: "SearchOptions", index: MediaIndex, models: "Callable[[], MediaModel] | Any", listener: "Listener"
) -> Grouped:
    """Group near duplicates, or divide all into named clusters: by tags, or by words if the model reads some."""
    model = models.reference
    if options.duplicates:
        return Grouped(what="duplicates", groups=_duplicates(index, options.alike, options.count), model=model)
    assert options.clusters is not None
    rows, belongs = index.rows(), divide(index, min(options.clusters, len(index)))
    parts = [rows[belongs == k] for k in range(int(belongs.max()) + 1)]
    names = _names(index, parts, models, listener)
    groups = []
    for number, (part, name) in enumerate(zip(parts, names, strict=True), 1):
        shown = tuple(_moment(piece) for piece in index.pieces(_central(index, part, options.count)))
        groups.append(PieceGroup(name=name or f"cluster {number}", pieces=len(part), shown=shown))
    groups.sort(key=lambda group: -group.pieces)
    return Grouped(what="clusters", groups=tuple(groups), model=model)


def divide(index: MediaIndex, count: int) -> "np.ndarray":
    """Divide all pieces into at most `count` clusters by spherical k-means (k-means++); int64, in the order of rows.

    Centres are computed from a sample, then all pieces are assigned to the nearest.
    """
    import numpy as np
    import torch

    from tapetum.systems.odin.masks import kmeans

    rows = index.rows()
    chosen = rows if len(rows) <= _SAMPLE else np.sort(np.random.default_rng(0).choice(rows, _SAMPLE, replace=False))
    some = torch.from_numpy(index.vectors(chosen))
    generator = torch.Generator().manual_seed(0)
    belongs = kmeans(some[None], count, _ROUNDS, generator=generator, seeds="spread")[0]
    sums = torch.zeros(count, some.shape[1]).index_add(0, belongs, some)
    centres = torch.nn.functional.normalize(sums, dim=1).numpy()
    parts = [(index.vectors(rows[k : k + _BLOCK]) @ centres.T).argmax(1) for k in range(0, len(rows), _BLOCK)]
    return np.unique(np.concatenate(parts), return_inverse=True)[1]


def _central(index: MediaIndex, rows: "np.ndarray", count: int) -> "np.ndarray":
    """The rows most similar to the mean of all."""
    vectors = index.vectors(rows)
    return rows[(-vectors @ vectors.mean(0)).argsort(kind="stable")[:count]]


def _duplicates(index: MediaIndex, alike: float, count: int) -> tuple[PieceGroup, ...]:
    """Groups of pieces from several files; seconds of one film are similar by nature."""
    groups = []
    for rows in index.duplicates(alike):
        pieces = index.pieces(rows)
        by_file: dict[str, IndexedPiece] = {}
        for piece in pieces:
            by_file.setdefault(piece.path, piece)
        if len(by_file) > 1:
            shown = tuple(_moment(piece) for piece in by_file.values())
            groups.append(PieceGroup(name=f"group {len(groups) + 1}", pieces=len(by_file), shown=shown[: max(count, 2)]))
    return tuple(groups)


def _moment(piece: "IndexedPiece") -> MomentMatch:
    thumbnails = () if piece.thumbnail is None else (piece.thumbnail,)
    return MomentMatch(path=piece.path, start_s=piece.start_s, stop_s=piece.stop_s, thumbnails=thumbnails)


def _names(index: MediaIndex, parts: "Sequence[np.ndarray]", models: Any, listener: "Listener") -> list[str]:
    """Names of clusters: what is more frequent in each than overall."""
    tags = dict(index.tags())
    if tags:
        return _tag_names(parts, tags, len(index))
    if models.reads_words():
        return _word_names(index, parts, models(), listener)
    return [""] * len(parts)


def _tag_names(parts: "Sequence[np.ndarray]", tags: dict[int, tuple[tuple[str, float], ...]], pieces: int) -> list[str]:
    """The names whose probability exceeds that in the whole index most."""
    overall: Counter[str] = Counter()
    for each in tags.values():
        overall.update(dict(each))
    names = []
    for part in parts:
        inside: Counter[str] = Counter()
        for row in part.tolist():
            inside.update(dict(tags.get(row, ())))
        above = {name: total / len(part) - overall[name] / pieces for name, total in inside.items()}
        best = sorted(above, key=lambda name: (-above[name], name))[:_NAMES]
        names.append(", ".join(name for name in best if above[name] > 0))
    return names


def _word_names(index: MediaIndex, parts: "Sequence[np.ndarray]", model: "MediaModel", listener: "Listener") -> list[str]:
    """The common nouns that are closer to a cluster than to the others."""
    import numpy as np

    from tapetum.encoders.naming import EVERYDAY

    nouns = sorted(EVERYDAY)
    words = []
    for done, noun in enumerate(nouns, 1):
        words.append(model.embed_words([f"a photo of a {noun}"])[0])
        listener.progress("reading names", done, len(nouns))
    centres = np.stack([index.vectors(part).mean(0) for part in parts])
    alike = centres @ np.stack(words).T
    above = alike - alike.mean(0)
    return [", ".join(nouns[k] for k in (-row).argsort(kind="stable")[:_NAMES]) for row in above]
