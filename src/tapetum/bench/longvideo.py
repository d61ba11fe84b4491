"""Evaluation of long-video encoders: answers and vectors are computed, saved as they arrive, and scored.

A video with several questions is encoded once. The file (`Rows`) has one line per question or clip, so a stopped evaluation can
resume. The blind score is that of the same model on grey frames instead of the video's.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from tapetum.bench.longvideo_tasks import CLIP, PROTOCOLS, Protocol, score_options
from tapetum.core.finished import Rows
from tapetum.data.questions import Question
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
)
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.video import Video, open_video

Progress = Callable[[int, int | None], None]
Table = dict[str, Any]


def answer_questions(
    model: StreamingModel,
    questions: Sequence[Question],
    rows: Rows,
    *,
    frame_rate: float = 1.0,
    protocol: Protocol = PROTOCOLS["papers"],
    blind: bool = True,
    progress: Progress = lambda done, total: None,
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
        for kind in _groups(each.kind):
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


def _groups(kind: str) -> Collection[str]:
    """The groups of a kind: those joined by ";", else AREA/REASONING and its area, or NExT-QA's kind and its first letter."""
    if ";" in kind:
        return dict.fromkeys(part for part in kind.split(";") if part)
    more = kind.partition("/")[0] if "/" in kind else f"{kind[:1]}*"
    return (kind, more) if kind else ()


def _visual_gain(group: Sequence[Question], answers: Mapping[Any, Mapping[str, Sequence[float]]]) -> tuple[float, list[float]]:
    """Accuracy minus blind accuracy, with its 95% interval by the bootstrap over videos."""
    right = np.array([each.right for each in group])
    correct, blind = (
        np.array([int(np.argmax(answers[each.key][name])) for each in group]) == right for name in ("scores", "blind")
    )
    gain = correct.astype(float) - blind
    interval = bootstrap_interval(gain, groups=[str(each.video) for each in group])
    return float(np.mean(gain)), [float(end) for end in interval]


def compute_rows(
    rows: Rows,
    items: Sequence[tuple[str, Any, Mapping[str, Any]]],
    compute: Callable[[int, Video], dict[str, Any]],
    progress: Progress,
) -> list[dict[str, Any]]:
    """Compute a row for each (key, video, stamp), unless the file has it; `compute` has the item's number and its video."""
    computed = []
    for number, (key, place, about) in enumerate(items):
        row = rows.get(key, about)
        if row is None:
            with open_video(place) as video, torch.inference_mode():
                row = compute(number, video)
            rows.add(key, about, row)
        computed.append(row)
        progress(number + 1, len(items))
    return computed


def _clips(rows: Rows, clips: Sequence[Question]) -> list[tuple[str, Any, Mapping[str, Any]]]:
    return [(str(e.key), e.video, rows.stamp(video=e.video, start=e.start_s, stop=e.stop_s)) for e in clips]


def retrieve(model: VideoText, clips: Sequence[Question], rows: Rows, *, frame_rate: float, progress: Progress) -> Table:
    """Score text-to-video and video-to-text retrieval: each caption is both a query and an item."""
    view = FrameSelection(frame_rate=frame_rate, frames=CLIP)
    embedded = compute_rows(
        rows, _clips(rows, clips), lambda _, video: {"vector": embed_video(model, video, view).tolist()}, progress
    )
    texts = [text for each in clips for text in each.answers]
    owner = np.array([k for k, each in enumerate(clips) for _ in each.answers])
    right: Bool[np.ndarray, "v t"] = np.arange(len(clips))[:, None] == owner
    vectors = np.array([row["vector"] for row in embedded])
    scores: Float[np.ndarray, "v t"] = vectors @ embed_words(model, texts).T.astype(np.float64)
    table: Table = {"clips": len(clips), "texts": len(texts)}
    for name, similar, own in (("text_to_video", scores.T, right.T), ("video_to_text", scores, right)):
        made = retrieval_scores(similar, own)
        table[name] = {f"recall_at_{k}": value for k, value in made.recall.items()} | {"median_rank": made.median_rank}
    return table


def describe(model: Captioner, clips: Sequence[Question], rows: Rows, *, frame_rate: float, progress: Progress) -> Table:
    """Caption clips, and score the captions: CIDEr, BLEU-4, ROUGE-L."""
    view = FrameSelection(frame_rate=frame_rate, frames=CLIP)
    made = compute_rows(
        rows, _clips(rows, clips), lambda _, video: {"text": model.generate(encode_video(model, video, view))[0]}, progress
    )
    texts: dict[Any, str] = {each.key: row["text"] for each, row in zip(clips, made, strict=True)}
    scores = caption_scores(texts, {each.key: each.answers for each in clips})
    return {"clips": len(clips), "cider": scores.cider, "bleu_4": scores.bleu[3], "rouge_l": scores.rouge_l}


def answer_freely(
    model: Captioner,
    questions: Sequence[Question],
    rows: Rows,
    *,
    wordnet: WordNet | None = None,
    stop_words: Collection[str] = frozenset(),
    frame_rate: float,
    progress: Progress,
) -> Table:
    """Generate answers to questions, and score them: exact match with any human answer, ROUGE-L, and WUPS with WordNet."""
    view = FrameSelection(frame_rate=frame_rate)

    def answer(number: int, video: Video) -> dict[str, Any]:
        latents = encode_video(model, video, view)
        return {"text": model.generate(latents, f"{questions[number].question} ", max_new_tokens=32)[0]}

    items = [(str(e.key), e.video, rows.stamp(video=e.video, question=e.question)) for e in questions]
    made = compute_rows(rows, items, answer, progress)
    texts: dict[Any, str] = {each.key: row["text"] for each, row in zip(questions, made, strict=True)}
    exact = [texts[each.key].strip().lower() in {a.strip().lower() for a in each.answers} for each in questions]
    scores = caption_scores(texts, {each.key: each.answers for each in questions})
    table: Table = {"questions": len(questions), "exact": float(np.mean(exact)), "rouge_l": scores.rouge_l}
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
