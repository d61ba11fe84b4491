"""The page of a report: text stays text, the most doubtful is first, it is bounded, and a browser shows and sorts it."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support import browser
from support.browser import browsing
from tapetum.report import page as pages
from tapetum.report.page import ReportPage, TableColumn, TableRow, report_html, write_report

NASTY = "<script>alert(1)</script>.jpg"
COLUMNS = TableColumn("image"), TableColumn("class"), TableColumn("probability", 3)


def noise(seed: int = 0, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def content(page: str) -> dict[str, Any]:
    [text] = re.findall(r"<script id=\"data\" type=\"application/json\">(.*?)</script>", page)
    return json.loads(text)


def test_a_name_that_is_html_stays_text() -> None:
    rows = [TableRow(cells=(NASTY, "cat", 0.5), doubt=0.5), TableRow(cells=(NASTY,), doubt=1, trouble=NASTY)]
    page = report_html(ReportPage(title=NASTY, lines=[NASTY], columns=COLUMNS, rows=rows, order=NASTY))
    assert "<script>alert" not in page
    table = content(page)["table"]
    assert [row["cells"][0] for row in table["rows"]] == [NASTY, NASTY]
    assert table["rows"][0]["trouble"] == NASTY


def test_nothing_is_fetched() -> None:
    page = report_html(ReportPage(title="a", columns=COLUMNS, rows=[TableRow(cells=("a", "b", 1.0), doubt=0, image=noise)]))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\ssrc=|\shref=", page)
    assert "default-src &#x27;none&#x27;" in page


def test_the_most_doubtful_is_first_and_what_is_not_a_number_is_nothing() -> None:
    rows = [TableRow(cells=(name, "c", value), doubt=doubt) for name, value, doubt in (("a", 0.9, 0.1), ("b", np.nan, 0.7))]
    table = content(report_html(ReportPage(title="a", columns=COLUMNS, rows=rows)))["table"]
    assert [row["cells"] for row in table["rows"]] == [["b", "c", None], ["a", "c", 0.9]]


def test_columns_without_a_value_are_left_out() -> None:
    rows = [TableRow(cells=("a", None, 0.9), doubt=0), TableRow(cells=("b",), doubt=1, trouble="broken")]
    table = content(report_html(ReportPage(title="a", columns=COLUMNS, rows=rows)))["table"]
    assert [column["name"] for column in table["columns"]] == ["image", "probability"]
    assert table["rows"][1]["cells"] == ["a", 0.9]


def test_thumbnails_are_small_jpegs_and_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [TableRow(cells=(str(k), "c", 0.5), doubt=-k, image=lambda k=k: noise(k, (600, 800))) for k in range(6)]
    report = ReportPage(title="a", columns=COLUMNS, rows=rows)
    images = content(report_html(report))["table"]["images"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(image))).size for image in images]
    assert sizes == [(480, 360)] * 6
    most = int(2.5 * len(base64.b64decode(images[0])))
    monkeypatch.setattr(pages, "IMAGE_BYTES", most)
    fewer = content(report_html(report))["table"]["images"]
    assert [image is not None for image in fewer] == [True, True, False, False, False, False]


@pytest.mark.slow
@pytest.mark.skipif(not browser.HERE, reason="there is no Chromium with its driver")
def test_a_browser_opens_ten_thousand_rows_and_sorts_them(tmp_path: Path) -> None:
    thumbnails = [noise(k) for k in range(20)]
    rows = [
        TableRow(cells=(f"{k:05d}{NASTY}", f"class {k % 7}", k / 10_000), doubt=k, image=lambda k=k: thumbnails[k % 20])
        for k in range(10_000)
    ]
    rows.append(TableRow(cells=("broken.jpg",), doubt=np.inf, trouble="could not be read"))
    path = write_report(tmp_path / "page.html", ReportPage(title=NASTY, columns=COLUMNS, rows=rows))
    assert path.stat().st_size < 60e6
    first = "return document.querySelector('tbody tr').textContent"
    with browsing(tmp_path) as chromium:
        chromium.open(path)
        chromium.wait("return document.querySelectorAll('tbody tr').length >= 100")
        assert chromium.run("return document.querySelectorAll('tbody tr').length") < 1000
        assert chromium.run(first) == "broken.jpgcould not be read"
        assert chromium.run("return document.querySelector('tbody tr:nth-child(2)').textContent").startswith(f"09999{NASTY}")
        chromium.run("document.querySelectorAll('th button')[2].click()")
        assert chromium.run(first) == f"09999{NASTY}class 31.000"
        chromium.run("document.querySelectorAll('th button')[2].click()")
        assert chromium.run(first) == f"00000{NASTY}class 00.000"
        assert chromium.run("return document.querySelectorAll('th')[3].getAttribute('aria-sort')") == "ascending"
        chromium.run(
            "const s = document.getElementById('search'); s.value = '09942 class'; s.dispatchEvent(new Event('input'))"
        )
        assert chromium.run("return document.getElementById('count').textContent") == "1 of 10001 rows"
        assert chromium.run("return document.querySelector('tbody img').naturalWidth") == 80
        assert chromium.run("return getComputedStyle(document.querySelector('tbody td:last-child')).display") == "table-cell"
        chromium.resize(500, 844)  # a phone: a row is a list of names and values
        assert chromium.run("return document.querySelector('.wide').scrollWidth <= document.querySelector('.wide').clientWidth")
        name = "return getComputedStyle(document.querySelector('tbody td:last-child'), '::before').content"
        assert chromium.run(name) == '"probability"'
        assert chromium.errors() == []
        assert chromium.run("return document.querySelectorAll('script').length") == 2
