"""A real HTTP server of a few files, with byte ranges as the official store has them; it drops connections, lies and fails."""

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 1 << 18


class FileServer:
    """Serves `files` by path.

    `faults` come first, one a GET: a status, minus the bytes that are cut off, or 0 for none; `slow`: seconds between pieces;
    `piece`: bytes of each; `says`: what stands for the length; `endless`: the file is sent again and again; `drip`: seconds
    between two bytes of the headers.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files, self.etag = files, '"one"'
        self.faults: list[int] = []
        self.asked: list[str | None] = []
        self.ranges = True
        self.length = True
        self.slow, self.piece = 0.0, PIECE
        self.says: str | None = None
        self.endless = False
        self.drip = 0.0
        self.sums: dict[str, list[str]] = {
            path: ["crc32c=AAAAAA==", "md5=" + base64.b64encode(hashlib.md5(content).digest()).decode()]
            for path, content in files.items()
        }
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def do_HEAD(self) -> None:
                outer.answer(self, head=True)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, head: bool = False) -> None:
        if self.drip:
            self.asked.append(None)
            self._drip(request)
            return
        range_, condition = request.headers.get("Range"), request.headers.get("If-Range")
        fault = None
        if not head:
            self.asked.append(range_)
            fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault > 0:
            request.send_error(fault)
            return
        if request.path not in self.files:
            request.send_error(404)
            return
        content = self.files[request.path]
        begin = int(range_[6:-1]) if range_ and self.ranges and condition == self.etag else 0
        if begin >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if self.length:
            request.send_header("Content-Length", self.says or str(len(content) - begin))
        request.send_header("ETag", self.etag)
        for sum_ in self.sums.get(request.path, []):
            request.send_header("x-goog-hash", sum_)
        request.end_headers()
        if not head:
            body = content[begin:]
            body = body if fault is None else body[: fault or None]
            with suppress(OSError):  # who asked has gone
                while True:
                    for start in range(0, len(body), self.piece):
                        request.wfile.write(body[start : start + self.piece])
                        time.sleep(self.slow)
                    if not self.endless:
                        break

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
                request.wfile.write(bytes([byte]))
                time.sleep(self.drip)


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    server = FileServer(files)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()
