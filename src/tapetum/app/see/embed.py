"""`tapetum.embed`: embeddings of files."""

import os
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.commands import Command, Device, with_json
from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.bench.image_jobs import NO_MEDIA, files_below
from tapetum.core.batched_work import BatchedWork
from tapetum.core.devices import EncoderPrecision, choose_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.files import check_place
from tapetum.core.finished import ComputedItems, ResultsOnDisk
from tapetum.core.jobs import Engine, gpus_for, run_jobs
from tapetum.core.provenance import check

if TYPE_CHECKING:
    import numpy as np

    from tapetum.encoders.embed import EmbeddedPiece, Embedder
    from tapetum.video import Video


_NO_FILES = "there are no FILES; give images, recordings or videos"


@dataclass(frozen=True)
class EmbedOptions:
    """Make vectors of images, recordings and videos, for search, clustering and probes.

    The table has a row a piece: path, start_s and stop_s (empty for images), modalities, embedding. With --neighbours it also
    has the numbers of the rows that are most alike, and cosines. An image is one piece; long recordings and videos are cut
    into pieces as long as the model takes.
    """

    files: tyro.conf.Positional[tuple[Annotated[Any, one_text("FILES")], ...]]
    """Images, recordings, videos; of a folder all files in it and in the folders below, but texts, tables and archives; of a
    LeRobot data set its episodes (SET, SET#episode=3-7,camera=top); or addresses of these. In Python also one alone, and images
    and videos in memory: arrays, tensors, images of Pillow. An array (n, h, w, 3) is n images, or a video where the model takes
    frames together."""
    _: KW_ONLY
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """Table to write: .parquet or .npz."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "resnet-nano"
    """resnet-nano, which comes with the package and knows images; efficientnet-lite0, -lite1 or -lite2, which see far more
    (of the extra imagenet); a file of an encoder, such as `tapetum train hip` makes; a folder of transformers or timm
    with config.json; a state dict, own.pth or timm:NAME=own.pth; random:NAME."""
    batch_size: int = 16
    """Pieces that are looked at together."""
    engine: Annotated[Engine, tyro.conf.arg(metavar="local|ray")] = "local"
    """What works: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    workers: int = 1
    """Processes that work at a time on this machine; each loads the model. One process alone makes batches across files."""
    device: Device = "auto"
    dtype: EncoderPrecision = "auto"
    """Precision of image encoders; auto takes bfloat16 where the device knows it, else float32. int8 is for convolutional
    networks on CPUs with VNNI, as most since 2021: three times as fast as float32."""
    neighbours: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Add to the table the N pieces of other files that are most alike, and write a page that shows them beside it:
    OUT.neighbours.html."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if self.out is not None:
            check_table(Path(self.out))
            check_place(Path(self.out))
        if isinstance(self.files, (list, tuple)) and not self.files:
            raise BadInput(_NO_FILES)
        check_options(self, batch_size="[1, inf)", workers="[1, inf)", neighbours="[0, 1000]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded(Result):
    """Vectors of pieces of files; an image is one piece."""

    paths: tuple[str, ...]
    start_s: tuple[float | None, ...]
    """Start of each piece in its file, in seconds; None for images."""
    stop_s: tuple[float | None, ...]
    modalities: tuple[tuple[str, ...], ...]
    vectors: "np.ndarray"
    """float32 (pieces, channels)."""
    files: int
    failed: int
    neighbours: "np.ndarray | None" = None
    """int64 (pieces, N): numbers of the most similar pieces of other files, -1 where there are no more."""
    cosines: "np.ndarray | None" = None
    """float32 (pieces, N): their cosines; NaN where there are no more."""
    page: Path | None = None
    out: Path | None = None
    model: str | None = None
    """Identity of the weights: what `tapetum search` compares."""
    reference: str | None = None
    """Name or file that these weights were loaded by."""

    def as_json(self) -> dict[str, Any]:
        pieces, channels = self.vectors.shape
        places = {"out": self.out and str(self.out), "neighbours": self.page and str(self.page)}
        return {**places, "pieces": pieces, "channels": channels, "files": self.files, "failed": self.failed}

    def as_text(self) -> str:
        pieces, channels = self.vectors.shape
        lines = [f"{self.out}: {pieces} vectors of {channels} numbers, of {self.files - self.failed} files"]
        if self.page is not None and self.neighbours is not None:
            lines.append(f"{self.page}: the {self.neighbours.shape[1]} nearest neighbours of each")
        return "\n".join(lines)

    def failure(self) -> str | None:
        if not self.failed:
            return None
        return f"{self.failed} of {self.files} files could not be read; the table has the others"


@verb(EmbedOptions, data=("files",))
def embed(options: EmbedOptions, listener: Listener) -> Embedded:
    """Compute embeddings of images, recordings and videos, for search, clustering and probes.

    Long recordings and videos are cut into pieces of the model's length. Unreadable files are skipped and reported to the
    listener. Raises BadInput if none can be read, or the model does not specify how files become its inputs.

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

    from tapetum.app.see.neighbours import nearest, write_page
    from tapetum.bench.word_models import portable

    embedder, identity = _embedder(options.model, options.device, options.dtype)
    files = _files(options, "videos" if embedder.takes_videos else "images", listener)
    alone = options.engine == "local" and (options.workers == 1 or len(files) == 1)
    work = BatchedWork(
        read=partial(_pieces, listener if alone else Listener()),
        compute=_embed_batch,
        finish=_outputs,
        size=options.batch_size,
        key=_modalities,
        ahead=0 if embedder.takes_videos else 2 * options.batch_size,
    )
    outputs = ResultsOnDisk(len(files))
    for number, output in run_jobs(
        work,
        files if alone else ComputedItems(_absolute, files),
        (lambda: embedder) if alone else partial(_embedder_alone, portable(options.model), options.device, options.dtype),
        engine=options.engine,
        workers=options.workers,
        gpus=gpus_for(options.device),
        progress=partial(listener.progress, "embedding"),
    ):
        outputs[number] = output
        for problem in filter(lambda each: isinstance(each, _Unread), output):
            listener.note(problem.message)
    failed, rows, same = 0, list[tuple[str, float | None, float | None, tuple[str, ...]]](), dict[Any, Any]()
    temporary = TemporaryFile()  # noqa: SIM115 # mapped below, for as long as the array lives
    for file, output in zip(files, outputs, strict=True):
        done = [each for each in output if not isinstance(each, _Unread)]
        failed += len(done) < len(output)
        for piece, vector in done:
            place = str(file) if isinstance(file, Path) else piece.file
            inputs = tuple(piece.inputs)
            rows.append((place, piece.start, piece.stop, same.setdefault(inputs, inputs)))
            temporary.write(vector.tobytes())
    if not rows:
        wrote = "" if options.out is None else f"; {options.out} was not written"
        raise BadInput(f"none of {len(files)} files could be read{wrote}")
    temporary.flush()
    places, start_s, stop_s, modalities = zip(*rows, strict=True)
    made = Embedded(
        paths=tuple(map(str, places)),
        start_s=start_s,
        stop_s=stop_s,
        modalities=modalities,
        vectors=np.asarray(np.memmap(temporary, np.float32, "c")).reshape(len(rows), -1),
        files=len(files),
        failed=failed,
        model=identity,
        reference=portable(options.model),
    )
    if options.neighbours:
        neighbours, cosines = nearest(made.vectors, made.paths, options.neighbours)
        made = replace(made, neighbours=neighbours, cosines=cosines)
    if options.out is not None:
        write_table(made, Path(options.out))
        made = replace(made, out=Path(options.out))
    if page is not None:
        made = replace(made, page=write_page(made, page, places))
    return made


def _embedder(model: str, device: str | None, dtype: str) -> "tuple[Embedder, str]":
    """Load the function that computes embeddings, and compute the identity of its weights."""
    from tapetum.bench.word_models import identity_of
    from tapetum.encoders.embed import set_precision
    from tapetum.hub.loading import find_loader, load

    find_loader(model, "embed", trackers=False)  # what can be said without torch is said at once
    loaded = load(model, choose_device(device))
    if not hasattr(loaded, "embedder"):
        raise BadInput(f"{model} holds a {type(loaded).__name__}, which makes no vectors; give an encoder or a HiP network")
    identity = identity_of(loaded)
    embedder = loaded.embedder()
    set_precision(loaded, dtype)
    return embedder, identity


def _embedder_alone(model: str, device: str | None, dtype: str) -> "Embedder":
    return _embedder(model, device, dtype)[0]


def _absolute(file: "Path | Video") -> "Path | Video":
    """Make a file's path valid for processes that run in another folder."""
    return Path(os.path.abspath(file)) if isinstance(file, Path) else file


def _files(options: EmbedOptions, arrays: str, listener: Listener) -> "list[Path | Video]":
    """List the requested sources, arrays (n, h, w, 3) split into images; skipped files in folders are counted in a remark."""
    from tapetum.video.episodes import list_episodes
    from tapetum.video.read import in_memory, list_sources, name_of, open_source

    files: list[Path | Video] = []
    for number, path in enumerate(given := list_sources(options.files, arrays)):
        if in_memory(path):
            files.append(open_source(path, name_of(path, number)))
        elif episodes := list_episodes(path):
            files += map(Path, episodes)
        elif not path.is_dir():
            files.append(path)
        else:
            inside = files_below(path)
            files += [file for file in inside if file.suffix.lower() not in NO_MEDIA]
            if others := [file.suffix.lower() for file in inside if file.suffix.lower() in NO_MEDIA]:
                endings = ", ".join(sorted(set(others)))
                listener.note(f"{path}: what is no image, recording or video is left out: {len(others)} ({endings})")
    if not given:
        raise BadInput(_NO_FILES)
    if not files:
        raise BadInput(f"{given[0]} holds no image, recording or video; give a folder that does, or files")
    return files


@dataclass(frozen=True)
class _Unread:
    """Last piece of a file that could not be read to its end."""

    message: str


def _pieces(listener: Listener, file: "Path | Video", embedder: "Embedder") -> "Iterator[EmbeddedPiece | _Unread]":
    task = f"seconds of {file.name}"
    try:
        for piece in embedder.pieces(file):  # pyright: ignore[reportArgumentType]
            listener.progress(task, int(piece.stop or 0), None)
            yield piece
    except BadInput as error:
        yield _Unread(str(error))
    listener.progress(task, 1, 1)


def _modalities(piece: "EmbeddedPiece | _Unread") -> tuple[str, ...]:
    return () if isinstance(piece, _Unread) else tuple(sorted(piece.inputs))


def _outputs(file: "Path | Video", outputs: list[Any], embedder: "Embedder") -> list[Any]:
    return outputs


def _embed_batch(batch: "list[Any]", embedder: "Embedder") -> "list[Any]":
    """Compute the pieces' embeddings and drop their inputs; unread files pass unchanged."""
    if isinstance(batch[0], _Unread):
        return batch
    pieces = [replace(piece, inputs=dict.fromkeys(_modalities(piece))) for piece in batch]
    return list(zip(pieces, embedder.embed(batch), strict=True))


def check_table(path: Path) -> None:
    """Raise BadInput for an extension other than .parquet or .npz, MissingExtra for parquet without pyarrow."""
    if path.suffix not in (".parquet", ".npz"):
        raise BadInput(f"--out {path}: the ending must be .parquet or .npz")
    if path.suffix == ".parquet":
        from tapetum.core.tables import pyarrow_for

        pyarrow_for("writing parquet")


def write_table(made: Embedded, path: Path) -> None:
    """Write one row per piece: path, start_s and stop_s (empty for images), modalities, embedding; .parquet or .npz.

    With neighbours, also writes neighbours (row numbers, -1 if there are fewer) and cosines.
    """
    from tapetum.core.files import whole_file

    with whole_file(path) as temporary:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(made, temporary)


def _write_npz(made: Embedded, file: Path) -> None:
    import numpy as np

    nothing = float("nan")
    columns: dict[str, Any] = {
        "path": np.array(made.paths),
        "start_s": np.array([nothing if start is None else start for start in made.start_s]),
        "stop_s": np.array([nothing if stop is None else stop for stop in made.stop_s]),
        "modalities": np.array([" ".join(names) for names in made.modalities]),
        "embedding": made.vectors,
    }
    if made.neighbours is not None:
        columns |= {"neighbours": made.neighbours, "cosines": made.cosines}
    if made.model is not None:
        columns |= {"model": np.array(made.model), "reference": np.array(made.reference or "")}
    with open(file, "wb") as target:
        np.savez(target, **columns)


def _write_parquet(made: Embedded, file: Path) -> None:
    from tapetum.core.files import writable
    from tapetum.core.tables import pyarrow_for

    pa, parquet = pyarrow_for("writing parquet")
    embedding = pa.list_(pa.float32())
    columns = {
        "path": pa.array([writable(path) for path in made.paths], pa.string()),
        "start_s": pa.array(made.start_s, pa.float64()),
        "stop_s": pa.array(made.stop_s, pa.float64()),
        "modalities": pa.array([list(names) for names in made.modalities], pa.list_(pa.string())),
        "embedding": pa.FixedSizeListArray.from_arrays(made.vectors.ravel(), made.vectors.shape[1]).cast(embedding),
    }
    if made.neighbours is not None and made.cosines is not None:
        columns["neighbours"] = pa.array(list(made.neighbours), pa.list_(pa.int64()))
        columns["cosines"] = pa.array(list(made.cosines), pa.list_(pa.float32()))
    about = None
    if made.model is not None:
        about = {"tapetum_model": writable(made.model), "tapetum_reference": writable(made.reference or "")}
    with open(file, "wb") as target:
        parquet.write_table(pa.table(columns).replace_schema_metadata(about), target)


@dataclass(frozen=True, kw_only=True)
class EmbedCommandOptions(EmbedOptions):
    out: Annotated[File, tyro.conf.arg(metavar="FILE")] = field()  # the command must have one


EmbedCommandOptions.__doc__ = EmbedOptions.__doc__


COMMAND = Command(with_json(EmbedCommandOptions), embed.run)
