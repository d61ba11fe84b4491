"""Panoptic Studio: images are added to downloaded annotations as they are."""

from pathlib import Path

import numpy as np

from support.raw_pstudio import write_annotation, write_studio
from tapetum.systems.tapvid3d.data import read_clip
from tapetum.systems.tapvid3d.makers import pstudio
from tapetum.systems.tapvid3d.makers.common import run


def test_images_are_added_to_annotations(tmp_path: Path) -> None:
    images = write_studio(tmp_path / "raw", 3)
    downloaded, out = tmp_path / "downloaded", tmp_path / "pstudio"
    for name, frames in (("juggle_12", 3), ("juggle_1", 2), ("boxes_3", 3)):
        write_annotation(downloaded, name, frames)
    report = run(pstudio.annotated(tmp_path / "raw", downloaded), out)
    assert report.made == ["juggle_12"]
    assert "there are 3 images, but the annotation has 2 frames" in report.failed["juggle_1"]
    assert "boxes/ims/3 has no .jpg" in report.failed["boxes_3"]
    clip = read_clip(out / "juggle_12.npz")
    assert clip.images is not None
    assert list(clip.images) == images["12"]
    assert (clip.frames, clip.size, clip.source, clip.extrinsics_w2c) == (3, (144, 256), "pstudio", None)
    with np.load(downloaded / "juggle_12.npz") as wanted:
        assert (clip.tracks_XYZ == wanted["tracks_XYZ"]).all()
        assert (clip.queries_xyt == wanted["queries_xyt"]).all()
