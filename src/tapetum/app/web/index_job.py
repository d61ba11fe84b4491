"""Index of the folder for search: `tapetum embed` of all its videos and images, as a table."""

from pathlib import Path
from typing import Any

from tapetum.app.verb import Listener
from tapetum.app.web import job_files
from tapetum.app.web.database import FILE, HIDDEN, Database
from tapetum.app.web.items import Item, Items
from tapetum.core.errors import BadInput

TABLE, CONTENTS = "index.npz", "index.json"
MODEL = "mcvit-nano"
"""What looks at videos and images, and reads words; it comes with the package."""


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Make the index anew. Raises BadInput where nothing can be read."""
    from tapetum.app.embed import EmbedOptions, embed

    place = folder / HIDDEN
    database = Database(place / FILE)
    try:
        items = Items(database, folder).look()
    finally:
        database.close()
    if not items:
        raise BadInput("the folder has no videos and images; put some in it")
    made = embed.run(EmbedOptions(tuple(item.path for item in items), out=place / TABLE, model=MODEL), listener)
    job_files.write(place / CONTENTS, contents_of(items))
    return {"result": {"pieces": len(made.paths), "files": made.files, "failed": made.failed}, "model": MODEL}


def contents_of(items: list[Item]) -> list[list[str]]:
    """List what an index is of: path and content of each file."""
    return sorted([str(item.path), item.content] for item in items)
