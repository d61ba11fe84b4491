"""Masks as 16 tokens: a small convolutional VQ-VAE.

Source: All in Tokens (arXiv 2301.02229); PaliGemma (arXiv 2407.07726, 3.2.5) and its file `vae-oid.npz`, whose names are these.

    mask in its box        four convolutions              two residual         nearest of 128 codes
    64 x 64, -1..1    ─►   32 ► 16 ► 8 ► 4 pixels    ─►   blocks, 1x1     ─►   in each of 4 x 4 places    ─►   <seg017> ...
                                                                               row by row: 16 numbers
    above 0 is        ◄─   64 ◄ 32 ◄ 16 ◄ 8          ◄─   1x1, two        ◄─   their codes
    the thing              four transposed ones           residual blocks

A mask is cropped from its image along its box, with corners rounded to pixels, and stretched to the square (bilinear with
antialias); `locations.paste` puts it back.

For the training see `masks.task`. Differs from the paper: this project's own codec, bundled as `paligemma-masks`, has the same
layout with fewer channels.
"""

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.tables import rows
from tapetum.hub.headed import load_headed, save_headed
from tapetum.hub.registry import known, resolve
from tapetum.systems.paligemma.locations import MASK_TOKENS
from tapetum.systems.paligemma.masks.config import SIDE, MaskCodecConfig

DEFAULT = "paligemma-masks"
"""Name of the codec that comes along."""
OFFICIAL = "paligemma-masks-official"
"""Name of the one whose codes the official models speak."""
HEADER = "mask-codec"
"""Entry in the header of a file of ours."""
_CODEBOOK = "_vq_vae._embedding"
_PASSED_OVER = "_vq_vae._ema_cluster_size", "_vq_vae._ema_w"


class Residual(nn.Module):
    """x + convolutions of x."""

    def __init__(self, width: int):
        super().__init__()
        layers = nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        self.net = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.net(x)


class MaskCodec(nn.Module):
    """Encoder, codes and decoder; `codebook` is a buffer, since codes follow the encoder instead of learning by gradients."""

    codebook: Tensor
    """(codes, code_width)"""

    def __init__(self, config: MaskCodecConfig):
        super().__init__()
        self.config = config
        up, widths = config.channels, (1, *config.channels)
        encoder: list[nn.Module] = []
        for inner, outer in zip(widths, up, strict=False):
            encoder += [nn.Conv2d(inner, outer, 4, stride=2, padding=1), nn.ReLU()]
        encoder += [*(Residual(up[-1]) for _ in range(config.residuals)), nn.Conv2d(up[-1], config.code_width, 1)]
        down = up[::-1]
        decoder: list[nn.Module] = [nn.Conv2d(config.code_width, down[0], 1), nn.ReLU()]
        decoder += [Residual(down[0]) for _ in range(config.residuals)]
        for inner, outer in zip((down[0], *down), down, strict=False):
            decoder += [nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder, nn.Conv2d(down[-1], 1, 1))
        self.register_buffer("codebook", torch.randn(config.codes, config.code_width))

    def features(self, masks: Float[Tensor, "n 64 64"]) -> Float[Tensor, "n 16 d"]:
        """Compute the encoder's output at each of the 4 x 4 cells, row by row, for masks from 0 to 1."""
        return self.encoder(2 * masks[:, None] - 1).flatten(2).transpose(1, 2)

    def nearest(self, features: Float[Tensor, "n 16 d"]) -> Int[Tensor, "n 16"]:
        """Find the nearest code at each cell."""
        book = self.codebook
        distances = features.square().sum(-1, keepdim=True) + book.square().sum(-1) - 2 * features @ book.T
        return distances.argmin(-1)

    def encode(self, masks: Float[Tensor, "n 64 64"]) -> Int[Tensor, "n 16"]:
        return self.nearest(self.features(masks))

    def draw(self, quantized: Float[Tensor, "n 16 d"]) -> Float[Tensor, "n 64 64"]:
        """Decode vectors of the codebook to masks, about -1..1; above 0 is the object."""
        grid = quantized.transpose(1, 2).unflatten(2, (SIDE // 16, SIDE // 16))
        return self.decoder(grid)[:, 0]

    def decode(self, codes: Int[Tensor, "n 16"]) -> Float[Tensor, "n 64 64"]:
        """Decode codes to masks, about -1..1; above 0 is the object."""
        return self.draw(self.codebook[codes])

    @torch.inference_mode()
    def codes_of(self, mask: Bool[np.ndarray, "h w"], box: Any = None) -> Int[np.ndarray, " 16"]:
        """Encode a mask of an image; `box` is x1, y1, x2, y2 in pixels, by default the tightest.

        Raises BadInput if the box contains no pixel.
        """
        square = torch.from_numpy(cut_out(mask, box))[None].to(self.codebook)
        return self.encode(square)[0].cpu().numpy()

    @torch.inference_mode()
    def unpack(self, codes: Int[np.ndarray, "n 16"]) -> Float[np.ndarray, "n 64 64"]:
        """Decode codes to arrays, for `locations.parse`. Raises BadInput for codes that do not exist."""
        codes = np.asarray(codes, np.int64).reshape(-1, MASK_TOKENS)
        if codes.size and not 0 <= codes.min() <= codes.max() < self.config.codes:
            raise BadInput(f"codes are from {codes.min()} to {codes.max()}; this codec has {self.config.codes}")
        return self.decode(torch.from_numpy(codes).to(self.codebook.device)).float().cpu().numpy()


def cut_out(mask: Bool[np.ndarray, "h w"], box: Any = None) -> Float[np.ndarray, "64 64"]:
    """Crop a mask along a box and stretch it to the square, 0 to 1, as in the reference; see `MaskCodec.codes_of`."""
    from tapetum.types import Masks

    box = Masks(masks=mask[None]).boxes.xyxy[0] if box is None else np.asarray(box, np.float32)
    x1, y1, x2, y2 = (max(0, int(v)) for v in np.round(box))
    part = mask[y1:y2, x1:x2]
    if not part.size:
        raise BadInput(
            f"the box {np.asarray(box).tolist()} holds no pixel of a mask {mask.shape[1]} wide and {mask.shape[0]} high"
        )
    x = torch.from_numpy(np.ascontiguousarray(part)).float()[None, None]
    return interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[0, 0].numpy()


def from_official(arrays: Mapping[str, np.ndarray], name: str = "the file") -> MaskCodec:
    """Build a codec from the tensors of `vae-oid.npz`; sizes are read from them. Tensors only used in training are skipped.

    Raises BadInput, naming the tensor, if one is missing, unknown, not finite or of the wrong shape.
    """
    state = {key: torch.as_tensor(value) for key, value in arrays.items() if key not in _PASSED_OVER}
    try:
        up: Any = tuple(int(arrays[f"encoder.{k}.weight"].shape[0]) for k in (0, 2, 4, 6))
        codes, width = arrays[_CODEBOOK].shape
        residuals = sum(f"encoder.{k}.net.0.weight" in arrays for k in range(8, 16))
        model = MaskCodec(MaskCodecConfig(channels=up, residuals=residuals, code_width=width, codes=codes))
    except (KeyError, ValueError, IndexError) as error:
        raise BadInput(f"{name} holds no codec of masks ({error} is missing or odd); give vae-oid.npz") from error
    names = {ours: _CODEBOOK if ours == "codebook" else ours for ours in model.state_dict()}
    try:
        model.load_state_dict(rows.under_our_names(model.state_dict(), state, rows.same(names), "the codec of masks"))
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
    return model


def save(model: MaskCodec, path: str | os.PathLike[str], dtype: torch.dtype = torch.float16) -> None:
    """Write a codec, its tensors rounded to `dtype`, as a safetensors file with its config in the header, atomically."""
    save_headed(model, path, HEADER, asdict(model.config), dtype)


def load(
    name_or_path: str | os.PathLike[str] = DEFAULT, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> MaskCodec:
    """Load a codec in eval mode: of a known name, a file that `save` wrote, or the official `vae-oid.npz`; float32 by default.

    No code in the file is run. Raises BadInput if it cannot be read or contains something else.
    """
    path = resolve(name_or_path, "segment")[0] if os.fspath(name_or_path) in known() else Path(name_or_path)
    if not path.is_file():
        problem = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        raise BadInput(f"{problem}; give a codec of masks, such as vae-oid.npz, or the name {DEFAULT}")
    model = _from_npz(path) if path.suffix == ".npz" else load_headed(path, HEADER, "codec of masks", _maker)
    assert isinstance(model, MaskCodec)
    return model.requires_grad_(False).eval().to(device=device, dtype=dtype)


def convert(source: Path, target: Path, architecture: str) -> None:
    """Convert `vae-oid.npz` to our file format."""
    save(_from_npz(source), target, torch.float32)


def _from_npz(path: Path) -> MaskCodec:
    try:
        with np.load(no_pipe(path), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is no npz file of arrays ({str(error)[:100]}); get it again") from error
    return from_official(arrays, str(path))


def _maker(about: Mapping[str, Any]) -> Callable[[], MaskCodec]:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
    return partial(MaskCodec, MaskCodecConfig(**fields))
