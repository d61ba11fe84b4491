"""Chromium, driven over WebDriver (W3C) by nothing but the standard library: pages are opened and scripts run in them."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.forks import free_port

HERE = shutil.which("chromedriver") is not None and shutil.which("chromium") is not None
"""Whether there is a browser to test in."""


class Browser:
    def __init__(self, base: str, session: str):
        self._base = f"{base}/session/{session}"

    def open(self, path: Path, fragment: str = "") -> None:
        self._ask("POST", "/url", {"url": path.absolute().as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page; gives what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 300.0) -> Any:
        until = time.monotonic() + seconds
        while not (found := self.run(script)):
            if time.monotonic() > until:
                raise AssertionError(f"the page never came to: {script}")
            time.sleep(0.05)
        return found

    def resize(self, width: int, height: int) -> None:
        """Make the page so large; what is smaller than a window can be is emulated."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def errors(self) -> list[str]:
        """Give what the console complained of since it was last asked, refused requests among it."""
        found = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in found if entry["level"] == "SEVERE"]

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        return _call(method, self._base + path, content)


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Start Chromium without a window, with its profile in `folder`, until the block ends."""
    port = free_port()
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
