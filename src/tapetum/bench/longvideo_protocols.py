"""Published protocols for multiple-choice questions: which frames are shown, how questions are put and options scored.

    papers           the frame rate of the task; question and option (MC-ViT, arXiv 2402.05861, section 4)
    egoschema        10 frames spread from the first to the last; for each option "is it correct?", and the likelihood of Yes
                     (EgoSchema's own zero-shot code, benchmarking/mPLUG-Owl at 3e278a5: framing.py, run_mplug.py, q_prompt.txt)
    perception-test  4 frames a second up to where the answer is shown; the mean likelihood of each option after the question
                     (frames: MC-ViT; likelihood: `perceptiontest_val_mcppl` of lmms-eval at d730dd4; the benchmark has no own)
    letters          the options are listed by letter, and the likeliest letter wins (lmms-eval at 147ad5c: `egoschema_subset`
                     and `perceptiontest_val_mc`)

For two-tower models, an option's score is the similarity of the video to question and option, whatever the prompt; letters need
a language model. Scores of different protocols are not comparable.

Differs from the public code: EgoSchema's samples its answer and reads the score of a Yes in it, 0 if there is none; lmms-eval
generates letters and parses them. Here all likelihoods are computed, so nothing is sampled and no answer lacks a letter. The
prompt of EgoSchema is copied exactly, including a missing quotation mark, without the conversation template around it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.streaming import StreamingModel, embed_answers, similarity_scores

Prompts = Callable[[str, Sequence[str]], list[tuple[str, str]]]
LETTERS = "ABCDEFGHIJ"


def _after_the_question(question: str, options: Sequence[str]) -> list[tuple[str, str]]:
    return [(question, option) for option in options]


def _is_it_correct(question: str, options: Sequence[str]) -> list[tuple[str, str]]:
    after = "Do you think that the answer to the given question is correct. Please answer yes or no."
    return [(f"Given question '{question}, is answer '{option}' correct?\n{after}", "Yes") for option in options]


def _letters(question: str, options: Sequence[str]) -> list[tuple[str, str]]:
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    prompt = f"{question}\n{listed}\nAnswer with the option's letter from the given choices directly."
    return [(prompt, letter) for letter in LETTERS[: len(options)]]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One protocol."""

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
}
"""By name."""


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
