"""What a run of a million samples in a thousand shards reads before its first step, and how long a silent source stops it.

    python evidence/scale/data.py [--shards 1000] [--samples 1000] [--limit 5] [--json evidence/scale/data.json]

Writes tars (1 GB, in a temporary folder), opens them twice, the first time without indexes, and reads the file of one of
them's samples; then the same from a web server on this machine. Bytes of the disk are the kernel's (rchar in /proc/self/io),
those of the server what it sends. Then a run of 12 steps over three sources on web servers, of which one falls silent after
step 4, with at most --limit seconds for a part of a file (120 by default); the same command goes on once it answers again.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tapetum.account.machine import machine
from tapetum.core import remote_cache
from tapetum.core.devices import resident_bytes
from tapetum.core.errors import TapetumError
from tapetum.core.remote_cache import RemoteCache
from tapetum.data.samples import Shuffle
from tapetum.data.shards import Shards, write_shards
from tapetum.train import Task, TrainConfig, fit


class Server(ThreadingHTTPServer):
    """Files of a folder and parts of them, counted; silent while `answers` is not set."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path):
        self.folder, self.sent, self.requests = folder, 0, 0
        self.answers = threading.Event()
        self.answers.set()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.answers.wait()
        path = self.server.folder / self.path.strip("/")
        if path.is_dir():
            data = "".join(f'<a href="{name}">{name}</a>' for name in sorted(os.listdir(path))).encode()
        elif path.is_file():
            data = path.read_bytes()
        else:
            self.send_error(404)
            return
        size, part = len(data), self.headers.get("Range")
        if part:
            first, last = map(int, part.removeprefix("bytes=").split("-"))
            data = data[first : last + 1]
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{path.name} {size}"')
        self.end_headers()
        self.server.requests += 1
        if self.command == "GET":
            self.server.sent += len(data)
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def make_shards(folder: Path, shards: int, samples: int) -> int:
    """Write one tar of samples of a class, and copy it under other names, without indexes; returns bytes."""
    [first] = write_shards(({"__key__": f"{k:09}", "cls": k % 10} for k in range(samples)), folder, "train")
    first.with_name(f"{first.name}.index").unlink()
    content = first.read_bytes()
    for number in range(1, shards):
        (folder / f"train-{number:06d}.tar").write_bytes(content)
    return len(content) * shards


@contextmanager
def measured(server: Server | None = None) -> Iterator[dict[str, Any]]:
    """Measure what a block takes: seconds, bytes read and kept."""
    row: dict[str, Any] = {}
    rchar, memory, began = _bytes_read(), resident_bytes(os.getpid()), time.perf_counter()
    sent, requests = (server.sent, server.requests) if server else (0, 0)
    yield row
    row |= {"seconds": round(time.perf_counter() - began, 2), "grown_mb": (resident_bytes(os.getpid()) - memory) // 10**6}
    row |= {"sent": server.sent - sent, "requests": server.requests - requests} if server else {"read": _bytes_read() - rchar}


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


class Classes(Task):
    """A number of each sample of three sources on web servers."""

    def __init__(self, sources: list[str], cache: Path):
        self.shards = [Shards(source, cache=RemoteCache(folder=cache)) for source in sources]
        self.order = Shuffle(sum(map(len, self.shards)), seed=0)

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def dataset(self) -> "Classes":
        return self

    def __getitem__(self, number: int) -> torch.Tensor:
        source, place = divmod(self.order(number), len(self.shards[0]))
        return torch.tensor([float(self.shards[source][place]["cls"])])

    def loss(self, model: nn.Module, batch: torch.Tensor, context: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        return (model(batch) - batch).square().mean(), {}


def lose_a_source(folder: Path, limit: float) -> dict[str, Any]:
    """Let one of three sources fall silent in a run; what it says, and whether it ends as one that nothing disturbed."""
    remote_cache.LIMITS = replace(remote_cache.LIMITS, part=limit)
    servers = [Server(folder / f"source-{k}") for k in range(3)]
    for server in servers:
        write_shards(({"__key__": f"{k:09}", "cls": k % 7} for k in range(3000)), server.folder / "tars", "train")
    sources = [f"{server.address}/tars" for server in servers]
    config = TrainConfig(steps=12, batch_size=16, checkpoint_every=2, workers=0, threads=1, device="cpu", tensorboard=False)
    whole = fit(Classes(sources, folder / "cache-0"), config, folder / "whole")

    class Losing(Classes):
        silent = 0.0

        def after_step(self, step: int, metrics: Any) -> None:
            if step == 3:
                servers[1].answers.clear()
                self.silent = time.monotonic()
                for shards in self.shards:
                    shards._cache = RemoteCache(0)  # so that every sample asks its server

    task, said = Losing(sources, folder / "cache-1"), ""
    try:
        fit(task, config, folder / "run")
    except TapetumError as error:
        said = str(error)
    seconds = time.monotonic() - task.silent
    servers[1].answers.set()
    again = fit(Classes(sources, folder / "cache-1"), config, folder / "run")
    files = [Path(result.weights) / "model.safetensors" for result in (whole, again)]
    return {
        "limit_s": limit,
        "said": said.replace(servers[1].address, "http://server"),
        "seconds_from_silence_to_the_end": round(seconds, 2),
        "same_to_the_byte": files[0].read_bytes() == files[1].read_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000, help="of a shard")
    parser.add_argument("--limit", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "shards": args.shards, "samples": args.shards * args.samples}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        result["bytes"] = make_shards(folder / "tars", args.shards, args.samples)
        for when in ("without_indexes", "start"):
            with measured() as row:
                shards = Shards(folder / "tars")
            assert len(shards) == result["samples"]
            result[when] = row
        result["bytes_of_indexes"] = sum(file.stat().st_size for file in (folder / "tars").glob("*.index"))
        order = Shuffle(len(shards), seed=0)
        with measured() as row:
            for number in range(1000):
                assert shards[order(number)]["cls"] == order(number) % args.samples % 10
        result["thousand_samples"] = row
        with measured() as row:
            order = Shuffle(10**9, seed=0)
            assert len({order(number) for number in range(1000)}) == 1000
        result["order_of_a_billion"] = row
        server = Server(folder)
        for when in ("start_over_http", "again_over_http"):
            with measured(server) as row:
                shards = Shards(f"{server.address}/tars")
            assert len(shards) == result["samples"]
            result[when] = row
        result["silent_source"] = lose_a_source(folder, args.limit)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    assert result["silent_source"]["same_to_the_byte"]


if __name__ == "__main__":
    main()
