r"""Stage 0 of a small model: the vision encoder learns alone, from what is at each place of images of `scenes/`.

The published models begin with SigLIP, which saw forty billion images with their texts. A small vision encoder that begins with
nothing learns far more from an image if it is told what is where than from its caption, so here each cell of 8 pixels is asked:

    what thing is here?   of what colour?   of what material?   how far are its edges, and where?   is its middle here?

        . . . . . . .        a token of 16 pixels answers for its four cells through one linear layer,
        . . c c . . .        which is thrown away afterwards
        . . c c . b .
        . . . . . . .

How far an edge is, the vision encoder can tell without knowing where it looks; a decoder that is to write places cannot do
without, so where the edges are is asked too, and `ruler` gives the vision encoder something to read it from.

Differs from the paper, which has no such stage. `recipes.stage0` can start a vision encoder from captions too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.vit import ViT
from tapetum.encoders.vit_config import ViTConfig, squashed
from tapetum.hub.renamed import current_tensors
from tapetum.scenes.physics.materials import STUFF
from tapetum.scenes.physics.props import COLOURS, PROPS
from tapetum.systems.paligemma.nano.position_init import write_positions
from tapetum.systems.paligemma.nano.scene_images import SceneFolder, SceneImage, pixels_of
from tapetum.train import StepContext, Task

NOUNS, TINTS, MATTER = ("", *PROPS, "hand"), ("", *COLOURS), ("", *STUFF)
"""Classes of a cell: things, colours and materials; the first of each is none."""
CELL = 8
LEAST = 5
"""Pixels of a cell that a thing must have to be what is there."""
PARTS = len(NOUNS), len(TINTS), len(MATTER), 4, 1, 4
"""Numbers that are told of a cell: logits of the three, distances to the edges, logit of the middle, places of the edges."""


def cell_targets(image: SceneImage) -> tuple[Int[np.ndarray, "r c 4"], Float[np.ndarray, "r c 4"]]:
    """Tell of each cell: noun, colour and material (0 for none), whether the middle of the thing is in it; and the distances
    from its middle to the left, upper, right and lower edge of the thing, over the image's width."""
    rows, columns = (side // CELL for side in image.ids.shape)
    cells = image.ids[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
    values = sorted(image.things, key=lambda t: t.id)
    kinds, edges = np.zeros((rows, columns, 4), np.int64), np.zeros((rows, columns, 4), np.float32)
    if not values:
        return kinds, edges
    shares = np.stack([(cells == t.id).sum((1, 3)) for t in values])
    owner = np.where(shares.max(0) >= LEAST, shares.argmax(0), -1)
    x, y = (np.arange(n) * CELL + CELL / 2 for n in (columns, rows))
    for number, thing in enumerate(values):
        here = owner == number
        found = NOUNS.index(thing.noun), TINTS.index(thing.colour), MATTER.index(thing.material)
        kinds[here, :3] = found
        x1, y1, x2, y2 = thing.box
        r, c = int((y1 + y2) / 2 // CELL), int((x1 + x2) / 2 // CELL)
        kinds[min(r, rows - 1), min(c, columns - 1), 3] = 1
        all_edges = np.stack(np.broadcast_arrays(x - x1, (y - y1)[:, None], x2 - x, (y2 - y)[:, None]), -1)
        edges[here] = all_edges[here] / image.ids.shape[1]
    return kinds, edges


def edge_places(edges: Float[Tensor, "b r c 4"]) -> Float[Tensor, "b r c 4"]:
    """Give where edges are (left, upper, right, lower; over the image's width) of their distances from the cells' middles."""
    rows, columns = edges.shape[1:3]
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    middle = torch.stack((x, y), -1).to(edges) / columns
    return torch.cat((middle - edges[..., :2], middle + edges[..., 2:]), -1)


@dataclass(frozen=True)
class Cells:
    """A batch of images and of what is at their places."""

    pixels: Float[Tensor, "b 3 h w"]
    kinds: Int[Tensor, "b r c 4"]
    edges: Float[Tensor, "b r c 4"]


def teller(config: ViTConfig) -> nn.Linear:
    """Make the layer by which a token tells of its cells."""
    return nn.Linear(config.width, (config.patch // CELL) ** 2 * sum(PARTS))


def by_cell(told: Float[Tensor, "b n k"], grid: tuple[int, int], each: int) -> Float[Tensor, "b r c k"]:
    """Spread what tokens tell over their cells, `each` by `each` of them."""
    told = told.float().reshape(len(told), *grid, each, each, -1)
    return told.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class PlacesModel(nn.Module):
    """A vision encoder and the linear layer that tells of each cell."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.vision_encoder = ViT(config, squashed(config.image_size[0]))
        self.each = config.patch // CELL
        self.tell = teller(config)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b r c k"]:
        features = self.vision_encoder(pixels)
        return by_cell(self.tell(features.tokens), features.grid, self.each)


def places_loss(told: Float[Tensor, "b r c k"], batch: Cells) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum what is lost on things, colours, materials, edges and middles."""
    noun, tint, matter, edges, middle, places = told.split(PARTS, -1)
    thing = batch.kinds[..., 0] > 0
    weight = torch.where(thing, 1.0, 0.1)
    parts = {
        "noun": (F.cross_entropy(noun.movedim(-1, 1), batch.kinds[..., 0], reduction="none") * weight).sum() / weight.sum()
    }
    for number, (name, logits) in enumerate({"colour": tint, "material": matter}.items(), start=1):
        known = batch.kinds[..., number] > 0
        parts[name] = F.cross_entropy(logits[known], batch.kinds[..., number][known]) if known.any() else logits.sum() * 0
    parts["edges"] = 8 * (edges - batch.edges).abs()[thing].mean() if thing.any() else edges.sum() * 0
    where = (places - edge_places(batch.edges)).abs()[thing]
    parts["places"] = 8 * where.mean() if thing.any() else places.sum() * 0
    marks = batch.kinds[..., 3].float()
    balance = torch.where(marks > 0, 1.0, 0.2)
    parts["middle"] = 2 * (F.binary_cross_entropy_with_logits(middle[..., 0], marks, reduction="none") * balance).mean()
    return torch.stack(list(parts.values())).sum(), {name: value.detach() for name, value in parts.items()}


def cells_of(items: Sequence[SceneImage]) -> Cells:
    """Join images."""
    targets = [cell_targets(item) for item in items]
    joined = [[pixels_of(item.rgb) for item in items], [kinds for kinds, _ in targets], [edges for _, edges in targets]]
    return Cells(*(torch.from_numpy(np.stack(parts)) for parts in joined))


class PlacesTask(Task):
    """Teaches a vision encoder what is where."""

    def __init__(
        self,
        config: ViTConfig,
        train: SceneFolder,
        checks: SceneFolder | None,
        seed: int,
        start: Path | None = None,
        ruler: bool = False,
    ):
        """`checks`: images to score on; `start`: weights to go on from; `ruler`: begin with `write_positions`."""
        self.config, self.train, self.checks, self.seed, self.start = config, train, checks, seed, start
        self.ruler = ruler

    def model(self) -> PlacesModel:
        """Make a vision encoder that knows nothing, or what another run has learned."""
        from safetensors.torch import load_file

        model = PlacesModel(self.config)
        if self.start is not None:
            try:
                state = current_tensors(load_file(no_pipe(self.start)))
                told = {} if "tell.weight" in state else {f"tell.{k}": v for k, v in model.tell.state_dict().items()}
                model.load_state_dict({k: v for k, v in state.items() if k.startswith(("vision_encoder.", "tell."))} | told)
            except (RuntimeError, OSError) as error:
                raise BadInput(
                    f"{self.start} is no start for this vision encoder ({str(error)[:100]}); give weights of stage 0 or 1"
                ) from error
        if self.ruler:
            write_positions(cast(Tensor, model.vision_encoder.positions), self.config.grid)
        return model

    def dataset(self) -> Any:
        """Give images, mirrored and shifted."""
        return _Drawn(self.train, self.seed)

    def collate(self, items: Sequence[SceneImage]) -> Cells:
        """Join images."""
        return cells_of(items)

    def loss(self, model: nn.Module, batch: Cells, context: StepContext) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Measure."""
        return places_loss(model(batch.pixels), batch)

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score cells of images that were never seen: shares that are right, and pixels by which edges are missed."""
        if self.checks is None:
            return {}
        right: dict[str, list[float]] = {name: [] for name in ("noun", "colour", "material")}
        right |= {name: [] for name in ("edge_pixels", "place_pixels", "middle")}
        device = next(model.parameters()).device
        for start in range(0, len(self.checks), 64):
            items = [self.checks.read(i) for i in range(start, min(start + 64, len(self.checks)))]
            batch = self.collate(items)
            with torch.no_grad():
                told = model(batch.pixels.to(device)).cpu()
            *logits, edges, middle, places = told.split(PARTS, -1)
            for number, (name, found) in enumerate(zip(("noun", "colour", "material"), logits, strict=True)):
                known = batch.kinds[..., number] > 0
                right[name] += (found.argmax(-1) == batch.kinds[..., number])[known].tolist()
            thing = batch.kinds[..., 0] > 0
            right["edge_pixels"] += ((edges - batch.edges).abs()[thing].flatten() * batch.pixels.shape[-1]).tolist()
            missed = (places - edge_places(batch.edges)).abs()[thing]
            right["place_pixels"] += (missed.flatten() * batch.pixels.shape[-1]).tolist()
            right["middle"] += (middle[..., 0] > 0)[batch.kinds[..., 3] > 0].tolist()
        return {name: float(np.mean(values)) for name, values in right.items()}

    def describe(self) -> Mapping[str, Any]:
        """Describe what decides what is learned."""
        return {"vision_encoder": asdict(self.config), "images": len(self.train), "seed": self.seed, "ruler": self.ruler}


class _Drawn(torch.utils.data.Dataset):
    """Images by number."""

    def __init__(self, folder: SceneFolder, seed: int):
        self.folder, self.seed = folder, seed

    def __getitem__(self, number: int) -> SceneImage:
        return self.folder.draw(self.seed, number)[0]
