"""Task 5, multiple choice: the option by its frequency among right answers, or by a model's score for the video.

    frequency    of the right answers to the same question in the train split, `shots` drawn without replacement (all for -1,
                 none for 0) vote; equal votes, and questions never met, by the lot. No video is looked at (section 4.5, README)
    options      whatever has `score_options`

All draws depend on (seed, video, question) alone.

Differs from the public code: a question that was never met is an error there.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.baselines.content import VideoContent
from tapetum.systems.perception_test.submission import answer_row
from tapetum.systems.perception_test.types import AnnotatedVideo, ChoiceQuestion


class OptionModel(Protocol):
    """A video-language model."""

    def score_options(self, video: UInt8[np.ndarray, "t h w 3"], question: str, options: Sequence[str], /) -> Sequence[float]:
        """Score how well each option answers a question about a video; only their order counts."""
        ...


class Frequency:
    """Chooses what was right most often."""

    def __init__(self, train: Mapping[str, AnnotatedVideo], shots: int = -1, seed: int = 0):
        """Learn the right answers of a split.

        Args:
            train: annotations with answers.
            shots: right answers to the same question that are looked at: -1 all, 0 none, which is chance.
            seed: of what is drawn.

        Raises BadInput for fewer shots than -1, and annotations without answered questions.
        """
        if shots < -1:
            raise BadInput(f"asked for {shots} shots; give 0 or more, or -1 for all")
        self.shots, self.seed = shots, seed
        self.answers: dict[str, list[str]] = {}
        for video in train.values():
            for question in video.questions:
                if question.answer is not None:
                    self.answers.setdefault(question.question, []).append(question.options[question.answer])
        if not self.answers and shots:
            raise BadInput("the annotations to learn from have no answered question; give those of the train split")

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Answer the questions of a video."""
        name = video.metadata.video_id
        return {"mcqa": [answer_row(q, self.choose(q, self._generator(name, q))) for q in video.questions]}

    def choose(self, question: ChoiceQuestion, rng: np.random.Generator) -> int:
        """Choose an option by the votes of right answers; its place."""
        answers = self.answers.get(question.question, []) if self.shots else []
        if 0 <= self.shots < len(answers):
            answers = [answers[k] for k in rng.choice(len(answers), self.shots, replace=False).tolist()]
        votes = Counter(answers)
        counts = np.array([votes[option] for option in question.options])
        return int(rng.choice(np.flatnonzero(counts == counts.max())))

    def _generator(self, name: str, question: ChoiceQuestion) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode("utf-8", "surrogatepass")), question.id, 5])


class ChosenOptions:
    """Chooses what a model scores highest; the video ends where the question has it end."""

    def __init__(self, scorer: OptionModel):
        """`scorer`: such as `tapetum.bench.perception_test.ImageOptions`."""
        self.scorer = scorer

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Answer the questions of a video."""
        rows = []
        for question in video.questions:
            scores = self.scorer.score_options(content.until(question.cut).frames, question.question, question.options)
            if len(scores) != len(question.options) or not np.isfinite(scores).all():
                raise BadInput(f"the model gave {list(scores)} for {len(question.options)} options; it must score each")
            rows.append(answer_row(question, int(np.argmax(scores))))
        return {"mcqa": rows}
