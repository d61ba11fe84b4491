"""Options of a question about a film, compared by a classifier: how likely their nouns are in the film's frames over time.

Of each option and frame: the probability of its least likely noun. Of an option: the mean over the third of the frames where it
is likeliest, since what a film shows need not be there all the time. Verbs, adjectives and what is no class are not looked at;
where options differ in nothing else, or none is likely, the answer is that it cannot be said. Where every option is a class,
one of them is there, so that less will do: a fifth, and nine tenths of all options together, as
`evidence/photo-questions/photo_questions.py options` tries on photographs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tapetum.app.see.photo_questions import CANNOT_SAY
from tapetum.encoders import naming
from tapetum.encoders.naming import is_person, remarks_on
from tapetum.encoders.wordnet import Thing, split_nouns
from tapetum.systems.longvideo.streaming import FrameSelection
from tapetum.video import Video

_SHARE = 1 / 3
"""Share of the frames that count."""
_LEAD = 0.2
"""By which the best option is likelier than the next."""
_CLOSED, _PART = 0.2, 0.9
"""Probability of the best option where every option is a class, and its part of the sum over them."""


@dataclass(frozen=True, kw_only=True)
class ComparedNouns:
    """Which option fits, and how likely each is."""

    answer: str
    probabilities: tuple[float, ...]
    """Of each option; 0 of those without a noun that is a class."""
    remarks: tuple[str, ...]


def compare_nouns(
    classifier: str,
    video: Video,
    options: Sequence[str],
    frame_rate: float,
    progress: Callable[[int, int], None],
    device: str | None = None,
) -> ComparedNouns:
    """Compare options by the probabilities of their nouns in the frames of a film, one decoded at a time.

    Raises BadInput if the classifier is not on this machine, or the film cannot be read.
    """
    from tapetum.app.see.photo_answers import PhotoAnswerer

    read = [(_comparable(nouns), others) for nouns, others in map(split_nouns, options)]
    remarks = [remark for nouns, _ in read for noun in nouns for remark in remarks_on(noun)]
    if ignored := sorted({word for _, others in read for word in others}):
        remarks.append(f"not looked at: {', '.join(ignored)[:200]}; the classifier knows nouns alone")
    scores = np.zeros(len(options))
    if any(nouns for nouns, _ in read):
        answerer = PhotoAnswerer.load(classifier, device)
        numbers = FrameSelection(frame_rate=frame_rate).numbers(video)
        rows = []
        for done, number in enumerate(numbers, 1):
            whole = answerer.evidence(video[[number]]).whole[0]
            rows.append([_likely(nouns, whole) for nouns, _ in read])
            progress(done, len(numbers))
        count = max(1, round(len(rows) * _SHARE))
        scores = np.sort(np.array(rows), axis=0)[-count:].mean(0)
    best = choose_nouns([nouns for nouns, _ in read], scores)
    answer = CANNOT_SAY if best is None else options[best]
    return ComparedNouns(answer=answer, probabilities=tuple(scores.tolist()), remarks=tuple(dict.fromkeys(remarks)))


def choose_nouns(nouns: Sequence[Sequence[Thing]], scores: np.ndarray) -> int | None:
    """Choose the option whose nouns are likeliest, by the probability of each; None where it cannot be said."""
    best, lead = int(scores.argmax()), float(np.diff(np.sort(scores))[-1])
    if scores[best] >= naming.YES and lead >= _LEAD and not any(noun.kind_of for noun in nouns[best]):
        return best
    closed = all(each and not any(noun.kind_of or noun.elsewhere or is_person(noun) for noun in each) for each in nouns)
    return best if closed and scores[best] >= max(_CLOSED, _PART * scores.sum()) else None


def _comparable(nouns: Sequence[Thing]) -> tuple[Thing, ...]:
    """Leave out people, whom the classifier does not know, where another noun is there to go by."""
    return tuple(dict.fromkeys(noun for noun in nouns if not is_person(noun))) or tuple(nouns)


def _likely(nouns: Sequence[Thing], whole: np.ndarray) -> float:
    return min((float(whole[list(noun.classes)].sum()) for noun in nouns), default=0.0)
