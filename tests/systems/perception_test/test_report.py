"""The report of a run: its numbers are those of the scores, its radar is where they are, and nothing covers anything."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.systems.perception_test.test_scores import GOLDEN

from support import browser
from support.browser import browsing
from tapetum.systems.perception_test.scores import AREAS
from tapetum.systems.perception_test.views.report import draw_values

Run = Callable[..., tuple[int, str, str]]
REASONING = ("descriptive", "explanatory", "predictive", "counterfactual")
META = {"split": "valid", "frame_rate": 10.0, "num_frames": 50, "resolution": [100, 100], "is_camera_moving": True}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Questions of all 34 tags, in which every third is answered wrongly."""
    truth, said = {}, {}
    tags = [(area, tag) for area, names in AREAS.items() for tag in names]
    for k, (area, tag) in enumerate(tags):
        question = {"id": 0, "question": "q", "options": ["a", "b", "c"], "answer_id": 1, "area": area, "tag": [tag]}
        truth[f"v{k}"] = {"metadata": META, "mc_question": [{**question, "reasoning": REASONING[k % 4]}]}
        said[f"v{k}"] = [{"id": 0, "answer_id": 0, "answer": "a"} if k % 3 == 2 else {"id": 0, "answer_id": 1, "answer": "b"}]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "<said>.json").write_text(json.dumps(said))
    return tmp_path


def evaluated(run: Run, folder: Path, task: str, said: str, *more: object) -> tuple[str, dict[str, Any]]:
    words = (
        "--annotations",
        folder / "truth.json",
        "--predictions",
        folder / said,
        "--report",
        folder / "report.html",
        "--json",
    )
    code, out, err = run("eval", "perception-test", "--task", task, *words, *more)
    assert code == 0, err
    return (folder / "report.html").read_text(), json.loads(out)


def cells(page: str) -> dict[str, list[str]]:
    """Rows of the table by their heads; of a name that comes twice the last."""
    rows = re.findall(r"<tr><th scope='row'>(.*?)</th>(.*?)</tr>", page)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", rest) for name, rest in rows}


def test_the_table_has_every_group_with_its_number(files: Path, run: Run) -> None:
    page, found = evaluated(run, files, "mcqa", "<said>.json")
    table = cells(page)
    for group in ("by_area", "by_reasoning", "by_tag"):
        for name, value in found[group].items():
            assert table[name][1] == f"{value:.3f}"
    assert table["memory"] == ["4", "0.750"]
    assert table["collision"][0] == "1"
    assert len(table) == 4 + 4 + 34
    assert "&lt;said&gt;.json" in page
    assert f"<b>{found['top1']:.3f}</b>" in page
    assert page.count("<svg") == 3
    assert not re.search(r"<script|src=|href=|url\(", page)


@pytest.mark.parametrize("task", ["object", "point", "action", "grounded"])
def test_every_task_has_a_report(task: str, tmp_path: Path, run: Run) -> None:
    for side in ("truth", "said"):
        (tmp_path / f"{side}.json").write_text(json.dumps(GOLDEN[task][side]))
    page, found = evaluated(run, tmp_path, task, "said.json")
    headline = {"object": "average_iou", "point": "average_jaccard", "action": "map", "grounded": "hota"}[task]
    assert f"<b>{found[headline]:.3f}</b>" in page
    assert "<svg" in page
    assert page.count("<table>") == 1


def test_a_report_that_cannot_be_written_is_said_before_anything_is_scored(files: Path, run: Run) -> None:
    words = ("--annotations", files / "none.json", "--predictions", files / "none.json", "--report", files)
    code, _, err = run("eval", "perception-test", "--task", "mcqa", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "it is a folder" in err


def test_the_corners_of_a_radar_lie_at_their_scores() -> None:
    drawn = draw_values("By area", {"physics": 0.5, "memory": 1.0, "semantics": 0.0, "abstraction": 0.25}, tuple(AREAS))
    [area] = re.findall(r"class='area' points='(.*?)'", drawn)
    places = [tuple(map(float, pair.split(","))) for pair in area.split()]
    [rim] = [float(x) for x in re.findall(r"class='ring' x1='0' y1='0' x2='(95\.0)'", drawn)]
    assert [math.hypot(*place) / rim for place in places] == pytest.approx([1.0, 0.25, 0.5, 0.0], abs=1e-3)  # memory first
    assert places[0] == pytest.approx((0, -95))  # the first one points up, others follow clockwise
    assert places[1][0] > 0
    assert "By area: memory 1.000, abstraction 0.250, physics 0.500, semantics 0.000" in drawn
    bars = draw_values("By camera", {"static": 0.5, "moving": 0.25})
    assert [float(width) for width in re.findall(r"class='bar' [^>]*width='(.*?)'", bars)] == [47.5, 95.0]
    assert "polygon" in draw_values("x", {"a": 1, "b": 1, "c": 1})
    assert "polygon" not in draw_values("x", {"a": 1, "b": 1, "c": 1}, radar=False)


@pytest.mark.slow
@pytest.mark.skipif(not browser.HERE, reason="needs chromium and chromedriver, which are not on this machine")
def test_in_chromium_no_label_of_a_report_covers_another(files: Path, tmp_path: Path, run: Run) -> None:
    evaluated(run, files, "mcqa", "<said>.json")
    with browsing(tmp_path) as shown:
        shown.open(files / "report.html")
        for width in (1280, 400):
            shown.resize(width, 900)
            shown.wait(f"return innerWidth === {width}")
            assert shown.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
            # The corners of each label on the screen; labels that turn are compared as turned rectangles (separating axes).
            crossing = shown.run("""
              const corners = (t) => { const b = t.getBBox(), m = t.getScreenCTM();
                return [[b.x, b.y], [b.x + b.width, b.y], [b.x + b.width, b.y + b.height], [b.x, b.y + b.height]]
                  .map(([x, y]) => [m.a * x + m.c * y + m.e, m.b * x + m.d * y + m.f]); };
              const axes = (p) => [[p[1][0] - p[0][0], p[1][1] - p[0][1]], [p[3][0] - p[0][0], p[3][1] - p[0][1]]];
              const apart = (p, q) => [...axes(p), ...axes(q)].some(([u, v]) => {
                const [a, b] = [p, q].map((r) => r.map(([x, y]) => u * x + v * y));
                return Math.max(...a) < Math.min(...b) || Math.max(...b) < Math.min(...a); });
              const found = [];
              for (const svg of document.querySelectorAll('svg')) {
                const texts = [...svg.querySelectorAll('text:not(.scale)')];
                texts.forEach((s, k) => texts.slice(k + 1).forEach((t) => {
                  if (!apart(corners(s), corners(t))) found.push([s.textContent, t.textContent]); }));
                const box = svg.getBoundingClientRect();
                texts.forEach((t) => corners(t).forEach(([x, y]) => {
                  const inside = x > box.left - 1 && x < box.right + 1 && y > box.top - 1 && y < box.bottom + 1;
                  if (!inside) found.push(t.textContent); }));
              }
              return found""")
            assert crossing == []
        assert shown.errors() == []
