"""Reads predicted actions and sounds, and answers to questions; see `tapetum.systems.perception_test.predictions`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.systems.perception_test.predicted import Chosen, Found, Reader
from tapetum.systems.perception_test.types import Video


def read_segments(reader: Reader, entries: Sequence[Any], video: Video) -> list[Found]:
    found = []
    for place, entry in enumerate(entries):
        item = f"segment {place}"
        try:
            label, score = int(entry["label"]), float(entry["score"])
            start, end = map(float, entry["timestamps"])
        except (KeyError, TypeError, ValueError, OverflowError):
            reader.add(
                "missing-key", item, "a segment wants label (the class id), score and timestamps [start, end] in seconds"
            )
            continue
        if not np.isfinite([score, start, end]).all():
            reader.add("not-finite", item, f"score {score}, timestamps {start} to {end}: wanted finite numbers")
        elif end < start:
            reader.add("backwards", item, f"it goes from {start} to {end} s")
        elif start > 10 * video.metadata.seconds + 100:
            reader.add(
                "microseconds", item, f"it begins at {start:g} in a video of {video.metadata.seconds:.1f} s; wanted seconds"
            )
        else:
            found.append(Found(label_id=label, score=score, start_s=start, end_s=end))
    return found


def read_answers(reader: Reader, entries: Sequence[Any], video: Video) -> list[Chosen]:
    known = {question.id: question for question in video.questions}
    found: dict[int, Chosen] = {}
    for place, entry in enumerate(entries):
        item = f"question {entry.get('id', place) if isinstance(entry, Mapping) else place}"
        if not isinstance(entry, Mapping) or "id" not in entry or "answer_id" not in entry:
            reader.add("missing-key", item, "an answer wants id and answer_id")
            continue
        number, answer = (reader.whole_number(entry[key], item, key) for key in ("id", "answer_id"))
        if number is None or answer is None:
            continue
        if number not in known:
            reader.add("unknown-question", item, f"the video has questions {sorted(known)}")
        elif number in found:
            reader.add("twice", item, "it is answered twice")
        elif not 0 <= answer < len(known[number].options):
            reader.add(
                "unknown-option", item, f"answer_id is {answer}; the question has options 0 to {len(known[number].options) - 1}"
            )
        else:
            if len(set(known[number].options)) < len(known[number].options):
                reader.add(
                    "duplicate-options", item, "two of its options are the same; answer_id says which is meant", error=False
                )
            _text(reader, entry, item, known[number].options, answer)
            said = entry.get("answer")
            found[number] = Chosen(id=number, answer_id=answer, answer=None if said is None else str(said))
    for number in sorted(known.keys() - found.keys()):
        reader.add("missing-question", f"question {number}", "it is not answered; it counts as wrong", error=False)
    return list(found.values())


def _text(reader: Reader, entry: Mapping[str, Any], item: str, options: tuple[str, ...], answer: int) -> None:
    if "answer" not in entry:
        reader.add("missing-text", item, "the server also wants the text of the option as answer", error=False)
    elif entry["answer"] != options[answer]:
        reader.add("other-text", item, f"answer is {entry['answer']!r}, but option {answer} is {options[answer]!r}")
