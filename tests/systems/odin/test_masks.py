"""Masks: warped beside pixels, clustered beside scikit-learn, and from every source, of images whose parts are known."""

from typing import Any

import numpy as np
import pytest
import torch

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.systems.odin.masks import (
    OUTSIDE,
    Crops,
    MaskSource,
    _checked,
    _random_seeds,
    kmeans,
    sample_regions,
    span_crops,
    warp,
)
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.objects import network_map
from tapetum.systems.odin.recipes import OdinConfig


def crops(*boxes: tuple[float, float, float, float], flipped: bool = False) -> Crops:
    return Crops(torch.tensor(boxes), torch.full((len(boxes),), flipped))


def cut(image: torch.Tensor, box: tuple[int, int, int, int], flipped: bool) -> torch.Tensor:
    top, left, height, width = box
    part = image[top : top + height, left : left + width]
    return part.flip(1) if flipped else part


@pytest.mark.parametrize("from_flipped", [False, True])
@pytest.mark.parametrize("to_flipped", [False, True])
def test_ids_of_pixels_go_where_the_pixels_go(from_flipped: bool, to_flipped: bool) -> None:
    image = torch.arange(20 * 30).reshape(20, 30)
    source, target = (2, 3, 16, 24), (4, 8, 10, 12)
    found = warp(
        cut(image, source, from_flipped)[None], crops(source, flipped=from_flipped), crops(target, flipped=to_flipped), (10, 12)
    )
    assert torch.equal(found[0], cut(image, target, to_flipped))


def test_places_outside_are_said_and_spanning_crops_leave_none() -> None:
    ids = torch.zeros(1, 8, 8, dtype=torch.long)
    first, second = crops((0, 0, 8, 8)), crops((4, 4, 8, 8), flipped=True)
    assert (warp(ids, first, second, (8, 8))[0, :4, 4:] == 0).all()
    assert int((warp(ids, first, second, (8, 8)) == OUTSIDE).sum()) == 48
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(200, 8, generator=generator) * 100 + 0.1
    one, other = Crops(boxes[:, :4], torch.rand(200, generator=generator) < 0.5), Crops(boxes[:, 4:], torch.zeros(200) > 1)
    span = span_crops(one, other)
    for view in (one, other):
        assert (warp(torch.zeros(200, 7, 9, dtype=torch.long), span, view, (5, 6)) == 0).all()


def test_regions_are_drawn_from_those_that_are_there() -> None:
    cells = torch.tensor([[5.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    drawn = sample_regions(cells, 4000, torch.Generator().manual_seed(0))
    assert drawn[0].unique().tolist() == [0, 2]
    assert float((drawn[0] == 2).float().mean()) == pytest.approx(0.5, abs=0.03)  # as likely as the larger one
    assert drawn[1].unique().tolist() == [0, 1, 2, 3]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_euclidean_k_means_is_that_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    x = torch.randn(2, 200, 5, dtype=torch.float64, generator=seeded(1))
    found = kmeans(x, 6, iterations=7, metric="l2", generator=seeded(2))
    seeds = _random_seeds(x, 6, seeded(2))
    for image in range(2):
        peer = cluster.KMeans(6, init=seeds[image].numpy(), n_init=1, max_iter=7, tol=0, algorithm="lloyd")
        with np.errstate(all="ignore"):
            wanted = peer.fit(x[image].numpy())
        assert np.array_equal(found[image].numpy(), wanted.predict(x[image].numpy()))


def _agreement(ids: torch.Tensor, truth: torch.Tensor) -> float:
    return float(sum(truth[ids == k].bincount().max() for k in ids.unique()) / len(truth))


def test_one_colour_and_empty_clusters_do_no_harm() -> None:
    same = torch.ones(1, 16, 3)
    for metric in ("cosine", "l2"):
        for seeds in ("random", "spread"):
            assert torch.equal(
                kmeans(same, 4, metric=metric, seeds=seeds, generator=seeded()), torch.zeros(1, 16, dtype=torch.long)
            )
    assert torch.equal(kmeans(torch.zeros(1, 16, 3), 4, generator=seeded()), torch.zeros(1, 16, dtype=torch.long))
    assert kmeans(torch.randn(1, 4, 3), 4).unique().numel() == 4


def test_what_cannot_be_clustered_is_said() -> None:
    with pytest.raises(BadInput, match="17 clusters are asked of 16 vectors"):
        kmeans(torch.ones(1, 16, 3), 17)
    with pytest.raises(BadInput, match="not finite"):
        kmeans(torch.full((1, 4, 3), torch.nan), 2)
    with pytest.raises(BadInput, match="metric is 'manhattan'"):
        OdinConfig(metric="manhattan")  # type: ignore[arg-type]
    assert _checked(torch.ones(1, 4, 3).half(), 2, "l2").dtype == torch.float32


def config(**changes: Any) -> OdinConfig:
    sizes = {"pyramid_width": 16, "hidden_width": 32, "projection_width": 8, "clusters": 4}
    return OdinConfig(**{**sizes, **changes})


def quarters(batch: int = 2, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of four squares of four colours, and the ids of their pixels."""
    ids = torch.arange(2).repeat_interleave(side // 2)
    ids = (2 * ids[:, None] + ids[None]).expand(batch, -1, -1)
    colours = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [-1, -1, -1]])
    return colours[ids].movedim(-1, 1).contiguous(), ids


def same_partition(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(found.flatten(), wanted.flatten(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_colours_and_a_grid_find_four_squares(metric: str) -> None:
    images, ids = quarters()
    for source, changes in {"pixels": {"metric": metric, "seeds": "spread"}, "grid": {}}.items():
        made = MaskSource(config(source=source, **changes))
        found = made(images, None, seeded(1))
        step = ids.shape[1] // found.shape[1]
        assert same_partition(found[0], ids[0, ::step, ::step]), source
        assert int(found.max()) < made.regions


def test_given_masks_are_handed_on_or_refused() -> None:
    images, ids = quarters()
    source = MaskSource(config(source="given"))
    assert source(images, ids, None) is ids
    with pytest.raises(BadInput, match="none came"):
        source(images, None, None)
    with pytest.raises(BadInput, match="for 2 images"):
        source(images, ids[:1], None)
    with pytest.raises(BadInput, match="ids of masks are 0 to 4; give 0 to 3"):
        source(images, torch.where(ids == 3, 4, ids), None)
    with pytest.raises(BadInput, match="square number"):
        config(source="grid", clusters=5)
    with pytest.raises(BadInput, match="source is 'magic'; it must be features, projections, pixels, grid"):
        config(source="magic")


def test_the_network_projects_rows_and_predicts_in_form_b_alone() -> None:
    network = Odin(config(), encoders.build("resnet-18"))
    rows = torch.randn(3, 4, 16)
    assert network.predict(network.project(rows)).shape == (3, 4, 8)
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 16, 16, 16)
    plain = Odin(config(pyramid_width=0, form="s"), encoders.build("resnet-18"))
    assert plain(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)
    z = plain.project(torch.randn(2, 2, 512))
    assert plain.predict(z) is z
    names = [name for name, _ in network.projector.named_parameters()]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight"]


def test_maps_finer_than_the_finest_stride_are_left_out_of_the_pyramid() -> None:
    """resnet-nano has maps of 1, 2, 4 and 8 pixels a cell: at 4, masks are made of the third, whatever the finer ones are."""
    encoder = encoders.build("resnet-nano")
    assert encoder.strides == (1, 2, 4, 8)
    network = Odin(config(finest_stride=4), encoder).eval()
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    maps = encoder(torch.randn(1, 3, 32, 64)).maps
    fine, coarse = network.levels(maps)
    assert (network.stride, fine.shape, coarse.shape) == (4, (1, 16, 8, 16), (1, 16, 4, 8))
    assert all(torch.equal(a, b) for a, b in zip(network.levels([maps[0], maps[0], *maps[2:]]), (fine, coarse), strict=True))
    assert [tuple(network_map(network, 32, stride)(image).shape) for stride in (None, 1, 4, 8)] == [(16, 8, 16)] * 3 + [
        (16, 4, 8)
    ]
    assert Odin(config(), encoder).stride == 1  # as it always was
    assert Odin(config(finest_stride=64), encoder).stride == 8


def test_segments_are_those_of_scikit_image() -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    image = np.random.default_rng(0).random((48, 48, 3)).astype(np.float32)
    found = MaskSource(config(source="segments", segment_scale=400.0))(torch.from_numpy(image).movedim(-1, 0)[None], None, None)
    stretched = (image - image.min()) / (image.max() - image.min())
    area = 48 * 48 / 224**2
    wanted = segmentation.felzenszwalb(stretched, scale=400 * area, min_size=round(400 * area))
    assert np.array_equal(found[0].numpy(), wanted % 256)
