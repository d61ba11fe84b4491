"""FLOPs of a forward and backward pass, counted operation by operation as they run, in all and by part of the model.

One multiply-add is 2 FLOPs. Only operations that multiply matrices are counted: linear layers, convolutions, attention; not
elementwise arithmetic, norms, softmax, resampling. torch's own counter traverses the operations; this module adds formulas
where it misses or miscounts some:

- scaled dot-product attention on the CPU and the fused encoder layers of eval mode count as zero there;
- recurrent layers in one operation (LSTM on the CPU, all on cuDNN) count as zero there;
- the gradient of a grouped convolution's weight counts `groups` times too much there (a depthwise layer, by its channels);
- matrix-vector products count as zero there.

Conventions: attention counts as dense, whether masked, causal or neither. Its fused backward is 5/2 of its forward, because it
recomputes the scores (unfused: twice). Activations recomputed in backward (checkpointing) count as backward. Both are work
that the hardware does and the mathematics does not require: `recomputed`.

On the device "meta" tensors have shapes and no memory, so a step of any size can be counted: `count_on_meta`.

Parts are tracked by hooks on modules' calls; models and losses need no code for it:

    with by_part({"encoder": model.encoder, "teacher": teacher}):
        count_flops(loss)

The innermost named module wins. Computation in a loss outside of all of them is `loss`; without names everything is `model`.
Backward passes are a separate part, `backward`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

UNNAMED = "model"
"""The part of everything where no parts are named."""
OUTSIDE = "loss"
"""The part of what is computed in no module that has a name: a table of similarities, k-means."""

_stacks: list[list[str]] = []
"""Names of the modules that are being called, outermost first, for each `by_part` that is open."""


def current() -> str:
    """Get the name of the part that is being computed."""
    return _stacks[-1][-1] if _stacks else UNNAMED


@contextmanager
def by_part(parts: Mapping[str, nn.Module]) -> Iterator[None]:
    """Attribute computation inside the block to `parts`; a module shared by two belongs to the later one.

    >>> import torch
    >>> layer = nn.Linear(2, 2)
    >>> hook = layer.register_forward_pre_hook(lambda *_: print(current()))
    >>> with by_part({"head": layer}):
    ...     print(current())
    ...     _ = layer(torch.zeros(1, 2))
    loss
    head
    """
    if not parts:
        yield
        return
    names = {id(module): name for name, part in parts.items() for module in part.modules()}
    stack, own = [OUTSIDE], get_ident()  # torch's hooks are of the whole process

    def enter(layer: nn.Module, _: Any) -> None:
        if get_ident() == own:
            stack.append(names.get(id(layer), stack[-1]))

    def leave(*_: Any) -> None:
        if get_ident() == own:
            stack.pop()

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
    _stacks.append(stack)
    try:
        yield
    finally:
        _stacks.pop()
        for hook in hooks:
            hook.remove()


aten = torch.ops.aten
Shape = Sequence[int]


def matmul(rows: int, inner: int, columns: int) -> int:
    """Count the multiply-adds of the product (rows, inner) x (inner, columns)."""
    return rows * inner * columns


def attention(queries: int, keys: int, width: int, value_width: int | None = None) -> int:
    """Count the multiply-adds of scores and sums of values, of all heads together, without projections.

    >>> attention(4, 4, 8)
    256
    """
    return matmul(queries, width, keys) + matmul(queries, keys, width if value_width is None else value_width)


@dataclass(frozen=True)
class Flops:
    """Counts of one call."""

    forward: int
    backward: int
    by_op: dict[str, tuple[int, int]]
    """Operation to (forward, backward); the sums are the totals."""
    by_part: dict[str, int] = field(default_factory=dict)
    """Forward by the part of the model (`tapetum.account.flops`), and backward; the sum is the total."""
    recomputed: int = 0
    """Part of backward that repeats the forward pass: checkpointed activations, the scores of fused attention."""

    @property
    def total(self) -> int:
        """Count the FLOPs that the hardware executes."""
        return self.forward + self.backward

    @property
    def model(self) -> int:
        """Count the FLOPs that the mathematics requires: `total` without repeated work."""
        return self.total - self.recomputed


def count_flops(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Flops:
    """Run `fn(*args, **kwargs)` and, if its output needs gradients, the backward pass of the sum of the output.

    Gradients of parameters accumulate as in any backward pass; everything else is as after a plain call.

    >>> count_flops(torch.nn.Linear(3, 5), torch.zeros(2, 3)).by_op
    {'addmm': (60, 0), 'mm': (0, 60)}
    """
    with _Counter() as forward:
        out = fn(*args, **kwargs)
    leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.requires_grad]
    with _Counter(backward=True) as backward:
        if leaves:
            torch.stack([leaf.sum().float() for leaf in leaves]).sum().backward()
    first, second = _by_name(forward), _by_name(backward)
    by_op = {name: (first.get(name, 0), second.get(name, 0)) for name in {**first, **second}}
    total = sum(second.values())
    by_part = {name: sum(counts.values()) for name, counts in forward.flop_counts.items() if name != _ALL}
    by_part = {name: count for name, count in by_part.items() if count} | ({"backward": total} if total else {})
    return Flops(sum(first.values()), total, by_op, by_part, backward.recomputed)


def count_on_meta(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Flops:
    """Count a call whose models and inputs are on "meta" as it would run elsewhere, where attention is fused.

    >>> with torch.device("meta"):
    ...     layer, rows = nn.Linear(3, 5), torch.empty(2, 3)
    >>> count_on_meta(layer, rows).by_part
    {'model': 60, 'backward': 60}
    """
    with FusedAttention():
        return count_flops(fn, *args, **kwargs)


class FusedAttention(TorchFunctionMode):
    """Runs attention on "meta" as the CPU's fused operation; torch would take the plain one, which saves all scores."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _fused_attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    shapes_fit = query.dim() == 4 and query.shape[-1] == value.shape[-1]  # all that the fused operation takes
    learned_mask = attn_mask is not None and attn_mask.requires_grad
    if query.device.type != "meta" or not shapes_fit or learned_mask:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scale)[0]


_ALL = "Global"
"""Under this name torch's counter keeps all that it counts."""


class _Tracker:
    """Replaces the counter's tracker of modules: counts belong to the part that is being computed.

    The tracker registers hooks on the inputs of modules, and fails without gradients if one is a view of a parameter.
    """

    @property
    def parents(self) -> set[str]:
        return {_ALL, current()}

    def __enter__(self) -> "_Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Counter(FlopCounterMode):
    """Counts by operation and part, and in a backward pass the work that forward has done before."""

    def __init__(self, backward: bool = False):
        super().__init__(display=False, custom_mapping=FORMULAS)
        self.mod_tracker = _Tracker()  # type: ignore[assignment]
        self.recomputed, self._backward = 0, backward

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        if not self._backward:
            return super()._count_flops(func_packet, out, args, kwargs)
        counts = self.flop_counts[_ALL]
        before = counts[func_packet]
        out = super()._count_flops(func_packet, out, args, kwargs)
        if torch.is_grad_enabled():  # in a backward pass only what a checkpoint does again records gradients
            self.recomputed += counts[func_packet] - before
        elif func_packet in _SCORES_AGAIN:
            query, key = args[1].shape, args[2].shape
            self.recomputed += 2 * matmul(prod(query[:-1]), query[-1], key[-2])
        return out


def _by_name(counter: FlopCounterMode) -> dict[str, int]:
    counts = counter.flop_counts.get(_ALL, {})
    return {str(op).rpartition(".")[2]: int(count) for op, count in counts.items() if count}


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return 2 * attention(prod(query[:-1]), key[-2], query[-1], value[-1])


def _attention_backward(_grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    scores = 2 * matmul(prod(query[:-1]), query[-1], key[-2])  # computed again, and again for the gradients of query and key
    values = 2 * matmul(prod(query[:-1]), key[-2], value[-1])  # for the gradients of the weights and of the values
    return 3 * scores + 2 * values


def _convolution(
    x: Shape, weight: Shape, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool, *_: Any,
    out_shape: Shape, **__: Any,
) -> int:  # fmt: skip
    return 2 * x[0] * prod((x if transposed else out_shape)[2:]) * prod(weight)


def _convolution_backward(
    grad: Shape, x: Shape, weight: Shape, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool,
    _output_padding: Any, _groups: int, output_mask: Sequence[bool], *_: Any, **__: Any,
) -> int:  # fmt: skip
    each = 2 * x[0] * prod((x if transposed else grad)[2:]) * prod(weight)
    return each * (output_mask[0] + output_mask[1])


def _multi_head_attention(query: Shape, key: Shape, _value: Shape, width: int, *_: Any, **__: Any) -> int:
    batch, queries = query[:2]
    keys = key[-2]
    projections = 2 * matmul(batch * queries, width, width) + 2 * matmul(batch * keys, width, width)
    return 2 * (projections + attention(batch * queries, keys, width))


def _encoder_layer(x: Tensor, width: int, *rest: Any, out_val: Any = None, **__: Any) -> int:
    """A whole encoder layer in one operation; padding that was removed (a nested tensor) costs nothing."""
    lengths = [len(row) for row in x.unbind()] if x.is_nested else [x.shape[1]] * x.shape[0]
    hidden = rest[_FFN_WEIGHT_1].shape[0]
    return 2 * (sum(lengths) * width * (4 * width + 2 * hidden) + sum(attention(n, n, width) for n in lengths))


_encoder_layer._get_raw = True  # the counter then gives tensors, not shapes, which nested tensors don't have


def _recurrent(x: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    """Recurrent layers on cuDNN: every weight matrix once per time step of each sequence."""
    return 2 * x[0] * x[1] * sum(prod(weight) for weight in weights if len(weight) == 2)


def _recurrent_mkldnn(x: Shape, input_weight: Shape, hidden_weight: Shape, *_: Any, **__: Any) -> int:
    return _recurrent(x, [input_weight, hidden_weight])


def _twice(forward: Callable[..., int]) -> Callable[..., int]:
    """Backward where every product has two gradients, and the arguments begin as in forward."""
    return lambda *args, **kwargs: 2 * forward(*args, **kwargs)


def _matrix_vector(matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


_FFN_WEIGHT_1 = [argument.name for argument in aten._transformer_encoder_layer_fwd.default._schema.arguments].index(
    "ffn_weight_1"
) - 2

FORMULAS: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten._scaled_dot_product_fused_attention_overrideable: _attention,
    aten._scaled_dot_product_fused_attention_overrideable_backward: _attention_backward,
    aten._scaled_dot_product_attention_math_for_mps: _attention,
    aten._native_multi_head_attention: _multi_head_attention,
    aten._transformer_encoder_layer_fwd: _encoder_layer,
    aten.convolution: _convolution,
    aten.convolution_backward: _convolution_backward,
    aten.mkldnn_rnn_layer: _recurrent_mkldnn,
    aten.mkldnn_rnn_layer_backward: _twice(_recurrent_mkldnn),
    aten._cudnn_rnn: _recurrent,
    aten._cudnn_rnn_backward: _twice(_recurrent),
    torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_, **__: 2 * matmul(prod(x[:-1]), x[-1], weight[0]),
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.addmv: lambda _self, matrix, *_, **__: 2 * prod(matrix),
}
"""Formulas by operation, each a function of the shapes of its arguments."""

_SCORES_AGAIN = {
    aten._scaled_dot_product_flash_attention_for_cpu_backward,
    aten._scaled_dot_product_fused_attention_overrideable_backward,
    aten._scaled_dot_product_flash_attention_backward,
    aten._scaled_dot_product_efficient_attention_backward,
    aten._scaled_dot_product_cudnn_attention_backward,
}
"""Backward passes that begin with the product of queries and keys; they get (gradient, query, key, ...)."""
