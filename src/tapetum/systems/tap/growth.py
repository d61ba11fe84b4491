"""Growth of a trained TAPIR network into a larger one that computes the same, from which training continues.

Source: Net2Net (arXiv 1511.05641), with zeros beside its copies. What is new is of three kinds:

    channels of the backbone, matching heads,     as initialised; what reads them has zero weights for them, where it
    hidden units of the mixer's MLPs              computes an old channel
    blocks, channels of the lowres features       the last layer before them is zero, so that a block is the identity
    channels of the mixer                         copies of the old ones, since a layer norm reads all of them; what reads
                                                  them divides the old weight among the copies, unevenly, so that they
                                                  do not learn the same

Differs from the paper: only the mixer's channels are copied, and nothing is perturbed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.layers import Backbone, MixerBlock, PreActBlock
from tapetum.systems.tap.matching import Matching
from tapetum.systems.tap.model import Tapir


@torch.no_grad()
def grow_network(trained: Tapir, config: TapirConfig) -> Tapir:
    """Make a network of the sizes of `config` that gives the same tracks as `trained`, up to rounding.

    At equal sizes it has the same weights. New weights come from torch's default generator. Raises BadInput for sizes that
    cannot be reached this way.
    """
    check_growth(trained.config, config)
    model = Tapir(config)
    _grow_backbone(trained.backbone, model.backbone)
    _grow_matching(trained.matching, model.matching)
    _grow_mixer(trained, model)
    return model


def check_growth(old: TapirConfig, new: TapirConfig) -> None:
    """Raise BadInput if `grow_network` cannot make a network of `new` from one of `old`."""
    for name in ("strides", "pyramid_level", "extra_convs", "extra_expansion", "mixer_expansion", "hires_dim"):
        if getattr(old, name) != getattr(new, name):
            raise BadInput(
                f"{name} is {getattr(old, name)} in the weights and {getattr(new, name)} here; give weights of that size"
            )
    for name in ("stem_channels", "channels", "blocks_per_group", "matching_channels", "mixer_width", "mixer_blocks"):
        before, after = ((sizes,) if isinstance(sizes, int) else sizes for sizes in (getattr(old, name), getattr(new, name)))
        if any(a < b for a, b in zip(after, before, strict=True)):
            raise BadInput(f"{name} is {before} in the weights and {after} here; a network can only grow")
    if new.mixer_width % old.mixer_width:
        raise BadInput(f"mixer_width is {new.mixer_width}; wanted a multiple of the {old.mixer_width} in the weights")
    if new.lowres_dim > old.lowres_dim and (new.blocks_per_group[3] > 1 or new.extra_convs):
        raise BadInput("channels[3] can only grow where the last group has one block, and there are no extra_convs")


def _grow_backbone(old: Backbone, new: Backbone) -> None:
    _widen(old.stem, new.stem)
    for i, (before, after) in enumerate(zip(old.groups, new.groups, strict=True)):
        assert isinstance(before, nn.Sequential)
        assert isinstance(after, nn.Sequential)
        for j, block in enumerate(after):
            assert isinstance(block, PreActBlock)
            if j >= len(before):
                block.conv_1.weight.zero_()
                continue
            source = before[j]
            assert isinstance(source, PreActBlock)
            for name in ("norm_0", "norm_1"):
                a, b = getattr(source, name), getattr(block, name)
                b.weight[: len(a.weight)], b.bias[: len(a.bias)] = a.weight, a.bias
            last = i == len(new.groups) - 1
            _widen(source.conv_0, block.conv_0)
            _widen(source.conv_1, block.conv_1, zero_new=last)
            if source.projection is not None and block.projection is not None:
                _widen(source.projection, block.projection, zero_new=last)
    new.extra.load_state_dict(old.extra.state_dict())


def _grow_matching(old: Matching, new: Matching) -> None:
    for name in ("trunk", "position", "occlusion_conv", "occlusion_hidden", "occlusion_out"):
        _widen(getattr(old, name), getattr(new, name))


def _grow_mixer(trained: Tapir, model: Tapir) -> None:
    old, new = trained.mixer, model.mixer
    copies = new.norm.weight.numel() // old.norm.weight.numel()
    outward, features = old.outward.out_features, model.config.lowres_dim - trained.config.lowres_dim
    # Inputs are logits, features and correlations, outputs the first two of these: new features stand before correlations.
    new.inward.weight[:, :outward] = old.inward.weight[:, :outward].repeat(copies, 1)
    new.inward.weight[:, outward + features :] = old.inward.weight[:, outward:].repeat(copies, 1)
    new.inward.bias.copy_(old.inward.bias.repeat(copies))
    for k, block in enumerate(new.blocks):
        assert isinstance(block, MixerBlock)
        if k < len(old.blocks):
            source = old.blocks[k]
            assert isinstance(source, MixerBlock)
            _copy_mixer_block(source, block, copies)
        else:
            for layer in (block.time_down, block.channel_down):
                for values in layer.parameters():
                    values.zero_()
    new.norm.weight.copy_(old.norm.weight.repeat(copies))
    new.outward.weight.zero_()
    new.outward.bias.zero_()
    new.outward.weight[:outward] = _divide(old.outward.weight, copies)
    new.outward.bias[:outward] = old.outward.bias


def _copy_mixer_block(old: MixerBlock, new: MixerBlock, copies: int) -> None:
    """Copy a block to one of `copies` times the channels: all first copies, then all second ones, and so on."""
    for name in ("time_norm", "time_up", "time_down", "channel_norm"):  # each channel on its own
        for parameter, values in getattr(old, name).named_parameters():
            getattr(getattr(new, name), parameter).copy_(values.repeat(copies, *[1] * (values.ndim - 1)))
    hidden = old.channel_up.out_features
    new.channel_up.weight[:hidden] = _divide(old.channel_up.weight, copies)
    new.channel_up.bias[:hidden] = old.channel_up.bias
    new.channel_down.weight[:, :hidden] = old.channel_down.weight.repeat(copies, 1)
    new.channel_down.weight[:, hidden:] = 0
    new.channel_down.bias.copy_(old.channel_down.bias.repeat(copies))


def _divide(weight: Float[Tensor, "o i"], copies: int) -> Float[Tensor, "o i2"]:
    """Divide each weight among the copies of its input, at random; with two copies each gets a quarter to three quarters."""
    if copies == 1:
        return weight
    share = torch.rand(copies, *weight.shape, device=weight.device) + 0.5
    return torch.cat([*(weight * share / share.sum(0))], 1)


def _widen(old: nn.Module, new: nn.Module, zero_new: bool = False) -> None:
    """Copy a layer into one with more inputs and outputs; old outputs do not read new inputs, new ones may be zero."""
    before, after = (layer.get_parameter("weight") for layer in (old, new))
    outward, inward = before.shape[:2]
    if zero_new:
        after[outward:] = 0
    after[:outward, inward:] = 0
    after[:outward, :inward] = before
    if getattr(old, "bias", None) is not None:
        new.get_parameter("bias")[:outward] = old.get_parameter("bias")
