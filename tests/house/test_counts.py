"""What importing a file runs: files at the top of modules and the packages that they lie in, and no others."""

from pathlib import Path

import pytest

from house import counts


def test_a_closure_is_what_importing_a_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "a.py": "from tapetum.room import b\nimport numpy\n\ndef late():\n    from tapetum import unread\n",
        "room/__init__.py": "",
        "room/b.py": "import tapetum.c\nfrom tapetum.room.d import thing\nfrom tapetum.large.e import f\n",
        "c.py": "from tapetum import a\n",  # a ring
        "room/d.py": "thing = 1\n",
        "large/__init__.py": "from tapetum import g\n" + "x = 1\n" * 6,
        "large/e.py": "def f(): ...\n",
        "g.py": "",
        "unread.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / "tapetum" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(counts, "SOURCE", tmp_path / "tapetum")
    counts.sources.cache_clear()
    try:
        found = {path.relative_to(tmp_path / "tapetum").as_posix() for path in counts.closure("a.py")}
        lines = counts.count_lines("room")
    finally:
        counts.sources.cache_clear()
    assert found == {"a.py", "room/b.py", "c.py", "room/d.py", "large/__init__.py", "large/e.py", "g.py"}
    assert lines == 4
