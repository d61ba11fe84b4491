"""The lowest versions that the wheel is tried with are those of pyproject.toml."""

import tomllib
from pathlib import Path

from support.scripts import script

fresh = script("evidence/fresh-install/claims.py")
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_each_dependency_of_the_wheel_has_a_lowest_version() -> None:
    lowest = fresh.lowest_versions(PROJECT)
    assert len(lowest) == len(PROJECT["dependencies"])
    assert (
        lowest["torch"]
        == next(each for each in PROJECT["dependencies"] if each.startswith("torch"))[len("torch>=") :].split(",")[0]
    )
    assert set(lowest) > {"starlette", "uvicorn", "numpy"}
