"""TAPVid-3D from Panoptic Studio: images are added to the published annotations.

RAW is the folder with data.zip of Dynamic 3D Gaussians (JonathonLuiten/Dynamic3DGaussians) unpacked:

    RAW/data/SEQUENCE/ims/CAMERA/000000.jpg ...

A clip SEQUENCE_CAMERA is a whole sequence (150 frames) of one training camera, which stands still. The generator of the tracks
was never published (issues 126 and 142 of google-deepmind/tapnet), so no new clips are made.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes
from tapetum.systems.tapvid3d.makers.common import Arrays, ClipJob, annotated_jobs
from tapetum.systems.tapvid3d.npz import Npz


def annotated(raw: Path, annotations: Path) -> Iterator[ClipJob]:
    """List the clips of a folder of downloaded annotations, with the images of RAW/data as they are.

    The public build encodes the images again.
    """
    return annotated_jobs("pstudio", annotations, partial(_annotated, raw))


def _annotated(raw: Path, path: Path) -> Arrays:
    sequence, _, camera = path.stem.rpartition("_")
    with Npz(path) as file:
        names = ("queries_xyt", "tracks_XYZ", "visibility", "fx_fy_cx_cy")
        content: Arrays = {name: file.numbers(name) for name in names}
    folder = raw / "data" / sequence / "ims" / camera
    images = [read_bytes(file) for file in sorted(folder.glob("*.jpg"))]
    if not images:
        raise BadInput(f"{folder} has no .jpg; unpack data.zip of Dynamic 3D Gaussians there")
    if len(images) != len(content["visibility"]):
        raise BadInput(f"there are {len(images)} images, but the annotation has {len(content['visibility'])} frames")
    return {"images_jpeg_bytes": images, **content}
