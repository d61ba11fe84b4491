"""Questions on a page: a card each, with options or answering objects, the truth and what was predicted."""

from collections.abc import Iterator
from typing import Any

from tapetum.core.pages import escaped
from tapetum.systems.perception_test.types import ChoiceQuestion, GroundedQuestion
from tapetum.systems.perception_test.views.contents import Contents


def question_cards(contents: Contents) -> Iterator[str]:
    """Write multiple-choice questions, if there are any."""
    questions = contents.video.questions
    if not questions:
        return
    answers = {answer.id: answer.answer_id for answer in contents.predicted.get("mcqa", ())}
    yield f"<section class='wide' aria-label='Questions'><h2>Questions ({len(questions)})</h2><div class='cards'>"
    for question in questions:
        yield _question(contents, question, answers.get(question.id), "mcqa" in contents.predicted)
    yield "</div></section>"


def _question(contents: Contents, question: ChoiceQuestion, answer: int | None, predicted: bool) -> str:
    rows = []
    for number, option in enumerate(question.options):
        true, chosen = number == question.answer, number == answer
        marks = [*(["<span class='right'>✓ right</span>"] if true else []), *(["predicted"] if chosen else [])]
        kind = "true" if true else "false" if chosen and question.answer is not None else ""
        letter = chr(ord("A") + number) if number < 26 else str(number)
        rows.append(
            f"<li class='{kind}'><span class='letter'>{letter}</span><span>{escaped(option)}</span>"
            f"<span class='marks'>{'<br>'.join(marks)}</span></li>"
        )
    verdict = _verdict(question, answer) if predicted else ""
    cut = ""
    if question.cut is not None:
        at = question.cut / contents.video.metadata.frame_rate
        cut = f" <button data-seek='{max(question.cut - 1, 0)}'>asked of the first {at:.1f} s</button>"
    tags = "".join(
        f"<span class='tag'>{escaped(tag)}</span>" for tag in (question.area, question.reasoning, *question.tags) if tag
    )
    return (
        f"<article class='card'><h3>{question.id}. {escaped(question.question)}</h3><ol class='options'>{''.join(rows)}</ol>"
        f"{tags}{f'<p>{verdict}{cut}</p>' if verdict or cut else ''}</article>"
    )


def _verdict(question: ChoiceQuestion, answer: int | None) -> str:
    if answer is None:
        return "<span class='wrong'>not answered</span>"
    if question.answer is None:
        return "answered; the truth is not told"
    right = answer == question.answer
    return f"<span class='{'right' if right else 'wrong'}'>answered {'rightly' if right else 'wrongly'}</span>"


def grounded_cards(contents: Contents) -> Iterator[str]:
    """Write questions that tracks answer, if there are any."""
    questions = contents.video.grounded
    if not questions:
        return
    scores = {row["question"]: row["hota"] for row in contents.tables.get("grounded", ())}
    answers = contents.predicted.get("grounded", {})
    heading = f"<h2>Grounded questions ({len(questions)})</h2>"
    yield f"<section class='wide' aria-label='Grounded questions'>{heading}<div class='cards'>"
    for question in questions:
        yield _answered(contents, question, answers.get(question.id), scores.get(question.id))
    yield "</div></section>"


def _answered(contents: Contents, question: GroundedQuestion, tracks: Any, score: float | None) -> str:
    labels = {track.id: track.label for track in contents.video.objects}
    true = [escaped(f"{number} {labels.get(number, '')}") for number in question.answers or ()]
    lines = f"<p>Answer: {', '.join(true) or 'not lines'}</p>"
    if "grounded" in contents.predicted:
        number = len(tracks or ())
        scored = "" if score is None else f"; HOTA {score:.3f}"
        lines += f"<p>Predicted: {number} track{'' if number == 1 else 's'}{scored}</p>"
    tags = "".join(f"<span class='tag'>{escaped(tag)}</span>" for tag in (question.area, question.reasoning) if tag)
    button = f"<button data-question='{question.id}' aria-pressed='false'>Show these tracks alone</button>"
    return f"<article class='card'><h3>{question.id}. {escaped(question.question)}</h3>{lines}{tags}<p>{button}</p></article>"
