"""Published data sets of points, masks and space in videos, and of robots: what trackers and policies learn from."""

from tapetum.bench.data_sets.types import NOT_KNOWN, DataSet, Part

_HERE = "tapetum.bench.data_sets.readers"
_TAP = ("TAPIR", "BootsTAPIR", "TAPNext")
_KUBRIC = "Apache-2.0"
_FRAMES = "frames and masks alone; `train tap-kubric` wants tracks too: kubric-cotracker3"
_MOVI = "DIR/movi_{0}-train.tfrecord-00000-of-01024 (TFDS), or DIR/SCENE/rgba_00000.png, metadata.json ... (the renderer's)"


def _tapvid(name: str, title: str, what: str, address: str, licence: str, size: str, videos: int) -> DataSet:
    return DataSet(
        name=name, title=title, what=what, address=address, licence=licence, size=size,
        layout="DIR/*.pkl: a dict or list of {video, points, occluded}", reader=f"{_HERE}:read_tapvid",
        parts=(Part(name="test", of="videos", items=videos),), used_by=_TAP,
    )  # fmt: skip


# fmt: off
_POINTS = (
    DataSet(
        name="kubric-movi-e", title="Kubric MOVi-E", what="24 frames of falling things, moving camera",
        address="gs://kubric-public/tfds/movi_e", licence=_KUBRIC, size="about 9,750 + 250 scenes", layout=_MOVI.format("e"),
        reader=f"{_HERE}:read_movi", no_reader=_FRAMES,
        parts=(Part(name="train", of="scenes"), Part(name="validation", of="scenes", items=250)),
        used_by=_TAP,
    ),
    DataSet(
        name="kubric-movi-f", title="Kubric MOVi-F", what="the same with motion blur", address="gs://kubric-public/tfds/movi_f",
        licence=_KUBRIC, size="about 6,000 scenes", layout=_MOVI.format("f"), reader=f"{_HERE}:read_movi", no_reader=_FRAMES,
        parts=(Part(name="train", of="scenes"), Part(name="validation", of="scenes")), used_by=_TAP,
    ),
    DataSet(
        name="kubric-panning", title="panning Kubric MOVi-E", what="MOVi-E with a camera that also turns, of TAPIR",
        address="not published; rendered by challenges/movi/movi_def_worker.py of github.com/google-research/kubric",
        licence=_KUBRIC, size="about 10,000 scenes",
        layout="DIR/SCENE/rgba_00000.png, metadata.json, events.json, data_ranges.json",
        reader=f"{_HERE}:read_movi", no_reader=_FRAMES, parts=(Part(name="train", of="scenes"),), used_by=_TAP,
    ),
    DataSet(
        name="kubric-cotracker3", title="Kubric of CoTracker3", what="120 frames with tracks of points",
        address="https://huggingface.co/datasets/facebook/CoTracker3_Kubric", licence=NOT_KNOWN, size="5,869 scenes",
        layout="DIR/0000/frames/000.png, DIR/0000/0000.npy", reader=f"{_HERE}:read_cotracker_kubric",
        parts=(Part(name="train", of="scenes", items=5_869),), used_by=_TAP,
    ),
    DataSet(
        name="pointodyssey", title="PointOdyssey", what="long animated videos with tracks of points",
        address="https://pointodyssey.com", licence="CC BY-NC-SA 4.0", size="159 videos, 216,000 frames",
        no_reader="its npz files have no reader yet", used_by=("TAPNext++",),
    ),
    _tapvid("tapvid-davis", "TAP-Vid-DAVIS", "points in real videos",
    "https://storage.googleapis.com/dm-tapnet/tapvid_davis.zip",
            "annotations CC BY 4.0; videos of DAVIS 2017", "30 videos", 30),
    _tapvid("tapvid-rgb-stacking", "TAP-Vid-RGB-Stacking", "points on blocks before a robot",
            "https://storage.googleapis.com/dm-tapnet/tapvid_rgb_stacking.zip", "CC BY 4.0", "50 videos", 50),
    _tapvid("tapvid-kinetics", "TAP-Vid-Kinetics", "points in videos of Kinetics-700",
            "https://storage.googleapis.com/dm-tapnet/tapvid_kinetics.zip (points; the public scripts add the videos)",
            "annotations CC BY 4.0; videos under their YouTube terms", "1,189 videos", 1_189),
    _tapvid("robotap", "RoboTAP", "points in real videos of robots",
    "https://storage.googleapis.com/dm-tapnet/robotap/robotap.zip",
            "CC BY 4.0", "265 videos", 265),
)
_SPACE = (
    DataSet(
        name="tapvid3d", title="TAPVid-3D", what="clips with points in metres, of three sources",
        address="https://github.com/google-deepmind/tapnet/tree/main/tapnet/tapvid3d",
        licence="annotations CC BY 4.0; videos under their sources' terms", size="4,569 clips",
        layout="DIR/adt/*.npz, DIR/drivetrack/*.npz, DIR/pstudio/*.npz", reader=f"{_HERE}:read_tapvid3d",
        parts=(Part(name="minival", of="clips", items=150), Part(name="full", of="clips", items=4_419)), used_by=("TAPVid-3D",),
    ),
    DataSet(
        name="adt", title="Aria Digital Twin, version 2", what="rooms filmed by glasses, with poses of all things",
        address="https://www.projectaria.com/datasets/adt/", licence="Aria Digital Twin licence, to be accepted",
        size="236 sequences",
        layout="DIR/SEQUENCE/aria_trajectory.csv, scene_objects.csv, 3d_bounding_box.csv, video.vrs, depth_images.vrs ...",
        reader=f"{_HERE}:read_adt", parts=(Part(name="all", of="sequences"),), used_by=("TAPVid-3D",),
    ),
    DataSet(
        name="waymo-open", title="Waymo Open Perception, version 2", what="drives with lidar and boxes",
        address="https://waymo.com/open/download/", licence="Waymo Dataset License Agreement for Non-Commercial Use",
        size="798 + 202 + 150 segments",
        layout="DIR/training/camera_image/*.parquet, lidar, lidar_box, ...; validation, testing",
        reader=f"{_HERE}:read_waymo",
        parts=(Part(name="training", of="segments", items=798), Part(name="validation", of="segments", items=202)),
        used_by=("TAPVid-3D",),
    ),
    DataSet(
        name="panoptic-studio", title="Panoptic Studio of Dynamic 3D Gaussians", what="six sports before 31 cameras",
        address="https://omnomnom.vision.rwth-aachen.de/data/Dynamic3DGaussians/data.zip", licence=NOT_KNOWN,
        size="6 sequences",
        layout="DIR/data/basketball/train_meta.json, DIR/data/basketball/ims/0/000000.jpg", reader=f"{_HERE}:read_panoptic",
        parts=(Part(name="all", of="sequences", items=6),), used_by=("TAPVid-3D",),
    ),
    DataSet(
        name="davis", title="DAVIS 2017", what="videos with a mask of each object",
        address="https://davischallenge.org/davis2017/code.html",
        licence="Creative Commons licences of their makers", size="60 + 30 videos",
        layout="DIR/ImageSets/2017/val.txt, DIR/JPEGImages/480p/NAME/*.jpg, DIR/Annotations/480p/NAME/*.png",
        reader="tapetum.data.segmentation.davis:read_davis",
        parts=(Part(name="train", of="videos", items=60), Part(name="val", of="videos", items=30)), used_by=("Odin",),
    ),
)
_ROBOTS = (
    *(
        DataSet(
            name=name, title=title, what=what, address=address, licence=licence, size=size,
            layout="DIR/demos.json, DIR/episode-0000.npz (tapetum data demos)", reader=f"{_HERE}:read_demonstrations",
            parts=(Part(name="train", of="demonstrations"),), used_by=("adapters",),
        )
        for name, title, what, address, licence, size in (
            ("metaworld", "Meta-World demonstrations", "five tasks by scripted experts",
             "https://github.com/Farama-Foundation/Metaworld (the simulator)", "MIT", "25 demonstrations a task"),
            ("franka-kitchen", "Franka Kitchen demonstrations", "five tasks in a kitchen",
             "https://github.com/Farama-Foundation/Gymnasium-Robotics (the simulator)", "MIT", "25 demonstrations a task"),
        )
    ),
    DataSet(
        name="rgb-stacking", title="RGB-Stacking demonstrations", what="a robot that stacks blocks",
        address="https://github.com/google-deepmind/rgb_stacking (the simulator)",
        licence="code Apache-2.0; demonstrations not published",
        no_reader="the demonstrations of the paper were never published", used_by=("adapters",),
    ),
)
# fmt: on
TRACKS: tuple[DataSet, ...] = (*_POINTS, *_SPACE, *_ROBOTS)
