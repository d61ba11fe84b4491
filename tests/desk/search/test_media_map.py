"""A map of an index by UMAP."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from tapetum.app.verb import Listener
from tapetum.desk.search.media_index import Table
from tapetum.desk.search.media_map import write_map


def places_on(page: Path) -> np.ndarray:
    """Where the pieces lie on a page, in per cent."""
    return np.array([list(map(float, each)) for each in re.findall(r"left:([\d.]+)%;top:([\d.]+)%", page.read_text())])


@pytest.mark.slow
def test_umap_parts_what_is_not_alike(tmp_path: Path) -> None:
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    for few in (4, 5, 60):  # UMAP wants more vectors than neighbours
        kinds = np.arange(few) % 2
        vectors = np.eye(8, dtype=np.float32)[kinds] + 0.1 * rng.standard_normal((few, 8), np.float32)
        columns = {"embedding": vectors, "path": np.array([f"{k}.png" for k in range(few)])}
        columns |= {name: np.full(few, np.nan) for name in ("start_s", "stop_s")}
        columns |= {name: np.array("resnet-nano") for name in ("model", "reference")}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="n_jobs")
            page = write_map(Table(columns), tmp_path / f"{few}.html", Listener())
        places = places_on(page)
        assert "UMAP of the vectors" in page.read_text()
        assert (places.shape, places.min(), places.max()) == ((few, 2), 0, 100)
    centres = [places[kinds == k].mean(0) for k in (0, 1)]
    inside = max(np.linalg.norm(places[kinds == k] - centres[k], axis=1).mean() for k in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * inside
