"""The parts of the papers: every module, test and command that the table names is there, and no cell is empty."""

import ast
from functools import cache
from pathlib import Path

from support.docs_pages import DOCS
from support.layout import SOURCE, TESTS
from support.scripts import script
from tapetum.app.commands import Command, resolve_command
from tapetum.app.shell.main import VERBS, command

paper_parts = script("docs/tools/paper_parts.py")
ROWS = [(paper, part) for paper, parts in paper_parts.PARTS.items() for part in parts]


@cache
def names_of(file: Path) -> set[str]:
    """The names that a module defines or assigns at its top."""
    names = set[str]()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_system_has_its_parts() -> None:
    assert len(paper_parts.PARTS) == 12
    for paper, parts in paper_parts.PARTS.items():
        assert 6 <= len(parts) <= 16, paper
        assert len({part.name for part in parts}) == len(parts), paper


def test_what_the_table_names_is_there() -> None:
    for paper, part in ROWS:
        where = f"{paper}: {part.name}"
        module, _, name = part.where.partition(":")
        assert name in names_of(SOURCE / f"{module.replace('.', '/')}.py"), where
        assert (TESTS / part.test).is_file(), where
        assert part.checks, where
        assert set(part.checks) <= set(paper_parts.CHECKS), where


def test_each_page_of_a_system_ends_with_what_came_since() -> None:
    pages = "tap tapnext bootstrap tapvid3d perception-test longvideo odin hip paligemma pretraining flops-study adapters"
    for name in pages.split():
        headings = [line for line in (DOCS / "systems" / f"{name}.md").read_text().splitlines() if line.startswith("## ")]
        assert headings[-1].startswith("## Since the paper"), name


def test_commands_are_there() -> None:
    for paper, part in ROWS:
        if part.command.startswith("("):
            assert len(part.command) > 2, (paper, part.name)
            continue
        verb, *rest = part.command.split()
        assert verb in VERBS, (paper, part.command)
        chosen, _, _ = resolve_command(command(verb), rest, verb)
        assert isinstance(chosen, Command), (paper, part.command)
