r"""The loss on the suffix, for rows of text and for texts packed into one sequence.

Source: PaliGemma (arXiv 2407.07726, 3.2) and its public code. Only the suffix and its end token are learned; the input (images,
prefix) is not. The positions of the decoder's input that carry a loss, and their targets:

    input    i i i  BOS  p  p  \n   s1   s2   s3
    target                    s1   s2   s3   EOS  .  .           . padding: no loss
             no loss          loss on the suffix

The reference takes the mean over an example's tokens first and then over examples, so that a token of a long answer counts less
than one of a short answer; transformers takes the mean over all tokens of the batch. Both are available by name, as is `roots`
between them: an example counts as the root of its number of tokens.

A location can be off by a little or a lot, which cross-entropy ignores: `SoftLocationTargets` spreads a location's target over
its neighbours, as a normal distribution around it (not in the reference).

Label smoothing s gives the right token 1 - s and each other one s / (V - 1). Torch's `label_smoothing`, which gives s / V to
all, is the same with s' = s V / (V - 1).

Several texts about one image in one sequence: the image is encoded and read once.

[images][BOS p n s s e][BOS p p n s e][...]           rows of one image, one behind the other; each looks at the images
    0..N-1  N N+1 ...      N N+1 ...                    and at itself alone, and counts its positions from the images' end

          images  row a      row b
          i i i     b p n s e  b p n s e
images  x x x
row a  b  x x x     x x x
       p  x x x     x x x
       n  x x x     x x x                  a row is what it would be alone under the masks `blocks` and `images`,
       s  x x x     x x x x                under which images do not see texts; under `full` and `causal` rows
       e  x x x     x x x x x              cannot share, and are computed one by one
row b  b  x x x                x x x
       ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.config import LOCATIONS
from tapetum.systems.paligemma.data import TextRows
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import POWERS, Mean


@dataclass(frozen=True)
class SoftLocationTargets:
    """Targets of locations: a normal distribution around the right one."""

    first: int
    """Id of the first location; the others follow it."""
    std: float
    """Standard deviation, in locations."""

    def losses(self, given: Float[Tensor, "n v"], suffix: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Compute the cross-entropy of log-probabilities of locations; all of `suffix` are locations."""
        places = torch.arange(LOCATIONS, device=suffix.device)
        apart = (places - (suffix - self.first)[:, None]) / self.std
        target = (-apart.square() / 2).softmax(-1)
        return -(target * given[:, self.first : self.first + LOCATIONS]).sum(-1)


def token_losses(
    logits: Float[Tensor, "*s v"],
    suffix: Int[Tensor, "*s"],
    smoothing: float = 0.0,
    vocabulary: int | None = None,
    soft_locations: SoftLocationTargets | None = None,
) -> Float[Tensor, "*s"]:
    """Compute the cross-entropy of each token in float32 (logits as of `PaliGemma.logits`); at padding it is meaningless.

    `smoothing` is the share of the target that is spread over all other tokens, of which there are `vocabulary` (Hugging Face's
    files have further rows). `soft_locations` spreads the targets of locations, which then have no other smoothing.
    """
    if not 0 <= smoothing < 1:
        raise BadInput(f"smoothing is {smoothing}; it is 0 or more, and below 1")
    logits = logits[..., :vocabulary].float()
    given = logits.log_softmax(-1)
    right = given.gather(-1, suffix[..., None])[..., 0]
    losses = -right
    if smoothing:
        losses = -(1 - smoothing) * right - smoothing / (logits.shape[-1] - 1) * (given.sum(-1) - right)
    if soft_locations is not None:
        at = (suffix >= soft_locations.first) & (suffix < soft_locations.first + LOCATIONS)
        losses = losses.masked_scatter(at, soft_locations.losses(given[at], suffix[at]))
    return losses


def suffix_loss(
    logits: Float[Tensor, "b s v"],
    suffix: Int[Tensor, "b s"],
    *,
    mean: Mean = "examples",
    smoothing: float = 0.0,
    vocabulary: int | None = None,
    learned: Bool[Tensor, "b s"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the loss of a batch of suffixes; `learned` are the tokens that carry one, by default all but padding."""
    counted = suffix != 0 if learned is None else learned & (suffix != 0)
    losses = token_losses(logits, suffix, smoothing, vocabulary) * counted
    return mean_loss(losses, counted, mean)


def mean_loss(losses: Float[Tensor, "b s"], counted: Bool[Tensor, "b s"], mean: Mean = "examples") -> Float[Tensor, ""]:
    """Take the mean of losses over the counted tokens; an example without any counts as 0."""
    weights = token_weights(counted, mean)
    total = counted.shape[0] if mean == "examples" else weights.sum().clamp_min(1e-9)
    return (losses * weights).sum() / total


def token_weights(counted: Bool[Tensor, "b s"], mean: Mean) -> Float[Tensor, "b s"]:
    """Compute the weight of each token: 1 over the tokens of its example, 1, or 1 over their root."""
    if mean not in POWERS:
        raise BadInput(f"mean is {mean!r}; it is one of {', '.join(POWERS)}")
    return counted / counted.sum(1, keepdim=True).clamp_min(1) ** POWERS[mean]


@dataclass(frozen=True)
class PackedTexts:
    """Texts of e examples, those of each in one sequence of t tokens."""

    ids: Int[Tensor, "e t"]
    row: Int[Tensor, "e t"]
    """Number of the token's text in its example, from 1; 0 is padding."""
    step: Int[Tensor, "e t"]
    """A token attends to those of its row with the same or a smaller step."""
    place: Int[Tensor, "e t"]
    """In its text, from 0."""
    target: Int[Tensor, "e t"]
    """The next token, which it predicts; 0 for none."""
    weight: Float[Tensor, "e t"]
    """Weight of the loss on the target."""
    targeted: Int[Tensor, " m"] | None = None
    """Places of the tokens that carry a loss, counted through the batch; found where the batch is made, on the CPU."""

    def __post_init__(self) -> None:
        if self.targeted is None:
            object.__setattr__(self, "targeted", (self.weight > 0).flatten().nonzero()[:, 0])


def pack_texts(groups: Sequence[TextRows], examples: int, mean: Mean, mask: Literal["blocks", "images"]) -> PackedTexts:
    """Concatenate rows. Raises BadInput for a mask under which rows cannot share an image."""
    if mask not in ("blocks", "images"):
        raise BadInput(f"texts cannot share an image under the mask {mask!r}; choose blocks or images, or pack nothing")
    columns: list[list[list[Tensor]]] = [[] for _ in range(examples)]
    total = 0.0
    for rows in groups:
        weights = token_weights(rows.learned & (rows.suffix != 0), mean)
        total += len(rows.of) if mean == "examples" else float(weights.sum())
        for number, example in enumerate(rows.of.tolist()):
            p, s = int((rows.prefix[number] != 0).sum()), int((rows.suffix[number] != 0).sum())
            prefix, suffix = rows.prefix[number, :p], rows.suffix[number, :s]
            length = p + s - 1
            steps = torch.zeros(length, dtype=torch.int64) if mask == "blocks" else torch.arange(length)
            if mask == "blocks":
                steps[p:] = torch.arange(1, s)
            target, weight = torch.zeros(length, dtype=torch.int64), torch.zeros(length)
            target[p - 1 :], weight[p - 1 :] = suffix, weights[number, :s]
            row = torch.full((length,), len(columns[example]) + 1)
            columns[example].append([torch.cat((prefix, suffix[:-1])), row, steps, torch.arange(length), target, weight])
    longest = max(sum(len(text[0]) for text in texts) for texts in columns)
    joined = [torch.zeros(examples, longest, dtype=torch.int64) for _ in range(5)] + [torch.zeros(examples, longest)]
    for example, texts in enumerate(columns):
        for out, parts in zip(joined, zip(*texts, strict=True), strict=False):
            values = torch.cat(parts)
            out[example, : len(values)] = values
    joined[5] /= max(total, 1e-9)
    return PackedTexts(*joined)


def packed_mask(packed: PackedTexts, images: int) -> Bool[Tensor, "e 1 n n"]:
    """Make the attention mask, images first. Padding attends to the images, and nothing attends to padding."""
    row, step = packed.row, packed.step
    texts = (row[:, :, None] == row[:, None, :]) & (step[:, None, :] <= step[:, :, None]) & (row > 0)[:, None, :]
    mask = torch.zeros(len(row), 1, images + row.shape[1], images + row.shape[1], dtype=torch.bool, device=row.device)
    mask[:, :, :, :images] = True
    mask[:, 0, images:, images:] = texts
    return mask


def packed_loss(
    model: PaliGemma,
    images: Float[Tensor, "e n d"],
    packed: PackedTexts,
    smoothing: float = 0.0,
    soft_locations: SoftLocationTargets | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Compute the loss of all rows, and the shares of correct tokens."""
    image_tokens = images.shape[1]
    x = torch.cat((images, model.language.embed(packed.ids)), 1)
    before = torch.arange(image_tokens, device=x.device).expand(len(x), -1)
    hidden = model.language(
        x, positions=torch.cat((before, image_tokens + packed.place), 1), mask=packed_mask(packed, image_tokens)
    )
    at = packed.targeted
    target, weight = packed.target.flatten()[at], packed.weight.flatten()[at]
    logits = model.language.logits(hidden[:, image_tokens:].flatten(0, 1)[at], capped=model.config.soft_cap == "transformers")
    losses = token_losses(logits, target, smoothing, model.config.emitted, soft_locations)
    right = (logits.detach().argmax(-1) == target).float()
    return (losses * weight).sum(), {"tokens": right.mean()}
