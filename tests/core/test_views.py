"""Views of values: drawn by an entry point of their class's name, which is imported only when it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tapetum.core.views import view_of


class Thing:
    """Shown by a package of its own."""


class OddThing(Thing):
    """Shown as what it derives from."""


def test_an_installed_package_draws_a_type_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert view_of(Thing()) is None
    (tmp_path / "draws_things.py").write_text("def draw(thing, *beside):\n    return (thing, *beside)\n")
    about = tmp_path / "draws_things-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: draws-things\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[tapetum.views]\nThing = draws_things:draw\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "draws_things" not in sys.modules
    thing = OddThing()
    assert view_of(thing, "video") == (thing, "video")


@pytest.mark.slow
def test_tracks_know_nothing_of_what_shows_them_until_they_are_shown() -> None:
    script = (
        "import sys, tapetum; assert 'numpy' not in sys.modules; from tapetum.types import Tracks\n"
        "tracks = Tracks(xy=[[[1, 1]]], visible=[[True]], confidence=[[1]], queries=[[0, 1, 1]])\n"
        "assert 'tapetum.report' not in sys.modules\n"
        "import numpy; print(tracks.show(numpy.zeros((1, 8, 8, 3), 'uint8'))._repr_html_()[:7])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "<iframe\n"
