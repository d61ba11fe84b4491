"""Benchmarks of long-video encoders: annotations, split, and protocol of each.

Protocols are those of LongViViT (arXiv 2312.07395, section 5) and MC-ViT (arXiv 2402.05861, section 4): questions see the whole
video, a frame a second (the Perception Test 4), retrieval and captions its first 16 frames at that rate.

Differs from the papers: galleries and splits, defined in an appendix we have not read, are 1k-A of MSR-VTT and the whole
validation split of VATEX; YouCook2 and ActivityNet are not read.

Published protocols for multiple-choice questions say which frames are shown, how questions are put and options scored:

    papers           the frame rate of the task; question and option (MC-ViT, arXiv 2402.05861, section 4)
    egoschema        10 frames spread from the first to the last; for each option "is it correct?", and the likelihood of Yes
                     (EgoSchema's own zero-shot code, benchmarking/mPLUG-Owl at 3e278a5: framing.py, run_mplug.py, q_prompt.txt)
    perception-test  4 frames a second up to where the answer is shown; the mean likelihood of each option after the question
                     (frames: MC-ViT; likelihood: `perceptiontest_val_mcppl` of lmms-eval at d730dd4; the benchmark has no own)
    letters          the options are listed by letter, and the likeliest letter wins (lmms-eval at 147ad5c: `egoschema_subset`
                     and `perceptiontest_val_mc`)
    video-mme, lvbench, longvideobench    letters, in the words of each benchmark's authors (MME-Benchmarks/Video-MME, README at
                     06c2315), of lmms-eval at 75571cf (LVBench has no prompt of its own), and of LongVideoBench's
                     longvideobench_dataset.py; frames by the frame rate, since none of them has a number of its own

For two-tower models, an option's score is the similarity of the video to question and option, whatever the prompt; letters need
a language model. Scores of different protocols are not comparable.

Differs from the public code: EgoSchema's samples its answer and reads the score of a Yes in it, 0 if there is none; lmms-eval
generates letters and parses them. Here all likelihoods are computed, so nothing is sampled and no answer lacks a letter. The
prompt of EgoSchema is copied exactly, including a missing quotation mark, without the conversation template around it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.data.entries import first_of, one_of
from tapetum.data.long_video import LETTERS, read_longvideobench, read_lvbench, read_video_mme
from tapetum.data.questions import Question
from tapetum.data.video_language import (
    read_egoschema,
    read_episode_questions,
    read_msrvtt,
    read_nextqa,
    read_nextqa_open,
    read_vatex,
    video_file,
    videos_of,
)
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.streaming import StreamingModel, embed_answers, similarity_scores
from tapetum.systems.perception_test.annotations import read_annotations
from tapetum.systems.perception_test.public_files import CUTS

Prompts = Callable[[str, Sequence[str]], list[tuple[str, str]]]


def _after_the_question(question: str, options: Sequence[str]) -> list[tuple[str, str]]:
    return [(question, option) for option in options]


def _is_it_correct(question: str, options: Sequence[str]) -> list[tuple[str, str]]:
    after = "Do you think that the answer to the given question is correct. Please answer yes or no."
    return [(f"Given question '{question}, is answer '{option}' correct?\n{after}", "Yes") for option in options]


_DIRECTLY = "\nAnswer with the option's letter from the given choices directly."
_SELECT = "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "


def _letters(
    question: str, options: Sequence[str], before: str = "", after: str = _DIRECTLY, style: str = "{}. {}"
) -> list[tuple[str, str]]:
    listed = "\n".join(style.format(*each) for each in zip(LETTERS, options, strict=False))
    return [(f"{before}{question}\n{listed}{after}", letter) for letter in LETTERS[: len(options)]]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    prompts: Prompts = _after_the_question
    """Of a question and its options: for each option a prompt, and the words whose likelihood after it is its score."""
    frames: int | None = None
    """Spread evenly over the video, or its part that may be seen; None: by frame rate."""
    frame_rate: float | None = None
    """Frames a second; None: that of the task."""
    similarity: bool = True
    """Whether two towers can follow it."""


PROTOCOLS: Mapping[str, Protocol] = {
    "papers": Protocol(),
    "egoschema": Protocol(prompts=_is_it_correct, frames=10),
    "perception-test": Protocol(frame_rate=4.0),
    "letters": Protocol(prompts=_letters, similarity=False),
    "video-mme": Protocol(
        prompts=partial(_letters, before=f"{_SELECT}(A, B, C, or D) of the correct option.\n", after="\nThe best answer is:"),
        similarity=False,
    ),
    "lvbench": Protocol(
        prompts=partial(_letters, after="\nAnswer the question with the option letter", style="({}) {}"), similarity=False
    ),
    "longvideobench": Protocol(prompts=partial(_letters, before="Question: "), similarity=False),
}


def score_options(
    model: StreamingModel, encoded: Any, question: str, options: Sequence[str], protocol: Protocol
) -> list[float]:
    """Score each option for an encoded video: by likelihood with a captioner, by similarity with two towers.

    `encoded`: of `encode_video` or `embed_for_answers`. Raises BadInput for a protocol that needs a language model if there is
    none, and for more options than letters.
    """
    if not isinstance(model, Captioner):
        if not protocol.similarity:
            raise BadInput("this protocol wants a language model; give a run of the stage video-to-text, or another --protocol")
        return similarity_scores(model, embed_answers(model, question, options), encoded).tolist()
    if len(options) > len(LETTERS):
        raise BadInput(f"there are {len(options)} options of {question!r}; give at most {len(LETTERS)}")
    scores: list[float] = []
    pairs = protocol.prompts(question, options)
    for prompt in dict.fromkeys(prompt for prompt, _ in pairs):  # options after one prompt are scored together
        scores += model.score_options(encoded, prompt, [words for each, words in pairs if each == prompt])
    return scores


Measure = Literal["options", "free", "retrieval", "captions"]


@dataclass(frozen=True, kw_only=True)
class VideoBenchmark:
    """A benchmark: how it is read, and what may be measured."""

    read: Callable[..., Any]
    """Of (folder, split): questions, whose answers are captions where they have no words."""
    split: str
    measures: tuple[Measure, ...]
    """The first one is the default."""
    frame_rate: float = 1.0


def read_perception(folder: str | Path, split: str = "valid") -> list[Question]:
    """Read multiple-choice questions of the Perception Test, train or valid, with where videos must end (`context`)."""
    folder = Path(folder)
    one_of(split, ("train", "valid"))
    file = first_of(folder, (f"mc_question_{split}.json", f"all_{split}.json"))
    cuts = folder / CUTS[split]
    questions = []
    for name, video in read_annotations(file, cuts if cuts.is_file() else None).items():
        for each in video.questions:
            questions.append(
                Question(
                    key=f"{name}_{each.id}",
                    video=video_file(videos_of(folder), name),
                    question=each.question,
                    options=each.options,
                    right=each.answer,
                    kind=f"{each.area}/{each.reasoning}",
                    context="" if each.cut is None else str(each.cut / video.metadata.frame_rate),
                )
            )
    if not questions:
        raise BadInput(f"{file} has no questions; give the official file")
    return questions


_TEXTS: tuple[Measure, ...] = ("retrieval", "captions")
BENCHMARKS: Mapping[str, VideoBenchmark] = {
    "egoschema": VideoBenchmark(read=read_egoschema, split="subset", measures=("options",)),
    "nextqa": VideoBenchmark(read=read_nextqa, split="val", measures=("options",)),
    "nextqa-open": VideoBenchmark(read=read_nextqa_open, split="val", measures=("free",)),
    "perception-test": VideoBenchmark(read=read_perception, split="valid", measures=("options",), frame_rate=4.0),
    "video-mme": VideoBenchmark(read=read_video_mme, split="test", measures=("options",)),
    "lvbench": VideoBenchmark(read=read_lvbench, split="test", measures=("options",)),
    "longvideobench": VideoBenchmark(read=read_longvideobench, split="val", measures=("options",)),
    "episodes": VideoBenchmark(read=read_episode_questions, split="all", measures=("options",)),
    "msrvtt": VideoBenchmark(read=read_msrvtt, split="1k-A", measures=_TEXTS),
    "vatex": VideoBenchmark(read=read_vatex, split="validation", measures=_TEXTS),
}
CLIP = 16


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
