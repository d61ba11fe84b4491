"""The training task of PaliGemma, for `tapetum.train.fit`, and the weights with which it begins.

Source: PaliGemma (arXiv 2407.07726, 3.2 and appendix J) and the public training code. Weight decay applies only to the matrices
of vision encoder and projector. The papers' decay is not multiplied by the learning rate: their 1e-6 at 1e-5 is 0.1 here.

Differs from the reference: the vision encoder runs once per image for all its texts; under the masks `blocks` and `images` so
does the decoder.

Another vision encoder may replace SigLIP: an image ViT from `tapetum pretrain`, or a named one (`adopted_encoder`). The paper
takes SigLIP So400m/14 (3.1).

    patches       take pixels in -1..1: another mean and standard deviation are folded into weight and bias
    positions     interpolated to the grid of PaliGemma's images; sine positions become learned ones of the same values
    left out      class token, registers, pooling: the decoder reads the tokens of the grid after the last norm
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.config import squashed
from tapetum.encoders.vit import ViT, plain_patches
from tapetum.layers.patches import interpolate
from tapetum.systems.paligemma.config import PaliGemmaConfig, as_json
from tapetum.systems.paligemma.data import Batch, ImageTexts, SampleDataset, SampleSource, collate
from tapetum.systems.paligemma.losses import PackedTexts, SoftLocationTargets, mean_loss, pack_texts, packed_loss, token_losses
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import Learning
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import StepContext, Task
from tapetum.train.optim import freeze


@dataclass(frozen=True)
class Step:
    """A micro-batch as the loss takes it."""

    batch: Batch
    packed: PackedTexts | None
    """The rows in sequences, where they share images."""


class PaliGemmaTask(Task):
    """Trains a model to write suffixes. Workers need all of this pickled, so weights are given by file name."""

    def __init__(
        self,
        config: PaliGemmaConfig,
        tokens: Tokens,
        samples: SampleSource,
        seed: int,
        learning: Learning,
        *,
        start: "Start | None" = None,
        checks: "Checks | None" = None,
    ):
        """`start`: makes the initial weights; `checks`: scores a model on held-out data."""
        self.config, self.tokens, self.samples, self.seed, self.learning = config, tokens, samples, seed, learning
        self.start, self.checks = start, checks

    def model(self) -> PaliGemma:
        model = PaliGemma(self.config)
        if self.start is not None:
            begin(model, self.start)
        return model

    def dataset(self) -> SampleDataset:
        return SampleDataset(self.samples, self.seed)

    def collate(self, items: Sequence[ImageTexts]) -> Step:
        batch = collate(items, self.tokens, self.learning.length)
        packed = None
        if self.config.prefix_mask in ("blocks", "images"):
            packed = pack_texts(batch.groups, len(items), self.learning.mean, self.config.prefix_mask)
        return Step(batch, packed)

    def loss(self, model: nn.Module, batch: Step, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        assert isinstance(model, PaliGemma)
        return text_loss(model, model.embed_images(batch.batch.pixels), batch, self.learning, self.soft_locations)

    @property
    def soft_locations(self) -> SoftLocationTargets | None:
        """Build the soft targets of location tokens, if they are a normal distribution."""
        return (
            SoftLocationTargets(self.tokens.location_ids[0], self.learning.location_std) if self.learning.location_std else None
        )

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return reference_groups(model)

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        return {} if self.checks is None else self.checks(model)

    def describe(self) -> Mapping[str, Any]:
        about = getattr(self.samples, "about", dict)()
        return {"config": as_json(self.config), "learning": vars(self.learning), "seed": self.seed, "samples": about}


def begin(model: PaliGemma, start: "Start") -> None:
    """Fill a model. Batch norms of a convolutional stem keep their statistics: micro-batches are small here."""
    start(model)
    for module in model.modules() if start.trained else ():
        if isinstance(module, nn.BatchNorm2d):
            freeze(module)


class Start:
    """Makes the initial weights of a model. Subclasses are small and picklable."""

    @property
    def trained(self) -> bool:
        """Check whether they are trained weights."""
        return True

    def __call__(self, model: PaliGemma) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class StartFrom(Start):
    """Initial weights from files of tensors: all of the model's, or the vision encoder's (`vision_encoder.*`)."""

    path: Path
    vision_encoder: Path | None = None
    """Another file, from which the vision encoder's are taken."""

    def __call__(self, model: PaliGemma) -> None:
        from safetensors.torch import load_file

        parts = "vision_encoder.", "dense_head."
        state, own = load_file(no_pipe(self.path)), model.state_dict()
        if self.vision_encoder is not None:
            state |= {k: v for k, v in load_file(no_pipe(self.vision_encoder)).items() if k.startswith(parts)}
        table, grid = state.get("vision_encoder.positions"), model.config.vision_encoder.grid
        if table is not None and table.shape[0] != grid[0] * grid[1]:
            old = round(table.shape[0] ** 0.5)
            state["vision_encoder.positions"] = interpolate(table, (old, old), grid, model.config.vision_encoder.resample)
        state = {name: value for name, value in state.items() if name in own or not name.startswith("dense_head.")}
        missing, unknown = model.load_state_dict(state, strict=False)
        drawn = parts[1:] if not all(name.startswith(parts) for name in state) else ("language.", "projector.", "dense_head.")
        absent = [name for name in missing if not name.startswith(drawn)]
        if unknown or absent:
            raise BadInput(f"{self.path} is no start for this model: {(*unknown, *absent)[0]} does not fit; give other weights")


@dataclass(frozen=True)
class StartFromEncoder(Start):
    """Initial weights with the vision encoder of `adopted_encoder`; all other weights are drawn."""

    reference: str
    image_size: int

    def __call__(self, model: PaliGemma) -> None:
        model.vision_encoder.load_state_dict(adopted_encoder(self.reference, self.image_size).state_dict())


class Checks:
    """Scores a model. Subclasses are small and picklable."""

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        raise NotImplementedError


def text_loss(
    model: PaliGemma, images: Tensor, step: Step, learning: Learning, soft_locations: SoftLocationTargets | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the loss of all texts about embedded images."""
    if step.packed is not None:
        return packed_loss(model, images, step.packed, learning.smoothing, soft_locations)
    return rows_loss(model, images, step.batch, learning, soft_locations)


def rows_loss(
    model: PaliGemma, images: Tensor, batch: Batch, learning: Learning, soft_locations: SoftLocationTargets | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the loss of each group's rows, padded to the longest; the mean is over all rows together."""
    losses, right, counted = [], [], []
    for rows in batch.groups:
        hidden = model.read(images[rows.of], rows.prefix, rows.suffix)
        logits = model.language.logits(hidden, capped=model.config.soft_cap == "transformers")
        at = rows.learned & (rows.suffix != 0)
        row_losses = token_losses(logits, rows.suffix, learning.smoothing, model.config.emitted, soft_locations) * at
        losses.append(row_losses)
        counted.append(at)
        right.append(((logits.detach().argmax(-1) == rows.suffix) & at).sum())
    longest = max(rows.shape[1] for rows in losses)
    joined, marks = (torch.cat([nn.functional.pad(r, (0, longest - r.shape[1])) for r in part]) for part in (losses, counted))
    return mean_loss(joined, marks, learning.mean), {"tokens": sum(right) / marks.sum()}


def reference_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Make the optimiser's groups as in the reference: see above."""
    decayed, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kernel = name.startswith(("vision_encoder.", "projector.")) and name.endswith("weight") and parameter.ndim > 1
            (decayed if kernel else rest).append(parameter)
    groups = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def adopted_encoder(reference: str, image_size: int) -> ViT:
    """Load the encoder of a reference (`tapetum.encoders.references`), and convert it; see `adopt`.

    Raises BadInput if it cannot be loaded, or is not a ViT that PaliGemma can use.
    """
    from tapetum.encoders import references

    encoder = references.load(reference, text=False)
    try:
        return adopt(encoder, image_size)
    except BadInput as error:
        raise BadInput(f"{reference}: {error}") from error


@torch.no_grad()
def adopt(encoder: Any, image_size: int) -> ViT:
    """Convert an image ViT to a vision encoder of PaliGemma, for images of this size. Raises BadInput for other networks."""
    if not isinstance(encoder, ViT):
        raise BadInput(f"a {type(encoder).__name__} cannot become PaliGemma's vision encoder; give a ViT of tapetum.encoders")
    theirs = encoder.config
    plain = {*encoder.preprocessing.mean, *encoder.preprocessing.std} == {127.5}
    if theirs.rotary or theirs.positions == "none":
        raise BadInput(
            "its positions are rotary or there are none, and a vision encoder of PaliGemma learns them; give another"
        )
    if theirs.norm != "tokens":
        raise BadInput("its last norm is on the pooled vector, and the decoder reads tokens; give another")
    if theirs.stem != "patch" and not plain:
        raise BadInput("its stem of convolutions takes other pixels than -1..1, which cannot be folded into it; give another")
    if image_size % theirs.patch:
        near = round(image_size / theirs.patch) * theirs.patch
        raise BadInput(f"its patches of {theirs.patch} do not divide images of {image_size}; give --image-size {near}")
    config = replace(
        theirs,
        image_size=(image_size, image_size),
        class_token=False,
        registers=0,
        positions="learned",
        patch_bias=theirs.patch_bias or not plain,
        pooling="mean",
        pooler=False,
    )
    ours = ViT(config, squashed(image_size))
    state: dict[str, Tensor] = {name: tensor for name, tensor in encoder.state_dict().items() if name in ours.state_dict()}
    first = encoder.positions.shape[0] - theirs.grid[0] * theirs.grid[1]  # the class token's position is before the grid's
    state["positions"] = interpolate(encoder.positions[first:], theirs.grid, config.grid, theirs.resample)
    if not plain:
        state["patches.weight"], state["patches.bias"] = plain_patches(encoder)
    ours.load_state_dict(state)
    return ours.eval()
