"""Chromium, driven over WebDriver (W3C) by nothing but the standard library: pages are opened, keys pressed, images taken."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = shutil.which("chromedriver") is not None and shutil.which("chromium") is not None
"""Whether there is a browser to test in."""
KEYS = {
    "left": "\ue012",
    "right": "\ue014",
    "home": "\ue011",
    "end": "\ue010",
    "shift": "\ue008",
    "tab": "\ue004",
    "enter": "\ue007",
}
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A session of Chromium."""

    def __init__(self, base: str, session: str):
        self._base = f"{base}/session/{session}"

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded."""
        self._ask("POST", "/url", {"url": path.absolute().as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page; gives what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 300.0) -> Any:
        """Run a script until it returns something true."""
        until = time.monotonic() + seconds
        while not (found := self.run(script)):
            if time.monotonic() > until:
                raise AssertionError(f"the page never came to: {script}")
            time.sleep(0.05)
        return found

    def press(self, *keys: str) -> None:
        """Press keys one after the other; shift+right holds the first."""
        actions = []
        for key in keys:
            parts = [KEYS.get(part, part) for part in key.split("+")]
            actions += [{"type": "keyDown", "value": part} for part in parts]
            actions += [{"type": "keyUp", "value": part} for part in reversed(parts)]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def click(self, selector: str) -> None:
        """Click the first element of a selector."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{found[_ELEMENT]}/click", {})

    def resize(self, width: int, height: int) -> None:
        """Make the page so large; what is smaller than a window can be is emulated."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def make_image(self, path: Path, whole: bool = True) -> Path:
        """Take a PNG of the page, all of it or what is seen."""
        about = {"format": "png", "captureBeyondViewport": whole}
        found = self._ask("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": about})
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def errors(self) -> list[str]:
        """Give what the console complained of since it was last asked, refused requests among it."""
        found = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in found if entry["level"] == "SEVERE"]

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        return _call(method, self._base + path, content)


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Start Chromium without a window, with its profile in `folder`, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    session = None
    try:
        _until_ready(base)
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]
        words += [f"--user-data-dir={folder}/profile", "--autoplay-policy=no-user-gesture-required", "--window-size=1280,900"]
        wanted = {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": {"args": words}}
        session = _call("POST", f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        yield Browser(base, session)
    finally:
        if session is not None:
            _call("DELETE", f"{base}/session/{session}")
        process.terminate()
        process.wait(timeout=300)


def _until_ready(base: str) -> None:
    for _ in range(6000):
        try:
            if _call("GET", f"{base}/status")["ready"]:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("chromedriver did not start")


def _call(method: str, url: str, content: Any = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())["value"]
