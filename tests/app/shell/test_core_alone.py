"""The verbs of images with the core dependencies alone: what else is installed cannot be imported, and none is missed."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from support.scripts import script

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
WORLD = script("tests/golden/make_paligemma_taught_golden.py")
RUN = """
import json, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r} (it is no core dependency)", name=name)

blocked, commands = (set(part) if k == 0 else part for k, part in enumerate(json.loads(sys.stdin.read())))
sys.meta_path.insert(0, Missing())

from importlib import metadata
installed = metadata.distribution

def distribution(name):
    if name.startswith("efficientnet"):  # packages of weights, of which no module is imported
        raise metadata.PackageNotFoundError(name)
    return installed(name)

metadata.distribution = distribution
from tapetum.app.shell.main import main
codes = []
for words in commands:
    try:
        codes.append(main(words))
    except SystemExit as stop:
        codes.append(stop.code)
print(json.dumps([code or 0 for code in codes]), file=sys.stderr)
"""


def plain(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def not_core() -> list[str]:
    """Modules of all installed packages that tapetum does not want, nor anything that it wants."""
    wanted: set[str] = set()
    waiting = [tomllib.loads(PROJECT.read_text())["project"]["dependencies"]]
    while waiting:
        needs = [Requirement(line) for line in waiting.pop()]
        new = {plain(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})} - wanted
        wanted |= new
        waiting += [importlib.metadata.requires(name) or [] for name in sorted(new)]
    owners = importlib.metadata.packages_distributions()
    return [module for module, names in owners.items() if not {plain(n) for n in names} & wanted and module != "tapetum"]


@pytest.mark.slow
def test_without_a_model_ask_caption_detect_and_segment_say_what_to_install(tmp_path: Path):
    blocked = not_core()
    assert {"pytest", "sklearn", "torchvision", "transformers"} & set(blocked)
    assert not {"torch", "numpy", "PIL", "sentencepiece", "safetensors"} & set(blocked)
    Image.fromarray(WORLD.make_image("green", "right")).save(tmp_path / "photo.png")
    commands = [
        ["ask", "photo.png", "what color is the ball ?"],
        ["caption", "photo.png"],
        ["detect", "photo.png", "ball ; cube", "--out", "found.png"],
        ["segment", "photo.png", "ball", "--out", "cut.png", "--json"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([blocked, commands]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    *_, codes = done.stderr.splitlines()
    assert json.loads(codes) == [2, 2, 2, 2], done.stderr
    assert done.stderr.count("pip install 'tapetum[imagenet]'") == 4
    assert not done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
