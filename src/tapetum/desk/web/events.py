"""Live updates: changes are sent to every open page (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tapetum.desk.web.answers import dump

_QUIET_S = 15.0
"""After so many seconds without news a comment is sent, by which a connection that is gone is noticed."""
_WAITING = 1000
"""Messages that may wait for a page that does not read them; then it is let go, and connects anew."""


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
