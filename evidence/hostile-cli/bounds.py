"""Odd files, and servers that mean no good, for `claims.py`: what never begins, never ends, or is far too large.

pipe.*  pipes/     pipes that nobody writes into, also in the place of the files that a folder of weights or a run has
deep.*             JSON, TOML and headers of weights that are nested 5,000 deep
huge.*             a config of 10^9 layers beside weights, settings of 10^18 steps
long.jsonl         a prompt of 2 MB
caf\xe9*           names that are no UTF-8
SERVER/KIND        an address at which a server does what `KINDS` says
"""

import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SERVER = "SERVER"
"""Stands in a command for the address of the server, which is another in every run."""
KINDS = {
    "huge": "says that 10^18 bytes come, and closes",
    "loop": "says that 10^8 bytes come, sends 1,000, and closes",
    "abc": "says that 'abc' bytes come",
    "endless": "says nothing of a length, and sends for ever",
    "reset": "closes at once",
    "words": "answers with what is no file",
    "circle": "sends whoever asks to itself",
    "links": "is a folder of links to folders of such links",
    "listing": "is a page of links without an end",
    "drip": "sends a byte of its headers in two seconds",
    "deaf": "takes connections and answers nothing",
}
SLOW = {"drip", "deaf", "loop", "reset"}
"""Kinds that are tried, or waited for, as often and as long as the limits say."""
PATIENCE = 240.0
"""Seconds that a command may take with one of these."""
NAMES = "config.json", "tokenizer.model", "model.safetensors", "tracker.safetensors", "encoder.safetensors", "ledger.json"
NAMES += "a.png", "a.npz", "a.mp4", "train.csv", "0.tar"
PIPES = tuple(f"pipe{ending}" for ending in (".npz", ".csv", ".json", ".jsonl", ".safetensors", ".mp4", ".toml", ".parquet"))
ODD = os.fsdecode(b"caf\xe9")
ODD_FILES = *PIPES, "pipes", "deep.toml", "deep.json", "deep.jsonl", "deep.safetensors", "huge.toml", "huge.safetensors"
ODD_FILES += "long.jsonl", ODD, f"{ODD}.png", "/dev/zero", "/dev/stdin"


def make_files(folder: Path) -> None:
    """Write the odd files into a folder that has image.png."""
    for name in PIPES:
        os.mkfifo(folder / name)
    (folder / "pipes").mkdir()
    for name in NAMES:
        os.mkfifo(folder / "pipes" / name)
    (folder / "deep.toml").write_text(f"steps = {'[' * 5000}{']' * 5000}\n")
    for name in ("deep.json", "deep.jsonl"):
        (folder / name).write_text('{"a":' * 5000 + "1" + "}" * 5000)
    (folder / "huge.toml").write_text(f"steps = {10**18}\nsize = {10**9}\nbatch-size = {10**18}\n")
    vit = {"width": 64, "depth": 10**9, "heads": 1, "mlp_width": 64, "image_size": [32, 32], "patch": 16}
    for name, config in (
        ("huge", json.dumps({"family": "vit", "config": vit, "preprocessing": {"size": [32, 32]}})),
        ("deep", "[" * 5000),
    ):
        header = json.dumps({"__metadata__": dict.fromkeys(("encoder", "hip", "tapir_config", "paligemma"), config)}).encode()
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    row = {"image": "image.png", "prefix": "word " * 400_000, "suffix": "a"}
    (folder / "long.jsonl").write_text(json.dumps(row) + "\n")
    (folder / ODD).mkdir()
    for name in (folder / f"{ODD}.png", folder / ODD / f"{ODD}.png"):
        name.write_bytes((folder / "image.png").read_bytes())


def command(verb: str, dice: Any) -> list[str] | None:
    """Draw what follows `tapetum`, with the odd files; None where nothing of the verb reads them in a way of its own."""
    number = dice.rng.choice(["1000000000", "999999999999999999", "16384"])
    file, kind = dice.rng.choice(ODD_FILES), dice.rng.choice(sorted(KINDS))
    match verb:
        case "track" | "classify" | "detect" | "segment" | "caption" | "ask":
            words = {"track": [], "ask": ["what?"], "detect": ["cat"], "segment": ["cat"]}.get(verb, [])
            images, model = dice.rng.choice([("image.png", file), (file, None)])
            return [verb, images, *words, *(["--model", model] if model else ["--model", "static"] if verb == "track" else [])]
        case "embed":
            return [
                "embed",
                dice.rng.choice([ODD, f"{ODD}.png", file]),
                "--out",
                dice.rng.choice(["e.parquet", "e.npz", f"{ODD}.npz"]),
            ]
        case "account":
            return ["account", dice.rng.choice(["resnet-50", "vit-base-16", file]), "--size", number]
        case "convert" | "show":
            return [verb, *(["tracks"] if verb == "show" else []), file, *(["clip.mp4"] if verb == "show" else ["new.csv"])]
        case "eval":
            annotated = [
                "perception-test",
                "--task",
                "point",
                "--annotations",
                file,
                "--predictions",
                dice.rng.choice(ODD_FILES),
            ]
            return [
                "eval",
                *dice.rng.choice([annotated, ["paligemma", "--data", file], ["tapvid", "--data", file, "--model", "static"]]),
            ]
        case "data":
            fetch = ["perception-test", "--tasks", "point", "--parts", "lists", "--out", "pt", "--source"]
            odd = dice.rng.choice(["", "http://[::1", "x", "file:///etc", f"{SERVER}/{kind}"])
            return ["data", *fetch, odd]
        case "weights":
            return ["weights", *dice.rng.choice([["convert", file], ["show", file], ["fetch", "paligemma2-3b-mix-224"]])]
        case "train":
            return ["train", "tap-nano", "--config", file, "--textures", "images", "--out", "out"]
        case "pretrain":
            return [
                "pretrain",
                "mae",
                "--data",
                dice.rng.choice(["images", file]),
                "--change",
                f"depth={number}",
                "--out",
                "out",
            ]
        case "study":
            return ["study", "run", "--plan", file, "--out", "out"]
        case "search":
            return ["search", file, "cat"]
        case "scenes":
            return ["scenes", "make", "new", "--n", "1", "--size", number, "--frames", dice.rng.choice(["1", number])]
        case "adapt":
            return ["adapt", "verify", file]
        case "submit":
            return [
                "submit",
                "perception-test",
                "--task",
                "point",
                "--annotations",
                file,
                "--predictions",
                file,
                "--out",
                "s.json",
            ]
        case "ledger" | "bootstrap":
            return [verb, file, *(["--out", "out"] if verb == "bootstrap" else [])]
    return None


def patience(words: list[str], usual: float) -> float:
    """Seconds after which a command counts as hanging."""
    return PATIENCE if any(word == f"{SERVER}/{kind}" for word in words for kind in SLOW) else usual


class _Hostile(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        with suppress(OSError):
            if kind == "deaf":
                time.sleep(PATIENCE)
            elif kind == "drip":
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500:
                    self.wfile.write(bytes([byte]))
                    time.sleep(2)
            elif kind != "reset":
                self._answer(kind)

    do_HEAD = do_GET

    def _answer(self, kind: str) -> None:
        length = {"huge": str(10**18), "loop": str(10**8), "abc": "abc", "words": "5"}.get(kind)
        self.send_response(302 if kind == "circle" else 200)
        if kind == "circle":
            self.send_header("Location", self.path)
        if length is not None:
            self.send_header("Content-Length", length)
        if kind in ("links", "listing"):
            self.send_header("Content-Type", "text/html")
        self.send_header("ETag", '"one"')
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind == "links":
            self.wfile.write(b'<a href="a/">a</a><a href="b/">b</a><a href="a.png">c</a>')
            return
        self.wfile.write(b"<html"[:5] if kind == "words" else b"x" * 1000)
        number = 0
        while kind in ("endless", "listing"):
            number += 1
            piece = b"x" if kind == "endless" else b'<a href="%d.png">a</a>' % number
            self.wfile.write(piece * ((1 << 20) // len(piece)))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """Serve all `KINDS` on this machine; gives the address that stands for `SERVER`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
