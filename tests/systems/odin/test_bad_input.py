"""What images and masks may be like: the right result, or one clear line."""

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.odin.losses import detcon
from tapetum.systems.odin.masks import MaskSource, pool_masks
from tapetum.systems.odin.metrics import best_in_cells, best_overlaps, discovery_scores, proposals
from tapetum.systems.odin.objects import PLAIN, colours, find_objects
from tapetum.systems.odin.recipes import OdinConfig
from tapetum.transfer.propagation import carry


@pytest.mark.parametrize("name", PLAIN)
def test_a_image_of_one_colour_has_an_answer(name: str) -> None:
    image = np.full((40, 60, 3), 120, np.uint8)
    found, clusters = find_objects(image, PLAIN[name])
    assert found.masks.shape[1:] == clusters.shape == (40, 60)
    objects = np.zeros((1, 40, 60), bool)
    objects[0, 5:20, 5:20] = True
    best = best_in_cells(objects, proposals(PLAIN[name](image), 4))
    assert 0 < best[0] <= 1


def test_more_clusters_than_cells_are_refused() -> None:
    source = MaskSource(OdinConfig(source="pixels", clusters=17))
    with pytest.raises(BadInput, match="17 clusters are asked of 16"):
        source(torch.zeros(1, 3, 16, 16), None, None)
    with pytest.raises(BadInput, match="clusters are asked of"):
        find_objects(np.zeros((8, 8, 3), np.uint8), lambda image: torch.zeros(3, 2, 2), clusters=5)
    with pytest.raises(BadInput, match="clusters are asked of"):
        list(proposals(torch.zeros(3, 2, 2), 5))


def test_what_is_not_finite_is_refused() -> None:
    source = MaskSource(OdinConfig(source="pixels", clusters=2))
    with pytest.raises(BadInput, match="not finite"):
        source(torch.full((1, 3, 16, 16), torch.nan), None, None)
    with pytest.raises(BadInput, match="not finite"):
        find_objects(np.zeros((16, 16, 3), np.uint8), lambda image: torch.full((3, 4, 4), torch.inf), clusters=2)


def test_empty_masks_have_no_part_and_no_score() -> None:
    empty, cells = pool_masks(torch.ones(1, 4, 2, 2), torch.full((1, 2, 2), -1), 3)
    assert not empty.any()
    assert not cells.any()
    rows = torch.randn(1, 2, 4, requires_grad=True)
    ids = torch.tensor([[0, 1]])
    loss = detcon(rows, rows, rows, rows, ids, ids, ids + 2, ids + 4)  # no mask is in both views
    loss.backward()
    assert float(loss.detach()) == 0
    assert rows.grad is not None
    assert not rows.grad.any()
    assert best_overlaps(np.zeros((1, 4, 4), bool), [np.zeros((4, 4), int)]).tolist() == [0]
    with pytest.raises(BadInput, match="no image has an object"):
        discovery_scores([np.zeros(0)])


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(BadInput, match="bring it to their size first"):
        best_overlaps(np.zeros((1, 4, 4), bool), [np.zeros((4, 5), int)])
    given = MaskSource(OdinConfig(source="given", clusters=4))
    with pytest.raises(BadInput, match="masks are"):
        given(torch.zeros(2, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64), None)
    with pytest.raises(BadInput, match="mask 6x4"):
        list(carry([np.zeros((8, 8, 3), np.uint8)], np.ones((4, 6), np.uint8), colours))


def test_a_temperature_is_above_zero() -> None:
    with pytest.raises(BadInput, match="temperature"):
        OdinConfig(temperature=0.0)
