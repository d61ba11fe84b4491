"""Scenes of Kubric's MOVi sets (Greff et al., arXiv 2203.03570), as its renderer writes them and as they are published.

    rendered     DIR/SCENE/rgba_00000.png, segmentation_00000.png, depth_00000.tiff, forward_flow_00000.png,
                 backward_flow_..., normal_..., object_coordinates_...: a file a frame
                 DIR/SCENE/metadata.json      {metadata: {num_frames, resolution, num_instances}, camera, instances: [...]}
                 DIR/SCENE/events.json, data_ranges.json    collisions; least and largest depth and flow
    published    gs://kubric-public/tfds/movi_e/256x256/1.0.0/movi_e-train.tfrecord-00000-of-01024: examples of TensorFlow
                 Datasets, whose features are video and segmentations (a PNG a frame), metadata/num_frames,
                 instances/asset_id and so on; validation, and test where there is one

Frames and object masks are read, with what there is of each. Tracks of points are computed from published records by
`tapetum.tracks.training.movi_tracks`; `tapetum.tracks.training.kubric` reads those that others computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, one_of, read_json
from tapetum.data.files import StoredFile, opened_image, stored_file
from tapetum.tracks.training.tfrecord import count_records, parse_example, read_records

LAYERS = ("rgba", "segmentation", "depth", "forward_flow", "backward_flow", "normal", "object_coordinates")
"""Names of the files that the renderer writes for each frame."""
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class MoviScene:
    """A scene: frames, and a mask of each."""

    name: str
    frames: Sequence[StoredFile]
    masks: Sequence[StoredFile]
    """Of each frame: 0 nothing, k + 1 the object k."""
    objects: int
    """How many there are."""

    def video(self) -> UInt8[np.ndarray, "t h w 3"]:
        """Decode the frames. Raises BadInput for one that is damaged or of another size."""
        return _stack([np.asarray(opened_image(file, "RGB")) for file in self.frames], self.name)

    def object_masks(self) -> UInt8[np.ndarray, "t h w"]:
        """Decode the number of the object of each pixel, as in `masks`. Raises BadInput for a file that is damaged."""
        masks = [np.asarray(opened_image(file, None)).astype(np.uint8) for file in self.masks]
        return _stack([mask if mask.ndim == 2 else mask[..., 0] for mask in masks], self.name)


def _stack(images: list[np.ndarray], name: str) -> np.ndarray:
    if len({image.shape for image in images}) != 1:
        raise BadInput(f"the scene {name} has images of {len({image.shape for image in images})} sizes; get it again")
    return np.stack(images)


def list_scenes(folder: Path) -> list[Path]:
    """List the folders of rendered scenes. Raises BadInput where there are none."""
    scenes = sorted(path.parent for path in Path(folder).glob("*/metadata.json"))
    if not scenes:
        raise BadInput(f"{folder} has no SCENE/metadata.json; give a folder of scenes that Kubric rendered")
    return scenes


def read_scene(folder: Path) -> MoviScene:
    """Read a rendered scene. Raises BadInput where a file is missing, or metadata.json is none of Kubric's."""
    file = folder / "metadata.json"
    entry = JsonEntry(read_json(file), str(file))
    metadata = JsonEntry(entry.fields.get("metadata"), f"metadata of {file}")
    count = metadata.whole("num_frames")
    names = [f"{layer}_{k:05d}" for layer in LAYERS[:2] for k in range(count)]
    lacking = [f"{name}.png" for name in names if not (folder / f"{name}.png").is_file()]
    lacking += [name for name in ("events.json", "data_ranges.json") if not (folder / name).is_file()]
    if lacking or not count:
        raise BadInput(f"the scene {folder} lacks {lacking[0] if lacking else 'frames'}; get it again, or take it out")
    frames, masks = names[:count], names[count:]
    return MoviScene(
        name=folder.name,
        frames=[stored_file(folder / f"{name}.png") for name in frames],
        masks=[stored_file(folder / f"{name}.png") for name in masks],
        objects=len(entry.entries("instances")),
    )


def list_records(folder: Path, split: str) -> list[Path]:
    """List the TFRecord files of a split, in their order. Raises BadInput where there are none, or some of them are missing."""
    one_of(split, SPLITS)
    files = sorted(Path(folder).glob(f"*-{split}.tfrecord-*-of-*"))
    if not files:
        raise BadInput(f"{folder} has no *-{split}.tfrecord-*; give the folder of a resolution, such as movi_e/256x256/1.0.0")
    of = files[0].name.rpartition("-of-")[2]
    if not of.isdecimal() or len(files) != int(of):
        raise BadInput(f"{folder} has {len(files)} of {of} files of {split}; fetch the others")
    return files


def count_scenes(files: Sequence[Path]) -> int:
    """Count the scenes in TFRecord files. Raises BadInput for a damaged one."""
    return sum(map(count_records, files))


def read_recorded_scenes(file: Path) -> Iterator[MoviScene]:
    """Yield the scenes of a TFRecord file. Raises BadInput for one that is damaged, or of another set."""
    for k, record in enumerate(read_records(file)):
        yield scene_of(parse_example(record), f"{file.name}/{k}")


def scene_of(features: Mapping[str, Any], name: str) -> MoviScene:
    """Make the scene of a record's features. Raises BadInput for one of another set."""
    frames, masks = (_images(features.get(key), f"{key} of {name}") for key in ("video", "segmentations"))
    if not frames or len(frames) != len(masks):
        raise BadInput(f"{name} has {len(frames)} frames and {len(masks)} masks; give files of MOVi")
    return MoviScene(name=name, frames=frames, masks=masks, objects=len(features.get("instances/asset_id", ())))


def _images(values: Any, what: str) -> list[StoredFile]:
    if not isinstance(values, list):
        raise BadInput(f"there are no images in {what}; give files of MOVi")
    return [StoredFile(f"frame {k} of {what}", data) for k, data in enumerate(values)]
