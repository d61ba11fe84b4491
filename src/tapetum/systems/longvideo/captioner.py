"""Video to text: a frozen video encoder, a frozen language model, and gated blocks between them that learn.

    video -> encoder -> mean over time -> resampler -> latents
                                                         |  looked at before each block
    text so far ------------------------------> language model -> next token

LongViViT (arXiv 2312.07395, section 3.4). Nothing of the language model is changed: what looks at the video is called by hooks
on its blocks, and without a video, or while the gates are 0, its logits are its own to the bit.

Differs from the paper: the language models are small ones; answers by likelihood take the mean log-probability of an option's
tokens, of which the paper does not speak.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput, check_several
from tapetum.layers.generate import SamplingConfig, generate
from tapetum.systems.longvideo.captioner_config import CaptionerConfig
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.language import ByteLanguage, ForeignLanguage, make_language
from tapetum.systems.longvideo.resampler import CellMeans, GatedLook, Resampler


class Captioner(nn.Module):
    """A video encoder that speaks; see the module."""

    def __init__(self, config: CaptionerConfig, language: ByteLanguage | ForeignLanguage | None = None):
        """Make it with random weights, but for a language model that is given, or that is one of transformers."""
        super().__init__()
        self.config = config
        language = make_language(config.language) if language is None else language
        self.video = VideoEncoder(config.video)
        self.resampler = Resampler(config.video.width, language.width, config.latents, config.depth, config.heads)
        self.looks = nn.ModuleList(GatedLook(language.width) for _ in range(0, len(language.blocks), config.every))
        self._foreign: list[ForeignLanguage] = []  # in a list, so that its weights are none of ours: they are not saved
        self.own_language: ByteLanguage | None = None
        if isinstance(language, ForeignLanguage):
            self._foreign.append(language)
        else:
            self.own_language = language
        self.video.requires_grad_(False)
        language.requires_grad_(False).eval()
        self._latents: Tensor | None = None
        for number, block in enumerate(language.blocks[:: config.every]):
            block.register_forward_pre_hook(self._hook(number), with_kwargs=True)

    @property
    def language(self) -> ByteLanguage | ForeignLanguage:
        """Give the language model."""
        return self._foreign[0] if self.own_language is None else self.own_language

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Captioner":
        for foreign in self._foreign:  # goes where the rest goes
            foreign._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> "Captioner":
        """Let what is between the frozen parts learn; these stay in evaluation mode."""
        super().train(mode)
        self.video.eval()
        self.language.eval()
        return self

    def _hook(self, number: int) -> Callable[..., Any]:
        def look(
            block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            if self._latents is None:
                return None
            if args:
                return (self.looks[number](args[0], self._latents), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": self.looks[number](kwargs["hidden_states"], self._latents)}

        return look

    @contextmanager
    def _looking_at(self, latents: Tensor | None) -> Iterator[None]:
        before, self._latents = self._latents, latents
        try:
            yield
        finally:
            self._latents = before

    def see(
        self,
        video: Float[Tensor, "b t h w 3"],
        lengths: Int[Tensor, " b"] | None = None,
        samples: tuple[int, ...] | None = None,
    ) -> Float[Tensor, "b l w"]:
        """Look at whole videos, in -1..1; arguments are those of `VideoEncoder`."""
        with torch.no_grad():
            features = self.video(video, lengths, samples)
        return self.latents_of(self.cell_means().add(features))

    def cell_means(self) -> CellMeans:
        """Begin to collect the tokens of a stream."""
        return CellMeans(self.config.video.grid[0] * self.config.video.grid[1])

    def latents_of(self, means: CellMeans) -> Float[Tensor, "b l w"]:
        """Make latents of what was collected of a stream."""
        return self.resampler(means.means().to(self.resampler.out.weight.dtype))

    def forward(
        self, ids: Int[Tensor, "b n"], latents: Float[Tensor, "b l w"] | None = None, cache: Any = None
    ) -> Float[Tensor, "b n v"]:
        """Give the logits of the token after each. Without latents the language model is alone."""
        with self._looking_at(latents):
            return self.language.read(ids, cache)

    def tokens(self, texts: Sequence[str]) -> tuple[Int[Tensor, "b n"], Int[Tensor, " b"]]:
        """Write whole texts with their end, padded with zeros; what is too long is cut. Gives their lengths, too."""
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
    def likelihoods(self, latents: Float[Tensor, "1 l w"], question: str, options: Sequence[str]) -> list[float]:
        """Give the mean log-probability of each option's tokens after the question, which may be empty.

        Where both together are too long, the beginning of the question is left out. Raises BadInput for no options, an empty
        one, and one that is too long by itself.
        """
        check_several(options, "options")
        before = self.language.encode(question)
        after = [self.language.continued(f" {option}" if question else option) for option in options]
        if not after or not all(after) or not all(option.strip() for option in options):
            raise BadInput(f"there are {len(after)} options, of which some may be empty; give one or more, each with words")
        room = self.config.length - max(map(len, after))
        if room < 1:
            raise BadInput(
                f"an option has {self.config.length - room} tokens; this model reads {self.config.length}: say it shorter"
            )
        before = before if len(before) <= room else [before[0], *before[len(before) - room + 1 :]]
        ids, lengths = padded([[*before, *each] for each in after], latents.device)
        logits = self(ids[:, :-1], latents.expand(len(ids), -1, -1))
        found = logits.float().log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        at = torch.arange(1, ids.shape[1], device=ids.device)
        counts = (at >= len(before)) & (at < lengths[:, None])
        return ((found * counts).sum(1) / counts.sum(1)).tolist()

    @torch.no_grad()
    def write(
        self,
        latents: Float[Tensor, "b l w"],
        begin: str = "",
        sampling: SamplingConfig | None = None,
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """Write a text for each video, after words with which all begin.

        Raises BadInput where no token is left after those.
        """
        ids = self.language.encode(begin)
        room = self.config.length - len(ids) if max_new_tokens is None else max_new_tokens
        if room < 1 or len(ids) + room > self.config.length:
            raise BadInput(
                f"texts begin with {len(ids)} tokens, and {room} are to follow; together at most {self.config.length}"
            )
        steps = Writing(self, latents, torch.tensor([ids], device=latents.device).expand(len(latents), -1), room)
        return [self.language.decode(made.ids).strip() for made in generate(steps, room, self.language.ends, sampling)]


class Writing:
    """Texts in the making, one a row: what `tapetum.layers.generate` asks for."""

    def __init__(self, model: Captioner, latents: Float[Tensor, "b l w"], ids: Int[Tensor, "b n"], room: int):
        self.model, self.latents = model, latents
        self.cache = model.language.cache(len(ids), ids.shape[1] + room)
        self.logits: Float[Tensor, "b v"] = model(ids, latents, self.cache)[:, -1]

    def step(self, ids: Int[Tensor, " b"]) -> Float[Tensor, "b v"]:
        """Add a token to each row; gives the logits of the next one."""
        self.logits = self.model(ids[:, None], self.latents, self.cache)[:, -1]
        return self.logits

    def reorder(self, rows: Int[Tensor, " c"]) -> None:
        """Make row i what row `rows[i]` was."""
        self.model.language.reorder(self.cache, rows)
        self.latents, self.logits = self.latents[rows], self.logits[rows]


def next_token_loss(logits: Float[Tensor, "b m v"], ids: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Compute the mean cross entropy of tokens 1, 2, ... of texts, from the logits after tokens 0, 1, ..."""
    at = torch.arange(1, ids.shape[1], device=ids.device)
    wanted = ids[:, 1:].masked_fill(at >= lengths[:, None], -100)
    return F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten())


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token numbers filled up with zeros on the right, and their lengths."""
    lengths = [len(row) for row in rows]
    ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for row, numbers in zip(ids, rows, strict=True):
        row[: len(numbers)] = torch.tensor(numbers)
    return ids.to(device), torch.tensor(lengths, device=device)
