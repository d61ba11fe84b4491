"""`tapetum.index`: builds and updates an index of images and films."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.bench.word_models import describe_model, portable
from tapetum.core.addresses import check_address, is_address
from tapetum.core.batched_work import BatchedWork
from tapetum.core.devices import EncoderPrecision, choose_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.jobs import Engine, gpus_for, run_jobs
from tapetum.core.threads import check_workers
from tapetum.desk.search.media_files import MediaFile, below, list_media, on_disk
from tapetum.desk.search.media_model import MediaModel, better_model, default_model, stored_reference

if TYPE_CHECKING:
    import numpy as np

    from tapetum.desk.search.media_model import MediaPart
    from tapetum.desk.search.vector_index import FileState, IndexedFile, IndexedPiece, VectorIndex

HIDDEN = ".tapetum-index"
"""Default place of the index of a folder, in that folder."""
_TOGETHER = 16
"""Maximum number of images in a batch."""
_SECONDS = 1.0
"""Seconds between two transactions; each waits for the disk."""


@dataclass(frozen=True)
class IndexOptions:
    """Make an index of images and films for `tapetum search`, or renew it.

    Of each image and of each second of a film the index has a vector and a thumbnail. The same command again opens files that
    are new or whose size or time has changed, looks at those with another content, and drops those that are gone; after an
    interruption it goes on where it was.
    """

    folders: tyro.conf.Positional[tuple[Annotated[File, one_text("FOLDERS")], ...]]
    """Folders with images and films, in them and below; or files. They may be addresses, such as s3://bucket/photos, gs://,
    https:// and hf://; then give --out."""
    _: KW_ONLY
    out: Annotated[File | None, tyro.conf.arg(metavar="INDEX")] = None
    """Folder of the index, on this machine; by default .tapetum-index in the folder."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """What looks at them: by default what the index was made with; for a new one an encoder of images and words if one is on
    this machine, else efficientnet-lite2 (of the extra imagenet), else resnet-nano."""
    engine: Annotated[Engine, tyro.conf.arg(metavar="local|ray")] = "local"
    """What works: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    workers: int = 1
    """Processes that work at a time on this machine."""
    device: Device = "auto"
    dtype: EncoderPrecision = "auto"
    """Precision of image encoders; auto takes bfloat16 where the device knows it, else float32. int8 is for convolutional
    networks on CPUs with VNNI, as most since 2021: three times as fast as float32."""

    def check(self) -> None:
        """Raise BadInput for options that cannot work, before any work starts."""
        if not self.folders:
            raise BadInput("there are no FOLDERS; give one with images or films: tapetum index photos")
        check_options(self, workers="[1, inf)")
        check_workers(self.workers)
        for place in self.folders:
            if is_address(place):
                check_address(str(place))
            elif not Path(place).exists():
                raise BadInput(f"there is no {place}; give a folder with images or films")
        if is_address(self.out):
            raise BadInput(
                f"--out {self.out} is an address; give a folder of this machine, which may be copied there when it is made"
            )
        if self.out is None and (len(self.folders) > 1 or not all(Path(place).is_dir() for place in self.folders)):
            raise BadInput("an index of several folders, of files or of addresses needs a place of its own; give --out INDEX")


@dataclass(frozen=True, kw_only=True)
class Indexed(Result):
    """Contents of an index, and its changes."""

    out: Path
    model: str
    pieces: int
    """Number of images and seconds of films."""
    files: int
    looked_at: int
    """Number of files processed in this run."""
    copied: int
    """Number of files whose content was in the index under another name."""
    removed: int
    """Number of files removed from the index."""
    failed: tuple[str, ...]
    """Unreadable files."""
    notes: tuple[str, ...] = field(default=())
    """Remarks on the model, and how to get a better one."""

    def as_text(self) -> str:
        changed = f"{self.looked_at} looked at now, {self.copied} known by content, {self.removed} gone"
        return "\n".join([f"{self.out}: {self.pieces} images and seconds of {self.files} files ({changed})", *self.notes])

    def failure(self) -> str | None:
        return f"{len(self.failed)} files could not be read; the index has the others" if self.failed else None


@verb(IndexOptions)
def index(options: IndexOptions, listener: Listener) -> Indexed:
    """Build or update an index of images and films; each file is processed once for its content.

    Files are added every second, so a stopped run can resume. Unreadable files are skipped and reported to the
    listener. Raises BadInput if there are no images or films, the index is damaged, of another model or being changed by
    another process, or the model makes no vectors.
    """
    options.check()
    from tapetum.desk.search.index_database import DATABASE, refusing_damage
    from tapetum.desk.search.vector_index import VectorIndex

    out = Path(options.out) if options.out is not None else Path(next(iter(options.folders))) / HIDDEN
    files = list_media(options.folders, listener)
    model: MediaModel | None = None
    if not (out / DATABASE).is_file():
        model = _make_model(options.model or default_model(), options.device, options.dtype)
        about = {"reference": portable(model.reference), "words": "yes" if model.reads_words else ""}
        VectorIndex.create(out, model.identity, model.channels, exist_ok=True, **about).close()
    with refusing_damage(out), VectorIndex.open(out, writes=True) as opened:
        reference = options.model or stored_reference(opened.about)
        if model is None and options.model is not None:
            model = _make_model(options.model, options.device, options.dtype)
        changes = _Changes(opened, files, options, listener)
        if model is None and changes.to_look_at:
            model = _make_model(reference, options.device, options.dtype)
        if model is not None and model.identity != opened.model:
            raise BadInput(
                f"{out} is an index of {opened.about.get('reference')} as it was, and {model.reference} makes other vectors; "
                "leave --model out, or give another --out"
            )
        if model is not None:
            changes.look(model, portable(reference))
        changes.finish()
        made_by = opened.about.get("reference", "")
        better = better_model(bool(opened.about.get("words")))
        return Indexed(
            out=out,
            model=made_by,
            pieces=len(opened),
            files=len(opened.fingerprints()),
            looked_at=changes.looked_at,
            copied=changes.copied,
            removed=changes.removed,
            failed=tuple(changes.failed),
            notes=(describe_model(made_by), *([better] if better else [])),
        )


@dataclass(frozen=True)
class _Looked:
    """Pieces and vectors of a file, or the problem."""

    path: str
    fingerprint: str
    pieces: "Sequence[IndexedPiece]"
    vectors: "np.ndarray | None"
    problem: str = ""


class _Changes:
    """The differences between an index and the present files, and the updates that resolve them."""

    def __init__(self, index: "VectorIndex", files: Sequence[MediaFile], options: IndexOptions, listener: Listener):
        self.index, self.options, self.listener = index, options, listener
        self.failed: list[str] = []
        self.looked_at = self.copied = self.removed = 0
        self._states: dict[str, FileState] = {}
        """Size and time of the files read in this run."""
        self._prints = dict(self._fingerprints(files))
        before = index.fingerprints()
        inside = tuple(map(below, options.folders))
        named = {str(place) if is_address(place) else os.path.abspath(place) for place in options.folders}
        gone = sorted(before.keys() - self._prints.keys() - set(self.failed))  # what failed may be read next time
        self._gone = [path for path in gone if path.startswith(inside) or path in named]
        same = {path for path, mark in self._prints.items() if before.get(path) == mark}
        index.set_states({path: state for path, state in self._states.items() if path in same})
        self.to_look_at = self._copy_known([path for path in self._prints if path not in same])
        self._done, self._damaged = len(same) + self.copied, list[str]()

    def look(self, model: MediaModel, reference: str) -> None:
        """Process all files whose content is not in the index; what is done is added every `_SECONDS`, and when this ends."""
        done: list[IndexedFile] = []
        written = time.monotonic()
        try:
            for file in self._looked(model, reference):
                done.append(file)
                if time.monotonic() > written + _SECONDS:
                    self.index.put_files(done)
                    done, written = [], time.monotonic()
        finally:
            if done:
                self.index.put_files(done)

    def _looked(self, model: MediaModel, reference: str) -> "Iterator[IndexedFile]":
        from tapetum.desk.search.vector_index import IndexedFile

        alike: dict[str, list[str]] = {}
        for path in self.to_look_at:
            alike.setdefault(self._prints[path], []).append(path)
        options, items = self.options, [(paths[0], mark) for mark, paths in alike.items()]
        alone = options.engine == "local" and options.workers == 1
        make = (lambda: model) if alone else partial(_make_model, reference, options.device, options.dtype)
        done, total = self._done, len(self._prints)
        self.listener.progress("indexing", done, total)
        work = BatchedWork(read=_read, compute=_compute, finish=_finish, size=_TOGETHER, key=_modalities, ahead=2 * _TOGETHER)
        engine, workers, gpus = options.engine, options.workers, gpus_for(options.device)
        for _, each in run_jobs(work, items, make, engine=engine, workers=workers, gpus=gpus, failure=_failed):
            paths = alike[each.fingerprint]
            if each.vectors is None:
                self.listener.note(each.problem)
                self.failed += paths
                self._damaged += paths
            else:
                for path in paths:
                    yield IndexedFile(path, each.fingerprint, each.pieces, each.vectors, self._states.get(path))
                self.looked_at += 1
                self.copied += len(paths) - 1
            done += len(paths)
            self.listener.progress("indexing", done, total)

    def finish(self) -> None:
        """Remove files that are gone, and use at most twice the space needed."""
        self.removed = self.index.remove(self._gone) + self.index.remove(self._damaged)
        if self.index.unused_rows() > len(self.index):
            self.index.compact()

    def _fingerprints(self, files: Sequence[MediaFile]) -> Iterator[tuple[str, str]]:
        """Read the files whose sizes or times are not those in the index."""
        known = self.index.states()
        for done, file in enumerate(files, 1):
            mark, before = known.get(file.name, ("", None))
            state = file.state()
            try:
                if state is not None and state == before:
                    yield file.name, mark
                else:
                    yield file.name, file.fingerprint()
                    if state is not None:
                        self._states[file.name] = state
            except BadInput as error:
                self.listener.note(str(error))
                self.failed.append(file.name)
            self.listener.progress("comparing files", done, len(files))

    def _copy_known(self, paths: Sequence[str]) -> list[str]:
        """Add files whose content is in the index under another name; return the others."""
        by_content = {mark: path for path, mark in self.index.fingerprints().items()}
        others = []
        for path in paths:
            same = by_content.get(self._prints[path])
            if same is None:
                others.append(path)
                continue
            rows = self.index.rows_of(same)
            pieces, vectors = self.index.pieces(rows), self.index.vectors(rows)
            self.index.put(path, self._prints[path], pieces, vectors, self._states.get(path))
            self.copied += 1
        return others


def _make_model(reference: str, device: str | None, dtype: str) -> MediaModel:
    return MediaModel(reference, choose_device(device), dtype)


def _read(item: tuple[str, str], model: MediaModel) -> "Iterator[MediaPart]":
    with on_disk(item[0]) as file:
        yield from model.parts(file)


def _compute(parts: "Sequence[MediaPart]", model: MediaModel) -> "Sequence[tuple[IndexedPiece, np.ndarray]]":
    return model.index_parts(parts)


def _finish(item: tuple[str, str], outputs: "list[tuple[IndexedPiece, np.ndarray]]", model: MediaModel) -> _Looked:
    import numpy as np

    return _Looked(*item, [piece for piece, _ in outputs], np.stack([vector for _, vector in outputs]))


def _failed(item: tuple[str, str], error: Exception) -> _Looked:
    if not isinstance(error, BadInput):
        raise error
    return _Looked(*item, (), None, str(error))


def _modalities(part: "MediaPart") -> frozenset[str]:
    return frozenset(part[0].inputs)
