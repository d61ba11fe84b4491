"""TAPVid-3D from Aria Digital Twin: points on rigid objects, carried by the poses of objects and glasses.

    seeds -> attach (to the object there) -> transport -> visible (depth test) -> upright -> hide_people -> queries

Sources: the geometry, the depth test and the filter of people are those of the benchmark's first public generator
(google-deepmind/tapnet at d44db05, July 2024, adt_utils.py). How its queries were chosen was never published. Recalled,
not verified: random points on any object, up to 1,024 a clip. Ours: random pixels of random frames, where these lie on an
object with a box. As in the generator, the optical axis is at raster (256, 256), half a pixel beside that of the frames that
projectaria-tools rectifies.

Differs from the generator: a track whose object has no pose in some frame is left out (the generator stops); one that is
never visible is left out (published files have some, issue 131); `extrinsics_w2c` is written (the public build drops it).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.systems.tapvid3d.geometry import F64, project, transform, unproject
from tapetum.systems.tapvid3d.makers.aria import INTRINSICS, SIZE, AriaFrame, AriaFrames, AriaScene, open_frames, read_scene
from tapetum.systems.tapvid3d.makers.common import (
    I64,
    Arrays,
    Bool,
    ClipJob,
    annotated_jobs,
    clip_arrays,
    depth_test,
    fails,
    generator,
    pixel_centres,
)
from tapetum.systems.tapvid3d.npz import Npz
from tapetum.video.images import encode_jpeg

FRAMES = 300
"""Frames of a clip, before those are taken out whose colour, depth or labels are missing."""
TRACKS = 1024
"""Points that are sampled for a clip (recalled); those that lie on no object or are never visible are left out."""
TOLERANCE = 0.02
"""Metres by which a visible point may lie before or behind the depth map."""
PERSON = 0.1
"""Probability above which a pixel shows a person."""

TURN: F64 = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""From the camera, which is mounted sideways, to that of the upright image: (X, Y, Z) -> (-Y, X, Z)."""

Poses = Sequence[dict[int, F64]]
"""For each frame the poses (4, 4) of objects by id."""


def v2_name(v1: str) -> str:
    """Name the folder of version 2 that the benchmark used for a sequence of version 1: the device depends on the family.

    Source: the 215 entries of google-deepmind/tapnet's adt_v1v2_mappings.py, which all follow this rule.

    >>> v2_name("Apartment_release_meal_seq136")
    'Apartment_release_meal_seq136_M1292'
    """
    if v1.startswith("Lite_"):
        return f"{v1}_61283"
    return f"{v1}_71292" if "_multiskeleton_party_" in v1 else f"{v1}_M1292"


def v1_name(folder: str) -> str:
    """Choose the name that the benchmark's files begin with; folders of other devices keep theirs."""
    v1 = folder.rpartition("_")[0]
    return v1 if v2_name(v1) == folder else folder


def chunks(scene: AriaScene, frames: AriaFrames, length: int = FRAMES) -> list[I64]:
    """List times (length,) of the clips of a sequence: whole runs of frames strictly within the time that has ground truth.

    A shorter run at the end is left out, as the benchmark's files imply.
    """
    inside = _with_truth(scene, frames)
    return [inside[first : first + length] for first in range(0, len(inside) - length + 1, length)]


def _with_truth(scene: AriaScene, frames: AriaFrames) -> I64:
    start, end = scene.device_times[[0, -1]]
    return frames.timestamps[(frames.timestamps > start) & (frames.timestamps < end)]


@dataclass(frozen=True, eq=False)
class Moments:
    """The frames of one clip with all that is known about each."""

    frames: list[AriaFrame]
    camera_from_scene: F64
    """(t, 4, 4)"""
    camera_from_object: Poses

    @property
    def depth(self) -> list[F64]:
        """List the depth maps (h, w) in metres."""
        return [frame.depth / 1000 for frame in self.frames]


def read_moments(scene: AriaScene, frames: AriaFrames, times: Sequence[int] | I64) -> Moments:
    """Read the frames at these times that have colour, depth and labels. Raises `BadInput` if none has."""
    pairs = [(int(time), frame) for time in times if (frame := frames.frame(int(time))) is not None]
    if not pairs:
        raise BadInput("no frame of this clip has colour, depth and segmentation; get the three VRS files again")
    camera_from_device = np.linalg.inv(frames.device_from_camera)
    camera = np.stack([camera_from_device @ np.linalg.inv(scene.device_at(time)) for time, _ in pairs])
    objects = [
        {uid: view @ pose for uid, pose in scene.objects_at(time).items()}
        for view, (time, _) in zip(camera, pairs, strict=True)
    ]
    return Moments([frame for _, frame in pairs], camera, objects)


def seeds(moments: Moments, n: int, rng: np.random.Generator) -> F64:
    """Draw random pixels of random frames, as queries (n, 3) in the upright image."""
    sideways = pixel_centres(np.ones((len(moments.frames), SIZE, SIZE), bool), n, rng)
    return np.stack([SIZE - sideways[:, 1], sideways[:, 0], sideways[:, 2]], 1)


def attach(queries: ArrayLike, moments: Moments) -> tuple[I64, F64, I64]:
    """Attach the objects under queries (n, 3) as (x, y, t) in the upright image, and the points on them.

    The depth is that of the pixel, the ray that of the exact place. Returns ids (m,), points (m, 3) in metres in their objects'
    coordinates, and the numbers (m,) of the queries that have an object, which has a pose in every frame.
    """
    always = set[int].intersection(*(set(objects) for objects in moments.camera_from_object))
    ids, points, kept = [], [], []
    for number, (x, y, t) in enumerate(np.asarray(queries, np.float64)):
        x, y = y, SIZE - x
        row, column = (min(max(int(np.round(v - 0.5)), 0), SIZE - 1) for v in (y, x))
        frame = moments.frames[int(t)]
        uid = int(frame.instances[row, column])
        if uid in always:
            point = unproject([[x, y]], [frame.depth[row, column] / 1000], INTRINSICS)
            points.append(transform(np.linalg.inv(moments.camera_from_object[int(t)][uid]), point)[0])
            ids.append(uid)
            kept.append(number)
    return np.array(ids, np.int64), np.array(points).reshape(-1, 3), np.array(kept, np.int64)


def transport(ids: I64, points: F64, moments: Moments) -> F64:
    """Transport tracks (t, n, 3) in the (sideways) camera of points (n, 3) that are fixed to the objects `ids` (n,)."""
    each, which = np.unique(ids, return_inverse=True)
    moved = np.array([[objects[int(uid)] for uid in each] for objects in moments.camera_from_object])
    moved = moved.reshape(len(moments.frames), len(each), 4, 4)[:, which]
    return transform(moved, points[None, :, None])[:, :, 0]


def visible(tracks: F64, moments: Moments) -> Bool:
    """Compute (t, n): in the image and within 2 cm of the depth map; for tracks in the sideways camera."""
    return depth_test(tracks, moments.depth, INTRINSICS, TOLERANCE)


def upright(tracks: F64) -> F64:
    """Transform tracks to the camera of the upright image.

    >>> upright(np.array([[[1.0, 2.0, 3.0]]])).tolist()
    [[[-2.0, 1.0, 3.0]]]
    """
    return transform(TURN, tracks)


def hide_people(visible: Bool, tracks: F64, person: ArrayLike) -> Bool:
    """Clear `visible` (t, n) for points on a person, who is in the image but not in the synthetic depth map.

    `tracks` (t, n, 3) are in the upright camera, `person` probabilities (t, h, w) of upright images of any size. The generator
    takes the class "person" of torchvision's FCN-ResNet50 (softmax), at 520x520.
    """
    mask = np.asarray(person) > PERSON
    if mask.ndim != 3 or len(mask) != len(visible):
        raise BadInput(f"probabilities of people are {np.shape(person)}; wanted ({len(visible)}, height, width), a map a frame")
    out = visible.copy()
    frame, track = np.nonzero(visible)
    xy = np.floor(project(tracks[frame, track], INTRINSICS))  # a pixel of the image takes that of the map at its centre
    column, row = (((xy + 0.5) * np.array(mask.shape[:0:-1]) / SIZE).astype(int)).T
    out[frame, track] = ~mask[frame, row, column]
    return out


def follow(queries: ArrayLike, moments: Moments) -> tuple[F64, Bool, I64]:
    """Follow tracks (t, m, 3) in the upright camera, visibility (t, m), and numbers (m,) of the queries (n, 3) that have an
    object."""
    ids, points, kept = attach(queries, moments)
    tracks = transport(ids, points, moments)
    return upright(tracks), visible(tracks, moments), kept


def make_clip(moments: Moments, rng: np.random.Generator, n: int = TRACKS, person: ArrayLike | None = None) -> Arrays:
    """Make the arrays of one file of the benchmark, possibly without tracks; `person` as in `hide_people`."""
    tracks, visibility, _ = follow(seeds(moments, n, rng), moments)
    if person is not None:
        visibility = hide_people(visibility, tracks, person)
    jpegs = [encode_jpeg(image) for image in images(moments)]
    return clip_arrays(jpegs, tracks, visibility, INTRINSICS, rng, TURN @ moments.camera_from_scene)


def images(moments: Moments) -> Iterator[np.ndarray]:
    """Rotate the frames upright (h, w, 3): those of the camera, turned by 90 degrees clockwise."""
    return (np.ascontiguousarray(np.rot90(frame.rgb, -1)) for frame in moments.frames)


def add_images(annotations: Arrays, moments: Moments) -> Arrays:
    """Add images to a downloaded annotation, after checking that they match: their means agree to 1e-3.

    Source: the public build, which keeps four keys of the annotation; here all are kept but `video_means`.
    """
    means = np.stack([image.mean((0, 1)) for image in images(moments)])
    expected = np.asarray(annotations["video_means"])
    if expected.shape != means.shape:
        raise BadInput(f"the frames that were read have {means.shape} means, the annotation {expected.shape}; is it whole?")
    same = np.isclose(means, expected, atol=1e-3).all(1)
    if not same.all():
        frame = int(same.argmin())
        off = abs(means[frame] - expected[frame]).max()
        raise BadInput(
            f"the mean colour of frame {frame} is {off:.3g} off that of the annotation; is this the right sequence, rectified "
            "by the projectaria-tools of the public build (1.5.2)?"
        )
    kept = {name: value for name, value in annotations.items() if name != "video_means"}
    return {"images_jpeg_bytes": [encode_jpeg(image) for image in images(moments)], **kept}


def jobs(
    raw: Path, *, seed: int = 0, tracks: int = TRACKS, length: int = FRAMES, people: Path | None = None
) -> Iterator[ClipJob]:
    """Yield every clip of the sequences in `raw`, a folder of folders of ADT version 2, or one of them.

    `people` is a folder with CLIP.npy, the probabilities of `hide_people`. Raises `BadInput` if there is no sequence.
    """
    alone = (raw / "aria_trajectory.csv").is_file()
    sequences = [raw] if alone else sorted(path.parent for path in raw.glob("*/aria_trajectory.csv"))
    if not sequences:
        raise BadInput(f"{raw} has no SEQUENCE/aria_trajectory.csv; give a folder of sequences of Aria Digital Twin, version 2")
    for folder in sequences:
        name = v1_name(folder.name)
        try:
            scene, frames = read_scene(folder), open_frames(folder)
        except BadInput as error:
            yield fails(name, error)
            continue
        for number, times in enumerate(chunks(scene, frames, length)):
            clip = f"{name}_{number}"
            yield ClipJob(
                clip, partial(_job, scene, frames, times, generator(seed, clip), tracks, people and people / f"{clip}.npy")
            )


def _job(
    scene: AriaScene, frames: AriaFrames, times: I64, rng: np.random.Generator, tracks: int, people: Path | None
) -> Arrays:
    person = None
    if people is not None:
        try:
            person = np.load(no_pipe(people), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(f"cannot read {people} ({error}); wanted probabilities of people (t, h, w) for this clip") from error
    return make_clip(read_moments(scene, frames, times), rng, tracks, person)


def annotated(raw: Path, annotations: Path) -> Iterator[ClipJob]:
    """List the clips of a folder of downloaded annotations, with the images of the sequences in `raw`."""
    return annotated_jobs("adt", annotations, partial(_annotated, raw))


def _annotated(raw: Path, path: Path) -> Arrays:
    v1, _, number = path.stem.rpartition("_")
    if not number.isdecimal():
        raise BadInput(f"{path.name} does not end with the number of a clip, as Apartment_release_meal_seq136_8.npz does")
    with Npz(path) as file:
        content: Arrays = {name: file.numbers(name) for name in ("queries_xyt", "tracks_XYZ", "visibility", "video_means")}
        if "extrinsics_w2c" in file.names:
            content["extrinsics_w2c"] = file.numbers("extrinsics_w2c")
    scene, frames = read_scene(raw / v2_name(v1)), open_frames(raw / v2_name(v1))
    times = _with_truth(scene, frames)[int(number) * FRAMES :][:FRAMES]
    return add_images({**content, "fx_fy_cx_cy": np.array(INTRINSICS)}, read_moments(scene, frames, times))
