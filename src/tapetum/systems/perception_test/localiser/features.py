"""Features over time, (t, d), that a localiser reads: of an encoder's images, of the sound, or of files that others made.

Models of video, such as mcvit-films, and the motion of tracked points (motion:TRACKER) are handed in by the caller, since their
systems are not known here: `tapetum.bench.perception_test`.

The published features of the benchmark are folders of ID.npy: TSP features of the video, (l, 512), one for every 16 frames at
15 frames a second (actions), or MMV features of the sound, (l, 256). Whatever is a plain array (t, d) will do; arrays of Python
objects are refused, so a file runs nothing.

Several kinds are put side by side, each resampled linearly to the length of the first, ends on ends, as the public ActionFormer
does.

log-mel: 64 bands from 60 Hz to 7.6 kHz (HTK's scale) of windows of 32 ms every 16 ms, log(energy + 1e-6).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float, Float32

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.systems.perception_test.footage import SOUND_RATE, VideoContent

if TYPE_CHECKING:
    from torch import Tensor

    from tapetum.encoders.features import Encoder

SOUND, MOTION = "log-mel", "motion:"
WINDOW, HOP, BANDS, LOWEST, HIGHEST = 512, 256, 64, 60.0, 7600.0
TOGETHER = 32
"""Images that an encoder looks at together."""
_MOST = 1 << 28
"""Bytes of an array of features in a file at most; a video of 35 seconds has 70 kB."""


class FeatureSource(Protocol):
    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Compute, or read, those of a video."""
        ...


VideoModels = Callable[[str, int, float, str | None], FeatureSource | None]
"""Loads features of a model of video, of (name, grid, frame rate, device); None for a name that is none."""


class FeatureFiles:
    def __init__(self, folder: str | Path):
        """Raises BadInput where there are none."""
        self.folder = Path(folder)
        self.files = {p.stem: p for p in sorted(self.folder.glob("*.npy")) if not p.name.startswith(".")}
        if not self.files:
            raise BadInput(f"there are no features (ID.npy) in {folder}; fetch them with --parts features")

    def read(self, name: str, content: VideoContent | None = None) -> Float32[np.ndarray, "t d"]:
        """Read them. Raises BadInput for a file that is missing or something else."""
        if name not in self.files:
            raise BadInput(f"there is no {name}.npy in {self.folder}; give the folder with the features of these videos")
        return read_features(self.files[name])


class LogMel:
    """Log-mel spectrogram of the sound."""

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        return log_mel(content.sound)


class EncoderFeatures:
    """An encoder's last map, pooled to a small grid, of every so many frames."""

    def __init__(self, encoder: "Encoder", grid: int, frame_rate: float):
        """`grid` 0 takes the pooled vector."""
        self.encoder, self.grid, self.frame_rate = encoder.eval(), grid, frame_rate

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        from tapetum.encoders.batching import run_in_batches

        def look(images: "Tensor") -> "Tensor":
            features = self.encoder(images)
            return features.pooled if self.grid == 0 else adaptive_avg_pool2d(features.maps[-1], self.grid).flatten(1)

        frames, rows = content.frames[:: max(1, round(content.metadata.frame_rate / self.frame_rate))], []
        device = next(self.encoder.parameters()).device
        with torch.inference_mode():
            for start in range(0, len(frames), TOGETHER):
                prepared = self.encoder.prepare(frames[start : start + TOGETHER]).to(device)
                rows.append(run_in_batches(prepared, look, self.encoder).float().cpu().numpy())
        return np.concatenate(rows)


class JoinedFeatures:
    """Several kinds side by side, at the length of the first."""

    def __init__(self, sources: Sequence[FeatureSource]):
        self.sources = sources

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        return reduce(join_features, (source.read(name, content) for source in self.sources))


def read_features(path: str | Path) -> Float32[np.ndarray, "l c"]:
    """Read the features of a video. Raises BadInput for what is no array (l, c) of finite numbers; runs nothing."""
    try:
        array = np.load(no_pipe(path), mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.nbytes > _MOST:
            raise ValueError("it is no single array, or a huge one")
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} cannot be read as features ({' '.join(str(error).split())[:120]}); fetch it again") from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array):
        raise BadInput(f"{path} holds {array.dtype} of shape {array.shape}; features are numbers of shape (l, c) [wrong-shape]")
    features = array.astype(np.float32)
    if not np.isfinite(features).all():
        raise BadInput(f"{path} holds features that are no finite numbers; fetch it again [not-finite]")
    return features


def join_features(video: Float32[np.ndarray, "l c"], sound: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, "l cd"]:
    """Concatenate features of images and sound, the sound's at the moments of the others.

    >>> join_features(np.zeros((3, 1), np.float32), np.array([[0.0], [4.0]], np.float32))[:, 1].tolist()
    [0.0, 2.0, 4.0]
    """
    moments = np.linspace(0, len(sound) - 1, len(video))
    low = np.minimum(moments.astype(int), max(len(sound) - 2, 0))
    share = (moments - low)[:, None]
    between = sound[low] * (1 - share) + sound[np.minimum(low + 1, len(sound) - 1)] * share
    return np.concatenate([video, between], 1).astype(np.float32)


def load_source(
    names: str,
    grid: int,
    frame_rate: float,
    folder: Path | None = None,
    device: str | None = None,
    video_models: VideoModels | None = None,
) -> FeatureSource:
    """Load what `LocaliserRun.features` names; `folder` is where the features of a folder are now.

    `video_models` is asked for each name first. Raises BadInput for what is neither an encoder nor a folder.
    """
    from tapetum.encoders.references import load
    from tapetum.hub.loading import is_weights

    sources: list[FeatureSource] = []
    for name in split_names(names):
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


def log_mel(samples: Float[np.ndarray, " n"]) -> Float32[np.ndarray, "t d"]:
    """Compute the log energies of bands, windows centred on their place; one row of silence for no sound."""
    padded = np.pad(np.asarray(samples, np.float64), WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.square(np.abs(np.fft.rfft(windows * hann, axis=1)))
    return np.log(power @ mel_filters(SOUND_RATE) + 1e-6).astype(np.float32)


@lru_cache
def mel_filters(sample_rate: int) -> Float[np.ndarray, "f d"]:
    """Compute triangles over the frequencies of a window, whose corners are evenly spaced in mel, 2595 log10(1 + f / 700)."""
    ends = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    corners = 700 * (10 ** (np.linspace(ends[0], ends[1], BANDS + 2) / 2595) - 1)
    at = np.fft.rfftfreq(WINDOW, 1 / sample_rate)[:, None]
    rising = (at - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - at) / (corners[2:] - corners[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)
