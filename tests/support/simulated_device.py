"""A simulated accelerator, `sim`: it computes on the CPU, keeps the rules of a GPU, and counts what a GPU would wait for.

torch's private-use backend, registered from Python. A tensor of the device wraps one of the CPU in which its numbers are. What
a GPU refuses is refused: an operation on it and a tensor of the CPU of one dimension or more, a generator of another device,
`numpy()`. `counted` counts what lets the host wait for a GPU until all that was asked for before is computed:

    item         `item()`, `tolist()` of a number, `bool()`, `float()`, `int()`, `torch.equal`, a check of torch.linalg
    to host      a copy to the CPU
    from host    a copy from the CPU without non_blocking, such as torch.tensor(numbers, device=...)
    shape        a result whose shape its numbers decide: nonzero, x[mask], unique

Random numbers are those of the CPU's generator of the same seed, so whole runs on it equal those on the CPU.

The registration holds for the process and cannot be undone: only processes of their own do it (`support.simulated`).
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "sim"
DEVICE = torch.device("privateuseone:0")


class Waits(Counter[str]):
    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()
        """The same by the line of the package that let it wait."""


_counting: list[Waits] = []

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_BY_ITEM = {
    _aten._local_scalar_dense.default,
    _aten.equal.default,
    _aten.is_nonzero.default,
    _aten._linalg_check_errors.default,
}
_BY_SHAPE = {"nonzero", "nonzero_numpy", "masked_select", "unique_dim", "_unique", "_unique2", "unique_consecutive", "bincount"}
_FACTORIES = ("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step", "linspace", "logspace")
_MORE_FACTORIES = ("eye", "eye.m", "randperm", "randperm.generator", "tril_indices", "triu_indices", "full", "scalar_tensor")


class SimulatedTensor(Tensor):
    """A tensor of the device; `numbers` is the one of the CPU that it wraps."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "SimulatedTensor":
        self = Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        self.numbers = numbers
        return self

    def __repr__(self, **_: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Show the numbers, which counts as nothing: it is for people who look for an error."""
        return f"simulated({self.numbers!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU, where a GPU would not refuse."""
        return _compute(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse what needs the CPU's memory; all else goes its way."""
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")
        if func is Tensor.data_ptr:
            return args[0].numbers.data_ptr()
        if func is Tensor.untyped_storage:
            return args[0].numbers.untyped_storage()
        if func is Tensor.storage:  # by which safetensors looks for weights that are tied
            return args[0].numbers.storage()
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


class Generator(torch.Generator):
    """In the place of torch's: with the device's name it is one of the CPU that says it is the device's."""

    simulated: bool

    def __new__(cls, device: Any = "cpu") -> "Generator":
        """Make one; torch itself cannot, for a device that is registered from Python."""
        simulated = torch.device(device).type == NAME
        self = super().__new__(cls, "cpu" if simulated else device)  # pyright: ignore[reportCallIssue]
        self.simulated = simulated
        return self

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return DEVICE if self.simulated else super().device


class _SameGenerator(TorchFunctionMode):
    """Refuses a generator of another device than that of the numbers to draw."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compare the devices, where a generator is given by its name."""
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is not None and func is not torch.Generator:
            tensor = next((x for x in (*args, kwargs.get("tensor")) if isinstance(x, Tensor)), None)
            device = tensor.device if tensor is not None else torch.device(kwargs.get("device") or "cpu")
            if device.type != generator.device.type:
                raise RuntimeError(
                    f"Expected a '{device.type}' device type for generator but found '{generator.device.type}' in {func}"
                )
        return func(*args, **kwargs)


class _Module:
    """What `torch.sim` is: the functions that torch asks a device's module for."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Nothing: its numbers come from the CPU's generator, which has been seeded."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def get_rng_state(device: Any = None) -> Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    @staticmethod
    def synchronize(device: Any = None) -> None:
        _count("synchronize")

    @staticmethod
    @contextmanager
    def device(index: Any) -> Iterator[None]:
        yield


def _count(kind: str) -> None:
    if not _counting:
        return
    frames = [frame for frame in traceback.extract_stack(limit=40) if "/tapetum/" in frame.filename]
    place = f"{frames[-1].filename.rpartition('/tapetum/')[2]}:{frames[-1].lineno} {frames[-1].line}" if frames else "elsewhere"
    for waits in _counting:
        waits[kind] += 1
        waits.places[f"{kind}: {place}"] += 1


@contextmanager
def counted() -> Iterator[Waits]:
    _counting.append(Waits())
    try:
        yield _counting[-1]
    finally:
        _counting.pop()


def _is_cpu_array(x: Any) -> bool:
    return isinstance(x, Tensor) and not isinstance(x, SimulatedTensor) and x.device.type == "cpu" and x.dim() > 0


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func in _COPIES:
        return _copy(func, args, kwargs)
    name = func.__name__.split(".")[0]
    flat = [x for value in (*args, *kwargs.values()) for x in (value if isinstance(value, list | tuple) else (value,))]
    mixed = next((x for x in flat if _is_cpu_array(x)), None)
    if mixed is not None:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu, in {func}: "
            f"the one of the CPU is {tuple(mixed.shape)}, {mixed.dtype}"
        )
    if kwargs.get("device") is not None:
        if torch.device(kwargs["device"]).type not in (NAME, "meta"):
            raise RuntimeError(f"{func} asks for {kwargs['device']} with a tensor of {NAME}")
        kwargs = {**kwargs, "device": "cpu"}
    if func in _BY_ITEM:
        _count("item")
    elif name in _BY_SHAPE or _selects_by_mask(name, args) or (name == "repeat_interleave" and not kwargs.get("output_size")):
        _count("shape")
    result = func(*tree_map(_inside, args), **tree_map(_inside, kwargs))
    if func._schema.is_mutable:
        return _given(func, args, kwargs, result)
    return tree_map(_outside, result)


def _inside(x: Any) -> Any:
    return x.numbers if isinstance(x, SimulatedTensor) else x


def _outside(x: Any) -> Any:
    return SimulatedTensor(x) if isinstance(x, Tensor) and not isinstance(x, SimulatedTensor) else x


def _given(func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> Any:
    """The arguments that an operation has changed, where it returns them."""
    wrappers = {id(x.numbers): x for x in _leaves((args, kwargs)) if isinstance(x, SimulatedTensor)}
    for wrapper in wrappers.values():
        assert wrapper.shape == wrapper.numbers.shape, f"{func} changes a shape, which this device has no way to do"
    return tree_map(lambda x: wrappers[id(x)] if id(x) in wrappers else _outside(x), result)


def _leaves(tree: Any) -> list[Any]:
    return tree_leaves(tree)


def _selects_by_mask(name: str, args: Any) -> bool:
    """Indexing by a mask of booleans, which asks how many are set; a single number is put there without."""
    if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return False
    masks = any(isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8) for x in args[1])
    return masks and (name == "index" or args[2].numel() != 1)


def _copy(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Copies from and to the CPU, and of a tensor in its place."""
    if func is _aten.copy_.default:
        target, source = args[:2]
        _count_copy(source, target.device, kwargs.get("non_blocking", len(args) > 2 and args[2]))
        _inside(target).copy_(_inside(source))
        return target
    device = torch.device(kwargs.pop("device", None) or DEVICE)
    non_blocking = kwargs.pop("non_blocking", False)
    _count_copy(args[0], device, non_blocking)
    result = func(_inside(args[0]), device="cpu" if device.type == NAME else device, **kwargs)
    return SimulatedTensor(result) if device.type == NAME else result


def _count_copy(source: Tensor, device: torch.device, non_blocking: bool) -> None:
    here = isinstance(source, SimulatedTensor)
    if here and device.type == "cpu":
        _count("to host")
    elif not here and device.type == NAME and not non_blocking:
        _count("from host")


def _factory(name: str) -> Any:
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(_aten, packet), overload or "default")

    def make(*args: Any, **kwargs: Any) -> SimulatedTensor:
        kwargs = {**kwargs, "device": "cpu", "pin_memory": False}
        return SimulatedTensor(operation(*args, **kwargs))

    return make


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    return _copy(_aten.copy_.default, (target, source, non_blocking), {})


_LOWER = (
    *("linear", "matmul", "mm", "mv", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "einsum", "scaled_dot_product_attention"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input"),
)
_FULL = (
    *("exp", "log", "log2", "rsqrt", "pow.Tensor_Scalar", "sum.dim_IntList", "prod", "cumsum", "softmax.int"),
    *("log_softmax.int", "layer_norm", "group_norm", "cross_entropy_loss", "nll_loss", "mse_loss", "l1_loss"),
    *("smooth_l1_loss", "huber_loss"),
    *("binary_cross_entropy_with_logits", "cosine_similarity", "norm.ScalarOpt_dim", "linalg_vector_norm"),
)
_WIDEST = ("addcdiv", "addcmul", "bilinear", "cross", "dot", "grid_sampler", "index_put", "tensordot", "scatter_add")
"""By what autocast of torch does to operations on CUDA: in the type that was chosen, in float32, in the widest of all."""


def _autocast(name: str) -> Any:
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(_aten, packet), overload or "default")

    def compute(*args: Any, **kwargs: Any) -> Any:
        real = [x.dtype for x in _leaves((args, kwargs)) if isinstance(x, Tensor) and x.is_floating_point()]
        dtype = torch.get_autocast_dtype(NAME) if name in _LOWER else torch.float32
        if name in _WIDEST and torch.float32 not in real:
            dtype = torch.get_autocast_dtype(NAME)

        def cast(x: Any) -> Any:
            fits = isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64 and x.device.type == NAME
            return x.to(dtype) if fits else x

        with torch.autocast(NAME, enabled=False):
            return operation(*tree_map(cast, args), **tree_map(cast, kwargs))

    return compute


_registered: list[Any] = []


def register() -> torch.device:
    """Register the device in this process, once; returns it."""
    global DEVICE
    if not _registered:
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        DEVICE = torch.device(NAME, 0)
        kernels = torch.library.Library("aten", "IMPL")
        for name in (*_FACTORIES, *_MORE_FACTORIES):
            kernels.impl(name, _factory(name), "PrivateUse1")
        kernels.impl("_copy_from", _copy_from, "PrivateUse1")
        for name in (*_LOWER, *_FULL, *_WIDEST):
            kernels.impl(name, _autocast(name), "AutocastPrivateUse1")
        others = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
        others.fallback(torch.library.fallthrough_kernel)
        torch.Generator = Generator  # pyright: ignore[reportAttributeAccessIssue]
        torch.inference_mode = torch.no_grad  # whose views wrappers can be, unlike those of inference mode
        torch.__future__.set_swap_module_params_on_conversion(True)  # tied weights stay tied
        mode = _SameGenerator()
        mode.__enter__()
        _registered.extend((kernels, others, mode))
    return DEVICE
