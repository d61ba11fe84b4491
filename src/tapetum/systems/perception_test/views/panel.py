"""The text beside and below the video: what is drawn on it, its tracks by name, scores, findings, a card for each question."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.core.files import escaped
from tapetum.systems.perception_test.types import ChoiceQuestion, GroundedQuestion
from tapetum.systems.perception_test.views.contents import Contents


def panel(contents: Contents, tracks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write it, line by line."""
    yield "<aside aria-label='What is shown'><h2>Shown on the video</h2><fieldset>"
    kinds = [("true-object", "True boxes", False, "object"), ("predicted-object", "Predicted boxes", True, "object")]
    kinds += [("true-point", "True points", False, "point"), ("predicted-point", "Predicted points", True, "point")]
    for name, text, predicted, kind in kinds:
        number = sum(t["predicted"] == predicted and t["kind"] == kind and "question" not in t for t in tracks)
        if number:
            swatch = f"<span class='swatch {kind} {'predicted' if predicted else ''}' style='border-color:#55636f'></span>"
            yield f"<label class='layer'><input type='checkbox' id='layer-{name}' checked>{swatch}{text} ({number})</label>"
    if any(track["kind"] == "object" and not track["predicted"] for track in tracks):
        yield "<p class='keys'>True boxes are thin between annotated frames, and dotted where the object is hidden.</p>"
    if tracks:
        yield "<label class='layer'><input type='checkbox' id='layer-names' checked>Names of boxes</label>"
    else:
        yield "<p class='soft'>There are no tracks of this video.</p>"
    yield "</fieldset>"
    overlaps = {row["track"]: row["iou"] for row in contents.tables.get("object", ())}
    for kind, text in (("object", "Objects"), ("point", "Points")):
        rows = [(n, t) for n, t in enumerate(tracks) if t["kind"] == kind and not t["predicted"]]
        if rows:
            yield f"<details{' open' if kind == 'object' else ''}><summary>{text} ({len(rows)})</summary><ul class='tracks'>"
            for number, track in rows:
                score = overlaps.get(track["id"]) if kind == "object" else None
                score_text = "" if score is None else f"<span class='number'>IoU {score:.2f}</span>"
                swatch = f"<span class='swatch {kind}' style='border-color:{track['colour']}'></span>"
                label = escaped(f"{track['id']} {track['label']}")
                box = f"<input type='checkbox' data-track='{number}' checked>"
                yield f"<li><label>{box}{swatch}<span>{label}</span>{score_text}</label></li>"
            yield "</ul></details>"
    yield from _scores(contents)
    yield "</aside>"


_HEADLINES = {
    ("object", "average_iou"): "Objects: average IoU",
    ("point", "average_jaccard"): "Points: average Jaccard",
    ("action", "map"): "Actions: mAP",
    ("sound", "map"): "Sounds: mAP",
    ("mcqa", "top1"): "Questions: top-1",
    ("grounded", "hota"): "Grounded: HOTA",
}


def _scores(contents: Contents) -> Iterator[str]:
    rows = []
    for (task, key), text in _HEADLINES.items():
        value = contents.scores.get(task, {}).get(key)
        if isinstance(value, float) and np.isfinite(value):
            rows.append(f"<tr><th scope='row'>{text}</th><td class='value'>{value:.3f}</td></tr>")
    if rows:
        yield f"<details open><summary>Scores of this video</summary><table><tbody>{''.join(rows)}</tbody></table></details>"
    if contents.findings:
        yield f"<details open><summary>Remarks on predictions ({len(contents.findings)})</summary><ul class='findings'>"
        for finding in contents.findings[:20]:
            kind = "<span class='wrong'>error</span> " if finding.error else ""
            yield f"<li>{kind}{escaped(finding)}</li>"
        more = len(contents.findings) - 20
        yield (f"<li>and {more} more</li>" if more > 0 else "") + "</ul></details>"


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
