"""The tracker of the TAPIR family: videos and points in, tracks out.

`TapirTracker` wraps a network (`Tapir`) with everything that tracking needs:

    track, correct           a whole video                 clip.py; in windows if it is long: windows.py
                             clicks, corrections           clicks.py, corrections.py; of another image: inputs.py
                             positions made exact          polish.py
    start, step, add, keep   frames as they come           follower.py
"""

from collections.abc import Callable, Hashable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput
from tapetum.core.stages import stage
from tapetum.hub.download import record_of
from tapetum.hub.registry import resolve
from tapetum.systems.tap import weights
from tapetum.systems.tap.config import ARCHITECTURES
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.clicks import number_points
from tapetum.systems.tap.tracking.clip import Reference, VideoTracking
from tapetum.systems.tap.tracking.follower import OnlineState, OnlineTracker
from tapetum.systems.tap.tracking.windows import frames_at_a_time, plan_windows
from tapetum.systems.tap.types import FeatureGrids, Size
from tapetum.tracks.tracker import FrameTracks, check_queries
from tapetum.types import Tracks
from tapetum.video import open_video

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.feature_file import FeatureFile

__all__ = ["FrameTracks", "OnlineState", "TapirTracker", "build", "load"]


class TapirTracker(OnlineTracker):
    """Tracks any point through any video with a `Tapir` network, available as `model`.

    The network is put into evaluation mode: in training mode it stores every cell's logit, more than all features.
    """

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "TapirTracker":
        self.model.to(device=device, dtype=dtype)
        return self

    def compile(self, **options: Any) -> "TapirTracker":
        """Compile the image network and the mixer with `torch.compile(**options)`, a minute or so for each size; returns this
        tracker."""
        self.model.backbone.compile(**options)
        self.model.mixer.compile(**options)
        return self

    @full_precision()
    @torch.inference_mode()
    def track(
        self,
        video: Any,
        queries: Float[np.ndarray, "n 3"] | Sequence[Sequence[float]],
        *,
        ids: Sequence[Hashable] | None = None,
        reference: Any = None,
        window: int | None = None,
        overlap: int | None = None,
        query_chunk: int | None = 64,
        frame_chunk: int | None = None,
        half_features: bool = True,
        refinement_resolutions: Sequence[Size] | None = None,
        second_pass: bool | None = None,
        polish: bool | None = None,
        features: "FeatureFile | None" = None,
        progress: Callable[[int, int], None] | None = None,
        partial: Callable[[Float[np.ndarray, "n t 2"], Float[np.ndarray, "n t"]], None] | None = None,
    ) -> Tracks:
        """Track points through a video, before and after the frame of each query.

        Args:
            video: anything that `tapetum.video.open_video` takes.
            queries: (t, x, y) of each point: frame number (fractional between two frames) and raster pixels.
            ids: the point that each query is a click of, if points are clicked more than once: its track then passes through
                all its clicks (`tap.tracking.clicks`), and points are in the order of their first.
            reference: another image or clip that the queries refer to. Each point's query in the result is where the video
                shows it best.
            window: frames processed at a time; None takes as many as fit in 1 GiB of features. A single window in float32, or
                any of a causal network, gives exactly the network's own result.
            overlap: frames that two windows share; None takes a third of a window, at most 24.
            query_chunk, frame_chunk: points, and frames of the image network, processed at a time; None bounds memory to some
                tens of MB.
            half_features: store features in float16 where those of a window take more than 1 GiB in float32, unless the network
                is causal; changes positions by a few thousandths of a pixel.
            refinement_resolutions: (height, width) of each refinement, multiples of 8; None goes up to the video's size.
            second_pass: match each point again (`tap.second_pass`), not for causal networks; None follows the network's config.
            polish: align each point's patch with every frame (`polish`); None follows the network's config.
            features: file that stores frame features between calls (`tap.tracking.feature_file`).
            progress: called with the number of frames processed and the total.
            partial: called now and then with positions and confidences so far, NaN where nothing is known yet; not for a
                reference.

        Raises:
            BadInput: the video cannot be read, a query lies outside it or is not a number, or a point is clicked twice in one
                frame.
        """
        video = open_video(video)
        config, size = self.model.config, (video.height, video.width)
        shown = None if reference is None else Reference(reference, size)
        clicks = check_queries(queries, len(video), size) if shown is None else check_queries(queries, len(shown), shown.size)
        numbers = None if ids is None else number_points(ids, clicks)
        again = config.second_pass if second_pass is None else second_pass
        if again and config.causal:
            raise BadInput("a second pass needs the future, and this network is causal; leave it out, or take tapir-nano")
        resolutions = tuple(refinement_resolutions or self.model.refinements(size))
        half = half_features and not config.causal
        model = None if shown is not None else self.error_model
        whole = model is not None and not model.few and self._polishes(polish) and again == config.second_pass

        def compute(frames: np.ndarray) -> FeatureGrids:
            with stage("features"):
                return self._features(frames, resolutions)

        tracks = VideoTracking(
            model=self.model,
            compute=compute if features is None else features.wrap(compute, self.model, config, resolutions),
            video=video,
            reference=shown,
            clicks=clicks,
            numbers=numbers,
            windows=plan_windows(config, resolutions, len(video), half, window, overlap),
            frame_chunk=frame_chunk or frames_at_a_time(config, resolutions, size),
            query_chunk=query_chunk,
            half=half,
            second_pass=again,
            polish=self._polishes(polish),
            progress=progress,
            partial=partial,
            kept=None if features is None else features.kept,
            sizes=resolutions,
            error_model=model if whole else None,
        ).track()
        return model.complete(tracks, size) if model is not None and model.few else tracks

    def correct(self, video: Any, tracks: Tracks, corrections: Sequence[Sequence[float]], **options: Any) -> Tracks:
        """Track some points of the result of `track` or `correct` again, through corrected positions and all earlier clicks,
        and leave all others bit-identical.

        `corrections` are each (number of the point, frame, x, y), in raster pixels; `options` those of `track`. Raises BadInput
        as `track` does; for other points or frames than the tracks have; for two corrections of a point in one frame.
        """
        from tapetum.systems.tap.tracking.corrections import gather_clicks, put_in_place

        video = open_video(video)
        if tracks.frames != len(video):
            raise BadInput(f"the tracks have {tracks.frames} frames but the video has {len(video)}; give their own video")
        clicks = gather_clicks(tracks, corrections)
        return put_in_place(tracks, clicks, self.track(video, clicks.queries, ids=clicks.points.tolist(), **options))


def build(name: str, seed: int = 0) -> TapirTracker:
    """Build a tracker of an architecture (`config.ARCHITECTURES`) with random weights, the same for the same seed. Raises
    BadInput for other names."""
    if name not in ARCHITECTURES:
        raise BadInput(f"there is no architecture named {name!r}; known names are {', '.join(ARCHITECTURES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TapirTracker(Tapir(ARCHITECTURES[name]))


def load(
    name_or_path: str | PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> TapirTracker:
    """Load a tracker with weights, by a known name (`tapetum weights list`) or from a file: ours (.safetensors) or published
    (.pt, or .npy of JAX), which is taken to be causal if its name says so.

    `dtype` is that of the weights and most computation, by default float32; positions stay float32. Raises BadInput if the name
    is unknown, the file is missing, or it does not hold such a network.
    """
    path, known = resolve(name_or_path, "track")
    if known and known.architecture not in ARCHITECTURES:
        raise BadInput(f"{known.name} is not of the TAPIR family, which is wanted here; give one such as tapir-nano")
    config = ARCHITECTURES[known.architecture] if known else None
    model = weights.load(path, causal=config.causal if config else None)
    if known and model.config != config and record_of(path) is None:  # what was fetched is known by its checksum
        raise BadInput(f"{path} holds another network than {known.name}; remove it and fetch or install it again")
    from tapetum.systems.tap.tracking.error_model import with_errors

    return with_errors(TapirTracker(model).to(device, dtype), path)
