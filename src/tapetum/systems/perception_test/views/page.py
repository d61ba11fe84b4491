"""The HTML page of a video of the Perception Test: images and sound, tracks over them, time line, questions, predictions.

The page is `page.html` with `page.css`, the script `page.js` and the video as a data URI in it: the file itself where browsers
play it, else coded anew, smaller, with its sound. All but what is drawn on the video is plain HTML, made here and in
`time_line`. The element "data" holds

    rate, frames    of the annotations
    tracks          kind (object, point), predicted (a prediction), id, label, colour; frames and places, x1 y1 x2 y2 or x y as
                    shares; hidden (n,) of true objects; question of tracks that answer one
    answers         of each grounded question, by its id, the ids of the objects that are the answer
"""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from tapetum.core.files import embedded_json, escaped, resource, write_filled
from tapetum.core.reading import no_pipe, read_bytes
from tapetum.systems.perception_test.footage import footage_sound, open_footage
from tapetum.systems.perception_test.types import ChoiceQuestion, GroundedQuestion, Metadata
from tapetum.systems.perception_test.views.contents import Contents, drawn_tracks
from tapetum.systems.perception_test.views.time_line import segment_table, time_line
from tapetum.video import write_video
from tapetum.video.decode import SAFE_OPTIONS
from tapetum.video.sound import SoundTrack, has_sound
from tapetum.video.types import resize_frame

_PACKAGE = __name__.rpartition(".")[0]
COLOURS = (
    "#0068b4", "#c2410c", "#00825a", "#a8328c", "#8a6d00", "#0b7f93", "#5f4bb6", "#b3263e", "#4d7c0f", "#7a4a21",
)  # fmt: skip
"""Of tracks, by their ids; each is dark enough beside white."""


def write_page(path: Path, contents: Contents, film: str, sound: np.ndarray) -> Path:
    """Write the page of a video.

    Args:
        path: of the page, which appears whole or not at all.
        contents: what is known and predicted of the video.
        film: the video as a data URI.
        sound: samples -1..1 of all of it at any rate; none of a silent video.

    Raises:
        BadInput: a place that cannot be written.
    """
    tracks = drawn_tracks(contents)
    for track in tracks:
        track["colour"] = COLOURS[(track["id"] + 3 * ("question" in track)) % len(COLOURS)]
    meta = contents.video.metadata
    data = {
        "rate": meta.frame_rate,
        "frames": meta.frames,
        "tracks": tracks,
        "answers": {str(question.id): list(question.answers or ()) for question in contents.video.grounded},
    }
    parts = {
        "title": escaped(f"{contents.name}, Perception Test"),
        "css": resource(_PACKAGE, "page.css"),
        "script": resource(_PACKAGE, "page.js"),
        "data": embedded_json(data),
        "body": "\n".join(_body(contents, tracks, film, sound)),
    }
    return write_filled(path, _PACKAGE, "page.html", parts)


def _body(contents: Contents, tracks: Sequence[Mapping[str, Any]], film: str, sound: np.ndarray) -> Iterator[str]:
    meta = contents.video.metadata
    height, width = meta.size
    yield f"<header><h1>{escaped(contents.name)}</h1><p class='facts'>{' · '.join(_facts(contents))}</p></header><main>"
    yield "<section id='stage' aria-label='Video'>"
    yield (
        f"<div id='screen' style='aspect-ratio:{width}/{height};max-width:calc(68vh * {width / height:.4f})'>"
        f"<video id='film' src='{film}' preload='auto' playsinline></video><canvas id='over'></canvas></div>"
    )
    yield _CONTROLS.format(last=meta.frames - 1)
    yield "</section>"
    yield from panel(contents, tracks)
    yield from time_line(contents, sound)
    yield from question_cards(contents)
    yield from grounded_cards(contents)
    yield from segment_table(contents)
    yield "</main>"


_CONTROLS = """<p id="problem" role="alert"></p>
<input id="slider" type="range" min="0" max="{last}" value="0" aria-label="Frame">
<div id="controls"><button id="play">Play</button>
<button id="back" aria-label="One frame back">◀</button><button id="next" aria-label="One frame on">▶</button>
<label>Speed <select id="speed"><option value="0.25">¼</option><option value="0.5">½</option>
<option value="1" selected>1</option><option value="2">2</option></select></label>
<span id="time" role="status" aria-live="off"></span></div>
<p class="keys"><kbd>space</kbd> plays, <kbd>←</kbd> <kbd>→</kbd> one frame, with <kbd>shift</kbd> one second,
<kbd>Home</kbd> <kbd>End</kbd> the ends</p>"""


def _facts(contents: Contents) -> Iterator[str]:
    meta = contents.video.metadata
    yield escaped(meta.split or "no split")
    yield f"{meta.seconds:.1f} s"
    yield f"{meta.frames} frames at {meta.frame_rate:.4g} a second"
    yield f"{meta.size[1]} × {meta.size[0]}"
    if meta.moving is not None:
        yield "the camera moves" if meta.moving else "the camera stands"
    if meta.cup_game:
        yield "cup game"


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


MOST_BYTES = 24 << 20
"""Of a file that is put in as it is."""
HEIGHT = 480
"""Pixels at most of what is coded anew."""
_SOUND_RATE = 44100
_PLAYED = {".mp4": ("h264",), ".webm": ("vp8", "vp9")}
_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}


def film_uri(
    path: Path,
    recording: Path | None,
    metadata: Metadata,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    most_bytes: int = MOST_BYTES,
) -> str:
    """Encode a video with its sound as a data URI. Raises BadInput for one that cannot be read."""
    if _plays(path, recording, most_bytes):
        return _uri(read_bytes(path), _TYPES[path.suffix.lower()])
    with tempfile.TemporaryDirectory() as folder, open_footage(path, metadata) as video:
        width, height = video.width, video.height
        if height > HEIGHT:
            width, height = max(round(width * HEIGHT / height), 8), HEIGHT

        def frames() -> Iterator[np.ndarray]:
            for number, frame in enumerate(video):
                yield resize_frame(frame, width, height)
                progress(number + 1, len(video))

        sound = footage_sound(path, recording, metadata, _SOUND_RATE)
        track = SoundTrack(_pieces(sound), _SOUND_RATE) if len(sound) else None
        made = write_video(Path(folder) / "film.mp4", frames(), metadata.frame_rate, sound=track)
        return _uri(read_bytes(made), "video/mp4")


def _plays(path: Path, recording: Path | None, most_bytes: int) -> bool:
    """Check whether browsers play a file as it is, and it is small enough and has its sound."""
    codecs = _PLAYED.get(path.suffix.lower())
    if codecs is None or path.stat().st_size > most_bytes or (recording is not None and not has_sound(path)):
        return False
    try:
        with av.open(no_pipe(os.path.abspath(path)), mode="r", options=SAFE_OPTIONS, metadata_errors="ignore") as container:
            coded = container.streams.video[0].codec_context
            return coded.name.split("-")[0] in codecs and coded.pix_fmt in ("yuv420p", "yuvj420p")
    except (av.error.FFmpegError, ValueError, OSError, IndexError):
        return False


def _pieces(sound: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(sound), _SOUND_RATE):
        yield sound[start : start + _SOUND_RATE]


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
