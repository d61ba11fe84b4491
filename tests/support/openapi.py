"""Description of the server's API in OpenAPI 3.1, for programs that test or call it; the server itself does not send it."""

from typing import Any

from tapetum.desk.web.answers import JSON_BYTES
from tapetum.desk.web.edits import MOST_POINTS
from tapetum.desk.web.exports import DRAWN, FORMATS
from tapetum.desk.web.job_files import KINDS
from tapetum.desk.web.look_job import VERBS

Schema = dict[str, Any]

_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
_TEXT: Schema = {"type": "string"}
_FRAME: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
_CHANCE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_POINTS}
_COLOR: Schema = {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"}


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_ITEM = _object(
    {"id": _ID, "name": _TEXT, "kind": {"enum": ["video", "image"]}, "frames": _FRAME, "fps": _MAYBE_NUMBER,
     "width": _FRAME, "height": _FRAME, "order": _TEXT}
)  # fmt: skip
_PAGE = _object({"items": _list(_ITEM), "next": {"anyOf": [_ID, {"type": "null"}]}, "count": _FRAME, "unread": _FRAME})
_JOB = _object(
    {"id": _ID, "kind": {"enum": [*KINDS]}, "item": {"type": ["string", "null"]},
     "state": {"enum": ["waiting", "running", "done", "failed", "cancelled", "interrupted"]}, "done": _NUMBER, "total": _NUMBER,
     "seconds_left": _MAYBE_NUMBER, "message": _TEXT},
    result={"type": "object"}, model=_TEXT,
)  # fmt: skip
_MAYBE_JOB: Schema = {"anyOf": [_JOB, {"type": "null"}]}
_MARK = _object({"frame": _FRAME, "x": _NUMBER, "y": _NUMBER, "hidden": {"type": "boolean"}})
_POINT = _object({"id": _TEXT, "name": _TEXT, "color": _COLOR, "queries": _list(_MARK), "returns": _list(_FRAME)})
_PROJECT = _object(
    {"revision": _FRAME, "undo": _FRAME, "redo": _FRAME, "tracked_revision": {"type": ["integer", "null"]},
     "points": _list(_POINT), "job": _MAYBE_JOB, "masks": _MAYBE_JOB}
)  # fmt: skip
_PLACE = _object({"point": _TEXT, "frame": _FRAME, "reason": _TEXT, "score": _CHANCE, "share": _CHANCE})
_CHECK = _object({"places": _list(_PLACE), "expected_share": _MAYBE_NUMBER})
_MOMENT = _object(
    {"item": _ID, "name": _TEXT, "start_s": _MAYBE_NUMBER, "stop_s": _MAYBE_NUMBER, "frame": _FRAME, "cosine": _NUMBER,
     "thumbnails": _list(_TEXT)}
)  # fmt: skip
_TRACKERS = _object(
    {"chosen": _TEXT, "trackers": _list(_object({"name": _TEXT, "about": _TEXT, "missing": {"type": ["string", "null"]}}))}
)
_MODEL = _object({"name": _TEXT, "remarks": _list(_TEXT)})
_MODELS = _object({**{use: _list(_MODEL) for use in ("answer", "classify", "words", "masks")}, "missing": {"type": "object"}})


def _edit(kind: str, required: dict[str, Schema], **optional: Schema) -> Schema:
    return _object({"type": {"const": kind}, **required}, revision=_FRAME, **optional)


_EDIT: Schema = {
    "oneOf": [
        _edit("add_point", {"frame": _FRAME, "x": _NUMBER, "y": _NUMBER}, name=_TEXT, color=_COLOR),
        _edit(
            "add_grid",
            {"frame": _FRAME, "rows": _COUNT, "columns": _COUNT},
            box={**_list(_NUMBER), "minItems": 4, "maxItems": 4},
        ),
        _edit("move_point", {"point": _TEXT, "frame": _FRAME, "x": _NUMBER, "y": _NUMBER}),
        _edit("hide_point", {"point": _TEXT, "frame": _FRAME}),
        _edit("show_point", {"point": _TEXT, "frame": _FRAME}),
        _edit("edit_point", {"point": _TEXT}, name=_TEXT, color=_COLOR),
        _edit("delete_point", {"point": _TEXT}),
        _edit("clear", {}),
    ]
}
_LOOK = _object({"verb": {"enum": list(VERBS)}}, frame=_FRAME, text=_TEXT, labels=_list(_TEXT), model=_TEXT)


def _parameter(name: str, schema: Schema, place: str = "query") -> Schema:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _operation(
    summary: str,
    answer: Schema | None = None,
    *parameters: Schema,
    body: Schema | None = None,
    media: str = "application/json",
    errors: tuple[int, ...] = (),
) -> Schema:
    """Describe an operation that answers with JSON, or with `media` where there is no schema of an answer."""
    content = {media: {"schema": {} if answer is None else answer}}
    responses: Schema = {"200": {"description": "as requested", "content": content}}
    for status in sorted({403, *errors}):
        responses[str(status)] = {"$ref": "#/components/responses/error"}
    operation: Schema = {"summary": summary, "parameters": list(parameters), "responses": responses}
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def describe_api() -> Schema:
    """Build the description: each address under /api, with what it takes, what it answers, and its errors."""
    item, job = (_parameter(name, _ID, "path") for name in ("item", "job"))
    on_item = "/api/items/{item}"
    step = (400, 404, 409)
    paths: dict[str, Schema] = {
        "/api/state": {"get": _operation("Version, the first items of the folder, models", _PAGE)},
        "/api/items": {
            "get": _operation(
                "Items after one, of those with a text in their names", _PAGE,
                _parameter("after", _ID), _parameter("text", {**_TEXT, "maxLength": 1000}), errors=(400, 404),
            )
        },
        on_item: {"get": _operation("An item", _ITEM, item, errors=step)},
        on_item + "/frames/{number}.jpg": {
            "get": _operation(
                "A frame as JPEG", None, item, _parameter("number", _FRAME, "path"),
                _parameter("width", {"type": "integer", "minimum": 1, "maximum": 999_999}), media="image/jpeg", errors=step,
            )
        },
        on_item + "/project": {"get": _operation("Points of a video", _PROJECT, item, errors=step)},
        on_item + "/tracks.bin": {
            "get": _operation(
                "float32 (points, frames, 4): x, y in pixels, visible, confidence; NaN where a point is not tracked; ids of "
                "the points in the header X-Points", None, item, media="application/octet-stream", errors=step,
            )
        },
        on_item + "/check": {"get": _operation("Where to look next", _CHECK, item, errors=step)},
        on_item + "/export": {
            "get": _operation(
                "Tracks as a file; mp4 and gif are drawn by a job", None, item,
                _parameter("format", {"enum": [*(name for name in FORMATS if name not in DRAWN)]}),
                _parameter("visible_above", _CHANCE), media="*/*", errors=step,
            )
        },
        on_item + "/edits": {"post": _operation("Edit points", _PROJECT, item, body=_EDIT, errors=(*step, 413))},
        on_item + "/undo": {"post": _operation("Undo an edit", _PROJECT, item, errors=step)},
        on_item + "/redo": {"post": _operation("Redo an edit", _PROJECT, item, errors=step)},
        on_item + "/jobs": {
            "post": _operation(
                "Track points, all or some; draw a film of them", _JOB, item,
                body={"oneOf": [
                    _object({"kind": {"const": "track"}}, points=_list(_TEXT)),
                    _object({"kind": {"const": "export"}, "format": {"enum": sorted(DRAWN)}}, visible_above=_CHANCE),
                ]},
                errors=(*step, 413, 429),
            )
        },
        on_item + "/look": {"post": _operation("Ask a model about a frame", _JOB, item, body=_LOOK, errors=(*step, 413, 429))},
        on_item + "/masks": {
            "post": _operation(
                "Outline what is clicked, in a frame or in all", _JOB, item,
                body=_object({}, clicks=_list(_list({})), boxes=_list(_list({})), frame=_FRAME, model=_TEXT),
                errors=(*step, 413, 429),
            )
        },
        "/api/jobs/{job}/masks/{number}.png": {
            "get": _operation(
                "Masks of a frame", None, job, _parameter("number", _FRAME, "path"), media="image/png", errors=step
            )
        },
        "/api/jobs/{job}/masks.zip": {"get": _operation("Masks", None, job, media="*/*", errors=step)},
        "/api/jobs/{job}": {
            "get": _operation("Progress of a job, and its result", _JOB, job, errors=step),
            "delete": _operation("Cancel a job", _JOB, job, errors=step),
        },
        "/api/jobs/{job}/file": {
            "get": _operation("The film that a job has drawn, once", None, job, media="*/*", errors=step)
        },
        "/api/models": {"get": _operation("Models of this machine, by what they are for", _MODELS)},
        "/api/weights": {
            "get": _operation("Models and whether they are here", _object({"weights": _list({}), "job": _MAYBE_JOB})),
            "post": _operation("Fetch a model", _JOB, body=_object({"name": _TEXT}), errors=(400, 409, 413, 429)),
        },
        "/api/trackers": {
            "get": _operation("Trackers, and the chosen one", _TRACKERS),
            "post": _operation("Choose a tracker", _TRACKERS, body=_object({"name": _TEXT}), errors=(400, 413)),
        },
        "/api/search": {
            "get": _operation(
                "Moments by words, or like a frame",
                _object({"results": _list(_MOMENT), "model": _TEXT, "remarks": _list(_TEXT)}),
                _parameter("text", _TEXT), _parameter("item", _ID), _parameter("frame", _FRAME), errors=step,
            )
        },
        "/api/upload": {
            "post": {
                **_operation("Send a file", _ITEM, _parameter("name", _TEXT), errors=(400, 409, 413)),
                "requestBody": {"content": {"application/octet-stream": {"schema": {}}}},
            }
        },
        "/api/events": {"get": _operation("Changes from now on, without an end", None, media="text/event-stream")},
    }  # fmt: skip
    error = {
        "description": "what was found, what was wanted, what to do, in one line",
        "content": {"application/json": {"schema": _object({"error": {"type": "string", "pattern": "^[^\\n]+$"}})}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tapetum serve",
            "version": "1",
            "description": f"The token of the printed address goes into X-Tapetum-Token; JSON has at most {JSON_BYTES} bytes.",
        },
        "paths": paths,
        "components": {
            "responses": {"error": error},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Tapetum-Token"}},
        },
        "security": [{"token": []}],
    }
