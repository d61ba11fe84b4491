"""FLOPs of a step in closed form: a rule for each kind of layer, from shapes alone. Nothing is computed.

The second of two engines; the first (`flops`) counts operations as they run. Here only the calls of layers are observed, and a
rule gives the cost of each: forward; in backward a gradient for the input, if the input needs one, and for the weight, if
it learns. The model and its inputs are on the device "meta", which has shapes and no memory, so any batch size works:

    with torch.device("meta"):
        model, images = ViT(...), torch.empty(4096, 3, 224, 224)
    closed_form(lambda: model(images).pooled)

One multiply-add is 2 FLOPs. What counts and what doesn't is as in `flops`. Rules are found by the class of a layer or a base
class (`RULES`), or are the layer's own: a method `own_products(args, kwargs, output)` that lists `Product`s. Products
written out between layers are detected by the torch functions that they call (`FUNCTIONS`), unless a layer with a rule
is being called.

A rule covers the work of its own class, not of the layers inside it, which are observed too. On a real CPU a kernel may bypass
the layers if nothing is learned, so only counts on "meta" are complete; `closed_form` refuses others.

Activations recomputed by checkpointing are not counted, because no backward runs; the scores of fused attention, which its
backward recomputes, are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tapetum.account.flops import current, observed_layers
from tapetum.account.products import matmul
from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class Product:
    """A product of two arrays in a forward pass."""

    flops: int
    """Of the forward."""
    gradients: int
    """How many of the two need a gradient; each costs as much as the forward."""
    again: int = 0
    """FLOPs that the backward pass does again, as fused attention does its scores."""


@dataclass
class Work:
    """FLOPs of a part."""

    forward: int = 0
    backward: int = 0
    """With `recomputed`."""
    recomputed: int = 0
    """Part of backward that repeats the forward pass."""


@dataclass(frozen=True)
class ClosedForm:
    """FLOPs of one call and of the backward pass that would follow."""

    parts: dict[str, Work] = field(default_factory=dict)
    """By the part of the model that computes the forward (`tapetum.account.flops`)."""

    @property
    def forward(self) -> int:
        """Sum the FLOPs of the forward pass over all parts."""
        return sum(work.forward for work in self.parts.values())

    @property
    def backward(self) -> int:
        """Sum the FLOPs of the backward pass over all parts."""
        return sum(work.backward for work in self.parts.values())

    @property
    def recomputed(self) -> int:
        """Count the FLOPs of the backward pass that repeat the forward pass."""
        return sum(work.recomputed for work in self.parts.values())

    @property
    def total(self) -> int:
        """Count the FLOPs that the hardware executes."""
        return self.forward + self.backward

    @property
    def model(self) -> int:
        """Count the FLOPs that the mathematics requires: `total` without repeated work."""
        return self.total - self.recomputed

    def by_part(self) -> dict[str, int]:
        """List forward FLOPs by part, and all of backward as one part, as in `flops.Flops.by_part`."""
        forward = {name: work.forward for name, work in self.parts.items()}
        return {**forward, "backward": self.backward} if self.backward else forward


def closed_form(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ClosedForm:
    """Call `fn`, whose models and inputs are on "meta", and return the cost of it and its backward pass.

    Raises BadInput if the output has memory: on another device not all layers are observed.

    >>> with torch.device("meta"):
    ...     layer, rows = nn.Linear(3, 5), torch.empty(2, 3)
    >>> closed_form(layer, rows).by_part()
    {'model': 60, 'backward': 60}
    """
    result = ClosedForm()
    calls: list[tuple[Rule | None, str]] = []  # rules and parts of the layers that are being called, outermost first

    def add(part: str, products: Iterable[Product]) -> None:
        work = result.parts.setdefault(part, Work())
        for product in products:
            work.forward += product.flops
            if product.gradients:
                work.backward += product.flops * product.gradients + product.again
                work.recomputed += product.again

    def leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        rule, part = calls.pop()
        if rule is not None and output is not None:  # else the layer raised an error
            add(part, rule(module, args, kwargs, output))

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in FUNCTIONS and not any(rule for rule, _ in calls):
                add(current(), FUNCTIONS[func](*args, **(kwargs or {})))
            return func(*args, **(kwargs or {}))

    with observed_layers(lambda layer: calls.append((rule_of(layer), current())), leave), Functions():
        output = fn(*args, **kwargs)
    if any(leaf.device.type != "meta" for leaf in tree_leaves(output) if isinstance(leaf, Tensor)):
        raise BadInput('the closed form was asked about a model with memory; make it and its inputs on the device "meta"')
    return result


Rule = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], Iterable[Product]]
"""From a layer, what it was called with, and what it gave, to its own products."""


def rule_of(module: nn.Module) -> Rule | None:
    """Find the rule of a layer: its own method, or that of its class or of its first base class with one."""
    if hasattr(module, "own_products"):
        return lambda layer, args, kwargs, output: layer.own_products(args, kwargs, output)
    for kind in type(module).__mro__:
        rule = RULES.get(f"{kind.__module__}.{kind.__qualname__}")
        if rule is not None:
            return rule
    return None


def needs(*values: Tensor | None) -> int:
    """Count how many of these currently need a gradient."""
    return sum(value is not None and value.requires_grad for value in values) if torch.is_grad_enabled() else 0


def attention(shape: Sequence[int], keys: int, learns: bool, fused: bool, value_width: int | None = None) -> list[Product]:
    """List scores and sums of values, for queries of `shape` (..., n, channels of all heads)."""
    queries = prod(shape[:-1])
    scores = 2 * matmul(queries, shape[-1], keys)
    values = 2 * matmul(queries, keys, shape[-1] if value_width is None else value_width)
    return [Product(scores, 2 * learns, scores if fused else 0), Product(values, 2 * learns)]


def _matmul(a: Tensor, b: Tensor, **_: Any) -> list[Product]:
    return [Product(2 * a.numel() * (b.shape[-1] if b.ndim > 1 else 1) * _repeats(a, b), needs(a, b))]


def _repeats(a: Tensor, b: Tensor) -> int:
    """Count how often each matrix of `a` is multiplied: more than once if `b` has leading axes that `a` lacks."""
    every = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return prod(every) // max(prod(a.shape[:-2]), 1)


def _functional_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> list[Product]:
    return [Product(2 * x.numel() * len(weight), needs(x, weight))]


def _linear(layer: nn.Linear, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> list[Product]:
    x = _first(args, kwargs)
    return [Product(2 * x.numel() * layer.out_features, needs(x, layer.weight))]


def _convolution(layer: _ConvNd, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> list[Product]:
    """Every weight meets every cell once: of the output, or of the input if the convolution is transposed.

    Cells are counted by their number of values, because a subclass may put the channels last.
    """
    x = _first(args, kwargs)
    transposed = isinstance(layer, _ConvTransposeNd)
    cells = x.numel() // layer.in_channels if transposed else output.numel() // layer.out_channels
    return [Product(2 * cells * layer.weight.numel(), needs(x, layer.weight))]


def _recurrent(layer: nn.RNNBase, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> list[Product]:
    x = _first(args, kwargs)
    tokens = prod(x.shape[:-1])
    return [Product(2 * tokens * w.numel(), 1 + needs(w) if needs(w, x) else 0) for w in layer.parameters() if w.ndim == 2]


def _multi_head(layer: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> list[Product]:
    """Projections are written out there, not called."""
    query, key, value = (args[i] if len(args) > i else kwargs[name] for i, name in enumerate(("query", "key", "value")))
    width, weight = layer.embed_dim, layer.in_proj_weight if layer.in_proj_weight is not None else layer.q_proj_weight
    into = [Product(2 * x.numel() * width, needs(x, weight)) for x in (query, key, value)]
    learns = needs(query, key, value, weight) > 0
    keys = key.shape[-2 if layer.batch_first or key.ndim == 2 else 0]
    fused = not (args[4] if len(args) > 4 else kwargs.get("need_weights", True))
    out = Product(2 * query.numel() * width, learns + needs(layer.out_proj.weight))
    return [*into, *attention(query.shape, keys, learns, fused), out]


def _block_attention(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> list[Product]:
    """`tapetum.layers.transformer.Attention`; its linear layers are counted separately."""
    x = _first(args, kwargs)
    context = args[1] if len(args) > 1 else kwargs.get("context")
    context = x if context is None else context
    learns = needs(x, context, layer.query.weight, layer.key.weight, layer.value.weight) > 0
    fused = not needs(kwargs.get("mask"))
    return attention((*x.shape[:2], layer.heads * layer.head_width), context.shape[1], learns, fused)


def _decoder_attention(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> list[Product]:
    """`tapetum.encoders.decoder.DecoderAttention`."""
    x, cache, config = args[0], args[3] if len(args) > 3 else kwargs.get("cache"), layer.config
    keys = x.shape[1] if cache is None else cache.length
    learns = needs(x, layer.query_key_value.weight) > 0
    return attention((*x.shape[:2], config.heads * config.head_width), keys, learns, config.attention_soft_cap is None)


def _window_attention(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> list[Product]:
    """`tapetum.encoders.swin.WindowAttention`: a learned bias on the logits keeps it from being fused."""
    x = _first(args, kwargs)
    learns = needs(x, layer.qkv.weight) > 0
    return attention(x.shape, layer.window**2, learns, not needs(layer.offset_bias))


def _self_attention(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> list[Product]:
    """Attention on tokens (b, n, c), with linear layers that are called: timm's and Hugging Face's."""
    x = _first(args, kwargs)
    learns = needs(x, *layer.parameters()) > 0
    return attention(x.shape, x.shape[-2], learns, True)


def _torchvision_window(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> list[Product]:
    """torchvision's `ShiftedWindowAttention`, whose linear layers are written out, on cells (b, h, w, c)."""
    x, (rows, columns) = _first(args, kwargs), layer.window_size
    b, h, w, c = x.shape
    shape = b, -(-h // rows) * rows * -(-w // columns) * columns, c
    learns = needs(x, layer.qkv.weight) > 0
    cells = 2 * prod(shape) * c
    around = [Product(3 * cells, needs(x, layer.qkv.weight)), Product(cells, learns + needs(layer.proj.weight))]
    return [*around, *attention(shape, rows * columns, learns, False)]


RULES: dict[str, Rule] = {
    "torch.nn.modules.linear.Linear": _linear,
    "torch.nn.modules.conv._ConvNd": _convolution,
    "torch.nn.modules.rnn.RNNBase": _recurrent,
    "torch.nn.modules.activation.MultiheadAttention": _multi_head,
    "tapetum.layers.transformer.Attention": _block_attention,
    "tapetum.encoders.decoder.DecoderAttention": _decoder_attention,
    "tapetum.encoders.swin.WindowAttention": _window_attention,
    "timm.layers.attention.Attention": _self_attention,
    "timm.models.vision_transformer.Attention": _self_attention,
    "timm.models.swin_transformer.WindowAttention": _self_attention,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": _torchvision_window,
    "transformers.models.vit.modeling_vit.ViTAttention": _self_attention,
    "transformers.models.vit_mae.modeling_vit_mae.ViTMAEAttention": _self_attention,
    "transformers.models.clip.modeling_clip.CLIPAttention": _self_attention,
    "transformers.models.siglip.modeling_siglip.SiglipAttention": _self_attention,
    "transformers.models.dinov2.modeling_dinov2.Dinov2Attention": _self_attention,
}
"""Rules by module and name of a class; add one for a layer of your own, or give it `own_products`."""

FUNCTIONS: dict[Any, Callable[..., Iterable[Product]]] = {
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.bmm, Tensor.bmm), _matmul),
    F.linear: _functional_linear,
}
"""What functions of torch cost that are called outside of all layers that have a rule."""


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    return args[0] if args else next(value for value in kwargs.values() if isinstance(value, Tensor))
