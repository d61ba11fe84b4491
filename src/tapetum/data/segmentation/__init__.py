"""Images with a class per pixel, and videos with object masks, read from their official folders.

    images      the record (files by number, class names, numbers of classes), and ADE20K, Cityscapes and CamVid
    voc         PASCAL VOC, with boxes too
    davis       videos

>>> sorted(SEGMENTED)
['ade20k', 'camvid', 'cityscapes', 'voc']
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tapetum.data.segmentation.images import SegmentedImages, read_ade20k, read_camvid, read_cityscapes
from tapetum.data.segmentation.voc import read_voc

SEGMENTED: Mapping[str, Callable[[Path, str], SegmentedImages]] = {
    "ade20k": read_ade20k,
    "camvid": read_camvid,
    "cityscapes": read_cityscapes,
    "voc": read_voc,
}
"""By name."""
