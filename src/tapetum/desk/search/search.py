"""`tapetum.search`: finds images and moments of films similar to words, an example or a moment, in an index."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, one_text, verb
from tapetum.core.addresses import describe, is_address, join_address
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.reading import check_length
from tapetum.desk.search.index import HIDDEN
from tapetum.desk.search.media_files import on_disk
from tapetum.desk.search.media_model import stored_reference
from tapetum.desk.search.results import Searched, join_spans, moment_of, sureness

if TYPE_CHECKING:
    import numpy as np

    from tapetum.desk.search.media_model import MediaModel
    from tapetum.desk.search.vector_index import VectorIndex

LONGEST_WORDS = 1000
"""Characters of a query; models read far fewer."""


@dataclass(frozen=True)
class SearchOptions:
    """Find images and moments of films in an index of tapetum index.

    A line an image or a moment: from and to in seconds, how alike it is, the file. What is looked for is said in words, by an
    example image, by a moment of a film, or by words and an example together.
    """

    place: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="INDEX")] = ""
    """Folder with an index, or folder of an index; or the address of one, such as s3://bucket/index."""
    query: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="WORDS")] = ""
    """What to look for."""
    _: KW_ONLY
    image: Annotated[Any, one_text("FILE")] = None
    """An image that is like what is looked for; a file or an address."""
    moment: Annotated[str | None, tyro.conf.arg(metavar="FILE@SECONDS")] = None
    """A moment of a film that is like it, such as film.mp4@75 or film.mp4@1:15."""
    model: Annotated[File | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """The weights that the index was made with, where they lie elsewhere now."""
    count: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Maximum number of images and moments."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if not str(self.place):
            raise BadInput("there is no INDEX; make one: tapetum index FOLDER, then tapetum search FOLDER WORDS")
        check_length(self.query, "WORDS", LONGEST_WORDS)
        if not self.query.strip() and self.image is None and self.moment is None:
            raise BadInput("there are no WORDS; say what to look for, or give --image or --moment")
        check_options(self, count="[1, inf)")


@verb(SearchOptions)
def search(options: SearchOptions, listener: Listener) -> Searched:
    """Find the images and moments most similar to a query, the best first.

    Raises BadInput for an index that cannot be read, or has vectors of another model, and for words if the model reads none.
    """
    options.check()
    with open_media_index(options.place) as index:
        models = SearchModel(index, str(options.model or stored_reference(index.about)), options.place)
        return find_moments(options, index, models)


class SearchModel:
    """The model of an index, loaded on first use; `loaded` avoids that if it is the same."""

    def __init__(self, index: "VectorIndex", reference: str, place: File, loaded: "MediaModel | None" = None):
        self.index, self.reference, self.place = index, reference, place
        self.loaded = loaded

    def __call__(self) -> "MediaModel":
        """Load it. Raises BadInput if it is not the one that made the index's vectors."""
        if self.loaded is None or (self.loaded.reference, self.loaded.identity) != (self.reference, self.index.model):
            from tapetum.desk.search.media_model import MediaModel

            model = MediaModel(self.reference)
            if model.identity != self.index.model:
                raise BadInput(
                    f"{self.place} is the index of another model than {self.reference}, whose words and images mean nothing in "
                    "it; give that one with --model, or make the index again"
                )
            self.loaded = model
        return self.loaded


def find_moments(options: SearchOptions, index: "VectorIndex", models: SearchModel) -> Searched:
    """Find the moments most similar to a query in an open index. Raises BadInput as `search`."""
    import numpy as np

    vectors, passed = [], list[int]()
    if options.query.strip():
        vectors.append(models().embed_words([options.query])[0])
    for vector, own in (_of_image(options.image, index, models), _of_moment(options.moment, index, models)):
        if vector is not None:
            vectors.append(vector)
            passed += own
    query = np.mean([vector / np.linalg.norm(vector) for vector in vectors], axis=0)
    unit = query / np.linalg.norm(query)
    some = min(len(index), 16 * options.count + len(passed))
    while True:
        nearest = index.nearest(unit[None], some)
        mean = float(nearest.mean[0])
        spans = join_spans(index, nearest.rows[0], nearest.cosines[0], lambda rows: index.vectors(rows) @ unit, mean, passed)
        if len(spans) >= options.count or some == len(index):
            break
        some = min(4 * some, len(index))
    spans = spans[: options.count]
    sure = sureness(spans[0].value, mean, float(nearest.deviation[0]), len(index)) if spans else None
    moments = tuple(moment_of(index, span) for span in spans)
    return Searched(moments=moments, model=models.reference, sure=sure)


def _of_image(image: Any, index: "VectorIndex", models: SearchModel) -> "tuple[np.ndarray | None, list[int]]":
    """The vector of an example, and its own rows, which are excluded."""
    if image is None:
        return None, []
    from tapetum.video.read import in_memory, read_image

    if is_address(image):
        with on_disk(image) as path:
            return models().embed_image(read_image(path)), index.rows_of(image).tolist()
    vector = models().embed_image(read_image(image, "--image" if in_memory(image) else str(image)))
    return vector, [] if in_memory(image) else index.rows_of(os.path.abspath(image)).tolist()


def _of_moment(moment: str | None, index: "VectorIndex", models: SearchModel) -> "tuple[np.ndarray | None, list[int]]":
    """The vector of a moment, from the index if present, and its own row."""
    if moment is None:
        return None, []
    import numpy as np

    path, second = parse_moment(moment)
    for row in index.rows_of(os.path.abspath(path)).tolist() or index.rows_of(path).tolist():
        [piece] = index.pieces([row])
        if piece.start_s is not None and piece.stop_s is not None and piece.start_s <= second < piece.stop_s:
            return index.vectors(np.array([row]))[0], [row]
    from tapetum.video import open_video

    with open_video(path) as video:
        times = video.timestamps - video.timestamps[0]
        if second > times[-1] + 1:
            raise BadInput(f"--moment {moment}: the film ends at {times[-1]:.1f} s; give a time in it")
        return models().embed_image(video[int(np.abs(times - second).argmin())]), []


def parse_moment(text: str) -> tuple[str, float]:
    """Read FILE@SECONDS, or FILE@HOURS:MINUTES:SECONDS. Raises BadInput for anything else.

    >>> parse_moment("a@b.mp4@75"), parse_moment("a.mp4@1:15.5")
    (('a@b.mp4', 75.0), ('a.mp4', 75.5))
    """
    path, _, when = text.rpartition("@")
    try:
        seconds = 0.0
        for part in when.split(":"):
            seconds = 60 * seconds + float(part)
        if path and 0 <= seconds < float("inf"):
            return path, seconds
    except ValueError:
        pass
    raise BadInput(f"--moment {text[:80]} is no FILE@SECONDS; give one such as film.mp4@75 or film.mp4@1:15")


@contextmanager
def open_media_index(place: str | Path) -> "Iterator[VectorIndex]":
    """Open an index, or a folder that contains one; one at an address is first copied into a cache.

    Raises BadInput for other files, an index that another process is changing, and damage whenever found.
    """
    from tapetum.desk.search.index_database import DATABASE, refusing_damage
    from tapetum.desk.search.vector_index import VectorIndex

    path = _fetched(place) if isinstance(place, str) and is_address(place) else Path(place)
    if not path.is_dir():
        raise BadInput(f"there is no index {str(path)[:80]!r}; make one: tapetum index FOLDER")
    inner = path / HIDDEN
    with refusing_damage(place), VectorIndex.open(inner if (inner / DATABASE).is_file() else path) as index:
        if not len(index):
            raise BadInput(f"the index {place} is empty; make it again: tapetum index FOLDER")
        yield index


def _fetched(address: str) -> Path:
    """Copy an index at an address to this machine."""
    from tapetum.data.remote_folder import local_place
    from tapetum.desk.search.index_database import DATABASE

    for folder in (join_address(address, HIDDEN), address.rstrip("/")):
        if describe(join_address(folder, DATABASE)) is not None:
            return local_place(folder)
    raise BadInput(f"there is no index at {address}; make one here with tapetum index FOLDER --out INDEX, and copy it there")
