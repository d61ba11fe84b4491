"""Distance from the world's images: the shrunk covariance against the formula written out, limits, and files."""

from pathlib import Path

import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.familiarity import fit_familiarity, ledoit_wolf, load_familiarity, save_familiarity


def test_the_covariance_is_shrunk_as_the_formula_says():
    torch.manual_seed(0)
    x = torch.randn(30, 5, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0, 1.0, 0.5], dtype=torch.float64)
    x -= x.mean(0)
    sample = sum(torch.outer(row, row) for row in x) / 30
    scale = torch.trace(sample) / 5
    identity = torch.eye(5, dtype=torch.float64)
    spread = torch.linalg.norm(sample - scale * identity) ** 2 / 5
    error = sum(torch.linalg.norm(torch.outer(row, row) - sample) ** 2 for row in x) / 5 / 30**2
    weight = min(float(error), float(spread)) / spread
    torch.testing.assert_close(ledoit_wolf(x), weight * scale * identity + (1 - weight) * sample)


def test_other_images_are_farther_than_the_limit_and_the_file_comes_back(tmp_path: Path):
    torch.manual_seed(0)
    world, others, far = torch.randn(50, 9, 8), torch.randn(40, 9, 8), torch.randn(30, 9, 8) * 2 + 1
    made = fit_familiarity(world, others)
    assert 1 <= int((made.distances(others) > made.limit).sum()) <= 2  # 5 of 100
    assert (made.distances(far) > made.limit).all()
    one_token = torch.cat((world[:1, :8], 50 * torch.ones(1, 1, 8)), 1)
    assert made.distances(one_token) <= made.limit  # the median hears nothing of a single token
    save_familiarity(made, tmp_path / "world.safetensors")
    again = load_familiarity(tmp_path / "world.safetensors")
    assert again.limit == pytest.approx(made.limit)
    torch.testing.assert_close(again.distances(far), made.distances(far))
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(BadInput, match="cannot be read as statistics"):
        load_familiarity(tmp_path / "text")
