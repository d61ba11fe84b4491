"""Benchmarks of long-video encoders: annotations, split, and protocol of each.

Protocols are those of LongViViT (arXiv 2312.07395, section 5) and MC-ViT (arXiv 2402.05861, section 4):

    options      the whole video, a frame a second (the Perception Test 4); accuracy
    retrieval    16 frames, a frame a second from the beginning of the clip; recall at 1, 5, 10 both ways
    captions     the same 16 frames; CIDEr
    summaries    256 frames of whole videos, a frame a second, against all their sentences; ROUGE-L
    classes      the same 16 frames, frozen features and a linear probe; accuracy

Differs from the papers: neither has probes; galleries and splits, defined in an appendix we have not read, are 1k-A of MSR-VTT,
the whole validation split of VATEX, clips of YouCook2's validation split, and paragraphs of ActivityNet's val_1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.data.entries import Listing, Split, first_of, one_of, read_json
from tapetum.data.layouts import listing
from tapetum.data.questions import Question
from tapetum.data.video_language import (
    CaptionedVideo,
    list_diving48,
    list_ssv2,
    read_activitynet,
    read_egoschema,
    read_episode_questions,
    read_msrvtt,
    read_nextqa,
    read_nextqa_open,
    read_vatex,
    read_youcook2,
    video_file,
    videos_of,
)
from tapetum.systems.perception_test.annotations import read_annotations

Measure = Literal["options", "free", "retrieval", "captions", "summaries", "classes"]


@dataclass(frozen=True, kw_only=True)
class VideoBenchmark:
    """A benchmark: how it is read, and what may be measured."""

    read: Callable[..., Any]
    """Of (folder, split): questions; of (folder, split, whole): captioned videos; of (folder, split): a listing."""
    split: str
    """Read by default."""
    measures: tuple[Measure, ...]
    """The first one is the default."""
    frame_rate: float = 1.0
    """Frames a second that the model sees."""


def read_perception(folder: str | Path, split: str = "valid") -> list[Question]:
    """Read multiple-choice questions of the Perception Test, train or valid, with where videos must end (`context`)."""
    folder = Path(folder)
    one_of(split, ("train", "valid"))
    file = first_of(folder, (f"mc_question_{split}.json", f"all_{split}.json"))
    cuts = folder / f"cut_frame_mapping_{split}.json"
    ends = read_json(cuts) if cuts.is_file() else {}
    questions = []
    for name, video in read_annotations(file).items():
        end = ends.get(name) if isinstance(ends, dict) else None
        until = str(end / video.metadata.frame_rate) if isinstance(end, int) and end > 0 else ""
        for each in video.questions:
            questions.append(
                Question(
                    key=f"{name}_{each.id}",
                    video=video_file(videos_of(folder), name),
                    question=each.question,
                    options=each.options,
                    right=each.answer,
                    kind=f"{each.area}/{each.reasoning}",
                    context=until,
                )
            )
    if not questions:
        raise BadInput(f"{file} has no questions; give the official file")
    return questions


def _kinetics(place: Path, split: Split) -> Listing:
    return listing("kinetics", place, split)


_TEXTS: tuple[Measure, ...] = ("retrieval", "captions", "summaries")
BENCHMARKS: Mapping[str, VideoBenchmark] = {
    "egoschema": VideoBenchmark(read=read_egoschema, split="subset", measures=("options",)),
    "nextqa": VideoBenchmark(read=read_nextqa, split="val", measures=("options",)),
    "nextqa-open": VideoBenchmark(read=read_nextqa_open, split="val", measures=("free",)),
    "perception-test": VideoBenchmark(read=read_perception, split="valid", measures=("options",), frame_rate=4.0),
    "episodes": VideoBenchmark(read=read_episode_questions, split="all", measures=("options",)),
    "msrvtt": VideoBenchmark(read=read_msrvtt, split="1k-A", measures=_TEXTS[:2]),
    "vatex": VideoBenchmark(read=read_vatex, split="validation", measures=_TEXTS[:2]),
    "youcook2": VideoBenchmark(read=read_youcook2, split="validation", measures=_TEXTS),
    "activitynet": VideoBenchmark(read=read_activitynet, split="val_1", measures=_TEXTS),
    "kinetics": VideoBenchmark(read=_kinetics, split="val", measures=("classes",)),
    "ssv2": VideoBenchmark(read=list_ssv2, split="val", measures=("classes",)),
    "diving48": VideoBenchmark(read=list_diving48, split="val", measures=("classes",)),
}
"""By name."""
CLIP, SUMMARY = 16, 256
"""Frames of a clip, and of a video that is to be summarised."""


def find_benchmark(task: str, measure: str | None) -> tuple[VideoBenchmark, Measure]:
    """Look up a benchmark and its metric. Raises BadInput for unknown ones."""
    if task not in BENCHMARKS:
        raise BadInput(f"there is no task {task!r}; it is one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[task]
    if measure is None:
        return benchmark, benchmark.measures[0]
    for each in benchmark.measures:
        if each == measure:
            return benchmark, each
    raise BadInput(f"{task} is not measured by {measure}; by {' or '.join(benchmark.measures)}")


def read_texts(benchmark: VideoBenchmark, folder: Path, split: str, measure: Measure) -> list[CaptionedVideo]:
    """Read captioned videos: clips, or whole videos for paragraphs and summaries."""
    whole = measure == "summaries" or (benchmark.read is read_activitynet and measure == "retrieval")
    return partial(benchmark.read, whole=whole)(folder, split)
