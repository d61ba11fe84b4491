"""The script that breaks the package: what it breaks, that a seed is a list, and who is killed."""

from pathlib import Path

import pytest

from support.scripts import script

made, running = script("benchmarks/mutants_made.py"), script("benchmarks/mutants_run.py")
mutants = script("benchmarks/mutants.py")

TOY = b'''"""A toy."""

LIMIT = 3


def mix(first, second, share=0.5):
    """Mix two numbers."""
    if share > 1:
        raise ValueError(f"{share} is more than {1 + 0}")
    total = (1 - share) * first + share * second
    total = max(total, -LIMIT)
    return abs(total) if total != 0 else 0


def unused(x):
    return x + 1
'''
TEST = """import pytest

from toys.room.toy import mix


def test_the_middle():
    assert mix(2, 5) == 3.5


def test_a_bound():
    assert mix(-4, -7) == 3


@pytest.mark.slow
def test_not_fast():
    assert mix(0, 0) == 0
"""
FILE = "src/toys/room/toy.py"


def changes(source: bytes = TOY) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for mutant in made.candidates(FILE, source):
        found.setdefault(mutant.kind, set()).add(mutant.after)
    return found


def test_each_kind_of_change_is_made_and_errors_are_left_alone() -> None:
    after = changes()
    assert set(after) == set(made.KINDS) - {"argument", "axis", "key"}  # max commutes
    assert "total = ((share - 1)) * first + share * second" in after["operand"]
    assert after["branch"] == {"return abs(total)"}
    assert "total = ((1 - share) * first - share * second)" in after["operator"]
    assert "total = max(total, LIMIT)" in after["operator"]
    assert {"LIMIT = 4", "def mix(first, second, share=1.0):", "return x + 2"} < after["constant"]
    assert "pass" in after["line"]
    assert "return total if total != 0 else 0" in after["call"]
    assert "total = (1 - share) * second + share * second" in after["name"]
    assert not any("raise" in each or "share > 2" in each or "share >= 1" in each for kind in after.values() for each in kind)


def test_a_pair_of_networks_a_wrapped_value_dimensions_keys_and_one_process() -> None:
    source = b"def loss(student, teacher):\n    return mse(student.head, torch.tanh(teacher.detach()))\n"
    after = changes(source)
    assert after["name"] == {
        "return mse(teacher.head, torch.tanh(teacher.detach()))",
        "return mse(student.head, torch.tanh(student.detach()))",
    }
    assert after["call"] == {"return mse(student.head, teacher.detach())", "return mse(student.head, torch.tanh(teacher))"}
    assert after["argument"] == {"return mse(torch.tanh(teacher.detach()), student.head)"}
    source = b"def f(x, d, world):\n    if world.main:\n        save(d['a'])\n    return x.sum(-1), x.mean(dim=0), d['b']\n"
    after = changes(source)
    assert after["axis"] == {"return x.sum(-2), x.mean(dim=0), d['b']", "return x.sum(-1), x.mean(dim=-1), d['b']"}
    assert after["key"] == {"save(d['b'])", "return x.sum(-1), x.mean(dim=0), d['a']"}
    assert after["branch"] == {"if True:"}


def test_a_seed_is_a_list_that_edits_elsewhere_do_not_change() -> None:
    def ids(source: bytes, seed: int, count: int) -> list[str]:
        return [mutant.id for mutant in mutants.choose(made.candidates(FILE, source), seed, count)]

    first = ids(TOY, 3, 12)
    assert first == ids(b"# a line more\n" + TOY, 3, 12)
    assert first[:5] == ids(TOY, 3, 5)
    assert first != ids(TOY, 4, 12)
    assert len(set(first)) == 12


@pytest.mark.slow  # starts pytest five times
def test_who_is_killed_who_lives_and_who_is_not_met(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, text in {
        FILE: TOY,
        "tests/room/test_toy.py": TEST.encode(),
        "pyproject.toml": b"[tool.pytest.ini_options]\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    tests = running.record(root, ["tests/room/test_toy.py"], tmp_path / "cache", tmp_path / "temporary")
    assert set(tests["tests/room/test_toy.py"].seconds) == {
        f"tests/room/test_toy.py::test_{name}" for name in ("the_middle", "a_bound")
    }
    found = {mutant.after: mutant for mutant in made.candidates(FILE, TOY)}
    outcomes = {
        after: mutants.judge(root, found[after], tests)
        for after in (
            "total = ((1 - share) * first - share * second)",
            "return total if total != 0 else 0",  # test_a_bound alone notices
            "return abs(total) if total != 0 else 1",  # no fast test has a total of 0
            "return x + 2",
        )
    }
    assert [each["outcome"] for each in outcomes.values()] == ["killed", "killed", "survived", "not executed"]
    assert [each["by"].split("::")[-1] for each in outcomes.values()][1:] == ["test_a_bound", "", ""]
    assert (root / FILE).read_bytes() == TOY
    rows = [{**mutants.described(n, found[after]), **outcome} for n, (after, outcome) in enumerate(outcomes.items())]
    same = {(FILE, "mix", "return abs(total) if total != 0 else 0", "return abs(total) if total != 0 else 1"): "not so"}
    assert mutants.report(rows, same, 0)["share"] == 0.75
