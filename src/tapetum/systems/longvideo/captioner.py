"""Video to text: a frozen video encoder, a frozen language model, and trainable gated blocks between them.

    video -> encoder -> mean over time -> resampler -> latents
                                                         |  cross-attention before each block
    text so far ------------------------------> language model -> next token

    x + tanh(a) attention(norm(x), latents), then x + tanh(b) mlp(norm(x))      before a block of the language model

LongViViT (arXiv 2312.07395, section 3.4); resampler and gates are those of Flamingo (arXiv 2204.14198, section 2.2 and appendix
A.1). The language model is unchanged: hooks on its blocks call the cross-attention, and without a video, or while the gates are
0, its logits are bit-identical.

Differs from the papers: the language models are small; LongViViT's numbers of latents and blocks are in an appendix that was
not available; the resampler adds no positions in time, which the mean removes; answers by likelihood use the mean
log-probability of an option's tokens, which the paper does not specify.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tapetum.core.devices import send_to_device
from tapetum.core.errors import BadInput, check_several
from tapetum.layers.generate import SamplingConfig, generate
from tapetum.layers.transformer import Attention, Mlp, start_linear
from tapetum.systems.longvideo.encoder import EncodedVideo, VideoEncoder
from tapetum.systems.longvideo.language import ByteLanguage, ForeignLanguage, make_language
from tapetum.systems.longvideo.video_text_config import CaptionerConfig


class CellMeans:
    """Means over time of the tokens of each cell, in constant memory as segments arrive."""

    def __init__(self, cells: int):
        self.cells = cells
        self.total: Tensor | None = None
        self.count: Tensor | None = None

    def add(self, features: EncodedVideo) -> "CellMeans":
        tokens, valid = features.tokens.flatten(1, 2), features.valid.flatten(1, 2)
        cells = features.cells.flatten(1, 2)
        kind = torch.promote_types(tokens.dtype, torch.float32)
        mask = valid.to(kind)
        total = tokens.new_zeros(len(tokens), self.cells, tokens.shape[2], dtype=kind)
        total = total.scatter_add(1, cells[..., None].expand_as(tokens), tokens.to(kind) * mask[..., None])
        count = mask.new_zeros(len(tokens), self.cells).scatter_add(1, cells, mask)
        self.total = total if self.total is None else self.total + total
        self.count = count if self.count is None else self.count + count
        return self

    def means(self) -> Float[Tensor, "b cells d"]:
        """Compute the means (b, cells, d); zeros for a cell without a token."""
        assert self.total is not None
        assert self.count is not None
        return self.total / self.count.clamp(min=1)[..., None]


class ResamplerBlock(nn.Module):
    """Latents attend to the cells and to each other, then an MLP."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.cell_norm, self.norm, self.mlp_norm = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.attention, self.mlp = Attention(width, heads), Mlp(width, 4 * width)

    def forward(self, latents: Float[Tensor, "b l d"], cells: Float[Tensor, "b c d"]) -> Float[Tensor, "b l d"]:
        own = self.norm(latents)
        latents = latents + self.attention(own, torch.cat([self.cell_norm(cells), own], 1))
        return latents + self.mlp(self.mlp_norm(latents))


class Resampler(nn.Module):
    """Learned latents attend to the cells of a video, block by block, and are projected to the language model's width."""

    def __init__(self, width: int, out: int, latents: int, depth: int, heads: int):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.blocks = nn.ModuleList(ResamplerBlock(width, heads) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, out)
        self.apply(start_linear)

    def forward(self, cells: Float[Tensor, "b c d"]) -> Float[Tensor, "b l w"]:
        """Compute a few vectors of a video of any length."""
        latents = self.latents.to(cells.dtype).expand(len(cells), -1, -1).contiguous()
        for block in self.blocks:
            latents = block(latents, cells)
        return self.out(self.norm(latents))


class GatedCrossAttention(nn.Module):
    """Tokens of a text attend to the latents of a video, through gates that begin at 0 (Flamingo, section 2.2)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, max(1, width // 64) if width % 64 == 0 else 1)
        self.mlp = Mlp(width, 4 * width)
        self.gate, self.mlp_gate = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.apply(start_linear)

    def forward(self, x: Float[Tensor, "b n w"], latents: Float[Tensor, "b l w"]) -> Float[Tensor, "b n w"]:
        x = x + torch.tanh(self.gate) * self.attention(self.norm(x), latents.to(x.dtype))
        return x + torch.tanh(self.mlp_gate) * self.mlp(self.mlp_norm(x))


class Captioner(nn.Module):
    """A frozen video encoder and a frozen language model with learned layers between them; see the module."""

    def __init__(self, config: CaptionerConfig, language: ByteLanguage | ForeignLanguage | None = None):
        """Build it with random weights; a given language model, or one from transformers, has its own."""
        super().__init__()
        self.config = config
        language = make_language(config.language) if language is None else language
        self.video = VideoEncoder(config.video)
        self.resampler = Resampler(config.video.width, language.width, config.latents, config.depth, config.heads)
        self.cross_attention = nn.ModuleList(
            GatedCrossAttention(language.width) for _ in range(0, len(language.blocks), config.every)
        )
        self._foreign: list[ForeignLanguage] = []  # in a list, so that its weights are none of ours: they are not saved
        self.own_language: ByteLanguage | None = None
        if isinstance(language, ForeignLanguage):
            self._foreign.append(language)
        else:
            self.own_language = language
        self.video.requires_grad_(False)
        language.requires_grad_(False).eval()
        self._latents: Tensor | None = None
        for layer, block in zip(self.cross_attention, language.blocks[:: config.every], strict=True):
            block.register_forward_pre_hook(partial(self._attend, layer), with_kwargs=True)

    @property
    def language(self) -> ByteLanguage | ForeignLanguage:
        return self._foreign[0] if self.own_language is None else self.own_language

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Captioner":
        for foreign in self._foreign:  # goes where the rest goes
            foreign._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> "Captioner":
        """Switch the trainable layers to training mode; the frozen parts stay in evaluation mode."""
        super().train(mode)
        self.video.eval()
        self.language.eval()
        return self

    def _attend(self, layer: nn.Module, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A hook before a block of the language model."""
        if self._latents is None:
            return None
        if args:
            return (layer(args[0], self._latents), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": layer(kwargs["hidden_states"], self._latents)}

    def encode(
        self,
        video: Float[Tensor, "b t h w 3"],
        lengths: Int[Tensor, " b"] | None = None,
        samples: tuple[int, ...] | None = None,
    ) -> Float[Tensor, "b l w"]:
        """Encode whole videos, in -1..1, to latents; arguments are those of `VideoEncoder`."""
        with torch.no_grad():
            features = self.video(video, lengths, samples)
        return self.latents_of(self.cell_means().add(features))

    def cell_means(self) -> CellMeans:
        """Start the means over time of a stream's tokens."""
        return CellMeans(self.config.video.grid[0] * self.config.video.grid[1])

    def latents_of(self, means: CellMeans) -> Float[Tensor, "b l w"]:
        """Compute the latents of a stream from its means."""
        return self.resampler(means.means().to(self.resampler.out.weight.dtype))

    def forward(
        self, ids: Int[Tensor, "b n"], latents: Float[Tensor, "b l w"] | None = None, cache: Any = None
    ) -> Float[Tensor, "b n v"]:
        """Compute next-token logits. Without latents only the language model is used."""
        before, self._latents = self._latents, latents
        try:
            return self.language.read(ids, cache)
        finally:
            self._latents = before

    def tokens(self, texts: Sequence[str]) -> tuple[Int[Tensor, "b n"], Int[Tensor, " b"]]:
        """Tokenise whole texts with their end, padded with zeros, and count their tokens; long texts are cut."""
        check_several(texts, "texts")
        rows = [[*self.language.encode(text)[: self.config.length - 1], self.language.ends[0]] for text in texts]
        return padded(rows, self.resampler.latents.device)

    def loss(self, latents: Float[Tensor, "b l w"], texts: Sequence[str]) -> Float[Tensor, ""]:
        """Compute the mean cross entropy of the tokens of texts, their ends included."""
        ids, lengths = self.tokens(texts)
        return self.token_loss(latents, ids, lengths)

    def token_loss(
        self, latents: Float[Tensor, "b l w"] | None, ids: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """Compute the mean cross entropy of all tokens but the first of each text."""
        return next_token_loss(self(ids[:, :-1], latents), ids, lengths)

    @torch.no_grad()
    def score_options(self, latents: Float[Tensor, "1 l w"], question: str, options: Sequence[str]) -> list[float]:
        """Compute the mean log-probability of each option's tokens after the question, which may be empty.

        If both together are too long, the beginning of the question is cut. Raises BadInput for no options, an empty one, and
        one that is too long by itself.
        """
        check_several(options, "options")
        prompt = self.language.encode(question)
        continuations = [self.language.encode_continuation(f" {option}" if question else option) for option in options]
        if not continuations or not all(continuations) or not all(option.strip() for option in options):
            raise BadInput(f"there are {len(continuations)} options, of which some may be empty; give some with words")
        available = self.config.length - max(map(len, continuations))
        if available < 1:
            raise BadInput(f"an option has {self.config.length - available} tokens of {self.config.length}: say it shorter")
        prompt = prompt if len(prompt) <= available else [prompt[0], *prompt[len(prompt) - available + 1 :]]
        ids, lengths = padded([[*prompt, *each] for each in continuations], latents.device)
        logits = self(ids[:, :-1], latents.expand(len(ids), -1, -1))
        log_probabilities = logits.float().log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        at = torch.arange(1, ids.shape[1], device=ids.device)
        counts = (at >= len(prompt)) & (at < lengths[:, None])
        return ((log_probabilities * counts).sum(1) / counts.sum(1)).tolist()

    @torch.no_grad()
    def generate(
        self,
        latents: Float[Tensor, "b l w"],
        begin: str = "",
        settings: SamplingConfig | None = None,
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """Generate a text for each video, after a common beginning.

        Raises BadInput if that leaves no token.
        """
        ids = self.language.encode(begin)
        count = self.config.length - len(ids) if max_new_tokens is None else max_new_tokens
        if count < 1 or len(ids) + count > self.config.length:
            raise BadInput(f"texts begin with {len(ids)} tokens, and {count} follow; together at most {self.config.length}")
        steps = CaptionState(self, latents, torch.tensor([ids], device=latents.device).expand(len(latents), -1), count)
        return [self.language.decode(made.ids).strip() for made in generate(steps, count, self.language.ends, settings)]


class CaptionState:
    """Decoding state of texts, one per row, as `tapetum.layers.generate` requires."""

    def __init__(self, model: Captioner, latents: Float[Tensor, "b l w"], ids: Int[Tensor, "b n"], count: int):
        self.model, self.latents = model, latents
        self.cache = model.language.cache(len(ids), ids.shape[1] + count)
        self.logits: Float[Tensor, "b v"] = model(ids, latents, self.cache)[:, -1]

    def step(self, ids: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
        """Add a token to each row, and compute the logits of the next one."""
        self.logits = self.model(ids[:, None], self.latents, self.cache)[:, -1]
        return self.logits

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Reorder the rows: row i becomes what row `rows[i]` was."""
        self.model.language.reorder(self.cache, rows)
        self.latents, self.logits = self.latents[rows], self.logits[rows]


def next_token_loss(logits: Float[Tensor, "b m v"], ids: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Compute the mean cross entropy of tokens 1, 2, ... of texts, from the logits after tokens 0, 1, ..."""
    at = torch.arange(1, ids.shape[1], device=ids.device)
    targets = ids[:, 1:].masked_fill(at >= lengths[:, None], -100)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Pad token numbers with zeros on the right, and count them."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return send_to_device(ids, device), send_to_device(torch.tensor([len(row) for row in rows]), device)
