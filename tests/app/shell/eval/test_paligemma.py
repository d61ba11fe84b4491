"""`tapetum eval paligemma` on saved answers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.question_sets import lines, make_set, write

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(tmp_path: Path) -> list[str]:
    examples = make_set("tallyqa", tmp_path / "d")
    told = [{"id": e.id[1], "answer": text} for e, text in zip(examples, ("four", "7"), strict=True)]
    write(tmp_path, {"said.jsonl": lines(*told)})
    return [
        "eval",
        "paligemma",
        "--task",
        "tallyqa",
        "--data",
        str(tmp_path / "d"),
        "--predictions",
        str(tmp_path / "said.jsonl"),
    ]


def test_table_and_json(run: Run, said: list[str]) -> None:
    code, out, _ = run(*said)
    assert code == 0
    first, *others = out.splitlines()
    assert first.split() == ["accuracy", "0.500", "0.095", "to", "0.905", "2"]
    assert "published: paligemma-3b simple 81.7/84.9, complex 69.6/72.3" in others
    assert others[-1] == "2 examples of tallyqa, answers of a file"
    code, out, _ = run(*said, "--json")
    found = json.loads(out)
    assert (found["benchmark"], found["task"], found["answers"]) == ("paligemma", "tallyqa", "file")
    assert {row["name"]: row["value"] for row in found["scores"]}["simple"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--task": "tallyQA"}, "there is no task 'tallyQA'; did you mean tallyqa?"),
        ({"--data": "nowhere"}, "there is no folder nowhere; give that of the files of TallyQA"),
        ({"--splits": "val"}, "val.jsonl; official files of this task are not read"),
    ],
)
def test_one_clear_line(run: Run, said: list[str], change: dict[str, str], words: str) -> None:
    for name, value in change.items():
        said = [*said, name, value]
    code, out, err = run(*said)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
