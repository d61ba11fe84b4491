"""A map of an index: a page that places similar pieces together, by UMAP or by the first two principal components."""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.app.see.neighbours import image_tag
from tapetum.core.files import whole_file, write_text
from tapetum.desk.search.media_index import MediaIndex

if TYPE_CHECKING:
    import numpy as np

    from tapetum.app.verb import Listener

SHOWN = 2000
"""Pieces of a map, evenly chosen of all."""


def write_map(index: MediaIndex, path: Path, listener: "Listener") -> Path:
    """Write a self-contained page with a thumbnail of each piece. Raises BadInput if it cannot be written."""
    import numpy as np

    rows = index.rows()
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, SHOWN).round().astype(int))]
    places, how = _places(index.vectors(rows), listener)
    with whole_file(path) as temporary:
        write_text(temporary, "\n".join(_page(index, rows, places, how)))
    return path


def principal_components(vectors: "np.ndarray") -> "np.ndarray":
    """Compute the first two principal components of vectors (n, c), float32 (n, 2); 0 if there are fewer.

    >>> import numpy as np
    >>> principal_components(np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [5.0, 5.0, 0.0]]))[:, 0].round(3).tolist()
    [-2.0, 0.0, 2.0]
    """
    import numpy as np

    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])  # an axis has no direction of its own
    projected = centred @ (axes * signs)
    return np.pad(projected, ((0, 0), (0, 2 - projected.shape[1]))).astype(np.float32)


def _places(vectors: "np.ndarray", listener: "Listener") -> "tuple[np.ndarray, str]":
    import numpy as np

    places, how = None, "principal components (PCA)"
    if len(vectors) > 3:
        try:
            import umap  # pyright: ignore[reportMissingImports]
        except ImportError:
            listener.note("the map is made of principal components; pip install umap-learn makes one that parts things better")
        else:
            near = min(15, len(vectors) - 1)
            made = umap.UMAP(n_neighbors=near, metric="cosine", random_state=0, n_jobs=1).fit_transform(vectors)
            places, how = np.asarray(made, np.float32), "UMAP"
    places = principal_components(vectors) if places is None else places
    low, high = places.min(0), places.max(0)
    return (places - low) / np.maximum(high - low, 1e-9), how


def _page(index: MediaIndex, rows: "np.ndarray", places: "np.ndarray", how: str) -> Iterator[str]:
    yield "<!doctype html><meta charset='utf-8'><title>a map by likeness</title>"
    yield (
        "<style>:root{color-scheme:light dark}body{font:14px sans-serif;margin:1em}main{position:relative;height:82vh;"
        "margin:24px;background:#8882}figure{position:absolute;margin:-16px 0 0 -16px}"
        "figure>*{width:32px;height:32px;object-fit:cover;"
        "background:#58a;border-radius:3px;display:block;overflow:hidden;font-size:0}figure:hover{z-index:9}"
        "figure:hover>*{width:160px;height:160px;object-fit:contain;background:#fff;box-shadow:0 0 6px #888;font-size:12px}"
        "</style>"
    )
    note = "" if len(rows) == len(index) else f", {len(rows):,} of {len(index):,} pieces"
    yield f"<p>What is alike lies together: {how} of the vectors{note}. Point at one to see it larger.</p><main>"
    for piece, (x, y) in zip(index.pieces(rows), places.tolist(), strict=True):
        when = "" if piece.start_s is None else f" {piece.start_s:g} s"
        title = html.escape(piece.path + when, quote=True)
        shown = image_tag(piece.thumbnail) if piece.thumbnail else f"<b>{html.escape(Path(piece.path).name)}</b>"
        yield f"<figure style='left:{x:.2%};top:{1 - y:.2%}' title='{title}'>{shown}</figure>"
    yield "</main>"
