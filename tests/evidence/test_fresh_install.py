"""The lowest versions that the wheel is tried with are those of pyproject.toml."""

import tomllib
from pathlib import Path

from support.scripts import script

fresh = script("evidence/fresh-install/claims.py")
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_each_dependency_of_the_wheel_has_a_lowest_version() -> None:
    lowest = fresh.lowest_versions(PROJECT)
    assert len(lowest) == len(PROJECT["dependencies"])
    assert f"torch>={lowest['torch']}" in [each.split(",")[0] for each in PROJECT["dependencies"]]
    assert set(lowest) > {"starlette", "uvicorn", "numpy"}
