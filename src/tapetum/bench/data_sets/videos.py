"""Published data sets of videos with texts or classes: what video encoders are trained on, and what they are asked."""

from collections.abc import Mapping
from typing import Any

from tapetum.bench.data_sets.types import NOT_KNOWN, DataSet, Part

_READERS = "tapetum.data.video_language"
_YOUTUBE = "videos under their YouTube terms"
_LISTED = "its lists name videos of YouTube, which each user fetches; put clips and texts into shards: docs/systems/data.md"
_LONGVIDEO = ("LongViViT", "MC-ViT")
_TRANSFER: Mapping[str, Any] = {
    "layout": "as the reader of the task draws them; DIR/SPLIT.jsonl of docs/guides/teach-a-task.md where it takes lines",
    "reader": "tapetum.bench.data_sets.readers:read_transfer",
}


def _parts(of: str, **items: int | None) -> tuple[Part, ...]:
    return tuple(Part(name=name, of=of, items=count) for name, count in items.items())


# fmt: off
_LEARNED = (
    DataSet(
        name="vtp", title="VTP", what="short videos and their texts, of Flamingo", address="not published",
        licence="not published",
        size="about 27,000,000 pairs", no_reader="it was never published", used_by=("LongViViT",),
    ),
    DataSet(
        name="howto100m", title="HowTo100M", what="videos that explain, with speech as text",
        address="https://www.di.ens.fr/willow/research/howto100m/", licence=_YOUTUBE,
        size="1,220,000 videos, 136,000,000 clips", no_reader=_LISTED, used_by=_LONGVIDEO,
    ),
    DataSet(
        name="videocc3m", title="VideoCC3M", what="clips with captions of similar images",
        address="https://github.com/google-research-datasets/videoCC-data", licence=f"lists CC BY 4.0; {_YOUTUBE}",
        size="10,300,000 pairs of 6,300,000 videos", no_reader=_LISTED, used_by=("LongViViT",),
    ),
    DataSet(
        name="ego4d", title="Ego4D", what="videos from head-mounted cameras, with narrations", address="https://ego4d-data.org",
        licence="Ego4D licence agreement, signed", size="3,670 hours",
        no_reader="its narrations have no reader yet; EgoSchema, which is made of it, has one", used_by=("MC-ViT",),
    ),
    DataSet(
        name="internet-videos", title="clips of BootsTAP", what="unlabelled clips of 24 frames, of web videos",
        address="not published",
        licence="not published", size="about 15,000,000 clips",
        no_reader="they were never published; `tapetum bootstrap` takes any videos of your own",
        used_by=("BootsTAPIR", "TAPNext"),
    ),
)
_ACTIONS = (
    *(
        DataSet(
            name=f"kinetics-{classes}", title=f"Kinetics-{classes}", what=f"ten seconds each, of {classes} actions",
            address="https://github.com/cvdfoundation/kinetics-dataset", licence=f"lists CC BY 4.0; {_YOUTUBE}", size=size,
            layout="DIR/train.csv, val.csv (label,youtube_id,time_start,time_end,split), ID_000010_000020.mp4 below DIR",
            reader="tapetum.data.layout_folders:list_kinetics", parts=_parts("videos", train=None, val=None), used_by=used_by,
        )
        for classes, size, used_by in (
            (400, "306,245 videos", _LONGVIDEO), (600, "495,547 videos", _LONGVIDEO),
            (700, "650,317 videos", ("HiP", "TAP-Vid")),
        )
    ),
    DataSet(
        name="ssv2", title="Something-Something v2", what="hands and things, of 174 actions",
        address="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
        licence="research, after registration",
        size="220,847 videos, 19 GB",
        layout="DIR/something-something-v2-train.json, -validation.json, -labels.json, DIR/20bn-something-something-v2/*.webm",
        reader=f"{_READERS}.actions:list_ssv2", parts=_parts("videos", train=168_913, val=24_777), used_by=_LONGVIDEO,
    ),
    DataSet(
        name="diving48", title="Diving48, version 2", what="dives, of 48 kinds",
        address="http://www.svcl.ucsd.edu/projects/resound/dataset.html", licence=NOT_KNOWN, size="16,997 videos",
        layout="DIR/Diving48_V2_train.json, Diving48_V2_test.json, Diving48_vocab.json, DIR/rgb/*.mp4",
        reader=f"{_READERS}.actions:list_diving48", parts=_parts("videos", train=15_027, val=1_970), used_by=("MC-ViT",),
    ),
)
_TEXTS = (
    DataSet(
        name="msrvtt", title="MSR-VTT", what="twenty captions of each video; 1k-A has one",
        address="https://cove.thecvf.com/datasets/839",
        licence=_YOUTUBE, size="10,000 videos, 6 GB",
        layout="DIR/MSRVTT_data.json, MSRVTT_JSFUSION_test.csv, DIR/videos/video0.mp4",
        reader=f"{_READERS}.captions:read_msrvtt",
        parts=(
            Part(name="1k-A", of="videos", items=1_000), *_parts("videos", train=6_513, validate=497, test=2_990),
        ),
        used_by=(*_LONGVIDEO, "PaliGemma"),
    ),
    DataSet(
        name="vatex", title="VATEX", what="ten English captions of each video",
        address="https://eric-xw.github.io/vatex-website/",
        licence=f"annotations CC BY 4.0; {_YOUTUBE}", size="34,991 videos with public captions",
        layout="DIR/vatex_training_v1.0.json, DIR/videos/ID_000010_000020.mp4; validation, public_test",
        reader=f"{_READERS}.captions:read_vatex", parts=_parts("videos", training=25_991, validation=3_000, test=6_000),
        used_by=("LongViViT", "PaliGemma"),
    ),
    DataSet(
        name="youcook2", title="YouCook2", what="steps of recipes", address="http://youcook2.eecs.umich.edu", licence=_YOUTUBE,
        size="1,790 videos with public steps",
        layout="DIR/youcookii_annotations_trainval.json, DIR/raw_videos/training/113/ID.mp4",
        reader=f"{_READERS}.captions:read_youcook2", parts=_parts("steps", training=10_337, validation=3_492),
        used_by=("LongViViT",),
    ),
    DataSet(
        name="activitynet-captions", title="ActivityNet Captions", what="paragraphs about videos",
        address="https://cs.stanford.edu/people/ranjaykrishna/densevid/", licence=_YOUTUBE, size="19,811 videos",
        layout="DIR/train.json, val_1.json, val_2.json, DIR/videos/v_ID.mp4", reader=f"{_READERS}.captions:read_activitynet",
        parts=_parts("videos", train=10_009, val_1=4_917, val_2=4_885), used_by=("LongViViT", "PaliGemma"),
    ),
)
_QUESTIONS = (
    DataSet(
        name="egoschema", title="EgoSchema", what="five options about three minutes of a head-mounted camera",
        address="https://egoschema.github.io", licence="Ego4D licence agreement",
        size="5,031 questions, of which 500 with an answer",
        layout="DIR/questions.json, subset_answers.json, DIR/videos/Q_UID.mp4", reader=f"{_READERS}.questions:read_egoschema",
        parts=_parts("questions", subset=500, full=5_031), used_by=_LONGVIDEO,
    ),
    DataSet(
        name="next-qa", title="NExT-QA", what="five options about causes and order",
        address="https://github.com/doc-doc/NExT-QA",
        licence="MIT; videos of YFCC100M under Creative Commons", size="47,692 questions of 5,440 videos",
        layout="DIR/train.csv, val.csv, test.csv, map_vid_vidorID.json, DIR/videos/1164/4010069381.mp4",
        reader=f"{_READERS}.questions:read_nextqa", parts=_parts("questions", train=34_132, val=4_996, test=8_564),
        used_by=("MC-ViT",),
    ),
    DataSet(
        name="next-qa-open", title="NExT-OE", what="the same videos, with free answers",
        address="https://github.com/doc-doc/NExT-OE",
        licence="MIT; videos of YFCC100M under Creative Commons", size="52,044 questions",
        layout="DIR/train.csv, val.csv, test.csv, add_reference_answer_test.json, DIR/videos/...",
        reader=f"{_READERS}.questions:read_nextqa_open", parts=_parts("questions", train=37_523, val=5_343, test=9_178),
        used_by=("MC-ViT",),
    ),
    DataSet(
        name="perception-test", title="Perception Test", what="videos with objects, points, actions, sounds and questions",
        address="https://github.com/google-deepmind/perception_test", licence="CC BY 4.0", size="11,609 videos, 139 GB",
        layout="DIR/annotations/all_valid.json, DIR/videos/video_1.mp4, DIR/audios/*.wav, DIR/lists/*",
        reader="tapetum.bench.data_sets.readers:read_perception_test",
        parts=_parts("videos", train=2_184, valid=5_900, test=3_525), used_by=("Perception Test", *_LONGVIDEO),
    ),
    DataSet(
        name="msrvtt-qa", title="MSRVTT-QA", what="questions made of captions of MSR-VTT",
        address="https://github.com/xudejing/video-question-answering",
        licence=NOT_KNOWN, size="243,680 questions",
        layout="DIR/train_qa.json, DIR/TrainValVideo/video0.mp4; val, test (TestVideo)",
        reader="tapetum.data.vision_language.videos:read_msrvtt_qa",
        parts=_parts("questions", train=158_581, val=12_278, test=72_821),
        used_by=("PaliGemma",),
    ),
    *(
        DataSet(
            name=name, title=title, what=what, address=address, licence=licence, size=size,
            parts=_parts("examples", train=None, test=None),
            used_by=("PaliGemma",), arguments={"task": name}, **_TRANSFER,
        )
        for name, title, what, address, licence, size in (
            ("msvd-qa", "MSVD-QA", "questions made of captions of MSVD", "https://github.com/xudejing/video-question-answering",
             NOT_KNOWN, "50,505 questions of 1,970 videos"),
            ("activitynet-qa", "ActivityNet-QA", "questions about videos of ActivityNet",
            "https://github.com/MILVLG/activitynet-qa",
             "Apache-2.0; videos under their YouTube terms", "58,000 questions of 5,800 videos"),
        )
    ),
)
# fmt: on
VIDEOS: tuple[DataSet, ...] = (*_LEARNED, *_ACTIONS, *_TEXTS, *_QUESTIONS)
