"""PaliGemma and PaliGemma 2 (arXiv 2407.07726, 2412.03555): a SigLIP vision encoder, one linear layer, a Gemma decoder.

    images -> vision encoder -> projector ---> [images][BOS prefix newline][suffix ...] -> decoder -> logits of the suffix
    prefix, suffix: ids -> token embedding * sqrt(width) ---^

Attention is that of a prefix language model (2407.07726, figure 2); see `prefix_lm_mask`.

Images, prefix and suffix are separate arguments, so that no other mask can be requested by mistake. Id 0 is padding, on the
right of prefix and suffix; nothing attends to it.

Differs from the reference code (https://github.com/google-research/big_vision), each a setting: the cap on logits applies to
all of them, as in transformers (`soft_cap`); keys and values keep the weights' precision, not bfloat16 (`cache_dtype`).

Differs from transformers: positions begin at 0, not at 1 (rotary positions are relative: float32 results agree to 1e-5,
bfloat16 may not); padding rows of the vocabulary are never generated (`emitted`); image tokens come first, without placeholder
ids.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.config import squashed
from tapetum.encoders.decoder import Decoder
from tapetum.encoders.features import Features
from tapetum.encoders.vit import ViT
from tapetum.layers.generate import Generated, SamplingConfig, generate, greedy
from tapetum.layers.patches import merge_tokens
from tapetum.layers.transformer import step_mask
from tapetum.systems.paligemma.config import PaliGemmaConfig, named

if TYPE_CHECKING:
    from tapetum.systems.paligemma.decoding import PrefixDecodingState


@dataclass(frozen=True)
class PrefixLmMask:
    """Positions of the tokens of a batch, and what they attend to."""

    positions: Int[Tensor, "b n"]
    """Of tokens in their example, from 0, padding not counted."""
    mask: Bool[Tensor, "b 1 n n"]
    local_mask: Bool[Tensor, "b 1 n n"] | None
    """For local blocks; None where there is no window."""


def prefix_lm_mask(
    valid: Bool[Tensor, "b n"],
    images: int,
    prefix: int,
    kind: Literal["full", "blocks", "images", "causal"] = "full",
    window: int | None = None,
) -> PrefixLmMask:
    """Compute the attention mask of `images` tokens of images, `prefix` of text, and the suffix, which is the rest.

        i images, b BOS, p prefix, n newline, s suffix, e end, . padding                        x: attends to

                     keys                        full            keys                          causal
                 i i i b p n . s s e .                       i i i b p n . s s e .
        query i  x x x x x x                        query i  x
              i  x x x x x x                              i  x x
              i  x x x x x x                              i  x x x
              b  x x x x x x                              b  x x x x
              p  x x x x x x                              p  x x x x x
              n  x x x x x x                              n  x x x x x x
              s  x x x x x x   x                          s  x x x x x x   x
              s  x x x x x x   x x                        s  x x x x x x   x x
              e  x x x x x x   x x x                      e  x x x x x x   x x x

    In between are: `blocks`, images attend to images, the prefix to both, the suffix is causal; `images`, images attend to each
    other, prefix and suffix are causal. In both, images do not attend to text, so several texts can share them. Nothing attends
    to padding.

    In local blocks with a window of w, a query attends to the keys up to that many positions back, itself included, and to all
    of its own block (the whole prefix under `full`), as in transformers. big_vision has no window.

    `valid` is everything but padding; `window` is that of local blocks.
    """
    # A token attends to those whose sum of steps is at most its own: 0 within a block, 1 for each causal token.
    steps = torch.ones_like(valid, dtype=torch.long)
    steps[:, : {"full": images + prefix, "blocks": images + prefix, "images": images, "causal": 0}[kind]] = 0
    if kind == "blocks":
        steps[:, images] = 1  # the prefix is one step after the images
    mask = step_mask(steps) & valid[:, None, None, :]
    positions = (valid.long().cumsum(1) - 1).clamp_min(0)
    local = None
    if window is not None:
        step = steps.cumsum(1)
        near = positions[:, :, None] - positions[:, None, :] < window
        local = mask & (near | (step[:, :, None] == step[:, None, :]))[:, None]
    return PrefixLmMask(positions, mask, local)


class PaliGemma(nn.Module):
    """The published model: ViT tokens, one linear layer, then the decoder."""

    def __init__(self, config: PaliGemmaConfig):
        super().__init__()
        self.config = config
        self.vision_encoder = ViT(config.vision_encoder, squashed(config.image_size))
        width = config.vision_encoder.width * config.token_merge**2
        self.projector = nn.Linear(width, config.language.width)
        self.language = Decoder(config.language)
        nn.init.normal_(self.projector.weight, std=width**-0.5)
        nn.init.zeros_(self.projector.bias)

    def embed_images(self, pixels: Float[Tensor, "b i 3 h w"]) -> Float[Tensor, "b n d"]:
        """Compute the decoder's tokens of each example's images, in -1..1, of any size: positions are interpolated."""
        if pixels.ndim != 5 or pixels.shape[1] == 0 or pixels.shape[2] != 3:
            raise BadInput(f"pixels are {tuple(pixels.shape)}; give (batch, images, 3, rows, columns), at least one image each")
        features = self.vision_encoder(pixels.flatten(0, 1).to(self.projector.weight.dtype))
        return self.project_features(features).unflatten(0, pixels.shape[:2]).flatten(1, 2)

    def project_features(self, features: Features) -> Float[Tensor, "b n d"]:
        """Merge squares of the vision encoder's tokens, and project them to the decoder's width."""
        return self.projector(merge_tokens(features.tokens, features.grid, self.config.token_merge))

    def hidden(
        self, pixels: Float[Tensor, "b i 3 h w"], prefix: Int[Tensor, "b p"], suffix: Int[Tensor, "b s"]
    ) -> Float[Tensor, "b s d"]:
        """Compute the hidden states that `logits` projects onto the vocabulary."""
        self._check_ids("prefix", prefix, len(pixels))
        self._check_ids("suffix", suffix, len(pixels))
        return self.read(self.embed_images(pixels), prefix, suffix)

    def read(
        self, images: Float[Tensor, "b n d"], prefix: Int[Tensor, "b p"], suffix: Int[Tensor, "b s"]
    ) -> Float[Tensor, "b s d"]:
        """Compute `hidden` from the output of `embed_images`, which several texts can share."""
        batch, image_tokens = images.shape[:2]
        text = torch.cat((prefix, suffix[:, :-1]), 1)
        valid = torch.cat((torch.ones(batch, image_tokens, dtype=torch.bool, device=text.device), text != 0), 1)
        layout = prefix_lm_mask(valid, image_tokens, prefix.shape[1], self.config.prefix_mask, self.config.language.window)
        x = torch.cat((images, self.language.embed(text)), 1)
        x = self.language(x, positions=layout.positions, mask=layout.mask, local_mask=layout.local_mask)
        # The first suffix token is predicted by the last of the prefix, each other one by the one before it.
        last = image_tokens + (prefix != 0).sum(1) - 1
        after = torch.arange(image_tokens + prefix.shape[1], x.shape[1], device=x.device).expand(batch, -1)
        index = torch.cat((last[:, None], after), 1)  # (b, s)
        return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))

    def logits(
        self, pixels: Float[Tensor, "b i 3 h w"], prefix: Int[Tensor, "b p"], suffix: Int[Tensor, "b s"]
    ) -> Float[Tensor, "b s v"]:
        """Compute the logits of suffixes: row k predicts suffix token k from all that precedes it.

        Images are in -1..1; prefixes have BOS and newline, suffixes the end token if it is to be learned; both are padded with
        0 on the right. Raises BadInput for shapes that do not match, unknown ids, or padding elsewhere.
        """
        hidden = self.hidden(pixels, prefix, suffix)
        return self.language.logits(hidden, capped=self.config.soft_cap == "transformers")

    def project(self, hidden: Float[Tensor, "b d"], capped: bool = True) -> Float[Tensor, "b v"]:
        """Compute the logits of tokens that may be generated."""
        return self.language.logits(hidden, capped, self.config.emitted)

    @torch.no_grad()
    def start(
        self,
        pixels: Float[Tensor, "b i 3 h w"],
        prefix: Int[Tensor, "b p"],
        max_new_tokens: int,
        cache_dtype: torch.dtype | None = None,
    ) -> "PrefixDecodingState":
        """Read images and prefixes into a `decoding.PrefixDecodingState`."""
        self._check_ids("prefix", prefix, len(pixels))
        from tapetum.systems.paligemma.decoding import PrefixDecodingState

        return PrefixDecodingState(self, self.embed_images(pixels), prefix, max_new_tokens, cache_dtype)

    @torch.no_grad()
    def generate_ids(
        self, pixels: Float[Tensor, "b i 3 h w"], prefix: Int[Tensor, "b p"], max_new_tokens: int
    ) -> list[list[int]]:
        """Generate greedily up to the end token, which is left out; `max_new_tokens` counts it. Raises BadInput as `logits`."""
        return greedy(self.start(pixels, prefix, max_new_tokens), max_new_tokens, (self.config.end,))

    @torch.no_grad()
    def generate(
        self,
        pixels: Float[Tensor, "b i 3 h w"],
        prefix: Int[Tensor, "b p"],
        max_new_tokens: int,
        sampling: SamplingConfig | None = None,
        *,
        forced: Sequence[Sequence[int]] | None = None,
        forbidden: Collection[int] = (),
        cache_dtype: torch.dtype | None = None,
    ) -> list[Generated]:
        """Generate an answer for each example, with the log-probability of each token.

        Images and prefixes as for `logits`. Answers begin with the ids that are `forced` for each, which `max_new_tokens`
        counts, as the end token; ids that are `forbidden` are never chosen. `cache_dtype` is the precision of keys and values,
        by default the weights'. Raises BadInput as `logits`, and for settings that contradict each other.
        """
        steps = self.start(pixels, prefix, max_new_tokens, cache_dtype)
        return generate(steps, max_new_tokens, {self.config.end}, sampling, forced=forced, forbidden=forbidden)

    @torch.no_grad()
    def score(
        self, pixels: Float[Tensor, "b i 3 h w"], prefix: Int[Tensor, "b p"], answers: Int[Tensor, "b k s"]
    ) -> Float[Tensor, "b k s"]:
        """Compute the log-probability of each token of k answers to each example, 0 for padding; their sum is the answer's.

        Images and prefix (as for `logits`) are read once for all k; answers include the end token if it is to count.
        """
        if answers.ndim != 3:
            raise BadInput(f"answers are {tuple(answers.shape)}; give (batch, answers, tokens)")
        flat = answers.flatten(0, 1)
        self._check_ids("answers", flat, len(flat))
        capped = self.config.soft_cap == "transformers"
        state = self.start(pixels, prefix, answers.shape[2])
        state.reorder(torch.arange(len(prefix), device=prefix.device).repeat_interleave(answers.shape[1]))
        log_probabilities = torch.zeros(flat.shape, device=flat.device)
        logits = state.logits
        hidden = state.extend(flat[:, :-1]) if flat.shape[1] > 1 else None
        for position in range(flat.shape[1]):  # one at a time: a row of logits is a megabyte
            if position and hidden is not None:
                logits = self.project(hidden[:, position - 1], capped=capped)
            log_probabilities[:, position] = logits.float().log_softmax(-1).gather(1, flat[:, position, None])[:, 0]
        return log_probabilities.masked_fill(flat == 0, 0.0).unflatten(0, answers.shape[:2])

    def _check_ids(self, name: str, ids: Tensor, examples: int) -> None:
        if ids.ndim != 2 or ids.dtype != torch.int64 or len(ids) != examples or (name != "prefix" and not ids.shape[1]):
            raise BadInput(
                f"{name} is {ids.dtype} {tuple(ids.shape)} of {examples} examples; give int64 ids, a row for each example"
            )
        known = self.config.language.vocabulary - 1
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) > known):
            raise BadInput(f"{name} has ids {int(ids.min())}..{int(ids.max())}; this model knows 0..{known}")
        if bool(((ids[:, :-1] == 0) & (ids[:, 1:] != 0)).any()):
            raise BadInput(f"{name} has 0, which is padding, before other ids; put it on the right")

    def to_int8(self, vision_encoder: bool = False) -> "PaliGemma":
        """Round the decoder's weights, and on request the vision encoder's, to 8 bits (`tapetum.layers.cpu`), in place.

        For inference only: faster, with less memory; answers may differ.
        """
        from tapetum.layers.cpu import quantise

        quantise(self.language)
        if vision_encoder:
            quantise(self.vision_encoder)
        return self


def build(config: PaliGemmaConfig | str, seed: int = 0) -> PaliGemma:
    """Make a model with random weights, float32, in evaluation mode. Raises BadInput for an unknown name."""
    config = named(config) if isinstance(config, str) else config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PaliGemma(config).eval()
