"""Tables of the docs are those that the code writes."""

import pytest

from support.scripts import ROOT, script

page_tables = script("docs/tools/page_tables.py")


def test_pages_have_the_tables_of_the_code() -> None:
    stale = [page.name for page, text in page_tables.pages().items() if page.read_text() != text]
    assert not stale, f"{stale}: run python docs/tools/page_tables.py"


def test_each_folder_of_evidence_is_in_both_lists() -> None:
    folders = {folder.name for folder in (ROOT / "evidence").iterdir() if folder.is_dir() and not folder.name.startswith("_")}
    for page, named in (("evidence/README.md", "`{}`"), ("docs/evidence/index.md", "`evidence/{}`")):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not [name for name in sorted(folders) if named.format(name) not in text], page


def test_a_table_takes_the_place_between_its_marks() -> None:
    page = "a\n<!-- table x -->\nold\n<!-- end of table -->\nb\n<!-- table y -->\nkept\n<!-- end of table -->\n"
    table = page_tables.write_table(("a", "b"), [("1", "x|y")])
    assert page_tables.render(page, "x", table).splitlines() == [
        *("a", "<!-- table x -->", "", "| a | b |", "| --- | --- |", r"| 1 | x\|y |", "", "<!-- end of table -->"),
        *("b", "<!-- table y -->", "kept", "<!-- end of table -->"),
    ]
    with pytest.raises(ValueError, match="no <!-- table z -->"):
        page_tables.render(page, "z", table)
