"""Which convolutions of the networks here kill a process on this processor? Each is tried in a process of its own.

    python benchmarks/convolution_kernels.py [SYSTEM ...] [--batch 2] [--list]

The convolutions of a system are recorded while its network looks at an empty input of the size it was made for, on the device
"meta", which computes nothing. Each is then done with float32 and bfloat16, in plain and in channels-last order, with
gradients of the input and of the weight. What ends in a signal, or in an error, is printed; the exit code is 1 where any did.
The last line of all is the strided 1x1 convolution that kills torch 2.13, which `tapetum.layers.convolution` goes around.
"""

import argparse
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tapetum.bench.forward_passes import forward_pass
from tapetum.encoders import build
from tapetum.systems.adapters import AdapterConfig, attach
from tapetum.systems.longvideo import build as build_video
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.recipes import OdinConfig
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.masks.config import MaskCodecConfig
from tapetum.systems.perception_test.localiser.config import LocaliserConfig
from tapetum.systems.perception_test.localiser.model import Localiser
from tapetum.systems.tap.config import ARCHITECTURES
from tapetum.systems.tap.layers import Backbone
from tapetum.systems.tap.model import Tapir
from tapetum.transfer.segmentation import Segmenter


class Convolution(NamedTuple):
    """What a convolution is asked for."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    bias: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int

    @property
    def strided_pointwise(self) -> bool:
        """Say whether it is of the kind that torch 2.13 dies of."""
        return max(self.stride) > 1 and set(self.weight[2:]) == {1}


WORST = Convolution((32, 3, 224, 224), (32, 3, 1, 1), False, (2, 2), (0, 0), (1, 1), False, (0, 0), 1)
"""A segmentation fault in torch 2.13, float32, channels last."""


class Recorder(TorchDispatchMode):
    """Keeps every convolution that is done within."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions: set[Convolution] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Keep it, and do it."""
        if func is torch.ops.aten.convolution.default:
            x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
            self.convolutions.add(
                Convolution(
                    input=tuple(x.shape),
                    weight=tuple(weight.shape),
                    bias=bias is not None,
                    stride=tuple(stride),
                    padding=tuple(padding),
                    dilation=tuple(dilation),
                    transposed=transposed,
                    output_padding=tuple(output_padding),
                    groups=groups,
                )
            )
        return func(*args, **(kwargs or {}))


def _adapted(name: str, preset: str, **config: Any) -> nn.Module:
    with torch.device("cpu"):  # adapters find their places in a pass through the trunk
        return attach(build(name), AdapterConfig(preset=preset, **config)).to("meta")


SYSTEMS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: build(name) for name in ("vit-small-16", "resnet-nano", "resnet-18", "resnet-50", "nfnet-f0")},
    **{name: lambda name=name: build(name) for name in ("swin-t", "efficientnet-lite0", "efficientnet-lite2")},
    "resnet-50 padded as in JAX": lambda: build("resnet-50", padding="same"),
    "vit with a convolutional stem": lambda: build("vit-small-16", stem="convolutions"),
    "adapters of resnet-18": lambda: _adapted("resnet-18", "all-blocks"),
    "parallel adapters of resnet-18": lambda: _adapted("resnet-18", "bottom-middle-top", maps="parallel"),
    "parallel adapters of efficientnet-lite0": lambda: _adapted("efficientnet-lite0", "bottom-middle-top", maps="parallel"),
    "odin": lambda: Odin(OdinConfig(), build("resnet-50")),
    "fcn": lambda: Segmenter(build("resnet-18"), 21, "fcn"),
    "upernet": lambda: Segmenter(build("resnet-18"), 21, "upernet"),
    "mask codec": lambda: MaskCodec(MaskCodecConfig()),
    "localiser": lambda: Localiser(LocaliserConfig(), 512, 17),
    "eye of PaliGemma": lambda: build("siglip-so400m-14", depth=1),
    "backbone of bootstapir": lambda: Backbone(ARCHITECTURES["bootstapir"]),
    **{name: lambda name=name: Tapir(ARCHITECTURES[name]) for name in ARCHITECTURES},
    "mcvit-b": lambda: build_video("mcvit-b", depth=1),
}
"""Networks by name, of the sizes that are used."""

COMPUTED = {*ARCHITECTURES, "mcvit-b"}
"""Those that look at numbers, for which "meta" is not enough; they are recorded on the CPU, forwards alone."""
_INPUTS = {Localiser: (192, 512), Backbone: (3, 256, 256)}


def record(name: str, batch: int = 2) -> set[Convolution]:
    """Find the convolutions in a forward pass of one of `SYSTEMS`."""
    recorder = Recorder()
    with torch.device("cpu" if name in COMPUTED else "meta"), torch.no_grad():
        model = SYSTEMS[name]()
        if shape := _INPUTS.get(type(model)):
            inputs = torch.zeros(batch, *shape)
            with recorder:
                model(inputs)
        else:
            found = forward_pass(model, batch, None)
            assert found is not None
            with recorder:
                found[1]()
    return recorder.convolutions


def replay(one: Convolution, dtype: torch.dtype, last: bool) -> None:
    """Do a convolution and its backward pass."""
    order = (torch.channels_last_3d if len(one.stride) == 3 else torch.channels_last) if last else torch.contiguous_format
    x, weight = (torch.randn(shape).to(dtype, memory_format=order).requires_grad_() for shape in (one.input, one.weight))
    channels = one.weight[1] * one.groups if one.transposed else one.weight[0]
    bias = torch.randn(channels).to(dtype).requires_grad_() if one.bias else None
    rest = one.stride, one.padding, one.dilation, one.transposed, one.output_padding, one.groups
    y = torch.convolution(x, weight, bias, *rest)
    gradient = torch.randn_like(y)  # of its own memory: what reads past an end lives or dies by what lies behind it
    torch.autograd.grad(y, weight, gradient, retain_graph=True)
    y.backward(gradient)


def fate(one: Convolution, dtype: torch.dtype, last: bool) -> str:
    """Say what becomes of a process that does it: "" where nothing does."""
    process = os.fork()
    if not process:
        try:
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            faulthandler.disable()
            signal.alarm(60)
            torch.set_num_threads(1)
            replay(one, dtype, last)
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return signal.Signals(-code).name if code < 0 else "an error" if code else ""


def ways(one: Convolution) -> Iterator[tuple[torch.dtype, bool]]:
    """List precisions and orders; a convolution over time has one order."""
    yield from product((torch.float32, torch.bfloat16), (False, True) if len(one.stride) > 1 else (False,))


def main() -> int:
    """Print what dies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print the convolutions instead of doing them")
    given = parser.parse_args()
    seen: dict[Convolution, str] = {}
    for name in given.systems or SYSTEMS:
        for one in sorted(record(name, given.batch)):
            seen.setdefault(one, name)
    dead = 0
    for one, name in seen.items():
        if given.list:
            print(f"{name}: {one}")
            continue
        for dtype, last in ways(one):
            if end := fate(one, dtype, last):
                dead += 1
                print(f"{end}: {name}, {dtype}{', channels last' if last else ''}: {one}", flush=True)
    if not given.list:
        print(f"{len(seen)} convolutions of {len(given.systems or SYSTEMS)} networks: {dead or 'none'} died")
        print(f"the strided 1x1 convolution that nothing here does: {fate(WORST, torch.float32, True) or 'lives'}")
    return min(dead, 1)


if __name__ == "__main__":
    sys.exit(main())
