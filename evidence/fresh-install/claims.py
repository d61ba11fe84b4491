"""Builds the wheel, installs it in an empty environment, and runs `tapetum track` and `tapetum serve` there.

    python evidence/fresh-install/claims.py VIDEO --python python3.11 --lowest --pin torch==2.13.0 [--out FILE.json]

`--lowest` pins each dependency to the lowest version that pyproject.toml admits; `--pin` says otherwise of one. Both commands
run outside of the repository, from the wheel alone: a grid of points is tracked through VIDEO; then a point is put on the page,
tracked by its job, exported, and compared with what the command says of the same point.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[.*?\])?.*?(>=|==)\s*(?P<version>[\w.]+)")


def lowest_versions(project: dict[str, Any]) -> dict[str, str]:
    """Map each dependency of the project table of a pyproject.toml to its lowest version; without a lower bound it is left out.

    >>> lowest_versions({"dependencies": ["numpy>=1.26,<3", "b[c]>=2", "d"]})
    {'numpy': '1.26', 'b': '2'}
    """
    bounds = [REQUIREMENT.match(each) for each in project["dependencies"]]
    return {each["name"]: each["version"] for each in bounds if each}


class Served:
    """A running `tapetum serve`, asked as the page asks it."""

    def __init__(self, command: Path, folder: Path):
        self.process = subprocess.Popen(
            [command, "serve", folder, "--port", "0"], stdout=subprocess.PIPE, text=True, cwd=folder
        )
        assert self.process.stdout is not None
        self.address, self.token = self.process.stdout.readline().strip().split("/?token=")

    def request(self, path: str, content: Any = None) -> bytes:
        """Request an address; with content it is posted as JSON."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, {"X-Tapetum-Token": self.token})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()

    def json(self, path: str, content: Any = None) -> Any:
        """Request an address that answers with JSON."""
        return json.loads(self.request(path, content))


def install(python: str, place: Path, pins: Sequence[str]) -> Path:
    """Build the wheel and install it into a new environment; returns the folder of its commands."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--quiet", "--wheel-dir", place], check=True)
    subprocess.run([python, "-m", "venv", place / "venv"], check=True)
    (place / "constraints.txt").write_text("\n".join(pins))
    (wheel,) = place.glob("tapetum-*.whl")
    pip = [place / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", place / "constraints.txt"]
    subprocess.run([*pip, wheel], check=True)
    return place / "venv" / "bin"


def track(command: Path, video: Path, out: Path, *options: str) -> dict[str, Any]:
    """Run `tapetum track` and read its summary."""
    words = [command, "track", video, "--out", out, "--json", *options]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True, cwd=out.parent).stdout)


def serve(command: Path, video: Path, folder: Path) -> dict[str, Any]:
    """Run `tapetum serve`; put, track and export the point of frame 0 in the middle of the image."""
    folder.mkdir()
    shutil.copy(video, folder)
    server = Served(command, folder)
    try:
        (item,) = server.json("/api/state")["items"]
        path = f"/api/items/{item['id']}"
        frame = server.request(f"{path}/frames/{item['frames'] - 1}.jpg")
        page = server.request("/"), server.request("/app.js"), server.request("/app.css")
        place = {"frame": 0, "x": item["width"] / 2, "y": item["height"] / 2}
        server.json(f"{path}/edits", {"type": "add_point", **place})
        job = server.json(f"{path}/jobs", {"kind": "track"})
        while job["state"] in ("waiting", "running"):
            time.sleep(0.5)
            job = server.json(f"/api/jobs/{job['id']}")
        content = {"frame_bytes": len(frame), "page_bytes": sum(map(len, page)), "job": job["state"], "message": job["message"]}
        exported = server.request(f"{path}/export?format=csv") if job["state"] == "done" else b""
    finally:
        server.process.terminate()
        server.process.wait()
    query = ",".join(f"{place[name]:g}" for name in ("frame", "x", "y"))
    track(command, video, folder.parent / "one", "--query", query, "--no-overlay")
    return {**content, "same_as_track": exported == (folder.parent / "one" / "tracks.csv").read_bytes()}


def main() -> None:
    """Print what ran as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--pin", action="append", default=[], metavar="NAME==VERSION")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)
    video = given.video.resolve()
    versions = lowest_versions(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]) if given.lowest else {}
    versions |= dict(pin.split("==", 1) for pin in given.pin)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        programs = install(given.python, place, [f"{name}=={version}" for name, version in versions.items()])
        python, command = programs / "python", programs / "tapetum"
        listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True)
        about = subprocess.run([python, "--version"], check=True, capture_output=True, text=True)
        result = {
            "python": about.stdout.split()[-1],
            "versions": {each["name"]: each["version"] for each in json.loads(listed.stdout)},
            "track": track(command, video, place / "grid", "--grid", "4"),
            "serve": serve(command, video, place / "served"),
        }
    for name in ("overlay", "tracks", "table", "out", "video"):
        result["track"].pop(name, None)  # where they were
    text = json.dumps(result, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
