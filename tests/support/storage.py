"""Object storage and a web server on 127.0.0.1."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import fsspec
import pytest


class _Quiet(SimpleHTTPRequestHandler):
    requests: list[str]
    ranges: bool
    cut: dict[str, int]

    def do_GET(self) -> None:
        part = self.headers.get("Range")
        self.requests.append(" ".join(filter(None, ["GET", self.path, part])))
        path = Path(self.translate_path(self.path))
        if not self.ranges or not path.is_file():
            super().do_GET()
            return
        data, whole = path.read_bytes(), path.stat().st_size
        if part:
            first, last = (int(number) for number in part.removeprefix("bytes=").split("-"))
            data = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{whole}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.cut.get(self.path, 0):
            self.cut[self.path] -= 1
            data, self.close_connection = data[: len(data) // 2], True
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def web_server(folder: Path, *, ranges: bool = False, cut: dict[str, int] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder with pages of links; yields its address, and the requests that come, but HEAD.

    `ranges`: parts of files are served too; then `cut` says, by path, how often an answer ends in its middle.
    """
    requests: list[str] = []
    handler = type("Own", (_Quiet,), {"requests": requests, "ranges": ranges, "cut": {} if cut is None else cut})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read_files(requests: list[str]) -> list[str]:
    """List the files among requests that came, without pages of links, and forget all."""
    files = [request for request in requests if not request.endswith("/")]
    requests.clear()
    return files


@contextmanager
def object_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run moto's S3 with a bucket named bucket; yields a client of boto3. Skips where moto or s3fs is not installed."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    try:
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
    finally:
        with urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")):  # the next server has the same state
            server.stop()
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()


@contextmanager
def google_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run gcp-storage-emulator with a bucket named bucket, in memory. Skips where it or gcsfs is not installed."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it is asked for by gRPC, which emulators do not speak
    gcsfs = pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs the package gcp-storage-emulator")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    gcsfs.GCSFileSystem.clear_instance_cache()
    try:
        yield
    finally:
        server.stop()
        gcsfs.GCSFileSystem.clear_instance_cache()
