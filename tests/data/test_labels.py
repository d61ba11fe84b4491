"""Labels of classes as tables hold them: whole numbers stored as floats, and rows without one."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.layouts import listing
from tapetum.systems.pretraining.sources import read_source

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
Run = Callable[..., tuple[int, str, str]]


def table(path: Path, labels: Sequence[Any]) -> Path:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "PNG")
    images = [{"bytes": file.getvalue(), "path": "x.png"}] * len(labels)
    parquet.write_table(arrow.table({"image": images, "label": arrow.array(labels)}), path)
    return path


def test_whole_numbers_in_floats_are_classes(tmp_path: Path) -> None:
    for part in ("train", "val"):
        found = listing("parquet", table(tmp_path / "a.parquet", [0.0, 2.0, 1.0] * 7), part)  # type: ignore[arg-type]
        assert (found.classes, found.truth.dtype, set(found.truth.tolist())) == (("0", "1", "2"), np.int64, {0, 1, 2})
    folder = tmp_path / "parts"  # a part of whole numbers, and one that pandas made floats of
    folder.mkdir()
    table(folder / "train.parquet", [0, 1])
    table(folder / "val.parquet", [1.0, 0.0])
    assert listing("parquet", folder, "train").classes == listing("parquet", folder, "val").classes == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([float("nan"), 0.0] * 20, r"no label in row 0 \(one of 20\)"),
        ([1.0, None] * 20, r"no label in row 1 \(one of 20\)"),
        ([0.0, 0.5] * 20, "has the label 0.5 in row 1; a class is a whole number or a word"),
        ([0.0, float("inf")] * 20, "has the label inf in row 1"),
        (["cat", ""] * 20, "no label in row 1"),
        ([[0], [1, 2]] * 20, r"has the label \[0\] in row 0"),
    ],
)
def test_rows_without_a_class_are_refused_by_every_verb(labels: Any, words: str, tmp_path: Path, run: Run) -> None:
    path = table(tmp_path / "a.parquet", labels)
    for read in (lambda: listing("parquet", path, "train"), lambda: listing("parquet", path, "val"), lambda: read_source(path)):
        with pytest.raises(BadInput, match=words):
            read()
    for command in (
        ("probe", "resnet-nano", "--data", path),
        ("pretrain", "supervised", "--data", path, "--out", tmp_path / "run", "--steps", 1),
        ("adapt", path, "--task", "classify", "--out", tmp_path / "run", "--steps", 1),
    ):
        code, _, err = run(*command)
        assert (code, "no label" in err or "has the label" in err) == (2, True), err
        assert not (tmp_path / "run").exists()
