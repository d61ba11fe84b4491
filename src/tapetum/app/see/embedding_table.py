"""Tables of embeddings, written by `tapetum embed`: one row per piece, .parquet or .npz."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.app.see.embed import Embedded


def check_table(path: Path) -> None:
    """Raise BadInput for an extension other than .parquet or .npz, MissingExtra for parquet without pyarrow."""
    if path.suffix not in (".parquet", ".npz"):
        raise BadInput(f"--out {path}: the ending must be .parquet or .npz")
    if path.suffix == ".parquet":
        from tapetum.core.tables import pyarrow_for

        pyarrow_for("writing parquet")


def write_table(made: "Embedded", path: Path) -> None:
    """Write one row per piece: path, start_s and stop_s (empty for images), modalities, embedding; .parquet or .npz.

    With neighbours, also writes neighbours (row numbers, -1 if there are fewer) and cosines. Raises BadInput for another
    extension, MissingExtra for parquet without pyarrow.
    """
    from tapetum.core.files import whole_file

    check_table(path)
    with whole_file(path) as temporary:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(made, temporary)


def _write_npz(made: "Embedded", file: Path) -> None:
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


def _write_parquet(made: "Embedded", file: Path) -> None:
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
