"""The HTML page of a video of the Perception Test: images and sound, tracks over them, time line, questions, predictions.

The page is `page.html` with `page.css`, the script `page.js` and the video as a data URI in it. All but what is drawn on the
video is plain HTML, made here, in `panel` and in `time_line`. The element "data" holds

    rate, frames    of the annotations
    tracks          kind (object, point), predicted (a prediction), id, label, colour; frames and places, x1 y1 x2 y2 or x y as
                    shares; hidden (n,) of true objects; question of tracks that answer one
    answers         of each grounded question, by its id, the ids of the objects that are the answer
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.files import embedded_json, escaped, resource, write_filled
from tapetum.systems.perception_test.views.contents import Contents, drawn_tracks
from tapetum.systems.perception_test.views.panel import grounded_cards, panel, question_cards
from tapetum.systems.perception_test.views.time_line import segment_table, time_line

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
