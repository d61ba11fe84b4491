"""The channels-last instance norm against torch's own."""

import pytest
import torch

from tapetum.layers.norm import InstanceNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(dtype, layout):
    torch.manual_seed(0)
    ours, torchs = InstanceNorm(5), torch.nn.InstanceNorm2d(5, affine=True)
    torch.nn.init.normal_(ours.weight)
    torch.nn.init.normal_(ours.bias)
    torchs.load_state_dict(ours.state_dict())
    x = (3 * torch.randn(2, 5, 6, 7) + 1).to(dtype).to(memory_format=layout).requires_grad_()
    dy = torch.randn(2, 5, 6, 7).to(dtype)
    y = ours(x)
    grads = torch.autograd.grad(y, [x, ours.weight, ours.bias], dy)
    reference = x.detach().float().requires_grad_()
    wanted = torch.autograd.grad(torchs(reference), [reference, torchs.weight, torchs.bias], dy.float())
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 5e-2, "atol": 5e-2}
    torch.testing.assert_close(y.float(), torchs(reference), **close)
    for have, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(have.float(), want, **close)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), y)
    assert y.is_contiguous(memory_format=layout)
