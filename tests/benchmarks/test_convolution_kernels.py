"""No network here asks torch for a strided 1x1 convolution, and what kills a process is noticed."""

import pytest
from torch import nn

from support.scripts import script

kernels = script("benchmarks/convolution_kernels.py")


@pytest.mark.parametrize("name", [name for name in kernels.SYSTEMS if name not in kernels.COMPUTED])
def test_no_network_convolves_single_pixels_with_a_stride(name: str) -> None:
    convolutions = kernels.record(name)
    assert convolutions
    assert not [one for one in convolutions if one.strided_pointwise]


def test_a_strided_convolution_of_torchs_own_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(nn.Conv2d):
        preprocessing = kernels.build("resnet-nano").preprocessing

    monkeypatch.setitem(kernels.SYSTEMS, "old", lambda: Old(3, 8, 1, 2))
    (one,) = kernels.record("old")
    assert one.strided_pointwise
