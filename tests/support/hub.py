"""A hub on 127.0.0.1 that serves folders as repositories, as much of Hugging Face as fetching takes."""

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

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
                kind, _, short = name.partition("/") if name.startswith("datasets/") else ("models", "", name)
                about = f"/api/{kind}/{short}"
                if path in (about, f"{about}/revision/{SHA}", f"{about}/revision/main"):
                    code, content, more = 200, self._described(short, folder), {}
                elif path.startswith(f"{about}/revision/"):
                    more = {"X-Error-Code": "RevisionNotFound"}
                elif path.startswith(f"{about}/tree/main"):
                    below = folder / path.removeprefix(f"{about}/tree/main").strip("/")
                    code, more = (200, {}) if below.is_dir() else (404, {"X-Error-Code": "EntryNotFound"})
                    content = json.dumps(_entries(folder, sorted(below.rglob("*")))).encode()
                elif path == f"{about}/paths-info/main":
                    length = int(self.headers.get("Content-Length", 0))
                    names = parse_qs(self.rfile.read(length).decode()).get("paths", [])
                    code, more = 200, {}
                    content = json.dumps(
                        _entries(folder, [path for name in names if (path := folder / name).exists()])
                    ).encode()
                elif path.startswith(f"/{name}/resolve/"):
                    file = folder / path.split("/resolve/", 1)[1].partition("/")[2]
                    if file.is_file():
                        code, content = 200, file.read_bytes()
                        more = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": SHA}
                        if (part := self.headers.get("Range")) and body:
                            first, last = (int(number) for number in part.removeprefix("bytes=").split("-"))
                            code, content = 206, content[first : last + 1]
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

    do_POST = do_GET

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass


def _entries(folder: Path, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """What a hub says of files and folders in a repository."""
    return [
        {
            "type": "directory" if path.is_dir() else "file",
            "path": path.relative_to(folder).as_posix(),
            "oid": hashlib.sha1(b"" if path.is_dir() else path.read_bytes()).hexdigest(),
            "size": 0 if path.is_dir() else path.stat().st_size,
        }
        for path in paths
    ]


@contextmanager
def serve(
    repositories: Mapping[str, Path], gated: bool | str = False, about: Mapping[str, Any] | None = None
) -> Iterator[dict[str, str]]:
    """Serve folders as repositories, of models or datasets/OWNER/NAME; yields the variables of the environment that lead there.

    `gated`: True refuses everything, "files" the files alone; `about`: more fields of the description, such as tags.
    """
    handler = type("Own", (_Hub,), {"repositories": repositories, "gated": gated, "about": about or {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    finally:
        server.shutdown()
        server.server_close()
