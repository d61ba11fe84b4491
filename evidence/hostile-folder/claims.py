"""Serve folders that somebody has prepared, ask the server for what a page asks, and count what went wrong.

    python evidence/hostile-folder/claims.py [--only NAME] [--patience 60] [--workers 2] [--keep DIR] [--out FILE]

Each of the 40 folders has a video with a point on it, as a server before has left them, and one trap: in `.tapetum-web`, beside
it, or in what is sent. `tapetum serve` is started in it by the command line, as by somebody who has just unpacked it, and once
more where what is old is removed. Beside the folder lies another with files that nobody has given away.

    code_run    code of the folder ran
    outside     a file beside the folder was handed out, changed, emptied or removed; or one of the videos was
    traceback   "Traceback" or "unforeseen" in what the server prints, or what it or a job answers
    error_500   an answer with status 500 or more
    no_start    no address, and no refusal in one line with exit code 2 either
    hang        a start, a request or a job that took more than --patience seconds
"""

import argparse
import hashlib
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from traps import EVIL, ID, PINK, SECRET, TRAPS, prepare

FAULTS = "code_run", "outside", "traceback", "error_500", "no_start", "hang"


class Server:
    """A server in a folder, and what was found wrong with it."""

    def __init__(self, folder: Path, patience: float):
        self.patience, self.faults, self.said, self.refused = patience, set[str](), "", False
        command = [sys.executable, "-P", "-m", "tapetum.app.shell.main", "serve", ".", "--port", "0", "--model", "static"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline().decode() if readable else ""
        found = re.fullmatch(r"(http://\S+)/\?token=(\S+)\n", line)
        self.address, self.token = found.groups() if found else ("", "")
        if not found:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience if line else 0)
            self._end()
            self.refused = self.process.returncode == 2 and not self.said and line.startswith("tapetum: ")
            self.said = line + self.said
            self.faults |= set() if self.refused else {"no_start" if readable else "hang"}

    def ask(self, path: str, content: Any = None, method: str | None = None) -> bytes:
        """Send a request; gives the body of its answer."""
        data = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, {"X-Tapetum-Token": self.token}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.patience) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except OSError as error:
            self.faults.add("hang" if isinstance(error, TimeoutError) else "traceback")  # or it has crashed
            return b""
        if status >= 500:
            self.faults.add("error_500")
        if b"unforeseen" in body or b"Traceback" in body:
            self.faults.add("traceback")
        if SECRET.encode() in body or (body.startswith(b"\xff\xd8") and _is_pink(body)):
            self.faults.add("outside")
        return body

    def read(self, path: str, content: Any = None) -> dict[str, Any]:
        """Send a request; gives its answer as an object, {} where it is none."""
        with suppress(ValueError):
            return json.loads(self.ask(path, content))
        return {}

    def run_job(self, path: str, content: Any) -> None:
        """Begin a job, and wait until it is over."""
        begun, end = self.read(path, content), time.monotonic() + self.patience
        begun = begun.get("job") or begun
        while begun.get("state") in ("waiting", "running"):
            if time.monotonic() > end:
                self.faults.add("hang")
                return
            time.sleep(0.1)
            begun = self.read(f"/api/jobs/{begun['id']}")

    def close(self) -> None:
        """End it, and look at what it has printed."""
        if self.process.poll() is None:
            self._end()
        if "Traceback" in self.said or "unforeseen" in self.said:
            self.faults.add("traceback")

    def _end(self) -> None:
        try:
            self.process.terminate()  # of no effect on one that has ended
            self.said += self.process.communicate(timeout=20)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.faults.add("hang")
            self.process.communicate()


def _is_pink(data: bytes) -> bool:
    return bool(np.abs(np.asarray(Image.open(io.BytesIO(data))).mean((0, 1)) - PINK).max() < 20)


def visit(server: Server, item: str, name: str) -> None:
    """Ask for what a page asks for, with a click on Track and Search."""
    for path in ("/api/state", "/api/models", f"/api/jobs/{ID}", f"/api/jobs/{ID}/file", "/api/jobs/0"):
        server.ask(path)
    numbers = [item, *(each["id"] for each in server.read("/api/state").get("items", []) if each["id"] != item)]
    for on in (f"/api/items/{number}" for number in numbers):
        for path in ("project", "frames/0.jpg", "tracks.bin", "check", "export?format=csv"):
            server.ask(f"{on}/{path}")
        server.ask(f"{on}/edits", {"type": "add_point", "frame": 0, "x": 5, "y": 6})
        server.run_job(f"{on}/jobs", {"kind": "track"})
    on = f"/api/items/{item}"
    server.ask("/api/search?text=a")
    server.ask("/api/upload?name=new.png", b"no image")
    if name == "requests are odd":
        for content in ({"kind": []}, {"kind": "export", "format": ["mp4"]}, [], {"kind": "track", "points": [[]]}):
            server.ask(f"{on}/jobs", content)
        for x in (10**400, "1", [], None):
            server.ask(f"{on}/edits", {"type": "add_point", "frame": 0, "x": x, "y": 1})
        for frame in ("9" * 5000, "-1", "%00", "%D9%A1"):
            server.ask(f"{on}/frames/{frame}.jpg")
        for model in (EVIL, f"random:{EVIL}", "../evil.py:Net", [EVIL]):
            server.ask(f"{on}/look", {"verb": "ask", "text": "a", "model": model})
        begun = [server.read(f"{on}/look", {"verb": "caption"}) for _ in range(80)]
        if sum("id" in each for each in begun) > 60:
            server.faults.add("hang")  # a queue without an end
        for each in begun:
            server.ask(f"/api/jobs/{each.get('id')}", method="DELETE")
    for each in server.read(f"{on}/project").get("job") or {}, {"id": ID}:
        server.ask(f"/api/jobs/{each.get('id')}", method="DELETE")


def wait_for_jobs(folder: Path, patience: float) -> bool:
    """Wait for the jobs of a folder, which go on without their server; those that do not end are ended: whether all did."""
    end = time.monotonic() + patience
    while found := [line.parent for line in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in read_line(line)]:
        if time.monotonic() > end:
            for each in found:
                os.kill(int(each.name), signal.SIGKILL)
            return False
        time.sleep(0.2)
    return True


def read_line(line: Path) -> bytes:
    """Read the command line of a process, which may have ended."""
    with suppress(OSError):
        return line.read_bytes()
    return b""


def digests(folder: Path, names: str = "*") -> dict[str, str]:
    """Checksums of files in a folder and below."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob(names) if path.is_file()}


def serve_one(base: Path, name: str, patience: float) -> dict[str, Any]:
    """Serve the folder with one trap, and say what went wrong and whether it was refused."""
    folder, outside, item = prepare(base)
    before = {**digests(outside), **digests(folder, "clip.mp4")}
    TRAPS[name](folder, outside, item)
    faults, refused, said = set[str](), False, ""
    for _ in range(2 if name.startswith("id ") else 1):
        server = Server(folder, patience)
        try:
            if server.address:
                visit(server, item, name)
        finally:
            server.close()
        if not wait_for_jobs(folder, patience):
            faults.add("hang")
        faults, refused, said = faults | server.faults, server.refused, said + server.said
    if name != "video became a link" and {**digests(outside), **digests(folder, "clip.mp4")} != before:
        faults.add("outside")
    if (base / "ran").exists():
        faults.add("code_run")
    answer = "refused in one line" if refused else "served"
    print(f"{name:30} {answer:19} {', '.join(sorted(faults)) or 'ok'}", flush=True)
    if faults and said:
        print(f"    {said.strip().splitlines()[-1][:200]}", flush=True)
    return {"faults": sorted(faults), "answer": answer}


def main() -> None:
    """Serve each folder, print what went wrong, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TRAPS)
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2, help="folders that are served at a time")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    root = given.keep or Path(tempfile.mkdtemp(prefix="hostile-folder-"))
    names = [name for name in TRAPS if given.only in (None, name)]
    with ThreadPoolExecutor(given.workers) as pool:
        rows = dict(zip(names, pool.map(lambda name: serve_one(root / name, name, given.patience), names), strict=True))
    counts = Counter(fault for row in rows.values() for fault in row["faults"])
    total = {fault: counts[fault] for fault in FAULTS}
    print(f"{len(rows)} folders: " + ", ".join(f"{count} {fault}" for fault, count in total.items()))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"folders": len(rows), **total, "rows": rows}, indent=1) + "\n")
    if given.keep is None:
        shutil.rmtree(root)
    sys.exit(bool(counts))


if __name__ == "__main__":
    main()
