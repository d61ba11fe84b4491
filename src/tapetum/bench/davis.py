"""DAVIS, semi-supervised (Pont-Tuset et al., arXiv 1704.00675): the first mask is given, the following ones are scored.

    predictions    DIR/bike-packing/00001.png ...      numbers of objects by pixel, as the official evaluation reads them

The first and last frames do not count. J and F are those of `tapetum.metrics.masks`.

Differs from the official code if a first mask skips a number: there the number is an object that always scores, here it is not
an object. The official masks skip none.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from tapetum.bench.own import Benchmark
from tapetum.core.errors import BadInput
from tapetum.data.files import opened_image, stored_file
from tapetum.data.segmentation import MaskedVideo, read_davis, read_values, scored_frames, write_numbers
from tapetum.encoders.features import Encoder
from tapetum.hub.loading import load
from tapetum.metrics.masks import DavisScores, davis_scores, joined
from tapetum.systems.odin.objects import PLAIN, network_map
from tapetum.transfer.config import PropagationConfig
from tapetum.transfer.propagation import Look, carry


def propagate(video: MaskedVideo, extract: Look, config: PropagationConfig) -> Int[np.ndarray, "t h w"]:
    """Propagate the first mask through a video; unscored objects become background."""
    numbers = read_values(video.masks[0])
    first = np.where(np.isin(numbers, video.objects()), numbers, 0).astype(np.uint8)
    frames = (np.asarray(opened_image(stored_file(path), "RGB")) for path in video.frames)
    return np.stack(list(carry(frames, first, extract, config)))


def read_predictions(folder: Path, video: MaskedVideo) -> Int[np.ndarray, "t h w"]:
    """Read the predicted masks of the frames that count. Raises BadInput if one is missing or of another size."""
    paths = [Path(folder) / video.name / path.name for path in video.masks[scored_frames]]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"there is no {path}; give a folder with a mask for every frame but the first and the last")
    masks = [read_values(path) for path in paths]
    for path, ids in zip(paths, masks, strict=True):
        if ids.shape != masks[0].shape:
            raise BadInput(f"{path} is {ids.shape[1]}x{ids.shape[0]} and {paths[0].name} is not; write all at one size")
    return np.stack(masks)


def write_predictions(folder: Path, video: MaskedVideo, ids: Int[np.ndarray, "t h w"]) -> None:
    """Write the masks of all frames in the format of the official evaluation."""
    place = Path(folder) / video.name
    place.mkdir(parents=True, exist_ok=True)
    for path, one in zip(video.masks, ids, strict=True):
        write_numbers(place / path.name, one)


def scored(video: MaskedVideo, ids: Int[np.ndarray, "t h w"]) -> DavisScores:
    """Score the masks of the frames that count. Raises BadInput for unknown objects and another size."""
    targets: dict[Hashable, np.ndarray] = {(video.name, n): masks for n, masks in video.read_masks(scored_frames).items()}
    return davis_scores({(video.name, int(n)): ids == n for n in np.unique(ids) if n}, targets)


class Davis(Benchmark):
    """An image encoder on the videos of the split val: its features propagate the first masks."""

    def items(self, data: Path) -> Mapping[str, MaskedVideo]:
        """List the videos. Raises BadInput if files are missing."""
        return {video.name: video for video in read_davis(data, "val")}

    def load(self, model: str, device: str | None) -> Look:
        """Load the source of features: colours, rgb, xy, or an encoder. Raises BadInput for other models."""
        if model in PLAIN:
            return PLAIN[model]
        encoder = load(model, device)
        if not isinstance(encoder, Encoder):
            raise BadInput(f"{model} is no encoder of images; give one by name or file, or {', '.join(PLAIN)}")
        return network_map(encoder, PropagationConfig().short_side, None)

    def score(self, model: Look, item: MaskedVideo) -> Mapping[str, float]:
        """Compute J and F, and the number of objects they average."""
        scores = scored(item, propagate(item, model, PropagationConfig())[scored_frames])
        return {"j": scores.j.mean, "f": scores.f.mean, "objects": len(scores.objects)}

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        weights = [row["objects"] for row in rows]
        j, f = (float(np.average([row[name] for row in rows], weights=weights)) for name in ("j", "f"))
        return {"j_and_f": (j + f) / 2, "j": j, "f": f, "objects": sum(weights)}


def evaluate(
    videos: Sequence[MaskedVideo],
    masks_of: Callable[[MaskedVideo], Int[np.ndarray, "t h w"]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DavisScores:
    """Score the predictions of `masks_of` in the frames that count of each video."""
    scores = []
    for done, video in enumerate(videos):
        progress(done, len(videos))
        scores.append(scored(video, masks_of(video)))
    progress(len(videos), len(videos))
    return joined(scores)
