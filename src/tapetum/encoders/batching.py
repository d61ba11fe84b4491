"""How many images a network processes together: as many as its largest layer can take without leaving the processor's cache.

On a CPU a larger batch is slower, not faster: the maps of a layer have to come back from memory for the next one. The size
follows from what the network computes for one image and from the cache, never from a clock, so that runs on a machine are equal
to the bit. On an NVIDIA GPU a larger batch is faster, so it takes as many as free memory holds.
"""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tapetum.core.devices import cache_bytes
from tapetum.encoders.features import check_finite

Look = Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b ..."]]
_MOST = 64
"""Images at most, however small their maps are; on a GPU sixteen times as many."""
_TENSORS = 8
"""The part of a GPU's free memory that the largest output may take: the input, the output before it, and scratch lie beside."""
_sizes: WeakKeyDictionary[nn.Module, dict[tuple[torch.Size, torch.dtype], int]] = WeakKeyDictionary()


class _LargestOutput(TorchDispatchMode):
    """Measures the largest tensor that any operation makes, in bytes."""

    nbytes = 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {each.data_ptr() for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and not each.is_mkldnn}
        made = (each for each in tree_leaves(out) if isinstance(each, Tensor) and not each.is_mkldnn)
        self.nbytes = max([self.nbytes, *(each.nbytes for each in made if each.data_ptr() not in given)])  # views make none
        return out


def batch_size(image: Float[Tensor, "1 3 h w"], look: Look, network: nn.Module) -> int:
    """Compute how many images like this one `look`, a function of the network, takes together; it looks at this one twice."""
    sizes = _sizes.setdefault(network, {})
    key = image.shape, image.dtype
    if key not in sizes:
        look(image)  # what is computed once, such as folded weights, does not count
        with _LargestOutput() as measured:
            look(image)
        room, most = room_for_outputs(image.device)
        sizes[key] = min(max(room // measured.nbytes, 1), most)
    return sizes[key]


def room_for_outputs(device: torch.device) -> tuple[int, int]:
    """Compute the bytes that the largest output of a batch may have on a device, and how many images are batched at most."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // _TENSORS, 16 * _MOST
    return cache_bytes(), _MOST


def run_in_batches(images: Float[Tensor, "b 3 h w"], look: Look, network: nn.Module) -> Float[Tensor, "b ..."]:
    """Compute `look`, a function of the network, of prepared images, in batches that suit the device."""
    if len(images) < 2 or images.device.type not in ("cpu", "cuda"):
        return look(images)
    return torch.cat([look(part) for part in images.split(batch_size(images[:1], look, network))])


def look_by_size(prepared: Sequence[Tensor], look: Look, network: nn.Module) -> Tensor:
    """Compute `look`, a function of the network, of prepared images (1, 3, h, w), batching those of one size.

    Rows follow the order of the images, which differ in size where preprocessing's resize is "patches".
    """
    by_size: dict[torch.Size, list[int]] = {}
    for number, image in enumerate(prepared):
        by_size.setdefault(image.shape, []).append(number)
    groups = (torch.cat([prepared[number] for number in numbers]) for numbers in by_size.values())
    looked = torch.cat([run_in_batches(group, look, network) for group in groups])
    check_finite(looked)
    order = torch.tensor([number for numbers in by_size.values() for number in numbers])
    return looked if len(by_size) == 1 else looked[order.argsort().to(looked.device)]
