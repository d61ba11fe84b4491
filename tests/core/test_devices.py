"""The device that "auto" stands for."""

import pytest
import torch

from tapetum.core.devices import AUTOMATIC, choose_device, find_device
from tapetum.core.errors import BadInput


@pytest.mark.parametrize(
    ("here", "chosen"),
    [((), "cpu"), (("mps",), "mps"), (("xpu", "mps"), "xpu"), (("cuda", "xpu"), "cuda"), (("cuda",), "cuda")],
)
def test_the_first_accelerator_that_is_there(here: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in AUTOMATIC:
        monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind: kind in here)
    assert choose_device("auto") == chosen
    assert [choose_device(name) for name in ("cpu", "cuda:1", None)] == ["cpu", "cuda:1", None]


def test_auto_is_a_device_that_computes() -> None:
    assert find_device("auto") == torch.device(choose_device("auto"))
    assert find_device(None) == torch.device("cpu")
    with pytest.raises(BadInput, match=r"^there is no device 'automatic' to compute on; this machine has cpu"):
        find_device("automatic")
