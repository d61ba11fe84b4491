"""Evaluation of long-video encoders: answers and vectors are computed, saved as they arrive, and scored.

A video with several questions is encoded once. The file (`Rows`) has one line per question or clip, so a stopped evaluation can
resume. The blind score is that of the same model on grey frames instead of the video's.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from tapetum.bench.longvideo_tasks import CLIP, PROTOCOLS, SUMMARY, Measure, Protocol, score_options
from tapetum.core.errors import BadInput
from tapetum.core.finished import Rows
from tapetum.data.entries import Listing
from tapetum.data.questions import Question
from tapetum.data.video_language import CaptionedVideo
from tapetum.metrics.captions import caption_scores
from tapetum.metrics.retrieval import retrieval_scores
from tapetum.metrics.statistics import bootstrap_interval, wilson_interval
from tapetum.metrics.wordnet import THRESHOLDS, WordNet, answer_wups
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.streaming import (
    FrameSelection,
    StreamingModel,
    embed_for_answers,
    embed_video,
    embed_words,
    encode_video,
    stream_features,
)
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.transfer.config import ProbeConfig
from tapetum.transfer.probes import linear_probe
from tapetum.transfer.probing import Labelled
from tapetum.video import Video, open_video

Progress = Callable[[int, int | None], None]
Table = dict[str, Any]


def _silent(done: int, total: int | None) -> None:
    pass


def answer_questions(
    model: StreamingModel,
    questions: Sequence[Question],
    rows: Rows,
    *,
    frame_rate: float = 1.0,
    protocol: Protocol = PROTOCOLS["papers"],
    blind: bool = True,
    progress: Progress = _silent,
) -> dict[Any, dict[str, list[float]]]:
    """Score the options of questions: by similarity with two towers, by likelihood with a captioner.

    `protocol` sets how questions are phrased; frames are evenly spaced if it fixes their number, else chosen by `frame_rate`.

    Returns, by question key, the `scores` of its options, and the `blind` ones. Raises BadInput for a video that cannot be
    read.
    """
    groups: dict[tuple[Path, str], list[Question]] = {}
    for each in questions:
        assert each.video is not None
        groups.setdefault((each.video, each.context), []).append(each)
    done, answers = 0, {}
    grey: dict[int, Any] = {}  # grey frames are alike, so there is one answer for each number of them
    for (path, until), group in groups.items():
        stamps = {e.key: rows.stamp(video=path, question=e.question, options=e.options, context=until) for e in group}
        waiting = [each for each in group if rows.get(str(each.key), stamps[each.key]) is None]
        if waiting:
            view = FrameSelection(
                frame_rate=frame_rate,
                stop_s=float(until) if until else None,
                frames=protocol.frames,
                spread=protocol.frames is not None,
            )
            with open_video(path) as video:
                views = {"scores": encode_for_options(model, video, view)}
                count = len(view.numbers(video))
                if blind and count not in grey:
                    grey[count] = encode_for_options(model, video, replace(view, grey=True))
            if blind:
                views["blind"] = grey[count]
            for each in waiting:
                row = {
                    name: score_options(model, encoded, each.question, each.options, protocol)
                    for name, encoded in views.items()
                }
                rows.add(str(each.key), stamps[each.key], row)
        for each in group:
            answers[each.key] = rows.get(str(each.key), stamps[each.key])
        done += len(group)
        progress(done, len(questions))
    return answers


def encode_for_options(model: StreamingModel, video: Video, view: FrameSelection) -> Any:
    """Encode a video in the form `score_options` takes."""
    return encode_video(model, video, view) if isinstance(model, Captioner) else embed_for_answers(model, video, view)


def option_scores(questions: Sequence[Question], answers: Mapping[Any, Mapping[str, Sequence[float]]]) -> Table:
    """Compute accuracy with its interval of 95%, chance and blind accuracy, overall and by kind, if answers are known."""
    answered = [each for each in questions if each.right is not None]
    table: Table = {"questions": len(questions), "with_answer": len(answered)}
    if not answered:
        return table
    kinds = {"all": answered}
    for each in answered:
        if each.kind:
            for kind in (each.kind, each.kind.partition("/")[0]) if "/" in each.kind else (each.kind, f"{each.kind[0]}*"):
                kinds.setdefault(kind, []).append(each)
    for name, group in kinds.items():
        row: Table = {"count": len(group), "chance": float(np.mean([1 / len(each.options) for each in group]))}
        for kind, label in (("scores", "accuracy"), ("blind", "blind")):
            if kind in answers[group[0].key]:
                right = sum(int(np.argmax(answers[each.key][kind])) == each.right for each in group)
                row[label] = right / len(group)
                row[f"{label}_interval"] = list(wilson_interval(right, len(group)))
        if "blind" in row:  # of the same questions, so in pairs
            row["visual"], row["visual_interval"] = _visual_gain(group, answers)
        table[name] = row
    return table


def _visual_gain(group: Sequence[Question], answers: Mapping[Any, Mapping[str, Sequence[float]]]) -> tuple[float, list[float]]:
    """Accuracy minus blind accuracy, with its 95% interval by the bootstrap over videos."""
    right = np.array([each.right for each in group])
    correct, blind = (
        np.array([int(np.argmax(answers[each.key][name])) for each in group]) == right for name in ("scores", "blind")
    )
    gain = correct.astype(float) - blind
    interval = bootstrap_interval(gain, groups=[str(each.video) for each in group])
    return float(np.mean(gain)), [float(end) for end in interval]


def view_of(each: CaptionedVideo, measure: Measure, frame_rate: float) -> FrameSelection:
    """Choose the frames of a clip: the first 16, or 256 for a summary."""
    return FrameSelection(
        frame_rate=frame_rate, start_s=each.start_s, stop_s=each.stop_s, frames=SUMMARY if measure == "summaries" else CLIP
    )


def _clip_stamp(rows: Rows, each: CaptionedVideo) -> dict[str, Any]:
    return rows.stamp(video=each.video, start=each.start_s, stop=each.stop_s)


def retrieve(
    model: VideoText, clips: Sequence[CaptionedVideo], rows: Rows, *, frame_rate: float = 1.0, progress: Progress = _silent
) -> Table:
    """Score text-to-video and video-to-text retrieval: each caption is both a query and an item."""
    vectors: list[Sequence[float]] = []
    for done, each in enumerate(clips, 1):
        about = _clip_stamp(rows, each)
        row = rows.get(str(each.key), about)
        if row is None:
            with open_video(each.video) as video:
                row = {"vector": embed_video(model, video, view_of(each, "retrieval", frame_rate)).tolist()}
            rows.add(str(each.key), about, row)
        vectors.append(row["vector"])
        progress(done, len(clips))
    texts = [text for each in clips for text in each.captions]
    owner = np.array([k for k, each in enumerate(clips) for _ in each.captions])
    right: Bool[np.ndarray, "v t"] = np.arange(len(clips))[:, None] == owner
    scores: Float[np.ndarray, "v t"] = np.array(vectors) @ embed_words(model, texts).T.astype(np.float64)
    table: Table = {"clips": len(clips), "texts": len(texts)}
    for name, similar, own in (("text_to_video", scores.T, right.T), ("video_to_text", scores, right)):
        made = retrieval_scores(similar, own)
        table[name] = {f"recall_at_{k}": value for k, value in made.recall.items()} | {"median_rank": made.median_rank}
    return table


def describe(
    model: Captioner,
    clips: Sequence[CaptionedVideo],
    rows: Rows,
    measure: Measure,
    *,
    frame_rate: float = 1.0,
    progress: Progress = _silent,
) -> Table:
    """Caption clips or whole videos, and score the captions: CIDEr, BLEU-4, ROUGE-L."""
    texts = {}
    for done, each in enumerate(clips, 1):
        about = _clip_stamp(rows, each)
        row = rows.get(str(each.key), about)
        if row is None:
            with open_video(each.video) as video:
                row = {"text": model.generate(encode_video(model, video, view_of(each, measure, frame_rate)))[0]}
            rows.add(str(each.key), about, row)
        texts[each.key] = row["text"]
        progress(done, len(clips))
    made = caption_scores(texts, {each.key: each.captions for each in clips})
    return {"clips": len(clips), "cider": made.cider, "bleu_4": made.bleu[3], "rouge_l": made.rouge_l}


def answer_freely(
    model: Captioner,
    questions: Sequence[Question],
    rows: Rows,
    *,
    wordnet: WordNet | None = None,
    stop_words: Collection[str] = frozenset(),
    frame_rate: float = 1.0,
    progress: Progress = _silent,
) -> Table:
    """Generate answers to questions, and score them: exact match with any human answer, ROUGE-L, and WUPS with WordNet."""
    texts: dict[Any, str] = {}
    for done, each in enumerate(questions, 1):
        assert each.video is not None
        about = rows.stamp(video=each.video, question=each.question)
        row = rows.get(str(each.key), about)
        if row is None:
            with open_video(each.video) as video:
                latents = encode_video(model, video, FrameSelection(frame_rate=frame_rate))
            row = {"text": model.generate(latents, f"{each.question} ", max_new_tokens=32)[0]}
            rows.add(str(each.key), about, row)
        texts[each.key] = row["text"]
        progress(done, len(questions))
    exact = [texts[each.key].strip().lower() in {a.strip().lower() for a in each.answers} for each in questions]
    made = caption_scores(texts, {each.key: each.answers for each in questions})
    table: Table = {"questions": len(questions), "exact": float(np.mean(exact)), "rouge_l": made.rouge_l}
    return table if wordnet is None else table | score_wups(questions, texts, wordnet, stop_words)


def score_wups(
    questions: Sequence[Question], texts: Mapping[Any, str], wordnet: WordNet, stop_words: Collection[str] = frozenset()
) -> Table:
    """Compute the mean WUPS of answers at both thresholds, overall and by kind, grouped as in NExT-OE's program.

    Numbers (kind DC), and yes or no (DB), are scored by exact match.
    """
    kinds: dict[str, list[tuple[float, ...]]] = {"all": []}
    for each in questions:
        exact = each.kind in ("DC", "DB")
        scores = answer_wups(texts[each.key], each.answers, wordnet, stop_words=stop_words, exact=exact)
        for kind in ("all", each.kind, f"{each.kind[:1]}*") if each.kind else ("all",):
            kinds.setdefault(kind, []).append(scores)
    names = [f"wups_{threshold:g}" for threshold in THRESHOLDS]
    return {
        kind: {"count": len(scores), **dict(zip(names, np.mean(scores, 0).tolist(), strict=True))}
        for kind, scores in kinds.items()
    }


def probe(
    model: StreamingModel,
    train: Listing,
    test: Listing,
    rows: Rows,
    *,
    frame_rate: float = 1.0,
    config: ProbeConfig | None = None,
    progress: Progress = _silent,
) -> Table:
    """Score a linear probe on pooled vectors of the video encoder. Raises BadInput for splits with different classes."""
    if train.classes != test.classes:
        raise BadInput("the two parts have other classes; give files that belong together")
    total, parts = len(train) + len(test), []
    for name, part in (("train", train), ("test", test)):
        vectors = []
        for k, vector in enumerate(_pooled(model, part, rows, name, frame_rate)):
            vectors.append(vector)
            progress(k + 1 + (len(train) if name == "test" else 0), total)
        assert part.truth is not None
        parts.append(Labelled(torch.tensor(vectors), torch.from_numpy(np.asarray(part.truth, np.int64))))
    made = linear_probe(parts[0], parts[1], len(train.classes), config)
    right = round(made.accuracy * len(test))
    return {
        "train": len(train),
        "test": len(test),
        "classes": len(train.classes),
        "missing": train.missing + test.missing,
        "accuracy": made.accuracy,
        "accuracy_interval": list(wilson_interval(right, len(test))),
        "decay": made.chosen,
    }


def _pooled(model: StreamingModel, part: Listing, rows: Rows, name: str, frame_rate: float) -> Iterator[list[float]]:
    for k in range(len(part)):
        file = part.files["video"][k]
        about = rows.stamp(video=file.content)
        row = rows.get(f"{name} {k}", about)
        if row is None:
            with open_video(file.place) as video, torch.inference_mode():  # pyright: ignore[reportArgumentType]
                *_, (_, _, features) = stream_features(model, video, FrameSelection(frame_rate=frame_rate, frames=CLIP))
            row = {"vector": features.pooled[0].float().tolist()}
            rows.add(f"{name} {k}", about, row)
        yield row["vector"]
