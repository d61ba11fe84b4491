"""Text, tables and music beside public code (golden), and by hand."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.scripts import GOLDEN
from tapetum.core.errors import BadInput
from tapetum.metrics.teds import teds
from tapetum.metrics.text import error_rate, levenshtein, spotting_f1
from tapetum.types import Boxes

CASES = json.loads((GOLDEN / "benchmark_metrics.json").read_text())


@given(st.text("abc", max_size=9), st.text("abc", max_size=9))
def test_edit_distance_is_the_plain_recursion(a: str, b: str) -> None:
    rows = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
    assert levenshtein(a, b) == levenshtein(list(b), list(a)) == rows[-1][-1]


def test_rates_of_music_are_those_of_the_public_code() -> None:
    for said, true, (cer, ser, ler) in CASES["music"]:
        pair = dict(enumerate(said)), dict(enumerate(true))
        rates = [error_rate(*pair, unit) for unit in ("character", "symbol", "line")]
        assert rates == pytest.approx([cer, ser, ler], abs=1e-12)


def test_rates_by_hand() -> None:
    assert error_rate({1: "the cat"}, {1: "the black cat"}, "word") == pytest.approx(1 / 3)
    assert error_rate({1: "aaaa", 2: ""}, {1: "a", 2: "b"}, "character") == 2


def test_tables_are_those_of_the_public_code() -> None:
    for said, true, whole, structure in CASES["teds"]:
        assert teds(said, true) == pytest.approx(whole, abs=1e-9), (said, true)
        assert teds(said, true, structure=True) == pytest.approx(structure, abs=1e-9), (said, true)
    assert sum(0 < case[2] < 1 for case in CASES["teds"]) > 30


def test_tables_by_hand() -> None:
    table = "<table><tr><td>a</td><td colspan=2>b</td></tr></table>"
    assert teds(table, table) == 1
    assert teds("words", table) == teds(table, "") == 0
    assert teds("<TABLE><TR><TD>a<TD colspan='2'>b", table) == 1  # what HTML lets open
    assert teds(table.replace("colspan=2", ""), table) == pytest.approx(1 - 1 / 3)
    assert teds(table.replace(">b<", "><"), table) == pytest.approx(1 - 1 / 3)
    assert teds(table.replace(">b<", "><"), table, structure=True) == 1
    assert teds(table.replace("=2", "=x"), table) < 1
    random.seed(0)
    noise = "".join(
        random.choice(["<td>", "</table>", "<table", ">", "<b>", "</td>", "x", "<!--", "&#", "</tr>"]) for _ in range(300)
    )
    assert 0 <= teds("<table>" + noise, table) <= 1


def words(*scores: tuple[float, str]) -> Boxes:
    """Boxes ten wide at x."""
    return Boxes(xyxy=[[x, 0, x + 10, 10] for x, _ in scores], labels=[label for _, label in scores])


def test_spotting_by_hand() -> None:
    truth = {1: words((0, "stop"), (20, "go"), (40, "###"))}
    assert spotting_f1(truth, truth).f1 == 1
    scores = spotting_f1({1: words((1, "stop"), (1, "stop"), (27, "go"), (41, "blur"))}, truth)
    # twice is once; overlap 3/17 is too little; ### doesn't count
    assert (scores.hits, scores.n_predictions, scores.n_targets) == (1, 3, 2)
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert spotting_f1({1: words((0, "STOP"))}, truth).hits == 0
    assert spotting_f1({1: words((0, "a"))}, {1: words()}).recall == spotting_f1({}, truth).f1 == 0
    assert spotting_f1({1: words((3, "a"), (0, "a"))}, {1: words((0, "a"), (6, "a"))}).hits == 2  # the pairing of most hits


def test_bad_input() -> None:
    for call, said in [
        (lambda: error_rate({1: "a"}, {1: "a"}, "letter"), "no unit 'letter'"),
        (lambda: error_rate({1: "a"}, {1: ""}, "character"), "no character at all"),
        (lambda: error_rate({1: 3}, {1: "a"}, "word"), "answer of 1 is 3"),
        (lambda: error_rate({}, {}, "word"), "nothing to score"),
        (lambda: spotting_f1({2: words()}, {1: words()}), "such as 2; leave them out"),
    ]:
        with pytest.raises(BadInput, match=said):
            call()
