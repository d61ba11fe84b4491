"""Frozen language models: a small decoder over bytes, or any causal model of transformers.

A `Captioner` adds gated cross-attention to a video before each block. Texts are padded on the right, so causal attention needs
no mask: nothing attends to later tokens.
"""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import check_length, no_pipes_in
from tapetum.encoders import byte_text
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.decoder import Decoder, DecoderCache
from tapetum.hub.download import loading_by_name


class ByteLanguage(nn.Module):
    """A small decoder (`tapetum.encoders.decoder`) over the bytes of UTF-8."""

    ends = (byte_text.END,)

    def __init__(self, config: DecoderConfig):
        super().__init__()
        if config.vocabulary != byte_text.VOCABULARY:
            raise BadInput(f"a decoder over bytes has {byte_text.VOCABULARY} tokens, not {config.vocabulary}")
        self.config, self.width = config, config.width
        self.decoder = Decoder(config)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return [*self.decoder.blocks]

    def encode(self, text: str) -> list[int]:
        """Encode a text as bytes after the begin token."""
        return [byte_text.BEGIN, *self.encode_continuation(text)]

    def encode_continuation(self, text: str) -> list[int]:
        check_length(text, "a text for the model")
        return [*text.encode(errors="replace")]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode bytes; invalid ones become the replacement character."""
        return bytes(token for token in ids if token < 256).decode(errors="replace")

    def read(self, ids: Int[Tensor, "b n"], cache: DecoderCache | None = None) -> Float[Tensor, "b n v"]:
        """Compute the logits of the byte after each."""
        return self.decoder.logits(self.decoder(self.decoder.embed(ids), cache=cache))

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
        """Compute the logits of the byte after each."""
        return self.read(ids)

    def cache(self, batch: int, max_tokens: int) -> DecoderCache:
        """Make a cache for at most `max_tokens` tokens."""
        return self.decoder.cache(batch, max_tokens)

    def reorder(self, cache: DecoderCache, rows: Int[Tensor, " c"]) -> None:
        cache.reorder(rows)


class ForeignLanguage(nn.Module):
    """A causal model of transformers with its tokenizer. No code of a repository is run, and only safetensors are read."""

    def __init__(self, place: str):
        """Load a model by name or folder. Raises MissingExtra without transformers, BadInput if there is none."""
        super().__init__()
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("transformers", "depth", "a language model by name") from error
        local = {"local_files_only": True} if Path(place).is_dir() else {}
        try:
            if local:
                no_pipes_in(place)
            with loading_by_name():
                self.model: Any = AutoModelForCausalLM.from_pretrained(
                    place, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, **local
                )
                self.tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **local)
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split())[:120]
            raise BadInput(f"{place} is no causal language model of transformers and tokenizer ({reason}); give one") from error
        about = self.model.config.get_text_config()
        self.width: int = about.hidden_size
        block_lists = [
            part for part in self.model.modules() if isinstance(part, nn.ModuleList) and len(part) == about.num_hidden_layers
        ]
        if not block_lists or self.tokenizer.eos_token_id is None:
            raise BadInput(
                f"{place} has no list of {about.num_hidden_layers} blocks, or no token that ends a text; give another"
            )
        self._blocks = [*block_lists[0]]
        self.ends: tuple[int, ...] = (self.tokenizer.eos_token_id,)
        newer = "cache" in signature(self.model.forward).parameters
        self._cache_name = "cache" if newer else "past_key_values"

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self._blocks

    def encode(self, text: str) -> list[int]:
        """Encode a text after the model's begin token (or its end token, if it has none)."""
        begin = self.tokenizer.bos_token_id
        return [self.ends[0] if begin is None else begin, *self.encode_continuation(text)]

    def encode_continuation(self, text: str) -> list[int]:
        """Encode a text without added tokens."""
        check_length(text, "a text for the model")
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode tokens, leaving out special ones."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def read(self, ids: Int[Tensor, "b n"], cache: Any = None) -> Float[Tensor, "b n v"]:
        cached = {} if cache is None else {self._cache_name: cache}
        return self.model(input_ids=ids, use_cache=cache is not None, **cached).logits

    def cache(self, batch: int, max_tokens: int) -> Any:
        """Make an empty cache, which grows."""
        from transformers import DynamicCache

        return DynamicCache()

    def reorder(self, cache: Any, rows: Int[Tensor, " c"]) -> None:
        cache.reorder_cache(rows)


def make_language(config: DecoderConfig | str) -> ByteLanguage | ForeignLanguage:
    """Make a new decoder over bytes, or load a model of transformers."""
    return ForeignLanguage(config) if isinstance(config, str) else ByteLanguage(config)
