"""3x3 adapters: where they fold into the weights, and where they cannot."""

import pytest
import torch

from support.trunks import images, shake, trunk
from tapetum.core.errors import BadInput
from tapetum.systems.adapters import AdapterConfig, attach


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
