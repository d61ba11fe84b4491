"""Task 5: multiple-choice questions about videos, by top-1 accuracy (Perception Test, section 4).

Readings:

    default    a question that is not answered counts as wrong; an area is what the question says it is
    notebook   the public scorer's: every question must be answered; a question is in each area that one of its tags belongs to
"""

from collections.abc import Mapping

from tapetum.systems.perception_test.scores.common import TaskScores, check_question, grouped, mean
from tapetum.systems.perception_test.types import AnnotatedVideo, ChoiceQuestion, TaskPredictions

AREAS: Mapping[str, tuple[str, ...]] = {
    "memory": ("change detection", "event recall", "sequencing", "visual discrimination"),
    "abstraction": (
        "action counting", "event counting", "feature matching", "object counting", "pattern breaking", "pattern discovery",
    ),
    "physics": (
        "collision", "conservation", "containment", "material", "motion", "occlusion", "object attributes", "object permanence",
        "quantity", "solidity", "spatial relations", "stability",
    ),
    "semantics": (
        "action recognition", "adversarial action", "colour recognition", "distractor action", "distractor object",
        "general knowledge", "language", "object recognition", "part recognition", "place recognition", "state recognition",
        "task completion",
    ),
}  # fmt: skip
"""Area to the tags that belong to it."""


def score_questions(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score answers; `table` has a row for each question."""
    table, rows = [], []
    for name, video in annotations.items():
        chosen = {answer.id: answer.answer_id for answer in predictions.videos.get(name, ())}
        for question in video.questions:
            check_question(name, question, question.answer, question.id in chosen, reading)
            right = float(chosen.get(question.id, -1) == question.answer)
            rows.append((question, right))
            table.append({"video": name, "question": question.id, "answer": chosen.get(question.id), "right": bool(right)})
    return TaskScores(
        numbers={"top1": mean(right for _, right in rows)},
        groups={
            "by_area": grouped((areas_of(question, reading), right) for question, right in rows),
            "by_reasoning": grouped(([question.reasoning], right) for question, right in rows if question.reasoning),
            "by_tag": grouped((question.tags, right) for question, right in rows),
        },
        counts={"videos": len({row["video"] for row in table}), "questions": len(table)},
        table=table,
    )


def areas_of(question: ChoiceQuestion, reading: str) -> list[str]:
    """List the areas in which a question counts."""
    if reading == "notebook":
        return [area for area, tags in AREAS.items() if any(tag in tags for tag in question.tags)]
    return [question.area] if question.area else []
