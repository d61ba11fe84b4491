"""Decoding token by token: the prompt is read once, its keys and values are cached, and each further token costs one row."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.layers.transformer import causal_mask
from tapetum.systems.paligemma.model import PaliGemma, prefix_lm_mask


class PrefixDecodingState:
    """Decoding state of answers, one per row: a `DecodingState` of `tapetum.layers.generate`."""

    def __init__(
        self,
        model: PaliGemma,
        images: Float[Tensor, "b n d"],
        prefix: Int[Tensor, "b p"],
        max_new_tokens: int,
        cache_dtype: torch.dtype | None = None,
    ):
        """Read the prompts: images from `embed_images`, prefixes padded with 0 on the right.

        `cache_dtype` is the precision of keys and values, by default the weights'; big_vision rounds them to bfloat16.
        """
        self.model = model
        batch, image_tokens = images.shape[:2]
        valid = torch.cat((torch.ones(batch, image_tokens, dtype=torch.bool, device=prefix.device), prefix != 0), 1)
        whole = bool(valid.all())
        self._capacity = valid.shape[1] + max_new_tokens
        self._valid = None if whole else torch.nn.functional.pad(valid, (0, max_new_tokens), value=True)
        self.cache = model.language.cache(batch, self._capacity, cache_dtype)
        self.lengths = valid.sum(1)
        """Tokens that each row holds, padding not counted; also the position of its next one."""
        hidden = self._prefill(torch.cat((images, model.language.embed(prefix)), 1), image_tokens, None if whole else valid)
        last = hidden[:, -1] if whole else hidden[torch.arange(batch, device=hidden.device), self.lengths - 1]
        self.logits: Float[Tensor, "b v"] = model.project(last, capped=model.config.soft_cap == "transformers")
        """Of the next token."""

    def _prefill(self, x: Tensor, image_tokens: int, valid: Tensor | None) -> Tensor:
        config, language = self.model.config, self.model.language
        window = config.language.window
        if valid is None and config.prefix_mask == "full":  # all see all, at whatever distance
            return language(x, causal=False, cache=self.cache)
        if valid is None and config.prefix_mask == "causal" and window is None:
            return language(x, cache=self.cache)
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if valid is None else valid
        layout = prefix_lm_mask(valid, image_tokens, x.shape[1] - image_tokens, config.prefix_mask, window)
        return language(x, positions=layout.positions, mask=layout.mask, local_mask=layout.local_mask, cache=self.cache)

    def step(self, ids: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
        """Add a token to each row; returns the logits of the next one."""
        self.logits = self.model.project(self._read(ids[:, None])[:, 0])
        return self.logits

    def extend(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Add tokens of a suffix to each row, padded with 0 on the right; returns the input of `project`.

        `logits` are not changed.
        """
        valid = ids != 0
        if not bool(valid.all()):
            length = self.cache.length
            if self._valid is None:
                self._valid = torch.ones(len(ids), self._capacity, dtype=torch.bool, device=ids.device)
            self._valid = self._valid.clone()
            self._valid[:, length : length + ids.shape[1]] = valid
        return self._read(ids, valid)

    def _read(self, ids: Tensor, valid: Tensor | None = None) -> Tensor:
        language, count = self.model.language, ids.shape[1]
        keys = self.cache.length + count
        positions = self.lengths[:, None]
        if count > 1:
            positions = positions + torch.arange(count, device=ids.device)
        mask = local = None
        if self._valid is not None:
            mask = self._valid[:, None, None, :keys]
            if count > 1:
                mask = mask & causal_mask(count, keys, device=ids.device)
            window = language.config.window
            if window is not None and keys > window:
                places = self._valid[:, :keys].long().cumsum(1) - 1
                local = mask & (positions[:, :, None] - places[:, None, :] < window)[:, None]
        x = language.embed(ids)
        hidden = language(x, positions=positions, mask=mask, local_mask=local, cache=self.cache)
        self.lengths = self.lengths + (count if valid is None else valid.sum(1))
        return hidden

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Reorder the rows: row i becomes what row `rows[i]` was; rows may be repeated or left out."""
        self.cache.reorder(rows)
        self.lengths, self.logits = self.lengths[rows], self.logits[rows]
        if self._valid is not None:
            self._valid = self._valid[rows]
