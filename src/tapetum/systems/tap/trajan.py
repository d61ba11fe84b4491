"""TRAJAN, an autoencoder of point tracks, and its score of motion in generated videos (Allen et al., arXiv 2505.00209).

Tracks of many points (support) become a few latent tokens, from which the track of any other point is read at its query:

    support (n, t, 2) -> tokens of a track -> mean over its visible frames -> n tokens \\
                                     learned latents attend to these -> 128 latents x 64 -> clipped to -1..1, rounded to 1/128
    query (frame, x, y) beside the latents -> track of all frames, logits of visible and of certain

A video moves well if its own tracks can be read back: the score is the Average Jaccard of points that were held out, as in the
public demonstration: frames 1 and later, distances in pixels of the video, and a point is taken as hidden if both logits deny
it, (1 - visible) (1 - certain) > 1/2. Scores of videos of different sizes are not comparable.

Unusual, as in the public code (google-deepmind/tapnet at c2cbab8, `tapnet/trajan`): queries are embedded twice, the frame of a
query enters only by a slice of the latents that is read again (`_append_time`), attention normalises queries and keys by RMS,
and attention to oneself and to a context run side by side.

Differs from the public code: latents are not dithered before rounding unless `noise` is given, since its noise depends on the
version of jax; there, it is uniform and the same in every call.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.files import same_place
from tapetum.hub.headed import check_fit, load_headed, save_headed
from tapetum.hub.loading import header_of
from tapetum.hub.registry import resolve
from tapetum.hub.state_dicts import read_npz
from tapetum.layers.transformer import Mlp, attend
from tapetum.systems.tap.config import TrajanConfig
from tapetum.tracks.metrics import tapvid_metrics
from tapetum.types import Tracks

HEADER = "trajan"
"""Key in the header of a safetensors file of ours."""
_QUERIES = 32
"""Points that are read at a time."""
_SUPPORT = 256
"""Tracks that are encoded at a time."""


class _Attention(nn.Module):
    def __init__(self, width: int, context_width: int, config: TrajanConfig):
        super().__init__()
        inner, self.heads = config.heads * config.head_width, config.heads
        self.dense_query = nn.Linear(width, inner, bias=False)
        self.dense_key = nn.Linear(context_width, inner, bias=False)
        self.dense_value = nn.Linear(context_width, inner, bias=False)
        self.norm_query, self.norm_key = (nn.RMSNorm(config.head_width, eps=1e-6) for _ in range(2))
        self.dense_out = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "b n c"], context: Float[Tensor, "b m k"], mask: Any = None) -> Float[Tensor, "b n c"]:
        query, key, value = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, y in ((self.dense_query, x), (self.dense_key, context), (self.dense_value, context))
        )
        return self.dense_out(attend(self.norm_query(query), self.norm_key(key), value, mask).transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, width: int, hidden: int, context_width: int | None, config: TrajanConfig):
        super().__init__()
        self.norm_q, self.norm_attn = (nn.LayerNorm(width, eps=1e-6, bias=False) for _ in range(2))
        self.self_att = _Attention(width, width, config)
        self.cross_att = None if context_width is None else _Attention(width, context_width, config)
        self.mlp = Mlp(width, hidden, "gelu_tanh")

    def forward(self, x: Tensor, context: Tensor | None, mask: Any) -> Tensor:
        y = self.norm_q(x)
        x = x + self.self_att(y, y, mask)
        if self.cross_att is not None and context is not None:
            x = x + self.cross_att(y, context)
        return x + self.mlp(self.norm_attn(x))


class _Transformer(nn.Module):
    def __init__(self, width: int, hidden: int, depth: int, config: TrajanConfig, context_width: int | None = None):
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, hidden, context_width, config) for _ in range(depth))
        self.norm_encoder = nn.LayerNorm(width, eps=1e-6, bias=False)

    def forward(self, x: Float[Tensor, "b n c"], context: Tensor | None = None, mask: Any = None) -> Float[Tensor, "b n c"]:
        for layer in self.layers:
            x = layer(x, context, mask)
        return self.norm_encoder(x)


class TrajanPredictions(NamedTuple):
    """Tracks of q queries through all frames of the network."""

    xy: Float[Tensor, "b q t 2"]
    """As shares of width and height."""
    visible: Float[Tensor, "b q t"]
    """Logits."""
    certain: Float[Tensor, "b q t"]
    """Logits."""


class Trajan(nn.Module):
    """The autoencoder; parts are named as in the public code."""

    def __init__(self, config: TrajanConfig):
        super().__init__()
        c = self.config = config
        (h0, h1, h2, h3), (d0, d1, d2, d3) = c.hidden, c.depths
        self.state_init = nn.Parameter(torch.randn(c.latents, c.encoder_width))
        self.track_token_projection = nn.Linear(6 * c.frequencies, c.track_width)
        self.input_track_transformer = _Transformer(c.track_width, h0, d0, c)
        self.tracks_to_latents = _Transformer(c.encoder_width, h1, d1, c, c.track_width)
        self.compressor = nn.Linear(c.encoder_width, c.latent_width)
        self.decompressor = nn.Linear(c.latent_width, c.decoder_width - c.time_width)
        self.decompress_attn = _Transformer(c.decoder_width - c.time_width, h2, d2, c)
        self.query_encoder = nn.Linear((4 * c.frequencies + 1) * 2 * c.frequencies, c.decoder_width)
        self.track_readout_attn = _Transformer(c.decoder_width, h3, d3, c)
        self.track_predictor = nn.Linear(c.decoder_width, 4 * c.frames)

    def embed(self, x: Float[Tensor, "*s k"]) -> Float[Tensor, "*s m"]:
        """Compute sines and cosines of each number, at frequencies 2 ** (i / 3)."""
        scales = torch.tensor([2 ** (i / 3) for i in range(self.config.frequencies)], dtype=x.dtype, device=x.device)
        x = x[..., None] * scales
        return torch.sin(torch.cat([x, x + 0.5 * torch.pi], -1)).flatten(-2)

    def encode(
        self, xy: Float[Tensor, "b n t 2"], visible: Bool[Tensor, "b n t"], frames: Int[Tensor, " b"]
    ) -> Float[Tensor, "b l c"]:
        """Encode support tracks, as shares of width and height, into latents; `frames`: of each video, the rest is padding."""
        b, n, t = visible.shape
        time = torch.arange(t, device=xy.device)
        shown = visible & (time < frames[:, None, None])
        # The least number, and not -inf: a track without a visible frame attends to all alike.
        mask = torch.where(shown, 0.0, torch.finfo(xy.dtype).min).to(xy.dtype).flatten(0, 1)[:, None, None]  # (b n, 1, 1, t)
        inputs = torch.cat([xy, (time / t).to(xy.dtype).expand(b, n, t)[..., None]], -1).flatten(0, 1)
        weights = visible.flatten(0, 1)[..., None].to(xy.dtype)
        tokens = []
        for part in torch.arange(b * n, device=xy.device).split(_SUPPORT):
            x = self.track_token_projection(self.embed(inputs[part] / self.config.track_scale))
            x = self.input_track_transformer(x, mask=mask[part])
            tokens.append((x * weights[part]).sum(1) / weights[part].sum(1).clamp(min=1.0))
        latents = self.state_init.expand(b, -1, -1)
        return self.compressor(self.tracks_to_latents(latents, torch.cat(tokens).unflatten(0, (b, n))))

    def decode(
        self, latents: Float[Tensor, "b l c"], queries: Float[Tensor, "b q 3"], noise: Float[Tensor, "b l c"] | float = 0.5
    ) -> TrajanPredictions:
        """Read the tracks of queries (frame, and x and y as shares) from latents; `noise`: 0..1, of the dither."""
        latents = latents.clamp(-1.0, 1.0)
        rounded = torch.round(latents * 128.0) / 128.0 + (noise / 128.0 - 1.0 / 256.0)
        latents = self.decompress_attn(self.decompressor(latents + (rounded - latents).detach()))
        frame = queries[..., 0].round()
        places = torch.cat(
            [self.embed(queries[..., 1:] / self.config.track_scale), (frame // self.config.time_scale)[..., None]], -1
        )
        out = []
        for some, at in zip(places.split(_QUERIES, 1), frame.long().split(_QUERIES, 1), strict=True):
            tokens = self.query_encoder(self.embed(some / self.config.track_scale))  # (b, q, c)
            context = self._append_time(latents, at)
            x = torch.cat([tokens[:, :, None], context], 2).flatten(0, 1)
            out.append(self.track_predictor(self.track_readout_attn(x)[:, 0]).unflatten(0, at.shape))
        x, y, visible, certain = torch.cat(out, 1).unflatten(-1, (4, -1)).unbind(-2)
        return TrajanPredictions(torch.stack([x, y], -1), visible, certain)

    def _append_time(self, latents: Float[Tensor, "b l c"], frame: Int[Tensor, "b q"]) -> Float[Tensor, "b q l d"]:
        """Repeat the latents for each query, followed by the channels from 5 x frame on; those beyond the last are 0."""
        places = 5 * frame[..., None] + torch.arange(self.config.time_width, device=frame.device)  # (b, q, m)
        latents = latents[:, None].expand(-1, frame.shape[1], -1, -1)
        some = latents.gather(3, places.clamp(max=latents.shape[-1] - 1)[:, :, None].expand(*latents.shape[:3], -1))
        return torch.cat([latents, some * (places < latents.shape[-1])[:, :, None]], -1)

    def forward(
        self,
        xy: Float[Tensor, "b n t 2"],
        visible: Bool[Tensor, "b n t"],
        frames: Int[Tensor, " b"],
        queries: Float[Tensor, "b q 3"],
        noise: Float[Tensor, "b l c"] | float = 0.5,
    ) -> TrajanPredictions:
        """Encode support tracks, and read those of queries."""
        return self.decode(self.encode(xy, visible, frames), queries, noise)


def motion_score(
    model: Trajan, tracks: Tracks, size: tuple[int, int], *, targets: int | None = None, seed: int = 0
) -> dict[str, float]:
    """Compute how well the tracks of a video can be read back, 0..1: `tapvid_metrics`, whose `average_jaccard` is the score.

    Args:
        model: the autoencoder.
        tracks: of points spread over the video; the published score has 4,096. Frames beyond those of the network are left out.
        size: height and width of the video that the tracks are in.
        targets: points that are held out; half of them by default. The others are the support.
        seed: of their choice, and of the frames of their queries.

    Raises:
        BadInput: fewer than two points, no frame after the first, or as many targets as points.
    """
    targets = tracks.points // 2 if targets is None else targets
    if not 0 < targets < tracks.points or tracks.frames < 2:
        raise BadInput(
            f"{tracks.points} tracks of {tracks.frames} frames, {targets} of them held out; give 2 frames and points"
        )
    t, most = min(tracks.frames, model.config.frames), model.config.frames
    rng = np.random.default_rng(seed)
    order = rng.permutation(tracks.points)
    shares = np.zeros((tracks.points, most, 2), np.float32)
    visible = np.zeros((tracks.points, most), bool)
    shares[:, :t], visible[:, :t] = tracks.xy[:, :t] / np.array(size[::-1], np.float32), tracks.visible[:, :t]
    target, support = order[:targets], order[targets:]
    frame = np.array([rng.choice(np.flatnonzero(row)) if row.any() else 0 for row in visible[target]])
    queries = np.concatenate([frame[:, None].astype(np.float32), shares[target, frame]], -1)
    at = next(model.parameters())
    xy, places = (torch.from_numpy(x)[None].to(at) for x in (shares[support], queries))
    shown = torch.from_numpy(visible[support])[None].to(at.device)
    with torch.inference_mode():
        made = model(xy, shown, torch.tensor([t], device=at.device), places)
    hidden = (torch.sigmoid(-made.visible) * torch.sigmoid(-made.certain) > 0.5)[0, :, :t].cpu().numpy()
    predicted = made.xy[0, :, :t].float().cpu().numpy() * np.array(size[::-1], np.float32)
    return tapvid_metrics(np.zeros((targets, 3)), ~visible[target, :t], tracks.xy[target, :t], hidden, predicted, "strided")


_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def from_flax(arrays: Mapping[str, np.ndarray]) -> Trajan:
    """Build the network of a public checkpoint, names separated by slashes, with all sizes that its shapes give.

    Raises BadInput, naming the array, for one that is missing, unknown or does not fit.
    """
    tensors: dict[str, Tensor] = {}
    for path, array in arrays.items():
        *parts, leaf = path.split("/")
        array = np.asarray(array, np.float32)
        if leaf == "kernel" and array.ndim == 3:  # heads are an axis of their own, the last two or the first two
            array = array.reshape(-1, array.shape[-1]) if parts[-1] == "dense_out" else array.reshape(len(array), -1)
        name = ".".join([*parts, _LEAVES.get(leaf, leaf)]).replace("layer_", "layers.").removeprefix("initializer.")
        name = name.replace("MLP_in", "mlp.hidden").replace("MLP_out", "mlp.out")
        tensors[name] = torch.from_numpy(np.array(array.T if leaf == "kernel" else array, order="C"))
    tensors.pop("input_readout_token.state_init", None)  # the public class declares it, and does not use it
    try:
        config = _infer_config(tensors)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise BadInput(f"the arrays lack {error}; give a checkpoint of TRAJAN") from error
    with torch.device("meta"):
        model = Trajan(config)
    check_fit(model.state_dict(), tensors, Path("the checkpoint"))
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(True).eval()


def _infer_config(tensors: Mapping[str, Tensor]) -> TrajanConfig:
    names = "input_track_transformer", "tracks_to_latents", "decompress_attn", "track_readout_attn"
    latents, encoder_width = tensors["state_init"].shape
    inner = len(tensors[f"{names[0]}.layers.0.self_att.dense_query.weight"])
    head_width = len(tensors[f"{names[0]}.layers.0.self_att.norm_query.weight"])
    return TrajanConfig(
        frames=len(tensors["track_predictor.bias"]) // 4,
        latents=latents,
        latent_width=len(tensors["compressor.bias"]),
        frequencies=tensors["track_token_projection.weight"].shape[1] // 6,
        track_width=len(tensors["track_token_projection.bias"]),
        encoder_width=encoder_width,
        decoder_width=len(tensors["query_encoder.bias"]),
        time_width=len(tensors["query_encoder.bias"]) - len(tensors["decompressor.bias"]),
        heads=inner // head_width,
        head_width=head_width,
        hidden=cast(Any, tuple(len(tensors[f"{name}.layers.0.mlp.hidden.bias"]) for name in names)),
        depths=cast(
            Any, tuple(len({key.split(".")[2] for key in tensors if key.startswith(f"{name}.layers.")}) for name in names)
        ),
    )


def save(model: Trajan, path: str | os.PathLike[str]) -> None:
    """Write weights and config to a safetensors file, atomically."""
    save_headed(model, path, HEADER, asdict(model.config))


def convert(source: Path, target: Path, architecture: str | None = None) -> None:
    """Write the public checkpoint in `source` (.npz) to the safetensors file `target`.

    Raises BadInput if `source` has no such network, or `target` cannot be written.
    """
    if target.suffix != ".safetensors" or same_place(target, source):
        raise BadInput(f"{target} must be another file than {source}, and named .safetensors: that is what is written")
    save(from_flax(read_npz(source)), target)


def load(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Trajan:
    """Load the autoencoder by name or file: ours, or the public .npz. Raises BadInput if it cannot be read."""
    path, _ = resolve(reference)
    ours = HEADER in header_of(path)
    model = load_headed(path, HEADER, "TRAJAN network", _maker) if ours else from_flax(read_npz(path))
    return cast(Trajan, model.to(device, dtype))


def _maker(about: Any) -> Callable[[], Trajan]:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    config = TrajanConfig(**fields)
    return lambda: Trajan(config)
