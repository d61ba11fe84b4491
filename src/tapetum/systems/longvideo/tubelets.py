"""Tubelet embedding: frames of a segment to tokens with positions.

Sources: tubelets (ViViT, arXiv 2103.15691, section 3.2); images by weights of their own (LongViViT, arXiv 2312.07395, section
3.1); positions stretched in time, linearly (MC-ViT, arXiv 2402.05861, section 3.1); several shapes of tubelets with fixed sine
positions (TubeViT, arXiv 2212.03229).

    table          slots x rows x columns: one row for each time step (slot) of `frames` frames
    shorter video  its first slots
    longer video   stretched to its length; a stream of unknown length stays at the last slot instead

Differs from the papers: whether frames beyond the table are stretched by corners or by centres is not said; it is by centres
(`align_corners=False`). An image has the positions of the first slot.
"""

import warnings
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tapetum.core.devices import send_to_device
from tapetum.core.errors import Remark
from tapetum.layers.patches import ConvolutionalStem, ImagePatches, TubeletStem, VideoTubelets, sine_1d
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.layers import TokenPositions


class Tubelets(nn.Module):
    """Patches of videos and of images, and the table of their positions."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config
        if config.stem == "convolutions":
            self.video = TubeletStem(config.tubelet, config.width, config.stem_blocks)
            self.images = ConvolutionalStem(config.tubelet[1], config.width, config.stem_blocks)
        else:
            self.video = VideoTubelets(config.tubelet, config.width)
            self.images = ImagePatches(config.tubelet[1], config.width)
        self.positions = nn.Parameter(0.02 * torch.randn(config.slots, *config.grid, config.width))
        self.kernels = nn.ModuleList(nn.Conv3d(3, config.width, shape, stride, padding=0) for shape, stride in config.kernels)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but for batch norms: a clip must not depend on what else is in its batch."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(
        self, frames: Float[Tensor, "b t h w 3"], start: int, slots: int | None, valid: Bool[Tensor, "b t"] | None
    ) -> tuple[Float[Tensor, "b n d"], TokenPositions]:
        """Compute the tokens of a segment, with positions.

        Args:
            frames: of the segment; a last tubelet that is not full is filled with the last frame.
            start: slot of its first frame.
            slots: of the whole video, where they are known.
            valid: frames within the video, on the CPU; all by default. A token is valid if one of its frames is.
        """
        step = self.config.tubelet[0]
        missing = -frames.shape[1] % step
        if valid is not None and not bool(valid.all()):  # a frame beyond the end is the last one again
            at = torch.minimum(torch.arange(frames.shape[1], device="cpu"), (valid.sum(1, keepdim=True) - 1).clamp(min=0))
            rows = torch.arange(len(frames), device=frames.device)[:, None]
            frames = frames[rows, send_to_device(at, frames.device)]
        if missing:
            frames = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1, -1, -1)], 1)
        count = frames.shape[1] // step
        frames_valid = torch.ones(frames.shape[:2], dtype=torch.bool, device="cpu")
        if valid is not None:
            frames_valid = F.pad(valid, (0, missing))
        if self.kernels:
            return self._embed_kernels(frames, start, frames_valid)
        slots_valid = frames_valid.unflatten(1, (count, step)).any(2)
        return self.add_positions(self.compute_features(frames), start, slots, slots_valid)

    def compute_features(self, frames: Float[Tensor, "b t h w 3"]) -> Float[Tensor, "b slots rows columns d"]:
        """Compute what whole tubelets of frames become before they have positions."""
        return self.video(frames.movedim(-1, 1))

    def add_positions(
        self, features: Float[Tensor, "b count rows columns d"], start: int, slots: int | None, valid: Bool[Tensor, "b count"]
    ) -> tuple[Float[Tensor, "b n d"], TokenPositions]:
        """Compute the tokens of a segment from its features; `valid`, of time steps, lies on the CPU."""
        count = features.shape[1]
        x = features + self.positions_at(start, count, slots).to(features.dtype)
        grid = (count, x.shape[2] * x.shape[3])
        token_slots = torch.arange(count, device=x.device).repeat_interleave(grid[1]).expand(len(x), -1)
        cells = torch.arange(grid[1], device=x.device).repeat(count).expand(len(x), -1)
        return x.flatten(1, 3), TokenPositions(token_slots, cells, valid.repeat_interleave(grid[1], 1), grid)

    def positions_at(self, start: int, count: int, slots: int | None) -> Float[Tensor, "count rows columns d"]:
        """Compute the positions of some slots of a video of `slots` slots, stretched where it is longer."""
        known = len(self.positions)
        if slots is None or slots <= known:
            at = torch.arange(start, start + count, device=self.positions.device).clamp(max=known - 1)
            return self.positions[at]
        if slots > 2 * known:
            warnings.warn(
                f"the video has {slots} time steps where positions are known for {known}: they are stretched "
                f"{slots / known:.1f} times, more than twice, of which nobody knows how well it works; train longer, or show "
                "less",
                Remark,
                stacklevel=2,
            )
        return stretch(self.positions, slots)[start : start + count]

    def embed_images(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b n d"]:
        """Compute the tokens of images, by weights of their own, with the positions of the first slot."""
        x = self.images(images.movedim(-1, 1))
        return (x + self.positions[0].to(x.dtype)).flatten(1, 2)

    def _embed_kernels(self, frames: Tensor, start: int, frames_valid: Tensor) -> tuple[Tensor, TokenPositions]:
        tokens, slots, valid = [], [], []
        for kernel, (shape, stride) in zip(self.kernels, self.config.kernels, strict=True):
            lacking = [max(shape[i] - frames.shape[i + 1], 0) for i in range(3)]
            filled = F.pad(frames.movedim(-1, 1), (0, lacking[2], 0, lacking[1], 0, lacking[0]))
            x = kernel(filled.to(self.positions.dtype))  # (b, d, slots, rows, columns)
            centres = [torch.arange(x.shape[i + 2], device=x.device) * stride[i] + shape[i] / 2 for i in range(3)]
            centres[0] = centres[0] + start * self.config.tubelet[0]
            x = x.flatten(2).mT + sine_3d(centres, self.config.width).to(x.dtype)
            tokens.append(x)
            first = torch.arange(len(centres[0]), device="cpu") * stride[0]
            first = first.repeat_interleave(x.shape[1] // len(first))
            slots.append(send_to_device(first // self.config.tubelet[0], x.device).expand(len(x), -1))
            valid.append(frames_valid.gather(1, first.clamp(max=frames_valid.shape[1] - 1).expand(len(x), -1)))
        slot = torch.cat(slots, 1)
        return torch.cat(tokens, 1), TokenPositions(slot, torch.zeros_like(slot), torch.cat(valid, 1), None)


@torch.no_grad()
def add_time_codes(positions: Float[Tensor, "slots rows columns d"], deviation: float = 0.2) -> bool:
    """Add sines of time to a table that is (nearly) alike in all time steps, as inflation leaves it; returns whether it was.

    Such a network does not know in which order anything happened. `deviation` is that of the codes; positions of the bundled
    networks have 0.7.
    """
    if (positions - positions.mean(0)).std() > 0.02 * positions.std():
        return False
    slots, width = len(positions), positions.shape[-1]
    codes = sine_1d(torch.arange(slots), width // 2 * 2, wavelength=2.0 * slots) * 2**0.5 * deviation
    positions[..., : codes.shape[1]] += codes[:, None, None].to(positions)
    return True


def stretch(positions: Float[Tensor, "slots rows columns d"], slots: int) -> Float[Tensor, "slots2 rows columns d"]:
    """Stretch a table of positions linearly in time."""
    flat = positions.flatten(1).T[None]
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))  # (1, rows * columns * d, slots)
    longer = F.interpolate(flat, size=slots, mode="linear", align_corners=False)[0].T
    return longer.unflatten(1, positions.shape[1:]).to(positions.dtype)


def sine_3d(centres: list[Tensor], width: int) -> Float[Tensor, "n d"]:
    """Encode cells of a grid by sines, a third of the channels for each of time, row and column (what is over stays 0)."""
    part = width // 6 * 2
    codes = [sine_1d(axis.cpu().double(), part) for axis in centres]
    sizes = [len(code) for code in codes]
    whole = [
        code.view(*[size if i == axis else 1 for i, size in enumerate(sizes)], part).expand(*sizes, part)
        for axis, code in enumerate(codes)
    ]
    return F.pad(torch.cat(whole, -1).flatten(0, 2), (0, width - 3 * part)).float().to(centres[0].device)
