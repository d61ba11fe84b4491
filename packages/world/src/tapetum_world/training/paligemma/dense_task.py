"""Stage 0 of a small model: the vision encoder alone learns to predict the content of each cell of images of `scenes/`; and
initial weights that encode positions, of the vision encoder and of the decoder's 1,024 location tokens.

A small model learns what an object is long before it learns where it is, for two reasons:

- positions that begin near 0 are drowned by the output of a convolutional stem: in the first `paligemma-nano` the column of a
  token could be regressed from it no better than to 15 of 112 pixels;
- embeddings of locations begin as far from their neighbours as from any other, so each of 1,024 has to be learned alone.

    vision encoder     positions += a line and three waves along each axis, each in a direction of its own
    location n         waves of n: neighbours are alike, as sharply as the shortest wave

            . * .
          *       *        cosine of an embedding with others: 1 with itself, and falling smoothly
    . . *           * . .

The published models begin with SigLIP, trained on forty billion images with their texts. A small vision encoder with random
weights learns far more from an image by dense prediction than from its caption. For each cell of 8 pixels it predicts:

    class, colour and material of the object; distances to its edges, and their positions; whether its centre is in the cell

        . . . . . . .        a token of 16 pixels predicts its four cells by one linear layer, the dense head,
        . . c c . . .        which is no part of the model
        . . c c . b .
        . . . . . . .

Distances to edges can be predicted without knowing the token's position, but a decoder that writes locations needs it. So edge
positions are predicted too, and the positions above give the vision encoder a signal to read them from.

Differs from the paper, which initialises embeddings of locations at random, whose vision encoder learned positions from forty
billion images, and which has no such stage; `tapetum pretrain siglip` has its loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.config import ViTConfig, squashed
from tapetum.encoders.vit import ViT
from tapetum.systems.paligemma.config import LOCATIONS
from tapetum.systems.paligemma.data import JsonLinesSamples, SampleSource
from tapetum.systems.paligemma.task import adopted_encoder
from tapetum.train import StepContext, Task
from tapetum.train.gather import all_reduce
from tapetum.train.process_group import current_process_group
from tapetum_world.physics.props import COLOURS, PHYSICS_MATERIALS, PROPS
from tapetum_world.training.paligemma.scene_images import SceneFolder, SceneImage, normalize_pixels

WAVES = 40
"""Of the embeddings of locations; the shortest is 2 / 40 of the image."""


def add_position_waves(positions: Float[Tensor, "n d"], grid: tuple[int, int], strength: float = 6.0) -> None:
    """Add the column and row of each position embedding to it, in place."""
    row, column = (v.flatten() for v in torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid), indexing="ij"))
    waves = [
        part
        for axis in (column, row)
        for part in (axis, *(torch.sin(torch.pi * k * axis / 2 + torch.pi / 4) for k in (1, 2, 3)))
    ]
    with torch.no_grad():
        positions += strength * torch.stack(waves, 1) @ _orthogonal_directions(len(waves), positions.shape[1])


def location_embeddings(width: int, norm: float) -> Float[Tensor, "1024 d"]:
    """Compute embeddings of the locations with equal norms and similar neighbours."""
    location = torch.arange(LOCATIONS) / (LOCATIONS - 1)
    waves = torch.arange(1, WAVES + 1)
    angles = torch.pi * location[:, None] * waves
    amplitude = (1 + waves) ** -0.25
    features = torch.cat((angles.cos() * amplitude, angles.sin() * amplitude), 1)  # (1024, 2 * WAVES), all of one norm
    return norm / amplitude.square().sum().sqrt() * features @ _orthogonal_directions(2 * WAVES, width)


def _orthogonal_directions(count: int, width: int) -> Float[Tensor, "k d"]:
    """Draw orthogonal directions, always the same ones; with too few dimensions, random ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = torch.randn(max(width, count), count)
    return torch.linalg.qr(drawn).Q.T[:, :width]


NOUNS, TINTS, MATTER = ("", *PROPS, "hand"), ("", *COLOURS), ("", *PHYSICS_MATERIALS)
"""Classes of a cell: objects, colours and materials; the first of each is none."""
CELL = 8
"""Side of a cell in pixels."""
LEAST = 5
"""Pixels of a cell that an object must have to be its class."""
PARTS = len(NOUNS), len(TINTS), len(MATTER), 4, 1, 4
"""Numbers that are predicted for a cell: logits of the three, distances to edges, logit of the centre, positions of edges."""


def cell_targets(image: SceneImage) -> tuple[Int[np.ndarray, "r c 4"], Float[np.ndarray, "r c 4"]]:
    """Compute the targets of each cell: noun, colour and material (0 for none), whether the centre of the object is in it; and
    the distances from its middle to the left, upper, right and lower edge of the object, over the image's width."""
    rows, columns = (side // CELL for side in image.ids.shape)
    cells = image.ids[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
    values = sorted(image.things, key=lambda t: t.id)
    kinds, edges = np.zeros((rows, columns, 4), np.int64), np.zeros((rows, columns, 4), np.float32)
    if not values:
        return kinds, edges
    shares = np.stack([(cells == t.id).sum((1, 3)) for t in values])
    owner = np.where(shares.max(0) >= LEAST, shares.argmax(0), -1)
    x, y = (np.arange(n) * CELL + CELL / 2 for n in (columns, rows))
    for number, instance in enumerate(values):
        here = owner == number
        kinds[here, :3] = NOUNS.index(instance.noun), TINTS.index(instance.colour), MATTER.index(instance.material)
        x1, y1, x2, y2 = instance.box
        r, c = int((y1 + y2) / 2 // CELL), int((x1 + x2) / 2 // CELL)
        kinds[min(r, rows - 1), min(c, columns - 1), 3] = 1
        all_edges = np.stack(np.broadcast_arrays(x - x1, (y - y1)[:, None], x2 - x, (y2 - y)[:, None]), -1)
        edges[here] = all_edges[here] / image.ids.shape[1]
    return kinds, edges


def edge_positions(edges: Float[Tensor, "b r c 4"]) -> Float[Tensor, "b r c 4"]:
    """Compute positions of edges (left, upper, right, lower; over the image's width) from their distances to cell centres."""
    rows, columns = edges.shape[1:3]
    y, x = torch.meshgrid(*(torch.arange(n, device=edges.device) + 0.5 for n in (rows, columns)), indexing="ij")
    middle = torch.stack((x, y), -1).to(edges) / columns
    return torch.cat((middle - edges[..., :2], middle + edges[..., 2:]), -1)


@dataclass(frozen=True)
class CellTargets:
    """A batch of images and the targets of their cells."""

    pixels: Float[Tensor, "b 3 h w"]
    kinds: Int[Tensor, "b r c 4"]
    edges: Float[Tensor, "b r c 4"]


def dense_head(config: ViTConfig) -> nn.Linear:
    """Build the layer that predicts a token's cells."""
    return nn.Linear(config.width, (config.patch // CELL) ** 2 * sum(PARTS))


def unfold_cells(predicted: Float[Tensor, "b n k"], grid: tuple[int, int], each: int) -> Float[Tensor, "b r c k"]:
    """Rearrange token predictions into predictions of their cells, `each` by `each` per token."""
    predicted = predicted.float().reshape(len(predicted), *grid, each, each, -1)  # b rows columns each each k
    return predicted.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class DenseModel(nn.Module):
    """A vision encoder and the dense head."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.vision_encoder = ViT(config, squashed(config.image_size[0]))
        self.each = config.patch // CELL
        self.dense_head = dense_head(config)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b r c k"]:
        features = self.vision_encoder(pixels)
        return unfold_cells(self.dense_head(features.tokens), features.grid, self.each)


def dense_loss(
    predicted: Float[Tensor, "b r c k"], batch: CellTargets, joint: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum the losses on objects, colours, materials, edges and centres; `joint`: normalised by the cells of all processes."""
    noun, tint, matter, edges, centre, positions = predicted.split(PARTS, -1)
    there = batch.kinds[..., 0] > 0
    weight = torch.where(there, 1.0, 0.1)  # cells without an object are most
    nouns = F.cross_entropy(noun.movedim(-1, 1), batch.kinds[..., 0], reduction="none")
    parts = {"noun": _weighted_mean(nouns, weight, joint)}
    for number, (name, logits) in enumerate({"colour": tint, "material": matter}.items(), start=1):
        kinds = batch.kinds[..., number]
        parts[name] = _weighted_mean(F.cross_entropy(logits.movedim(-1, 1), kinds, reduction="none"), kinds > 0, joint)
    parts["edges"] = 8 * _weighted_mean((edges - batch.edges).abs().mean(-1), there, joint)
    parts["places"] = 8 * _weighted_mean((positions - edge_positions(batch.edges)).abs().mean(-1), there, joint)
    marks = batch.kinds[..., 3].to(predicted.dtype)
    balance = torch.where(marks > 0, 1.0, 0.2)
    parts["middle"] = 2 * (F.binary_cross_entropy_with_logits(centre[..., 0], marks, reduction="none") * balance).mean()
    return torch.stack(list(parts.values())).sum(), {name: value.detach() for name, value in parts.items()}


def _weighted_mean(
    values: Float[Tensor, "b r c"], weight: Float[Tensor, "b r c"] | Bool[Tensor, "b r c"], joint: bool
) -> Float[Tensor, ""]:
    """The weighted mean, 0 if there are no weights; without indexing, which would wait for the device.

    `joint`: the mean over the processes' results equals the mean of all values.
    """
    weight = weight.to(values.dtype)
    total = weight.sum()
    if joint:
        total = all_reduce(total) / current_process_group().size
    return (values * weight).sum() / torch.where(total > 0, total, 1)


def collate_cells(items: Sequence[SceneImage]) -> CellTargets:
    """Build a batch of images."""
    targets = [cell_targets(item) for item in items]
    joined = [[normalize_pixels(item.rgb) for item in items], [kinds for kinds, _ in targets], [edges for _, edges in targets]]
    return CellTargets(*(torch.from_numpy(np.stack(parts)) for parts in joined))


class DenseTask(Task):
    """Trains a vision encoder on dense targets."""

    def __init__(
        self,
        config: ViTConfig,
        train: SceneFolder | SampleSource,
        checks: SceneFolder | JsonLinesSamples | None,
        seed: int,
        start: Path | None = None,
        position_init: bool = False,
        encoder: str = "",
    ):
        """`train` and `checks`: images to learn from and to score on; `start`: weights to go on from; `position_init`: begin
        with `add_position_waves`; `encoder`: of `adopted.adopted_encoder`, which `config` is that of."""
        self.config, self.train, self.checks, self.seed, self.start = config, train, checks, seed, start
        self.position_init, self.encoder = position_init, encoder

    def model(self) -> DenseModel:
        from safetensors.torch import load_file

        model = DenseModel(self.config)
        if self.encoder:
            weights = adopted_encoder(self.encoder, self.config.image_size[0]).state_dict()
            model.vision_encoder.load_state_dict(weights)
        if self.start is not None:
            try:
                state = load_file(no_pipe(self.start))
                own_head = {f"dense_head.{k}": v for k, v in model.dense_head.state_dict().items()}
                head = {} if "dense_head.weight" in state else own_head
                model.load_state_dict(
                    {k: v for k, v in state.items() if k.startswith(("vision_encoder.", "dense_head."))} | head
                )
            except (RuntimeError, OSError) as error:
                raise BadInput(
                    f"{self.start} is no start for this vision encoder ({str(error)[:100]}); give weights of stage 0 or 1"
                ) from error
        if self.position_init:
            add_position_waves(model.vision_encoder.positions, self.config.grid)
        return model

    def dataset(self) -> Any:
        return _SceneDataset(cast(SceneFolder, self.train), self.seed)

    def collate(self, items: Sequence[SceneImage]) -> CellTargets:
        return collate_cells(items)

    def loss(self, model: nn.Module, batch: CellTargets, context: StepContext) -> tuple[Tensor, Mapping[str, Tensor]]:
        return dense_loss(model(batch.pixels), batch)

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        if not isinstance(self.checks, SceneFolder):
            return {}
        right: dict[str, list[float]] = {name: [] for name in ("noun", "colour", "material")}
        right |= {name: [] for name in ("edge_pixels", "place_pixels", "middle")}
        device = next(model.parameters()).device
        for start in range(0, len(self.checks), 64):
            items = [self.checks.read(i) for i in range(start, min(start + 64, len(self.checks)))]
            batch = self.collate(items)
            with torch.no_grad():
                predicted = model(batch.pixels.to(device)).cpu()
            *logits, edges, centre, positions = predicted.split(PARTS, -1)
            for number, (name, class_logits) in enumerate(zip(("noun", "colour", "material"), logits, strict=True)):
                known = batch.kinds[..., number] > 0
                right[name] += (class_logits.argmax(-1) == batch.kinds[..., number])[known].tolist()
            there = batch.kinds[..., 0] > 0
            right["edge_pixels"] += ((edges - batch.edges).abs()[there].flatten() * batch.pixels.shape[-1]).tolist()
            missed = (positions - edge_positions(batch.edges)).abs()[there]
            right["place_pixels"] += (missed.flatten() * batch.pixels.shape[-1]).tolist()
            right["middle"] += (centre[..., 0] > 0)[batch.kinds[..., 3] > 0].tolist()
        return {name: float(np.mean(values)) for name, values in right.items()}

    def describe(self) -> Mapping[str, Any]:
        return {
            "vision_encoder": asdict(self.config),
            "images": len(self.train),
            "seed": self.seed,
            "position_init": self.position_init,
        }


class _SceneDataset(torch.utils.data.Dataset):
    """Images by number."""

    def __init__(self, folder: SceneFolder, seed: int):
        self.folder, self.seed = folder, seed

    def __getitem__(self, number: int) -> SceneImage:
        return self.folder.draw(self.seed, number)[0]
