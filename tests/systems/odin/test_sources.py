"""Masks from everywhere, of images whose parts are known."""

from typing import Any

import numpy as np
import pytest
import torch

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.systems.odin.masks import mask_source, with_positions
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.objects import network_map
from tapetum.systems.odin.recipes import OdinConfig


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


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_colours_and_a_grid_find_four_squares(metric: str) -> None:
    images, ids = quarters()
    for source, changes in {"pixels": {"metric": metric, "seeds": "spread"}, "grid": {}}.items():
        made = mask_source(config(source=source, **changes))
        found = made(images, None, seeded())
        step = ids.shape[1] // found.shape[1]
        assert same_partition(found[0], ids[0, ::step, ::step]), source
        assert int(found.max()) < made.regions


def test_features_and_projections_of_a_network_are_clustered_and_learn_nothing() -> None:
    network = Odin(config(), encoders.build("resnet-18")).eval()
    images, _ = quarters()
    for source in ("features", "projections"):
        found = mask_source(config(source=source), network)(images, None, seeded())
        assert found.shape == (2, 16, 16)
        assert found.dtype == torch.int64
        assert found.unique().numel() > 1
    with pytest.raises(BadInput, match="need a network"):
        mask_source(config())


def test_positions_count_as_much_as_they_are_told() -> None:
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(2, 5, 8, 12, generator=generator) * 7
    joined = with_positions(found, 0.5)
    spread = joined.flatten(2).var(-1)
    torch.testing.assert_close(spread[:, 5:].sum(1), 0.25 * spread[:, :5].sum(1))
    assert with_positions(found, 0) is found
    flat = torch.zeros(1, 3, 64, 64)
    assert torch.isfinite(with_positions(flat, 1)).all()


def test_given_masks_are_handed_on_or_refused() -> None:
    images, ids = quarters()
    source = mask_source(config(source="given"))
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
    found = mask_source(config(source="segments", segment_scale=400.0))(
        torch.from_numpy(image).movedim(-1, 0)[None], None, None
    )
    stretched = (image - image.min()) / (image.max() - image.min())
    area = 48 * 48 / 224**2
    wanted = segmentation.felzenszwalb(stretched, scale=400 * area, min_size=round(400 * area))
    assert np.array_equal(found[0].numpy(), wanted % 256)
