"""Index of the folder for search, as in `tapetum index`: one for each model chosen on the page.

The first is the folder's own (`.tapetum-index`), which `tapetum search FOLDER` uses too; those of other models are in the
hidden folder of the page.
"""

from pathlib import Path
from typing import Any

from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.desk.search.index import HIDDEN as OWN
from tapetum.desk.search.index_database import DATABASE, read_about
from tapetum.desk.web import job_files
from tapetum.desk.web.hidden import HIDDEN, check_plain, make_folder


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Build or update the index of a model. Raises BadInput if nothing can be read."""
    from tapetum.desk.search.index import IndexOptions, index

    model, device = job["settings"]["model"], job["settings"].get("device")
    made = index.run(IndexOptions((folder,), out=index_folder(folder, model), model=model, device=device), listener)
    job_files.write(contents_file(folder, model), job["settings"]["contents"])
    return {"result": {"pieces": made.pieces, "files": made.files, "failed": len(made.failed)}, "model": model}


def own_model(folder: Path) -> str | None:
    """Read which model made the folder's index; None if there is no index, it is damaged, or has no name.

    Also None if the index is a link or contains one.
    """
    try:
        place = check_plain(folder / OWN, below=True)
        return read_about(place).get("reference") if (place / DATABASE).is_file() else None
    except BadInput:
        return None


def index_folder(folder: Path, model: str) -> Path:
    """Choose the place of a model's index: that of the folder if it is of this model, or does not exist yet.

    Raises BadInput if it is a link or contains one.
    """
    own, elsewhere = (check_plain(place, below=True) for place in (folder / OWN, _indexes(folder) / model))
    if not (own / DATABASE).is_file() and not (elsewhere / DATABASE).is_file():
        return own
    return own if own_model(folder) == model else elsewhere


def contents_file(folder: Path, model: str) -> Path:
    """Name the file with the signature of the files that a model's index has."""
    return check_plain(_indexes(folder) / f"{model}.json")


def _indexes(folder: Path) -> Path:
    return make_folder(folder / HIDDEN, "indexes")
