"""Data sets that the published recipes and evaluations of the systems want, by name, and checks of folders of them.

    types       what is known of a data set, and what a reader finds in a folder of one
    images      images, sound and meshes: ImageNet, COCO, ADE20K, AudioSet, web-scale pairs ...
    language    questions, captions and expressions about images: VQAv2, GQA, RefCOCO ...
    videos      videos with texts or classes: Kinetics, MSR-VTT, EgoSchema, the Perception Test ...
    tracks      videos with points and masks, in 2D and 3D, and robots: Kubric, TAP-Vid, DAVIS, TAPVid-3D ...
    readers     readers of layouts whose parts lie in several files or formats
    check       what of a data set is in a folder, and whether it can be read

Nothing is downloaded. Sizes and licences are those that the publishers state, as far as this project knows them; what it does
not know is marked so.
"""

import difflib
from collections.abc import Mapping

from tapetum.bench.data_sets.images import IMAGES
from tapetum.bench.data_sets.language import LANGUAGE
from tapetum.bench.data_sets.tracks import TRACKS
from tapetum.bench.data_sets.types import DataSet
from tapetum.bench.data_sets.videos import VIDEOS
from tapetum.core.errors import BadInput

DATA_SETS: Mapping[str, DataSet] = {each.name: each for each in (*IMAGES, *LANGUAGE, *VIDEOS, *TRACKS)}
"""By name."""


def find_data_set(name: str) -> DataSet:
    """Look up a data set.

    Raises BadInput with the nearest name.

    >>> find_data_set("vqa-v2")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: there is no data set 'vqa-v2'; did you mean vqav2?
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(name, DATA_SETS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(DATA_SETS)}"
        raise BadInput(f"there is no data set {name!r}; {advice}")
    return DATA_SETS[name]
