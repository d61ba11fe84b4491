"""Connections within limits: how long a server may take, and how much it may send, before the download is abandoned.

    look-up, connection, headers   `Limits.answer` seconds in total, however slowly they arrive
    body                           `Limits.least` bytes in every `Limits.stall` seconds
    size                           `Limits.most` bytes, and never the last `Limits.reserve` bytes of the disk
    tries                          `Limits.tries` in a row with almost no progress

A separate thread waits, since name look-ups ignore time limits; the caller is notified about once a second.
"""

import http.client
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tapetum.core.errors import BadInput
from tapetum.core.limits import Limits

Value = TypeVar("Value")
_PIECE = 1 << 20
_TICK = 1.0
"""Seconds between two signs of life."""


class Unreachable(Exception):
    """A server cannot be reached, broke off, or exceeded its time limit; the text says which."""


class Response:
    """A server's response: its status and headers, and the body piece by piece."""

    def __init__(self, wire: "_Wire", status: int, headers: http.client.HTTPMessage):
        self.status, self.headers = status, headers
        self._wire = wire

    @property
    def length(self) -> int | None:
        """Size of the body in bytes, None if the server does not state it. Raises BadInput if its value is not a number."""
        declared = self.headers.get("Content-Length")
        if declared is None:
            return None
        if not (declared.isascii() and declared.isdecimal()):
            raise BadInput(
                f"the server says that {declared[:40]!r} bytes come, which is no number; check the address, or try later"
            )
        return int(declared[:30])  # which is more than anybody takes

    def pieces(self) -> Iterator[bytes]:
        """Yield the body; raises Unreachable if it breaks off or stalls."""
        limits = self._wire.limits
        came, until = 0, time.monotonic() + limits.stall
        while True:
            try:
                piece = self._wire.next(until)
            except TimeoutError:
                raise Unreachable(f"{came} bytes in {limits.stall:g} seconds") from None
            if piece is None:
                return
            came += len(piece)
            if came >= limits.least:
                came, until = 0, time.monotonic() + limits.stall
            yield piece


@contextmanager
def connect(request: urllib.request.Request, limits: Limits, waiting: Callable[[], None] = lambda: None) -> Iterator[Response]:
    """Send a request and yield the response; the connection is closed on leaving.

    Args:
        request: what is requested, from an address that passed `check_address`.
        limits: on time.
        waiting: called about once a second while nothing arrives.

    Raises:
        HTTPError: the server responds with an error.
        Unreachable: anything else, from an unknown host name to a missing response.
    """
    wire = _Wire(request, limits, waiting)
    try:
        try:
            status, headers = wire.next(time.monotonic() + limits.answer)
        except TimeoutError:
            raise Unreachable(f"no answer in {limits.answer:g} seconds") from None
        yield Response(wire, status, headers)
    finally:
        wire.close()


def within(seconds: float, work: Callable[[], Value], waiting: Callable[[], None] = lambda: None) -> Value:
    """Compute the result of `work`, or raise its error; TimeoutError if it takes too long, and it is abandoned."""
    came: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            came.put((work(), None))
        except BaseException as error:
            came.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    value, error = _take(came, time.monotonic() + seconds, waiting)
    if error is not None:
        raise error
    return value


@contextmanager
def loading_by_name() -> Iterator[None]:
    """Raise ConnectionError for the errors of libraries that fetch by themselves, each with its own classes."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _NETWORKING:
            raise
        raise ConnectionError(" ".join(str(error).split())[:200] or type(error).__name__) from error


_NETWORKING = "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "huggingface_hub"


def check_address(url: str) -> None:
    """Raise BadInput for text that is not the address of a file on a server.

    >>> check_address("http://[::1")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: 'http://[::1' is no address to fetch from; give one such as https://example.org/folder
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not (good and url.isascii() and url.isprintable() and " " not in url):
        raise BadInput(f"{url[:200]!r} is no address to fetch from; give one such as https://example.org/folder")


class _Wire:
    """A connection read by a separate thread."""

    def __init__(self, request: urllib.request.Request, limits: Limits, waiting: Callable[[], None]):
        self.limits, self._request, self._waiting = limits, request, waiting
        self._came: queue.Queue[Any] = queue.Queue(4)
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._work, daemon=True).start()

    def next(self, until: float) -> Any:
        """Compute status and headers, then pieces, then None; raises TimeoutError when it is late, HTTPError, Unreachable."""
        item = _take(self._came, until, self._waiting)
        if isinstance(item, urllib.error.HTTPError):
            raise item
        if isinstance(item, Exception):
            raise Unreachable(" ".join(str(getattr(item, "reason", None) or item).split()) or type(item).__name__) from item
        return item

    def close(self) -> None:
        """Close the connection, whatever its state."""
        self._over.set()
        for each in self._sockets:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _work(self) -> None:
        try:
            with _opener(self._sockets.append).open(self._request, timeout=self.limits.answer) as answer:
                self._put((answer.status, answer.headers))
                while not self._over.is_set() and (piece := answer.read1(_PIECE)):  # gives what there is when it breaks off
                    self._put(piece)
            self._put(None)
        except Exception as error:
            self._put(error)

    def _put(self, item: Any) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self._came.put(item, timeout=_TICK)
                return


def _take(came: Any, until: float, waiting: Callable[[], None]) -> Any:
    """The next item of a queue; raises TimeoutError if none arrives in time."""
    while (left := until - time.monotonic()) > 0:
        try:
            return came.get(timeout=min(left, _TICK))
        except queue.Empty:
            waiting()
    raise TimeoutError


def _opener(opened: Callable[[socket.socket], None]) -> urllib.request.OpenerDirector:
    """Opens addresses as usual, and reports each socket."""

    def report(kind: type) -> Any:
        class Reporting(kind):
            def connect(self) -> None:
                super().connect()
                opened(self.sock)

        return Reporting

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(report(http.client.HTTPConnection), req)

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(report(http.client.HTTPSConnection), req, context=self._context)  # type: ignore[attr-defined]

    return urllib.request.build_opener(Plain, Secure)
