"""The page of tapetum serve in Chromium, over the made server of web/dev or over the real one."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")


@contextmanager
def running(words: Sequence[object]) -> Iterator[str]:
    """Run a server that prints its address; gives that."""
    process = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                yield found[0]
                return
        raise AssertionError(f"the server did not start: {''.join(said)}")
    finally:
        process.terminate()
        process.wait(timeout=300)


def made_server(port: int = 0) -> Any:
    if NODE is None:
        pytest.skip("there is no node for the made server")
    return running([NODE, WEB / "dev" / "server.mjs", port])


def real_server(folder: Path, *options: str) -> Any:
    """Run tapetum serve over a folder with a small video."""
    pytest.importorskip("tapetum.desk.web.server", reason="the server of the page is not here")
    from tapetum.video.write import write_video

    frames = np.full((24, 120, 160, 3), 120, np.uint8)
    for number, frame in enumerate(frames):
        frame[40:70, 20 + 3 * number : 50 + 3 * number] = 220, 60, 40
    write_video(folder / "moving.mp4", frames, 12)
    main = "from tapetum.app.shell.main import main; raise SystemExit(main())"
    return running([sys.executable, "-uc", main, "serve", folder, "--port", 0, *options])


class Tab:
    def __init__(self, page: Any, address: str):
        self.page, self.problems = page, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._hear)
        page.goto(address)
        self.shown(0)

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "409" not in message.text:  # a 409 belongs to the first search
            self.problems.append(message.text)

    def ask(self, path: str) -> Any:
        return self.page.evaluate("path => fetch(path).then(answer => answer.json())", path)

    @property
    def item(self) -> dict[str, Any]:
        name = self.page.locator(".item[aria-current] .name").inner_text()
        return next(item for item in self.ask("/api/state")["items"] if item["name"] == name)

    @property
    def project(self) -> dict[str, Any]:
        return self.ask(f"/api/items/{self.item['id']}/project")

    def shown(self, frame: int) -> None:
        self.page.wait_for_selector(f".stage canvas[data-shown$='/{frame}']")

    def spot(self, x: float, y: float) -> tuple[float, float]:
        box, item = self.page.locator(".stage canvas").bounding_box(), self.item
        scale = min(box["width"] / item["width"], box["height"] / item["height"])
        left, top = (box[side] - scale * item[side] for side in ("width", "height"))
        return box["x"] + left / 2 + x * scale, box["y"] + top / 2 + y * scale

    def color(self, x: float, y: float) -> str:
        """The colour that is drawn over a pixel of the video."""
        box = self.page.locator(".stage canvas").bounding_box()
        x, y = self.spot(x, y)
        script = "([x, y]) => [...document.querySelector('.stage canvas').getContext('2d').getImageData(x, y, 1, 1).data]"
        red, green, blue, _ = self.page.evaluate(script, [round(x - box["x"]), round(y - box["y"])])
        return f"#{red:02x}{green:02x}{blue:02x}"

    def has_color(self, x: float, y: float, color: str, drawn: bool = True) -> None:
        """Wait until a colour is drawn over a pixel of the video, or until it is not."""
        for _ in range(2400):
            if (self.color(x, y) == color) == drawn:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"({x}, {y}) has the colour {self.color(x, y)}")

    def click(self, x: float, y: float) -> None:
        """Click on a pixel of the video, and wait for the point."""
        before = self.rows().count()
        self.page.mouse.click(*self.spot(x, y))
        self.rows().nth(before).wait_for()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*self.spot(*start))
        mouse.down()
        mouse.move(*self.spot(*end), steps=4)
        mouse.up()

    def rows(self) -> Any:
        return self.page.locator("li.point")

    def says(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, script: str, argument: Any = None) -> None:
        """Wait until a script, which may ask the server, gives something true."""
        self.page.wait_for_function(script, arg=argument)

    def track(self) -> np.ndarray:
        """Track the points; gives what tracks.bin has, (points, frames, 4)."""
        self.press("t")
        self.says("All points are tracked.")
        count = self.rows().count()
        self.page.get_by_role("img", name=f"Time line of {count} points, of which {count} are tracked").wait_for()
        return self.read_tracks()

    def read_tracks(self) -> np.ndarray:
        """Read tracks.bin, (points, frames, 4)."""
        script = "path => fetch(path).then(a => a.arrayBuffer()).then(b => JSON.stringify(Array.from(new Float32Array(b))))"
        numbers = json.loads(self.page.evaluate(script, f"/api/items/{self.item['id']}/tracks.bin"))
        return np.array(numbers, float).reshape(-1, self.item["frames"], 4)
