"""Sizes of small causal decoders of text: Gemma (arXiv 2403.08295) and Gemma 2 (2408.00118). Imports no torch."""

from dataclasses import dataclass

from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder of the Gemma kind. The defaults are those of Gemma; what Gemma 2 adds is off."""

    width: int
    """Channels of a token."""
    depth: int
    """Blocks."""
    heads: int
    """Heads of the queries."""
    key_value_heads: int
    """Heads of keys and values; each is shared by heads / key_value_heads of the queries."""
    head_width: int
    """Channels of a head; heads * head_width need not be the width."""
    mlp_width: int
    """Hidden channels of the gated MLP."""
    vocabulary: int
    """Rows of the table of tokens, which is also the last layer."""
    query_scale: float | None = None
    """By which logits of the attention are multiplied; None: head_width ** -0.5."""
    post_norms: bool = False
    """A norm after each part of a block too (Gemma 2)."""
    attention_soft_cap: float | None = None
    """Logits of the attention become cap * tanh(logits / cap), before the mask (Gemma 2: 50)."""
    logit_soft_cap: float | None = None
    """The same for the logits over the vocabulary (Gemma 2: 30)."""
    window: int | None = None
    """Tokens back, itself included, that a token of a local block sees; None: no block is local (Gemma 2: 4096)."""
    global_every: int = 2
    """With a window, every so manieth block sees all: 2 makes blocks 0, 2, 4, ... local."""
    rope_wavelength: float = 10_000.0
    """Longest wavelength of the rotary positions."""
    norm_eps: float = 1e-6
    dropout: float = 0.0
    """In training, the probability with which a number that a part of a block gives is left out."""

    def __post_init__(self) -> None:
        sizes = (self.width, self.depth, self.heads, self.key_value_heads, self.mlp_width, self.vocabulary, self.global_every)
        if min(sizes) < 1 or self.head_width < 2 or self.head_width % 2 or self.heads % self.key_value_heads:
            raise BadInput(
                f"a decoder of width {self.width}, depth {self.depth}, {self.heads} heads of {self.head_width} channels on"
                f" {self.key_value_heads}, MLPs of {self.mlp_width} and {self.vocabulary} tokens cannot be; all are 1 or more,"
                " head_width is even, and key_value_heads divide heads"
            )
        if not 0 <= self.dropout < 1:
            raise BadInput(f"the dropout is {self.dropout}; it is 0 or more, and below 1")
        for name in ("query_scale", "attention_soft_cap", "logit_soft_cap", "window", "rope_wavelength", "norm_eps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInput(
                    f"{name} is {value}; it is above 0{'' if name in ('rope_wavelength', 'norm_eps') else ', or None'}"
                )

    @property
    def scale(self) -> float:
        """By which logits of the attention are multiplied."""
        return self.head_width**-0.5 if self.query_scale is None else self.query_scale

    def local(self, block: int) -> bool:
        """Tell whether a block sees a window only.

        >>> sizes = {"width": 8, "depth": 4, "heads": 2, "key_value_heads": 1, "head_width": 4, "mlp_width": 8, "vocabulary": 9}
        >>> [DecoderConfig(**sizes, window=3).local(block) for block in range(4)]
        [True, False, True, False]
        """
        return self.window is not None and (block + 1) % self.global_every != 0
