"""Files that are reached by imports at the top of modules, and no others."""

from pathlib import Path

from support.scripts import script


def test_files_before_one_are_those_that_importing_it_reads(tmp_path: Path) -> None:
    texts = {
        "a.py": "from tapetum.room import b\nimport numpy\n\ndef late():\n    from tapetum import unread\n",
        "room/__init__.py": "",
        "room/b.py": "import tapetum.c\nfrom tapetum.room.d import thing\n",
        "c.py": "from tapetum import a\n",  # a ring
        "room/d.py": "thing = 1\n",
        "unread.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / "src" / "tapetum" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = script("benchmarks/house.py").closure(tmp_path, "a.py")
    assert {str(path.relative_to(tmp_path / "src" / "tapetum")) for path in found} == {"a.py", "room/b.py", "c.py", "room/d.py"}
