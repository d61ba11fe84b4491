"""The lines of the README that `readme_env.py` runs in their own environment: each is run, or left out for a reason."""

import os
import re
import tomllib
from pathlib import Path

from support.docs_pages import README, blocks, commands
from support.scripts import script
from tapetum.app.shell.main import parse

readme_env = script("tests/docs/readme_env.py")
LINES = [words for block in blocks(README) if block.words == ("console",) for words in commands(block)]


def test_the_install_line_names_an_extra_that_is_there() -> None:
    ((wanted, package),) = readme_env.INSTALL.findall(README.read_text())
    project = tomllib.loads((readme_env.ROOT / "pyproject.toml").read_text())["project"]
    assert wanted.strip(".[]") in project["optional-dependencies"]
    assert (readme_env.ROOT / package / "pyproject.toml").is_file()


def test_the_first_line_makes_the_files() -> None:
    assert LINES[0] == ["sample"]


def test_lines_are_run_as_commands() -> None:
    for words in LINES:
        run = readme_env.as_run(words)
        assert run is None or (run[: len(words)] == words and parse(run) is not None)


def test_reasons_are_needed() -> None:
    for pattern in (*readme_env.NOT_RUN, *readme_env.APPENDED):
        assert any(re.search(pattern, " ".join(words)) for words in LINES), pattern


def test_a_line_that_fails_is_said(tmp_path: Path) -> None:
    assert readme_env.check_line(["sh", "-c", "echo wrong >&2; exit 2"], os.environ, tmp_path) == "wrong\n"
    assert readme_env.check_line(["sh", "-c", "exit 3"], os.environ, tmp_path) == "3"
    assert readme_env.check_line(["true"], os.environ, tmp_path) is None
