"""The vision transformer (arXiv 2010.11929) and its relatives: DeiT III, DINO, DINOv2 with registers, DINOv3, MAE, CLIP,
SigLIP.

    image -> patches + positions -> [class token, registers, grid] -> (norm) -> blocks -> norm -> tokens -> pooled (-> head)

Images may have any size whose sides are multiples of the patch; learned positions are interpolated as in the source, and
rotary ones (`tapetum.layers.patches`) are computed for the image's grid.

For every source, `tokens` are after the last norm; transformers' CLIPVisionModel returns them before it (its `pooler_output`
is normalised, and equals `pooled`). If the norm is on the pooled vector, as with timm's global_pool="avg", tokens are the
output of the last block.

Differs from the papers: masking (MAE, DINOv2) is not part of an encoder; the mask tokens of their files are omitted.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing, ViTConfig
from tapetum.encoders.features import Encoder, Features
from tapetum.layers.patches import ConvolutionalStem, ImagePatches, Rotation, grid_rotation, interpolate, sine_2d
from tapetum.layers.transformer import Attention, AttentionPooling, Block, GatedMlp, Mlp, start_linear


class ViT(Encoder):
    """A vision transformer. It has one map, at patch resolution: the grid's tokens after the last norm."""

    config: ViTConfig
    takes_bfloat16 = True

    def __init__(self, config: ViTConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        width, self.width = config.width, config.projection or config.width
        self.map_channels, self.strides = (width,), (config.patch,)
        if config.stem == "convolutions":
            self.patches = ConvolutionalStem(config.patch, width, config.stem_blocks)
        else:
            self.patches = ImagePatches(config.patch, width, bias=config.patch_bias)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02) if config.class_token else None
        self.registers = nn.Parameter(torch.randn(config.registers, width) * 0.02) if config.registers else None
        self.register_buffer("mask_token", torch.zeros(width) if config.mask_token else None)
        self._own_positions()
        self.norm_before = self._norm() if config.norm_before else nn.Identity()
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(self._block(config.drop_path * i / last) for i in range(config.depth))
        self.norm = self._norm()
        self.pool = None
        if config.pooling == "attention":
            self.pool = AttentionPooling(width, config.heads, config.mlp_width, config.activation, config.norm_eps)
        self.pooler = nn.Linear(width, width) if config.pooler else None
        self.projection = nn.Linear(width, config.projection, bias=False) if config.projection else None
        self.head = nn.Linear(self.width, config.classes) if config.classes else None
        self.apply(start_linear)

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.config.width, eps=self.config.norm_eps)

    def _own_positions(self) -> None:
        config = self.config
        extra = int(config.class_token and config.class_position)
        if config.positions == "sine":
            zeros = torch.zeros(extra, config.width)
            self.register_buffer("positions", torch.cat((zeros, sine_2d(config.grid, config.width))))
        elif config.positions == "learned":
            table = torch.empty(extra + config.grid[0] * config.grid[1], config.width)
            self.positions = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))

    def _block(self, drop_path: float) -> Block:
        config = self.config
        gated = config.mlp == "gated"
        return Block(
            Attention(config.width, config.heads, bias=config.qkv_bias, key_bias=config.key_bias),
            GatedMlp(config.width, config.mlp_width, config.activation, bias=True)
            if gated
            else Mlp(config.width, config.mlp_width, config.activation),
            self._norm,
            width=config.width,
            layer_scale=config.layer_scale,
            drop_path=drop_path,
        )

    def embed(
        self,
        images: Float[Tensor, "b 3 h w"],
        hidden: Bool[Tensor, "b cells"] | None = None,
        mask_token: Float[Tensor, " d"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], tuple[int, int]]:
        """Compute the tokens that enter the first block, with positions added, and the rows and columns of their grid.

        `mask_token` stands in place of `hidden` patches. Raises BadInput if the patches do not divide the images.
        """
        images = self.checked(images)
        if self.config.ragged:
            rows, columns = (int(side) - int(side) % self.config.patch for side in images.shape[2:])
            images = images[:, :, :rows, :columns]
        x = self.patches(images)
        grid = (int(x.shape[1]), int(x.shape[2]))
        x = x.flatten(1, 2)
        if hidden is not None and mask_token is not None:
            x = torch.where(hidden[..., None], mask_token.to(x.dtype), x)
        extra = 0
        if self.config.positions != "none":
            extra = self.positions.shape[0] - self.config.grid[0] * self.config.grid[1]
            x = x + interpolate(self.positions[extra:], self.config.grid, grid, self.config.resample)
        first = []
        if self.class_token is not None:
            token = self.class_token + self.positions[0] if extra else self.class_token
            first.append(token.expand(x.shape[0], 1, -1))
        if self.registers is not None:
            first.append(self.registers.expand(x.shape[0], -1, -1))
        return self.norm_before(torch.cat((*first, x), 1) if first else x), grid

    def rotation(self, grid: tuple[int, int]) -> Rotation | None:
        """Compute the rotation of queries and keys in every block for a grid of (rows, columns); None if there is none."""
        config = self.config
        if config.rotary is None:
            return None
        return grid_rotation(grid, config.width // config.heads, config.prefix, next(self.parameters()).device)

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        hidden: Bool[Tensor, "b cells"] | None = None,
        mask_token: Float[Tensor, " d"] | None = None,
    ) -> Features:
        """Encode prepared images, with `mask_token` in place of `hidden` patches (`embed`).

        Raises BadInput if the patches do not divide the images.
        """
        x, grid = self.embed(images, hidden, mask_token)
        rotary = self.rotation(grid)
        for block in self.blocks:
            x = block(x) if rotary is None else block(x, rotary=rotary)
        if self.config.norm == "tokens":
            x = self.norm(x)
        cells = x[:, self.config.prefix :]
        return Features(tokens=x, grid=grid, pooled=self._pooled(x, cells), maps=(cells.mT.unflatten(-1, grid),))

    def _pooled(self, tokens: Tensor, cells: Tensor) -> Tensor:
        pooled = tokens[:, 0]
        if self.pool is not None:
            pooled = self.pool(cells)
        elif self.config.pooling == "mean":
            pooled = cells.mean(1)
        if self.config.norm == "pooled":
            pooled = self.norm(pooled)
        if self.pooler is not None:
            pooled = torch.tanh(self.pooler(pooled))
        return pooled if self.projection is None else self.projection(pooled)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of every block's attention and MLP, in order: `blocks.0.attention`, `blocks.0.mlp`, ..."""
        return tuple(f"blocks.{i}.{part}" for i in range(self.config.depth) for part in ("attention", "mlp"))


def plain_patches(vit: ViT) -> tuple[Float[Tensor, "d 3 p p"], Float[Tensor, " d"]]:
    """Compute patch weight and bias for pixels x in -1..1 instead of prepared ones, (127.5 x + 127.5 - mean) / std."""
    state = vit.state_dict()
    weight = state["patches.weight"]
    bias = state.get("patches.bias", weight.new_zeros(len(weight)))
    mean, std = (weight.new_tensor(value) for value in (vit.preprocessing.mean, vit.preprocessing.std))
    return weight * (127.5 / std)[:, None, None], bias + torch.einsum("dchw,c->d", weight, (127.5 - mean) / std)
