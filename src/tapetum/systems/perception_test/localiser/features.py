"""Features over time, (t, d), that a localiser reads: of an encoder's images, of the sound, or of files that others made.

Models of video, such as mcvit-films, and the motion of tracked points (motion:TRACKER) are handed in by the caller, since their
systems are not known here: `tapetum.bench.perception_features`.

The official features of the benchmark (TSP of videos, MMV of sounds) are folders of VIDEO.npy; whatever is a plain array (t, d)
will do. Several kinds are put side by side, each resized linearly to the length of the first, as the benchmark's baseline does.

log-mel: 64 bands from 60 Hz to 7.6 kHz (HTK's scale) of windows of 32 ms every 16 ms, log(energy + 1e-6).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float, Float32

from tapetum.core.addresses import is_address
from tapetum.core.copies import place_name
from tapetum.core.errors import BadInput
from tapetum.core.remote_cache import cache_of
from tapetum.data.remote_folder import local_place
from tapetum.systems.perception_test.baselines.content import SOUND_RATE, VideoContent
from tapetum.systems.perception_test.features import FeatureFolder, join_features
from tapetum.train.launch_config import CACHE_GB

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder

SOUND, MOTION = "log-mel", "motion:"
WINDOW, HOP, BANDS, LOWEST, HIGHEST = 512, 256, 64, 60.0, 7600.0
TOGETHER = 32
"""Images that an encoder looks at together."""


class FeatureSource(Protocol):
    """A source of features."""

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Compute, or read, those of a video."""
        ...


VideoModels = Callable[[str, int, float, str | None], FeatureSource | None]
"""Loads features of a model of video, of (name, grid, frame rate, device); None for a name that is none."""


class FeatureFiles:
    """VIDEO.npy in a folder."""

    def __init__(self, folder: Path):
        """Raises BadInput where there are none."""
        self.files = FeatureFolder(folder)

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Read them. Raises BadInput for a file that is missing or something else."""
        if name not in self.files:
            raise BadInput(
                f"there is no {name}.npy in {place_name(self.files.folder)}; give the folder with the features of these videos"
            )
        return self.files[name]


class LogMel:
    """Log-mel spectrogram of the sound."""

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Compute the features of the video's sound."""
        return log_mel(content.sound)


class EncoderFeatures:
    """An encoder's last map, pooled to a small grid, of every so many frames."""

    def __init__(self, encoder: "Encoder", grid: int, frame_rate: float):
        """`grid` 0 takes the pooled vector."""
        self.encoder, self.grid, self.frame_rate = encoder.eval(), grid, frame_rate

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Compute the features of the video's frames."""
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        frames, rows = content.frames[:: max(1, round(content.metadata.frame_rate / self.frame_rate))], []
        device = next(self.encoder.parameters()).device
        with torch.inference_mode():
            for start in range(0, len(frames), TOGETHER):
                features = self.encoder(self.encoder.prepare(frames[start : start + TOGETHER]).to(device))
                pooled = features.pooled if self.grid == 0 else adaptive_avg_pool2d(features.maps[-1], self.grid).flatten(1)
                rows.append(pooled.float().cpu().numpy())
        return np.concatenate(rows)


class JoinedFeatures:
    """Several kinds side by side."""

    def __init__(self, sources: Sequence[FeatureSource]):
        self.sources = sources

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Read the features of each source, at the length of the first."""
        first, *others = (source.read(name, content) for source in self.sources)
        for other in others:
            first = join_features(first, other)
        return first


def load_source(
    names: str,
    grid: int,
    frame_rate: float,
    folder: Path | None = None,
    device: str | None = None,
    video_models: VideoModels | None = None,
    cache_gb: float = CACHE_GB,
) -> FeatureSource:
    """Load what `LocaliserRun.features` names; `folder` is where the features of a folder are now.

    `video_models` is asked for each name first. Of an address a copy is made, if it has at most `cache_gb` gigabytes.
    Raises BadInput for what is neither an encoder nor a folder.
    """
    from tapetum.encoders.references import load
    from tapetum.hub.loading import is_weights

    sources: list[FeatureSource] = []
    for name in split_names(names) if folder is not None else local_names(names, cache_gb):
        if name == SOUND:
            sources.append(LogMel())
        elif folder is not None or (Path(name).is_dir() and not is_weights(Path(name))):
            sources.append(FeatureFiles(folder or Path(name)))
        elif video_models is not None and (source := video_models(name, grid, frame_rate, device)) is not None:
            sources.append(source)
        else:
            sources.append(EncoderFeatures(load(name, device), grid, frame_rate))
    if not sources:
        raise BadInput("no features are named; give an encoder such as efficientnet-lite0, log-mel, or a folder of VIDEO.npy")
    return sources[0] if len(sources) == 1 else JoinedFeatures(sources)


def split_names(names: str) -> list[str]:
    """List what `LocaliserRun.features` names.

    >>> split_names("mcvit-films, log-mel")
    ['mcvit-films', 'log-mel']
    """
    return [name for part in names.split(",") if (name := part.strip())]


def local_names(names: str, cache_gb: float = CACHE_GB) -> list[str]:
    """List what `LocaliserRun.features` names, with copies of what lies at addresses, which are made first (`local_place`)."""
    return [str(local_place(name, cache_of(cache_gb))) if is_address(name) else name for name in split_names(names)]


def log_mel(samples: Float[np.ndarray, " n"], sample_rate: int = SOUND_RATE) -> Float32[np.ndarray, "t d"]:
    """Compute the log energies of bands, windows centred on their place; one row of silence for no sound."""
    padded = np.pad(np.asarray(samples, np.float64), WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.square(np.abs(np.fft.rfft(windows * hann, axis=1)))
    return np.log(power @ mel_filters(sample_rate) + 1e-6).astype(np.float32)


@lru_cache
def mel_filters(sample_rate: int) -> Float[np.ndarray, "f d"]:
    """Compute triangles over the frequencies of a window, whose corners are evenly spaced in mel, 2595 log10(1 + f / 700)."""
    ends = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    corners = 700 * (10 ** (np.linspace(ends[0], ends[1], BANDS + 2) / 2595) - 1)
    at = np.fft.rfftfreq(WINDOW, 1 / sample_rate)[:, None]
    rising = (at - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - at) / (corners[2:] - corners[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)
