"""Heads on an encoder during pre-training, discarded afterwards, and code that networks with heads share."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.train.gather import all_reduce

if TYPE_CHECKING:
    from tapetum.encoders.config import ViTConfig
    from tapetum.encoders.features import Encoder
    from tapetum.encoders.vit import ViT
    from tapetum.systems.pretraining.methods.clip import Clip


class Learner(nn.Module):
    """An encoder with a method's heads on it."""

    def __init__(self, encoder: "Encoder", **heads: nn.Module):
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleDict(heads)


def projection(in_width: int, hidden: int, out_width: int, layers: int = 2, last_norm: bool = False) -> nn.Sequential:
    """Build linear layers with batch norm and ReLU between; `last_norm` adds a batch norm without gain after the last.

    SimCLR (arXiv 2002.05709, section 4.2), BYOL (2006.07733, section 3.3), MoCo v3 (2104.02057, with 3 layers).
    """
    stack = nn.Sequential()
    for _ in range(layers - 1):
        stack.extend([nn.Linear(in_width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()])
        in_width = hidden
    stack.append(nn.Linear(in_width, out_width, bias=not last_norm))
    if last_norm:
        stack.append(nn.BatchNorm1d(out_width, affine=False))
    return stack


def use_batch_statistics(teacher: nn.Module) -> Any:
    """Set batch norms in eval mode to use each batch's statistics, as those of BYOL's and DINO's teachers do; returns it."""
    for module in teacher.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training, module.track_running_stats = True, False
    return teacher


def feature_std(features: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Compute the share of the features' length that differs between images: 0 if all are the same vector.

    >>> float(feature_std(torch.ones(4, 3))), float(feature_std(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))
    (0.0, 1.0)
    """
    x = features.detach().float()
    variance = (x - x.mean(0)).square().sum() / x.square().sum().clamp(min=1e-20)
    return variance.sqrt()


@torch.no_grad()
def feature_rank(features: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Compute the effective rank of features, 1 to min(b, c): `metrics.spectrum.rank_me`, on their device.

    >>> round(float(feature_rank(torch.eye(4))), 3), round(float(feature_rank(torch.ones(4, 3))), 3)
    (4.0, 1.0)
    """
    values = torch.linalg.svdvals(features.detach().float().nan_to_num())
    shares = values / values.sum().clamp(min=1e-30) + 1e-7
    return torch.special.entr(shares).sum().exp()


class TextLearner(Learner):
    """An image encoder and a text tower on bytes, a linear layer after each, and the scale of the cosines: CLIP, SigLIP."""

    def __init__(self, encoder: "Encoder", settings: "Clip", tower: Mapping[str, Any], scale: float, bias: float | None = None):
        """`tower`: more fields of its `TextConfig`; `scale` and `bias` of the cosines begin with these and are learned."""
        from tapetum.encoders.byte_text import VOCABULARY
        from tapetum.encoders.towers import TextTransformer
        from tapetum.encoders.towers_config import TextConfig

        width = settings.width
        sizes = {"width": width, "depth": settings.depth, "heads": settings.heads, "length": settings.length}
        text = TextTransformer(TextConfig(**sizes, mlp_width=4 * width, vocabulary=VOCABULARY, **tower))
        super().__init__(
            encoder,
            image=nn.Linear(encoder.width, settings.projection, bias=False),
            text=nn.Linear(width, settings.projection, bias=False),
        )
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        if bias is not None:
            self.bias = nn.Parameter(torch.tensor(bias))
        for head, fan_in in zip(self.heads.values(), (encoder.width, width), strict=True):
            nn.init.normal_(head.weight, std=fan_in**-0.5)  # pyright: ignore[reportArgumentType]


class DinoHead(nn.Module):
    """Three layers with GELU to a unit vector, whose cosines with learned prototypes are the output.

    DINO (arXiv 2104.14294, appendix C); its weight norm with gain 1 is the unit length of the prototypes. With `gain` their
    lengths are learned from 1 on, as by DINOv2's public code.
    """

    def __init__(self, in_width: int, hidden: int, bottleneck: int, prototypes: int, gain: bool = False):
        from tapetum.layers.transformer import start_linear

        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)
        self.gain = nn.Parameter(torch.ones(prototypes, 1)) if gain else None
        self.layers.apply(start_linear)

    def forward(self, x: Float[Tensor, "b c"], frozen: bool = False) -> Float[Tensor, "b k"]:
        """Compute the cosines; `frozen`: the prototypes learn nothing."""
        weight = F.normalize(self.prototypes.weight, dim=-1)
        weight = weight if self.gain is None else self.gain * weight
        weight = weight.detach() if frozen else weight
        return F.linear(F.normalize(self.layers(x), dim=-1), weight)


@torch.no_grad()
def move_center(center: Float[Tensor, " k"], outputs: Float[Tensor, "rows k"], decay: float) -> Float[Tensor, " k"]:
    """Move DINO's centre towards the mean of the outputs of all processes' teachers (eq. 4)."""
    count = all_reduce(center.new_full((), len(outputs)))  # of hidden patches processes have different numbers
    mean = all_reduce(outputs.float().sum(0)) / count.clamp(min=1)
    return torch.where(count > 0, center * decay + mean * (1 - decay), center)


@torch.no_grad()
def prototype_use(targets: Float[Tensor, "rows k"]) -> dict[str, Tensor]:
    """Compute what shows a collapse of a teacher's probabilities, over the rows of all processes.

    Returns:
        prototype_entropy of their mean and target_entropy, the mean of their entropies, in nats: equal if all rows are the
        same; unchosen_prototypes, the share of prototypes that are no row's greatest.

    >>> {name: round(float(x), 3) for name, x in prototype_use(torch.eye(4)[:2]).items()}
    {'prototype_entropy': 0.693, 'target_entropy': 0.0, 'unchosen_prototypes': 0.5}
    """
    chosen = targets.new_zeros(targets.shape[1]).index_fill(0, targets.argmax(1), 1.0)
    entropies = torch.special.entr(targets).sum(1)
    totals = all_reduce(torch.cat((targets.sum(0), chosen, entropies.sum()[None], entropies.new_full((1,), len(targets)))))
    sums, chosen, entropy, count = totals.split([targets.shape[1], targets.shape[1], 1, 1])
    return {
        "prototype_entropy": torch.special.entr(sums / count).sum(),
        "target_entropy": (entropy / count)[0],
        "unchosen_prototypes": (chosen == 0).float().mean(),
    }


def encode_visible(encoder: "ViT", images: Float[Tensor, "b 3 h w"], visible: Int[Tensor, "b m"]) -> Float[Tensor, "b k d"]:
    """Encode only the patches numbered `visible`; class token and registers, if any, come first."""
    x, _ = encoder.embed(images)
    prefix = encoder.config.prefix
    patches = x[:, prefix:].gather(1, visible[..., None].expand(-1, -1, x.shape[-1]))
    x = torch.cat((x[:, :prefix], patches), 1) if prefix else patches
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)


def hidden_patches(visible: Int[Tensor, "b m"], patches: int) -> Bool[Tensor, "b n"]:
    """Mark the patches that are not among the visible ones.

    >>> hidden_patches(torch.tensor([[2, 0]]), 4).tolist()
    [[False, True, False, True]]
    """
    hidden = torch.ones(len(visible), patches, dtype=torch.bool, device=visible.device)
    return hidden.scatter(1, visible, False)


class PatchDecoder(nn.Module):
    """A small transformer that says something of hidden patches, at whose positions a learned token stands."""

    positions: Tensor

    def __init__(self, encoder: "ViTConfig", width: int, depth: int, heads: int, out_width: int):
        from tapetum.layers.patches import sine_2d
        from tapetum.layers.transformer import Attention, Block, Mlp, start_linear

        super().__init__()
        self.prefix = encoder.prefix
        self.enter = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("positions", sine_2d(encoder.grid, width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(Attention(width, heads), Mlp(width, 4 * width), lambda: nn.LayerNorm(width, eps=1e-6), width=width)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.leave = nn.Linear(width, out_width)
        self.apply(start_linear)


class MaeDecoder(PatchDecoder):
    """From the tokens of visible patches to the pixels of every patch (MAE, arXiv 2111.06377)."""

    def forward(self, tokens: Float[Tensor, "b k d"], visible: Int[Tensor, "b m"]) -> Float[Tensor, "b n p"]:
        x = self.enter(tokens)  # (b, k, width)
        first, patches = x[:, : self.prefix], x[:, self.prefix :]
        positions = self.mask_token.to(x.dtype).expand(len(x), len(self.positions), -1)
        positions = positions.scatter(1, visible[..., None].expand_as(patches), patches) + self.positions
        x = torch.cat((first, positions), 1)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x)[:, self.prefix :])


class PatchPredictor(PatchDecoder):
    """From the tokens of visible patches to those of blocks of hidden ones, block by block (I-JEPA, arXiv 2301.08243)."""

    def forward(
        self, tokens: Float[Tensor, "b k d"], visible: Int[Tensor, "b v"], targets: Int[Tensor, "b blocks m"]
    ) -> Float[Tensor, "b blocks m d"]:
        """Predict the tokens of each block's patches, numbered `targets`; a block sees the visible patches and itself."""
        x = self.enter(tokens)  # (b, k, width)
        x = torch.cat((x[:, : self.prefix], x[:, self.prefix :] + self.positions[visible]), 1)
        queries = self.mask_token.to(x.dtype) + self.positions[targets]  # (b, blocks, m, width)
        x = torch.cat((x[:, None].expand(-1, targets.shape[1], -1, -1), queries), 2).flatten(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x)[:, -targets.shape[2] :]).unflatten(0, targets.shape[:2])
