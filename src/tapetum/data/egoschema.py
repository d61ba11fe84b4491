"""Questions in the files of EgoSchema (Mangalam et al., arXiv 2308.09126): one of five options is right.

    questions.json         [{"q_uid", "video_id", "question", "option 0" ... "option 4"}]
    subset_answers.json    {q_uid: number of the right option}

Differs from it: `video_id` names the video, since one may have several questions; in EgoSchema that is `q_uid` itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.data.json_files import write_items, write_mapping

OPTIONS = 5


@dataclass(frozen=True, kw_only=True)
class EgoQuestion:
    """One question. Raises BadInput for other than five different options."""

    uid: str
    video: str
    text: str
    options: Sequence[str]
    answer: int
    """Number of the right option."""

    def __post_init__(self) -> None:
        if len(set(self.options)) != OPTIONS or len(self.options) != OPTIONS or not 0 <= self.answer < OPTIONS:
            raise BadInput(
                f"question {self.uid} has options {list(self.options)}, number {self.answer} right; wanted five, all different"
            )


def write_egoschema(folder: str | Path, questions: Callable[[], Iterable[EgoQuestion]]) -> tuple[Path, Path]:
    """Write both files into a folder that is there. `questions` is called twice, so that they need not be in memory."""
    folder = Path(folder)
    target = write_items(folder / "questions.json", map(_entry, questions()))
    answers = write_mapping(folder / "subset_answers.json", ((q.uid, q.answer) for q in questions()))
    return target, answers


def _entry(question: EgoQuestion) -> dict[str, Any]:
    options = {f"option {number}": text for number, text in enumerate(question.options)}
    return {"q_uid": question.uid, "video_id": question.video, "question": question.text, **options}
