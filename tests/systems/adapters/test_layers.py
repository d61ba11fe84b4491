"""3x3 adapters: what they add, pixel by pixel; where they fold into the weights; that at first they add nothing."""

import numpy as np
import pytest
import torch

from support.trunks import images, shake, trunk
from tapetum.core.errors import BadInput
from tapetum.systems.adapters import AdapterConfig, Site, attach
from tapetum.systems.adapters.config import Section
from tapetum.systems.adapters.layers import make_adapter


@pytest.mark.parametrize(("form", "stride", "offset"), [("parallel", 2, 1), ("parallel", 1, 0), ("series", 1, 0)])
def test_a_pixel_gets_the_sum_over_its_neighbours(form, stride: int, offset: int) -> None:
    section: Section = "middle"
    site = Site(address="a", section=section, form=form, inward=2, width=3, axis=1, kernel=3, stride=stride, offset=offset)
    adapter = make_adapter(site, torch.Generator().manual_seed(0), near_zero=0.5)
    generator = np.random.default_rng(0)
    side = -(-(7 - offset) // stride)  # so often the middle of the kernel is on the map
    x, y = generator.normal(size=(1, 2, 7, 7)), generator.normal(size=(1, 3, side, side))
    changed = adapter(torch.from_numpy(x).float(), torch.from_numpy(y).float()).detach().numpy()
    weight, source = adapter.get_parameter("mix.weight").detach().numpy(), y if form == "series" else x
    expected = y.copy()
    for row in range(y.shape[2]):
        for column in range(y.shape[3]):
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    r, c = stride * row + offset + down, stride * column + offset + right
                    if 0 <= r < source.shape[2] and 0 <= c < source.shape[3]:
                        expected[0, :, row, column] += weight[:, :, down + 1, right + 1] @ source[0, :, r, c]
    assert np.allclose(changed, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["resnet", "nfnet", "efficientnet-lite", "timm-resnet"])
def test_at_first_nothing_changes_and_every_one_acts(kind: str) -> None:
    whole, x = trunk(kind), images()
    adapted = attach(whole, AdapterConfig(preset="bottom-middle", kernel=3))
    with torch.no_grad():
        first, plain = adapted(x), whole(x)
    assert torch.equal(getattr(first, "pooled", first), getattr(plain, "pooled", plain))
    sites = adapted.sites("default")
    assert {site.kernel for site in sites if not site.rank} == {3}
    adapted.verify()


def test_beside_kernels_that_are_as_large_they_fold_into_the_weights() -> None:
    adapted, x = attach(trunk("resnet"), AdapterConfig(addresses=("stem", "stages.1.0.convs.0"), kernel=3)), images()
    shake(adapted, "default", 1)
    with torch.no_grad():
        before, after = adapted(x).pooled, adapted.merge()(x).pooled
        assert not torch.allclose(before, trunk("resnet")(x).pooled, atol=1e-3)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    series = attach(trunk("resnet"), AdapterConfig(addresses=("stages.1.0.convs.0",), maps="series", kernel=3))
    with pytest.raises(BadInput, match="beyond the rim"):
        series.merge()
    small = attach(trunk("resnet-bottleneck"), AdapterConfig(addresses=("stages.1.0.convs.0",), kernel=3))
    with pytest.raises(BadInput, match="sees pixels that the convolution beside it does not"):
        small.merge()
    with pytest.raises(BadInput, match="kernel is 5; it must be 1 or 3"):
        AdapterConfig(kernel=5)  # pyright: ignore[reportArgumentType]
