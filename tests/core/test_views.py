"""Views of values: drawn by whoever registered, which is imported only when it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tapetum.core import views


class Thing:
    """Shown by a module of its own."""


def test_a_module_registers_itself_when_a_view_is_first_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_modules", [])
    assert views.view_of(Thing()) is None
    (tmp_path / "draws_things.py").write_text(
        "import test_views_thing\nfrom tapetum.core.views import register_view\n"
        "register_view(test_views_thing.Thing, lambda thing, beside: (thing, beside))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_views_thing", sys.modules[__name__])
    views.register_view_module("draws_things")
    assert "draws_things" not in sys.modules
    thing = Thing()
    assert views.view_of(thing, "video") == (thing, "video")


@pytest.mark.slow
def test_tracks_know_nothing_of_what_shows_them_until_they_are_shown() -> None:
    script = (
        "import sys, tapetum; assert 'numpy' not in sys.modules; from tapetum.types import Tracks\n"
        "tracks = Tracks(xy=[[[1, 1]]], visible=[[True]], confidence=[[1]], queries=[[0, 1, 1]])\n"
        "assert 'tapetum.app' not in sys.modules\n"
        "import numpy; print(tracks.show(numpy.zeros((1, 8, 8, 3), 'uint8'))._repr_html_()[:7])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "<iframe\n"
