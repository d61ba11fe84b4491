"""What every benchmark of the table does: items with names, finite numbers, means over them, and a run that goes on."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.davis_folder import write_davis
from tapetum.bench import BENCHMARKS
from tapetum.bench.own import Benchmark, evaluate
from tapetum.core.plugins import resolve_subclass


def votsp(folder: Path) -> tuple[Path, str, float]:
    """Still points on two sequences, of which one moves by two pixels in the last frame."""
    for name, truth in (("a", "5,5\n" * 4), ("b", "9,9\n9,9\n9,9\n11,9\n")):
        place = folder / "sequences" / name
        (place / "color").mkdir(parents=True)
        (place / "sequence").write_text("fps=30\n")
        (place / "groundtruth_p.txt").write_text(truth)
        for number in range(1, 5):
            Image.new("RGB", (256, 256)).save(place / "color" / f"{number:08d}.jpg")
    return folder, "static", tapetum.evaluate_votsp(data=folder, model="static").as_json()["d_avg"]


def davis(folder: Path) -> tuple[Path, str, float]:
    """Places that carry the first masks."""
    data = write_davis(folder, {"one": (3, 1), "two": (3, 2)})
    return data, "xy", tapetum.evaluate_davis(data=data, model="xy").j_and_f


MAKERS: dict[str, tuple[Callable[[Path], tuple[Path, str, float]], str]] = {
    "votsp": (votsp, "d_avg"),
    "davis": (davis, "j_and_f"),
}
"""Of each benchmark: what makes its data, and gives a model and the headline that its verb says; and the headline's name."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "davis")) for name in BENCHMARKS])
def test_a_benchmark_scores_as_its_verb_does_and_goes_on(name: str, tmp_path: Path) -> None:
    maker, headline = MAKERS[name]
    data, model, expected = maker(tmp_path / "data")
    benchmark: Benchmark = resolve_subclass(BENCHMARKS[name], "benchmark", Benchmark)()
    items = benchmark.items(data)
    assert len(items) >= 2
    found = evaluate(name, data, model, out=tmp_path / "out", device="cpu")
    assert list(found.rows) == list(items)
    assert all(math.isfinite(value) for row in (found.scores, *found.rows.values()) for value in row.values())
    assert found.scores[headline] == pytest.approx(expected, abs=1e-9)
    summary = benchmark.summary([*found.rows.values()])
    assert summary[headline] == found.scores[headline]

    rows = tmp_path / "out" / "rows.jsonl"
    *kept, last = rows.read_text().splitlines()
    rows.write_text("\n".join(kept) + "\n")
    calls = []
    again = evaluate(name, data, model, out=tmp_path / "out", device="cpu", progress=lambda done, total: calls.append(done))
    assert calls == [len(items) - 1, len(items)]  # the lost row alone is made again
    np.testing.assert_allclose([again.scores[headline]], [found.scores[headline]])
    assert json.loads(last)["key"] in found.rows
