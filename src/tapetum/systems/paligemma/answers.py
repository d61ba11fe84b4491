"""Inference: a model with its tokenizer and its mask codec; images and prompts in, answers out.

Source: PaliGemma (arXiv 2407.07726); see `tokens`, `images`, `model`, `locations` and `masks.codec`, which this combines.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, check_several
from tapetum.core.reading import check_length
from tapetum.hub.loading import header_of
from tapetum.hub.registry import known, resolve
from tapetum.layers.cpu import speed_up
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.data import pad_rows
from tapetum.systems.paligemma.images import Resize, prepare
from tapetum.systems.paligemma.locations import ParsedRegions, keep_requested, parse
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.tokens import Tokens

CONTEXT = 8192
"""Tokens of images, prompt and answer together that Gemma was made for."""
OFFICIAL_ROWS = 257_152
"""Rows of the official tables: models with as many speak of masks in the official codec's codes."""


PLACED = "detect ", "segment "
"""Prompts that are answered with places, or with nothing."""


def first_places(logits: Float[Tensor, "b v"], tokens: Tokens, end: int) -> list[list[int]]:
    """Choose the most likely location if all locations together are more likely than the end token, else nothing.

    A small model is sure that a thing is there long before it is sure to the pixel where: the likeliest of a hundred places may
    have a chance of 0.03, beside 0.2 for the end, and to take the likeliest token would be to say that nothing is there.
    """
    chances = logits.float().softmax(-1)
    places = chances[:, list(tokens.location_ids)]
    best, there = places.argmax(1).tolist(), (places.sum(1) > chances[:, end]).tolist()
    return [[tokens.location_ids[place]] if yes else [] for place, yes in zip(best, there, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The answer of a model."""

    text: str
    ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    """Of the ids, then of the end if it came."""
    ended: bool
    """By the end token; else `max_new_tokens` was reached."""

    @property
    def score(self) -> float:
        """Compute the probability of the whole answer."""
        return math.exp(min(0.0, math.fsum(self.log_probabilities)))


class Answerer:
    """A model that answers prompts about images."""

    def __init__(self, model: PaliGemma, tokens: Tokens, codec: MaskCodec | str | None = None):
        """Combine a model and its tokenizer; `codec` is a mask codec, or the name of one to load when needed.

        Raises BadInput for a tokenizer of another model.
        """
        tokens.check(model.config.language.vocabulary)
        self.model, self.tokens = model, tokens
        self.official = model.config.language.vocabulary >= OFFICIAL_ROWS
        """True for the published models."""
        self._codec = codec or (mask_codec.OFFICIAL if self.official else mask_codec.DEFAULT)

    @classmethod
    def load(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        config: str | None = None,
        masks: str | os.PathLike[str] | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "Answerer":
        """Load weights by name, file or folder, with the tokenizer next to them.

        `config` names the model of a file that does not say, such as a big_vision .npz (`tapetum.systems.paligemma.config`).
        `masks` is the mask codec: by default the bundled one, for official weights the official one. Raises BadInput if
        anything is missing, damaged, or of another model.
        """
        path = Path(name_or_path)
        if os.fspath(name_or_path) in known() or not path.exists():
            path = resolve(name_or_path)[0]
        header = header_of(path) if path.is_file() else {}
        if path.is_file() and weights.HEADER not in header and config is None:
            raise BadInput(
                f"{path} does not say that it is a PaliGemma; give a folder of Hugging Face, or say which it is, such as"
                " --model-config paligemma-3b-224"
            )
        tokens = Tokens.beside(path)
        model = speed_up(weights.load(name_or_path, device, dtype, config=config))
        speed_up(model.language, copies=True)
        tokens.check(model.config.language.vocabulary, header.get(weights.TOKENIZER))
        return cls(model, tokens, None if masks is None else os.fspath(masks))

    @cached_property
    def codec(self) -> MaskCodec:
        """Load the mask codec. Raises BadInput if it is not on this machine."""
        codec = self._codec
        return mask_codec.load(codec, self.device) if isinstance(codec, str) else codec

    @property
    def device(self) -> torch.device:
        return self.model.projector.weight.device

    def prefix(self, prompt: str, images: int = 1, max_new_tokens: int = 1) -> list[int]:
        """Encode a prompt. Raises BadInput if it is empty or leaves no room for the answer."""
        if not prompt.strip():
            raise BadInput("the prompt is empty; say what is wanted, such as a question")
        check_length(prompt, "the prompt")
        ids = self.tokens.encode_prefix(prompt)
        image_tokens = images * self.model.config.image_tokens
        if image_tokens + len(ids) + max_new_tokens > CONTEXT:
            raise BadInput(
                f"the prompt has {len(ids)} tokens, beside {image_tokens} of {images} images and {max_new_tokens} for the"
                f" answer; together they may be {CONTEXT}: give a shorter one, or fewer images"
            )
        return ids

    @full_precision()
    def ask(
        self,
        images: Sequence[UInt8[np.ndarray, "_i _h _w 3"]],
        prompts: Sequence[str],
        max_new_tokens: int = 64,
        *,
        resize: Resize = "reference",
        sampling: SamplingConfig | None = None,
        video: bool = False,
    ) -> list[Reply]:
        """Answer prompts, each about one or several images, the same number for all.

        Frames of a video are images as others (`video` has no effect).
        Answers about locations, except those of official models, begin with the most likely location if all locations together
        are more likely than the end; see `first_places`.
        Raises BadInput as `prefix`, and for text the tokenizer refuses.
        """
        del video
        check_several(prompts, "prompts")
        if not images or len(images) != len(prompts):
            raise BadInput(f"there are {len(images)} examples of images and {len(prompts)} prompts; give as many, 1 or more")
        counts = {len(frames) for frames in images}
        if len(counts) > 1:
            raise BadInput(f"examples have {sorted(counts)} images; those that are asked together have as many")
        size = self.model.config.image_size
        pixels = torch.stack([prepare(frames, size, resize) for frames in images]).to(self.device)
        prefixes = [self.prefix(prompt, max(counts), max_new_tokens) for prompt in prompts]
        rows = [] if self.official else [row for row, prompt in enumerate(prompts) if prompt.startswith(PLACED)]
        forced: list[list[int]] = [[] for _ in prompts]
        if rows:
            logits = self.model.start(pixels[rows], self.padded([prefixes[row] for row in rows]), 1).logits
            for row, first in zip(rows, first_places(logits, self.tokens, self.model.config.end), strict=True):
                forced[row] = first
        made = self.model.generate(pixels, self.padded(prefixes), max_new_tokens, sampling, forced=forced if rows else None)
        return [
            Reply(text=self.tokens.decode(g.ids), ids=g.ids, log_probabilities=g.log_probabilities, ended=g.ended) for g in made
        ]

    def padded(self, rows: Sequence[Sequence[int]]) -> Int[Tensor, "b n"]:
        """Pad rows of ids to one tensor, 0 on the right."""
        return pad_rows(rows).to(self.device)

    def find(self, reply: Reply, width: int, height: int, *, masks: bool, things: Sequence[str] | None = None) -> ParsedRegions:
        """Read an answer's boxes, and with `masks` masks, in pixels of an image of this size; with `things`, only theirs."""
        unpack: Any = self.codec.unpack if masks else None
        return keep_requested(parse(reply.text, width, height, unpack, chances=self.chances(reply)), things)

    def chances(self, reply: Reply) -> list[float]:
        """Compute the probability of each token of a location or mask in an answer."""
        pairs = zip(reply.ids, reply.log_probabilities, strict=False)
        return [math.exp(min(0.0, p)) for k, p in pairs if self.tokens.is_location(k) or self.tokens.is_segment(k)]
