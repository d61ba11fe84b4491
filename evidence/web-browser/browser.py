"""Memory of the browser on the page of `tapetum serve`: a film of 4,000 frames is gone through, and one of ten minutes opened.

    python evidence/web-browser/browser.py [--frames 4000] [--step 1] [--out FILE.json]

Chromium, driven by Playwright without a screen, shows a film of 1280x720 in a window of 1440x900. A frame is waited for until
it is on the canvas. Memory is the proportional set size (PSS) of all of Chromium's processes. Wanted: less than 500 MB at all
times. Both films are one piece of 250 frames, repeated.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PIECE, RATE = 250, 30
LONG_MINUTES = 10


def make_film(path: Path, frames: int, size: tuple[int, int] = (1280, 720), key_every: int = PIECE) -> None:
    """Write an H.264 film of a drifting texture; after `PIECE` frames it begins again, with the same packets."""
    (width, height), piece = size, path.with_suffix(".piece.mp4")
    texture = np.random.default_rng(0).integers(0, 255, (height // 24 + 20, width // 24 + 20, 3), dtype=np.uint8)
    texture = np.kron(texture, np.ones((24, 24, 1), np.uint8))
    options = {"crf": "26", "preset": "ultrafast", "g": str(key_every), "bf": "0"}
    with av.open(str(piece), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(min(PIECE, frames)):
            image = texture[number : number + height, number : number + width]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        out.mux(stream.encode(None))
    with av.open(str(path), "w") as out, av.open(str(piece)) as source:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.pts is not None]
        assert packets[0].time_base is not None
        each = round(1 / RATE / packets[0].time_base)
        data = [(bytes(packet), packet.is_keyframe, packet.time_base) for packet in packets]
        for number in range(frames):
            content, is_key, base = data[number % len(data)]
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, base, is_key
            packet.pts = packet.dts = number * each
            out.mux(packet)
    piece.unlink()


def process_tree(word: str) -> list[int]:
    """List the processes that have a word in their command line and are no scripts of ours, and all below them."""
    parents, roots = {}, []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (place / "cmdline").read_bytes(), (place / "status").read_text()
        except OSError:
            continue
        parents[int(place.name)] = int(re.findall(r"PPid:\s+(\d+)", status)[0])
        if word.encode() in command and b"python" not in command.split(b"\0")[0]:
            roots.append(int(place.name))
    below = set(roots)
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sorted(below)


def memory_mb(processes: Sequence[int]) -> float:
    """Sum the proportional set sizes of processes, in 10^6 bytes."""
    total = 0
    for process in processes:
        try:
            total += int(re.findall(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)[0])
        except OSError:  # it has ended
            continue
    return round(total * 1024 / 1e6, 1)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `tapetum serve` over a folder; gives its address."""
    command = [sys.executable, "-m", "tapetum.app.shell.main", "serve", folder, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


class Browser:
    """The page in Chromium, and how much memory Chromium has at most."""

    def __init__(self, playwright: Any, profile: Path, address: str):
        self.context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, args=["--no-sandbox"], viewport={"width": 1440, "height": 900}
        )
        self.context.set_default_timeout(120_000)
        self.profile, self.most_mb = profile, 0.0
        self.page = self.context.pages[0]
        self.page.goto(address)

    def open(self, name: str) -> None:
        """Open an item of the list."""
        self.page.locator(".item", has_text=name).first.click()
        self.shown(0)

    def shown(self, frame: int) -> None:
        """Wait until a frame is on the canvas."""
        self.page.wait_for_selector(f".stage canvas[data-shown$='/{frame}']")

    def seek(self, frame: int) -> None:
        """Go to a frame by the slider."""
        self.page.get_by_label("Frame", exact=True).and_(self.page.locator("input")).fill(str(frame))
        self.shown(frame)

    def measure(self) -> float:
        """Measure the memory; the most is remembered."""
        now = memory_mb(process_tree(str(self.profile)))
        self.most_mb = max(self.most_mb, now)
        return now


def go_through(browser: Browser, frames: int, step: int, every: int = 50) -> list[float]:
    """Show every `step`-th frame; returns the memory in MB after each `every` of them."""
    memory = []
    for count, frame in enumerate(range(0, frames, step)):
        browser.seek(frame)
        if count % every == 0:
            memory.append(browser.measure())
    return [*memory, browser.measure()]


def main() -> None:
    """Print what was measured as JSON."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--step", type=int, default=1, help="frames from one that is shown to the next")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, profile = Path(place) / "films", Path(place) / "profile"
        folder.mkdir()
        make_film(folder / "film.mp4", given.frames)
        make_film(folder / "long.mp4", LONG_MINUTES * 60 * RATE)
        with served(folder) as address, sync_playwright() as playwright:
            browser = Browser(playwright, profile, address)
            browser.open("film.mp4")
            result: dict[str, Any] = {"frames": given.frames, "step": given.step, "opened_mb": browser.measure()}
            begin = time.perf_counter()
            result["memory_mb"] = go_through(browser, given.frames, given.step)
            result["seconds"] = round(time.perf_counter() - begin, 1)
            begin = time.perf_counter()
            browser.open("long.mp4")
            result["long_opened_s"] = round(time.perf_counter() - begin, 2)
            last = LONG_MINUTES * 60 * RATE - 1
            for frame in (last, last // 2, 0):
                browser.seek(frame)
                browser.measure()
            result["most_mb"] = browser.most_mb
            browser.context.close()
    text = json.dumps(result)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
