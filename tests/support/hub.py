"""A hub on 127.0.0.1 that serves folders as repositories, as much of Hugging Face as fetching takes."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

SHA = "a" * 40


class _Hub(BaseHTTPRequestHandler):
    repositories: ClassVar[Mapping[str, Path]] = {}
    about: ClassVar[Mapping[str, Any]] = {}
    gated: ClassVar[bool | str] = False

    def _answer(self, body: bool = True) -> None:
        path = unquote(self.path.split("?")[0])
        code, content, more = 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if self.gated is True or (self.gated == "files" and "/resolve/" in path):
            code, more = 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted"}
        else:
            for name, folder in self.repositories.items():
                if path == f"/api/models/{name}" or path == f"/api/models/{name}/revision/{SHA}":
                    code, content, more = 200, self._described(name, folder), {}
                elif path.startswith(f"/api/models/{name}/revision/"):
                    more = {"X-Error-Code": "RevisionNotFound"}
                elif path.startswith(f"/{name}/resolve/"):
                    file = folder / path.split("/resolve/", 1)[1].partition("/")[2]
                    if file.is_file():
                        code, content = 200, file.read_bytes()
                        more = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": SHA}
        self.send_response(code)
        for key, value in (more | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _described(self, name: str, folder: Path) -> bytes:
        files = [
            {"rfilename": str(path.relative_to(folder)), "size": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        return json.dumps({"id": name, "sha": SHA, "siblings": files, **self.about}).encode()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(
    repositories: Mapping[str, Path], gated: bool | str = False, about: Mapping[str, Any] | None = None
) -> Iterator[dict[str, str]]:
    """Serve folders as repositories; yields the variables of the environment that lead there.

    `gated`: True refuses everything, "files" the files alone; `about`: more fields of the description, such as tags.
    """
    handler = type("Own", (_Hub,), {"repositories": repositories, "gated": gated, "about": about or {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
        }
    finally:
        server.shutdown()
        server.server_close()
