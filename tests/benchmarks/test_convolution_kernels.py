"""No network here asks torch for a strided 1x1 convolution, and what kills a process is noticed."""

import pytest

from support.scripts import script

kernels = script("benchmarks/convolution_kernels.py")


@pytest.mark.parametrize("name", [name for name in kernels.SYSTEMS if name not in kernels.COMPUTED])
def test_no_network_convolves_single_pixels_with_a_stride(name: str) -> None:
    convolutions = kernels.record(name)
    assert convolutions
    assert not [one for one in convolutions if one.strided_pointwise]
