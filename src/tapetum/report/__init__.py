"""Reports of verbs, `--report FILE.html`: one HTML file that needs no network, with the most important items first.

page        the file: a head, a table that sorts and filters, thumbnails
curves      curves of training as SVG
images      plots of tracks, a frame with a ruler
view        tracks on their video, for notebooks
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.files import check_place, refuse_folder


def check_report(report: str | Path | None) -> Path | None:
    """Convert the option --report to a path. Raises BadInput, before any work, if no page can be written there."""
    if report is None:
        return None
    path = Path(report)
    if path.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"--report {path} would be a web page; give a name that ends in .html")
    refuse_folder(path)
    check_place(path, option="--report")
    return path
