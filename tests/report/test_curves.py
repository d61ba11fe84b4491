"""Curves of a run as an image."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tapetum.core.errors import BadInput
from tapetum.report.curves import read_curves, write_curves

SVG = "{http://www.w3.org/2000/svg}"


def log(path: Path, steps: int) -> Path:
    """A loss that falls from 10 by one a step, a spread that is not always a number, a score in the last step."""
    records = [
        {
            "step": k + 1,
            "loss": 10.0 - k,
            "lr": 0.1,
            "grad_norm": 2.0,
            "metrics": {"spread<1>": float("nan") if k == 1 else 0.5},
        }
        for k in range(steps)
    ]
    records[-1]["eval"] = {"score": 0.25}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_every_number_of_the_log_is_a_curve(tmp_path: Path) -> None:
    curves = read_curves(log(tmp_path / "log.jsonl", 4))
    assert curves["loss"] == [(1, 10), (2, 9), (3, 8), (4, 7)]
    assert [step for step, _ in curves["spread<1>"]] == [1, 3, 4]
    assert curves["score"] == [(4, 0.25)]
    assert set(curves) == {"loss", "spread<1>", "score", "length of the gradient", "learning rate"}


@pytest.mark.parametrize("steps", [4, 1000])
def test_the_image_is_xml_and_its_lines_lie_where_they_should(steps: int, tmp_path: Path) -> None:
    drawn = ElementTree.parse(write_curves(log(tmp_path / "log.jsonl", steps), tmp_path / "curves.svg")).getroot()
    assert len(drawn.findall(f".//{SVG}polyline")) == 5
    titles = [text.text for text in drawn.findall(f".//{SVG}text[@font-weight='bold']")]
    assert titles[:2] == ["loss", "spread<1>"]
    places = [tuple(map(float, at.split(","))) for at in drawn.find(f".//{SVG}polyline").get("points").split()]
    assert places[0] == (46.0, 24.0)  # greatest loss first, at the top left
    assert places[-1] == (446.0, 146.0)
    assert len(places) == min(steps, 400)
    assert all(46 <= x <= 446 and 24 <= y <= 146 for x, y in places)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text('{"step": 1}\n')
    for name, words in (("bad", "is no log of a run"), ("none", "is no log of a run")):
        with pytest.raises(BadInput, match=words):
            write_curves(tmp_path / name, tmp_path / "x.svg")
    (tmp_path / "empty").write_text("")
    with pytest.raises(BadInput, match="has no steps yet"):
        write_curves(tmp_path / "empty", tmp_path / "x.svg")
