"""A video encoder and a text tower whose outputs are compared (LongViViT, arXiv 2312.07395, section 3.1; MC-ViT, section 4).

    video -> encoder -> mean -> linear --.
                                          cosines * scale
    text -> transformer -> mean -> linear -'

Images have separate patch weights. The scale is learned and at most 100.

Differs from the papers: neither gives projection width, norms or temperature; these are CLIP's.
"""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput, check_several
from tapetum.encoders import byte_text
from tapetum.encoders.tokenizers import Tokenizer
from tapetum.encoders.towers import TextTransformer
from tapetum.encoders.towers_config import TextConfig
from tapetum.layers.transformer import start_linear
from tapetum.systems.longvideo.encoder import EncodedVideo, VideoEncoder
from tapetum.systems.longvideo.video_text_config import BYTES, VideoTextConfig, named_video_text
from tapetum.train.contrastive import learned_scale

if TYPE_CHECKING:
    from tapetum.systems.longvideo.streaming import VideoEmbedder


class VideoText(nn.Module):
    """Two towers; see the module. `video` is a `VideoEncoder` like any other."""

    def __init__(self, config: VideoTextConfig):
        super().__init__()
        self.config = config
        self.video = VideoEncoder(config.video)
        self.text = TextTransformer(config.text)
        self.video_projection = nn.Linear(config.video.width, config.projection, bias=False)
        self.text_projection = nn.Linear(self.text.width, config.projection, bias=False)
        start_linear(self.video_projection)
        start_linear(self.text_projection)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.tokenizer: Tokenizer | None = None
        """Of a tower that reads subwords; files carry it. None: bytes, or a tower whose tokenizer is not with it."""

    def scale(self) -> Float[Tensor, ""]:
        """Compute the scale of the cosines, at most 100."""
        return learned_scale(self.log_scale)

    def embed_videos(
        self,
        video: Float[Tensor, "b t h w 3"],
        lengths: Int[Tensor, " b"] | None = None,
        samples: tuple[int, ...] | None = None,
    ) -> Float[Tensor, "b e"]:
        """Compute vectors of length 1 of whole videos, in -1..1; arguments are those of `VideoEncoder`."""
        return self.embed_pooled(self.video(video, lengths, samples).pooled)

    def embed_images(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b e"]:
        """Compute vectors of length 1 of images, in -1..1."""
        return self.embed_pooled(self.video.encode_images(images).pooled)

    def embed_pooled(self, pooled: Float[Tensor, "*b d"]) -> Float[Tensor, "*b e"]:
        """Compute vectors of length 1 of the video encoder's pooled vectors, of a stream for example."""
        return F.normalize(self.video_projection(pooled), dim=-1)

    def embed_moments(self, features: EncodedVideo) -> Float[Tensor, "b segments moments e"]:
        """Compute vectors of length 1 of moments of `moment_slots` time steps, by segment; zeros if there is none."""
        size = max(self.config.moment_slots, 1)
        numbers = torch.arange(-(-self.config.video.segment_slots // size), device=features.slots.device)
        member = (features.slots[:, :, None] // size == numbers[:, None]) & features.valid[
            :, :, None
        ]  # (b, segments, moments, n)
        count = member.sum(-1, keepdim=True)
        means = member.to(features.tokens.dtype) @ features.tokens / count.clamp(min=1)
        return self.embed_pooled(means) * (count > 0)

    def embed_texts(self, ids: Int[Tensor, "*b n"]) -> Float[Tensor, "*b e"]:
        """Compute vectors of length 1 of texts, given as numbers of tokens padded with zeros."""
        pooled = self.text(ids.flatten(0, -2)).pooled
        return F.normalize(self.text_projection(pooled), dim=-1).unflatten(0, ids.shape[:-1])

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        """Tokenise texts as subwords or bytes, padded to the longest; long texts are cut.

        Raises BadInput for a tower whose tokenizer is not with it, and for no texts.
        """
        return tokenize(texts, self.tokenizer, self.config.text).to(self.log_scale.device)

    def identity(self) -> str:
        """Compute a hash of config and weights, which tables of vectors record."""
        return identity_of(self)

    def embedder(self) -> "VideoEmbedder":
        """Make the embedder of files: a vector for each segment of a video."""
        from tapetum.systems.longvideo.streaming import VideoEmbedder

        return VideoEmbedder(self)

    def compare(self, video: Float[Tensor, "b t h w 3"], texts: Sequence[str] | Int[Tensor, "t n"]) -> Float[Tensor, "b t"]:
        """Compute the scaled cosines of every video with every text, which are words or numbers of tokens."""
        ids = texts if isinstance(texts, Tensor) else self.tokens(texts)
        return self.scale() * self.embed_videos(video) @ self.embed_texts(ids).T


def tokenize(
    texts: Sequence[str], tokenizer: Tokenizer | None, config: TextConfig, from_end: bool = False
) -> Int[Tensor, "b n"]:
    """Compute the tokens of texts for a text tower, of bytes without a tokenizer, padded to the longest with zeros.

    What is longer than the tower reads is cut at its end, or with `from_end` (subwords alone) at its beginning. Raises BadInput
    for no texts, and without a tokenizer for a tower of subwords.
    """
    if tokenizer is None and config.vocabulary != BYTES:
        raise BadInput(
            f"this text tower knows {config.vocabulary} tokens of a tokenizer that is not with it; "
            "set model.tokenizer, or give embed_texts their numbers"
        )
    check_several(texts, "texts")
    if not texts:
        raise BadInput("there are no texts; give one or more")
    ids = byte_text.tokens(texts, config.length) if tokenizer is None else torch.from_numpy(tokenizer(texts, from_end))
    present = (ids != 0).any(0).nonzero()
    return ids[:, : int(present.max()) + 1] if len(present) else ids[:, :1]


def identity_of(model: nn.Module) -> str:
    """Compute a hash of a model's config, weights and tokenizer."""
    moments = getattr(model.config, "moments", None)
    digest = blake2b((repr(model.config) + (repr(moments) if moments else "")).encode(), digest_size=8)
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    if (tokenizer := getattr(model, "tokenizer", None)) is not None:
        digest.update(tokenizer.content)
    return digest.hexdigest()


def build_video_text(name: str, seed: int = 0, **changes: Any) -> VideoText:
    """Build two towers by the name of the video encoder, with random weights, float32, in evaluation mode.

    `seed` is that of the weights and of the video encoder's later draws, `changes` are other fields of
    `VideoConfig`, and `text` and `projection` of `VideoTextConfig`. Raises BadInput for what is unknown
    or does not go together.
    """
    config = named_video_text(name, seed=seed, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoText(config).eval()
