"""HiP, the Hierarchical Perceiver: small Perceivers on groups of raw inputs, merged level by level, and a decoder with skips.

Source: HiP (arXiv 2202.10890) and its public code; with `HipConfig.flat`, Perceiver IO (arXiv 2107.14795) as that code has it.

    {name: (b, n, c)} --embed, + position codes--> groups (b, g, m, e) --block 0--> latents (b, g, k, c) --regroup, block 1-->
        ... --processor, one group--> ... --block n-1, queries + latents of block 0--> (b, g, k, c)
        --head: position codes ask within their group--> (b, g, m, e) --ungroup, unembed--> {name: (b, n, c)}

Weights are shared between the groups of a block, its latents are not. Labels (`HipConfig.labels`) enter as further inputs of
the processor and are read from it by position codes of their own.

Differs from the public code: modalities are given when a model is made, in an order of our own choice, not sorted by name;
with several data sets each modality has a projection of its codes (there the first modality of each data set shares one, and so
on); latents are given back by block and group, not cut as if they were inputs; `activation_name`, which has no effect there,
is left out; masks of padding are possible.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tapetum.core.devices import all_finite
from tapetum.core.errors import BadInput
from tapetum.systems.hip.config import HipConfig, Modalities, Preparation
from tapetum.systems.hip.grouping import Grouping, grouping
from tapetum.systems.hip.layers import CrossAttention, Linear, PositionCodes, SelfAttention, variance_scaling
from tapetum.systems.hip.masking import VisibleElements

if TYPE_CHECKING:
    from tapetum.systems.hip.embed import HipEmbedder


@dataclass(frozen=True)
class HipOutput:
    reconstruction: dict[str, Tensor]
    """(b, n, c) of each modality that was asked for."""
    features: dict[str, Tensor]
    """(b, n, e) of which each reconstruction is a linear layer; e of the embedding, for labels of the processor's inputs."""
    latents: tuple[Float[Tensor, "b g k c"], ...]
    """Latents of each block that ran; the processor's are at `config.processor`."""


class HipBlock(nn.Module):
    """Regroup, cross-attend with learned queries, self-attend."""

    def __init__(self, config: HipConfig, number: int):
        super().__init__()
        self.config, self.number = config, number
        self.groups, self.rows, self.trained_rows = config.groups[number], config.rows(number), config.trained_rows(number)
        channels = config.channels[number]
        self.latents = nn.Parameter(variance_scaling(self.groups * self.rows, channels))
        skip = config.skip(number)
        width = channels if skip is None else config.channels[skip]
        self.skip = Linear(width, channels) if width != channels else None
        self.cross = CrossAttention(
            channels, config.width_in(number), heads=config.heads(number), widening=config.cross_widening, residual=True
        )
        self.layers = nn.ModuleList(
            SelfAttention(
                channels,
                heads=config.self_heads[number],
                widening=config.self_widening,
                dropout=config.dropout,
                drop_path=config.drop_path,
            )
            for _ in range(config.self_layers[number])
        )

    def forward(
        self, x: Float[Tensor, "b h m i"], skip: Float[Tensor, "b g k s"] | None = None, mask: Tensor | None = None
    ) -> Float[Tensor, "b g k c"]:
        """Compute latents for inputs that are in groups already (`regrouped`)."""
        queries = self.latents.unflatten(0, (self.groups, self.rows)).expand(x.shape[0], -1, -1, -1)
        if self.training and self.trained_rows < self.rows:  # without replacement, for each example and group
            order = torch.rand(queries.shape[:3], device=queries.device).argsort(-1)[..., : self.trained_rows]
            queries = queries.gather(2, order[..., None].expand(-1, -1, -1, queries.shape[-1]))
        if skip is not None:
            queries = queries + (skip if self.skip is None else self.skip(skip))
        z = self.cross(queries, x, mask)
        for layer in self.layers:
            z = layer(z)
        return z


def regrouped(x: Float[Tensor, "b g n c"], groups: int, how: str) -> Float[Tensor, "b h m c"]:
    """Compute the same elements in other groups: neighbours stay together, or with transpose_reshape all groups mix.

    >>> regrouped(torch.arange(4.0).reshape(1, 4, 1, 1), 2, "reshape")[0, :, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    >>> regrouped(torch.arange(4.0).reshape(1, 2, 2, 1), 2, "transpose_reshape")[0, :, :, 0].tolist()
    [[0.0, 2.0], [1.0, 3.0]]
    """
    if how == "transpose_reshape":
        x = x.transpose(1, 2)
    return x.reshape(x.shape[0], groups, -1, x.shape[-1])


class Hip(nn.Module):
    """The network for some modalities; a pass may be given any of them."""

    def __init__(self, config: HipConfig, modalities: Modalities):
        super().__init__()
        check_names(modalities)
        self.config, self.modalities = config, dict(modalities)
        self.checkpointing = False
        """Blocks compute their activations again in backward instead of keeping them."""
        self.preparations: dict[str, Preparation] = {}
        """What is done to files' numbers before they come here, for those who read them."""
        inner = {name: m for name, m in modalities.items() if name not in config.labels}
        labels = {name: m for name, m in modalities.items() if name in config.labels}
        if not inner:
            raise BadInput("all modalities are labels; give one or more that are not")
        if labels and config.flat:
            raise BadInput("a flat Perceiver has no bottleneck for labels; leave `labels` empty")
        grouping({name: m.length for name, m in inner.items()}, config.groups[0], config.flat)  # refuses what cannot be packed
        width = config.embedding
        self.embed = nn.ModuleDict({name: Linear(m.channels, width) for name, m in inner.items()})
        self.positions = nn.ModuleDict(
            {name: PositionCodes(m, width, config, projected=config.position_projection) for name, m in inner.items()}
        )
        self.blocks = nn.ModuleList(HipBlock(config, i) for i in range(config.blocks))
        self.head = CrossAttention(width, config.channels[-1], residual=False)
        self.unembed = nn.ModuleDict({name: zero_linear(width, m.channels) for name, m in inner.items()})
        if labels:
            wide = config.width_in(config.processor)
            self.label_embed = nn.ModuleDict({name: Linear(m.channels, wide) for name, m in labels.items()})
            self.label_positions = nn.ModuleDict(
                {name: PositionCodes(m, wide, config, projected=False) for name, m in labels.items()}
            )
            self.label_head = CrossAttention(wide, config.channels[config.processor], residual=False)
            self.label_unembed = nn.ModuleDict({name: zero_linear(wide, m.channels) for name, m in labels.items()})

    def forward(
        self,
        inputs: Mapping[str, Float[Tensor, "b _n _c"]],
        kept: VisibleElements | None = None,
        decode: Collection[str] | None = None,
    ) -> HipOutput:
        """Compute latents of all blocks, and a reconstruction of the inputs.

        `inputs` are packed into groups in their order; `kept` is what is not hidden (`masking`), None hides nothing. By default
        all inputs are reconstructed; if `decode` names none that the decoder gives, blocks after the processor are not run.

        Raises BadInput for an unknown modality, a wrong shape, batches that differ, or a name in `decode` that is no input.
        """
        batch = check_inputs(inputs, self.modalities)
        decoded = set(inputs if decode is None else decode)
        if unknown := sorted(decoded - set(inputs)):
            raise BadInput(f"{unknown[0]!r} is to be decoded but is no input; inputs are {', '.join(inputs)}")
        config = self.config
        inner = [name for name in inputs if name not in config.labels]
        if not inner:
            raise BadInput("all inputs are labels; give one or more that are not")
        plan = grouping({name: inputs[name].shape[1] for name in inner}, config.groups[0], config.flat)
        queries = plan.group({name: self.positions[name]()[None] for name in inner})
        names = [name for name in inner if name in decoded]
        first = self._first_block(plan, inputs, queries, kept)
        latents, features = self._later_blocks(first, inputs, runs_decoder=bool(names))
        if names:
            features |= self._decoded(plan, names, latents[-1], queries.expand(batch, -1, -1, -1))
        features = {name: features[name] for name in inputs if name in decoded}
        outputs = {
            name: (self.unembed if name in self.unembed else self.label_unembed)[name](x) for name, x in features.items()
        }
        return HipOutput(outputs, features, tuple(latents))

    def embedder(self) -> "HipEmbedder":
        """Make the embedder of files with this network; raises BadInput if its file does not say how to read any."""
        from tapetum.systems.hip.embed import HipEmbedder

        return HipEmbedder(self)

    def _first_block(self, plan: Grouping, inputs: Mapping[str, Tensor], codes: Tensor, kept: VisibleElements | None) -> Tensor:
        """Latents of block 0. The large arrays are gone when it ends."""
        real = plan.real().to(codes.device)[None] if self.config.mask_padding and plan.padding else None
        embedded = plan.group({span.name: self.embed[span.name](inputs[span.name]) for span in plan.spans})
        x, mask = _entering(embedded, codes, kept, real)
        del embedded
        return self._run(0, x, None, mask)

    def _run(self, number: int, *inputs: Tensor | None) -> Tensor:
        block = self.blocks[number]
        recompute = self.checkpointing and torch.is_grad_enabled()
        return checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)

    def _later_blocks(
        self, first: Tensor, inputs: Mapping[str, Tensor], runs_decoder: bool
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        config, latents, features = self.config, [first], {}
        labels = [name for name in inputs if name in config.labels]
        for i in range(1, config.blocks if runs_decoder else config.processor + 1):
            x = regrouped(latents[-1], config.groups[i], config.regroup)
            if i == config.processor and labels:
                label_codes = {name: self.label_positions[name]()[None] for name in labels}
                x = torch.cat([x, *((self.label_embed[name](inputs[name]) + label_codes[name])[:, None] for name in labels)], 2)
            skip = config.skip(i)
            latents.append(self._run(i, x, None if skip is None else latents[skip], None))
            if i == config.processor:
                for name in labels:
                    query = label_codes[name][:, None].expand(len(x), -1, -1, -1)
                    features[name] = self.label_head(query, latents[-1])[:, 0]
        return latents, features

    def _decoded(self, plan: Grouping, names: list[str], latents: Tensor, queries: Tensor) -> dict[str, Tensor]:
        if not plan.flat and len(names) < len(plan.spans):
            rows = [g for s in plan.spans if s.name in names for g in range(s.first, s.first + s.groups)]
            plan = grouping_of(plan, names)
            latents, queries = latents[:, rows], queries[:, rows]
        return plan.ungroup(self.head(queries, latents), names)


def grouping_of(plan: Grouping, names: list[str]) -> Grouping:
    """Compute the groups of some modalities alone, moved together."""
    spans, first = [], 0
    for span in plan.spans:
        if span.name in names:
            spans.append(replace(span, first=first))
            first += span.groups
    return Grouping(tuple(spans), plan.width)


def _entering(
    embedded: Tensor, codes: Tensor, kept: VisibleElements | None, real: Tensor | None
) -> tuple[Float[Tensor, "b g m e"], Tensor | None]:
    """What block 0 looks at, and where it may look."""
    if kept is None:
        return embedded + codes, None if real is None else real[:, :, None]
    mask = None
    if real is not None:
        mask = kept.drop(real.expand(len(embedded), -1, -1)[..., None])[..., 0][:, :, None]
    return kept.drop(embedded + codes), mask


def zero_linear(inputs: int, outputs: int) -> Linear:
    """Build a linear layer whose outputs are zero at first."""
    layer = Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    return layer


def check_names(modalities: Modalities) -> None:
    """Raise BadInput for a name that cannot be part of a tensor's name, or no modality at all."""
    if not modalities:
        raise BadInput("there is no modality; give one or more, such as {'image': Modality((224, 224), 3)}")
    for name in modalities:
        if not name.isidentifier():
            raise BadInput(f"a modality is called {name!r}; use letters, digits and _")


def check_inputs(inputs: Mapping[str, Tensor], modalities: Modalities) -> int:
    """Check the batch size. Raises BadInput for inputs that are not those of `modalities`."""
    if not inputs:
        raise BadInput(f"there is no input; give one or more of {', '.join(modalities)}")
    sizes = {}
    for name, value in inputs.items():
        if name not in modalities:
            raise BadInput(f"{name!r} is no modality of this network, which has {', '.join(modalities)}")
        modality = modalities[name]
        if value.ndim != 3 or tuple(value.shape[1:]) != (modality.length, modality.channels):
            raise BadInput(f"{name!r} has shape {tuple(value.shape)}; wanted (batch, {modality.length}, {modality.channels})")
        if not value.is_floating_point():
            raise BadInput(f"{name!r} is {str(value.dtype).removeprefix('torch.')}; wanted floating-point numbers")
        if not all_finite(value):
            raise BadInput(f"{name!r} holds {int((~value.isfinite()).sum())} numbers that are not finite; leave them out")
        sizes[name] = len(value)
    if len(set(sizes.values())) > 1:
        raise BadInput(f"batch sizes differ: {', '.join(f'{name} {size}' for name, size in sizes.items())}; they must be one")
    return next(iter(sizes.values()))
