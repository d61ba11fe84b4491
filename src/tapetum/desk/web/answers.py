"""Bodies of requests and responses: JSON within limits, each error as one line of JSON with its status, and live updates."""

import asyncio
import json
import os
import re
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tapetum.core.errors import TapetumError
from tapetum.core.files import cannot_write
from tapetum.core.reading import parse_json

JSON_BYTES = 1 << 20
"""Maximum size of a JSON body, in bytes."""
_PATH = re.compile(r"""(?<![\w.:/~-])/(?:[^\s/:;,'"()]+/)+([^\s/:;,'"()]+)""")
"""An absolute path of two parts or more."""
_QUIET_S = 15.0
"""Seconds without events after which a comment is sent, which notices closed connections."""
_WAITING = 1000
"""Maximum number of unread messages of a page; then its stream ends, and it connects again."""


class Refused(TapetumError):
    """An error response to a request: its status, one line, and any details for the page."""

    def __init__(self, status: int, message: str, **content: Any):
        super().__init__(message)
        self.status, self.content = status, content


async def read_json(request: Request) -> dict[str, Any]:
    """Read the body of a request as a JSON object; an empty body is {}.

    Raises Refused with 413 for more than `JSON_BYTES`, with 400 for anything but a JSON object.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > JSON_BYTES:
            raise Refused(413, f"the body has more than {JSON_BYTES:,} bytes; send less")
    if not body:
        return {}
    try:
        content = parse_json(bytes(body))
    except (ValueError, UnicodeDecodeError):
        raise Refused(400, "the body is no JSON; send a JSON object") from None
    if not isinstance(content, dict):
        raise Refused(400, f"the body is a JSON {type(content).__name__}; send an object")
    return content


def answer_json(content: Any, status: int = 200) -> Response:
    """Build a JSON response in which NaN and infinity are null, since JSON has neither.

    Raises Refused with 400 for implausibly deep nesting.
    """
    try:
        return Response(dump(content), status, media_type="application/json")
    except RecursionError:
        raise Refused(400, "what was asked for is nested too deeply; see who wrote it") from None


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if content - content == 0 else None
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


def answer_error(status: int, message: str, **content: Any) -> Response:
    """Build the response for an error: {"error": one line} and any further fields."""
    return answer_json({"error": " ".join(message.split()), **content}, status)


def hide_paths(text: str, folder: Path) -> str:
    """Shorten absolute paths in a text: those in the served folder become relative to it, others keep only their last part.

    >>> hide_paths("cannot read /srv/clips/a/b.mp4; see /home/me/x.log or https://example.org/x/y", Path("/srv/clips"))
    'cannot read a/b.mp4; see x.log or https://example.org/x/y'
    """
    for path, name in ((f"{folder}{os.sep}", ""), (str(folder), folder.name)):
        text = text.replace(path, name)
    return _PATH.sub(r"\1", text)


def _text(request: Request, error: Exception) -> str:
    return hide_paths(str(error), request.app.state.page.folder)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return answer_error(error.status, _text(request, error), **error.content)


def _os_error(request: Request, error: Exception) -> Response:
    """Respond when the disk is full, or a file has since gone."""
    assert isinstance(error, OSError)
    return answer_error(400, _text(request, cannot_write(error.filename or "a file", error)))


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer_error(error.status_code, str(error.detail).lower())


def _unforeseen(_: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    return answer_error(500, f"unforeseen {type(error).__name__}; the terminal of tapetum serve shows more")


ERRORS: dict[Any, Any] = {
    Refused: _refused,
    TapetumError: lambda request, error: answer_error(400, _text(request, error)),
    OSError: _os_error,
    ClientDisconnect: lambda request, error: answer_error(400, "the request was cut short; send it again"),
    HTTPException: _http_error,
    Exception: _unforeseen,
}
"""Error handler by class of the error."""


def endpoint(work: Any, reads: bool = False) -> Any:
    """Build the endpoint of a function that runs in a thread: of the request, and of its JSON body if it `reads` that.

    A response is sent unchanged, any other return value as JSON.
    """

    async def answer(request: Request) -> Response:
        more = (await read_json(request),) if reads else ()
        content = await run_in_threadpool(work, request, *more)
        return content if isinstance(content, Response) else answer_json(content)

    return answer


def dump(content: Any) -> str:
    """Write JSON on one line, in ASCII, since file names need not be UTF-8; NaN and infinity are null."""
    return json.dumps(_finite(content))


class Events:
    """Messages to all listening pages; thread-safe."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Queue[str | None]] = set()
        self.closed = False

    @property
    def heard(self) -> bool:
        """Check whether a page listens."""
        return bool(self._listeners)

    def send(self, **message: Any) -> None:
        """Send a message to all pages."""
        if self._loop is not None and not self._loop.is_closed() and self._listeners:
            self._loop.call_soon_threadsafe(self._put, dump(message))

    def close(self) -> None:
        """End all streams; may be called from any thread or a signal handler."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, None)

    def _put(self, text: str | None) -> None:
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(text)

    async def stream(self) -> AsyncIterator[str]:
        """Yield messages in the format of server-sent events, until the page or the server has gone."""
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | None] = asyncio.Queue(_WAITING)
        self._listeners.add(queue)
        try:
            yield ": here\n\n"
            while not self.closed:
                try:
                    text = await asyncio.wait_for(queue.get(), _QUIET_S)
                except TimeoutError:
                    yield ": quiet\n\n"
                    continue
                if text is None:
                    return
                yield f"data: {text}\n\n"
        finally:
            self._listeners.discard(queue)
