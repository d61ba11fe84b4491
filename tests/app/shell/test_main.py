"""The command line as such: help without torch, exit codes, one line for an error."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tapetum.app.shell.main import GROUPS, VERBS
from tapetum.hub.registry import known

Run = Callable[..., tuple[int, str, str]]


def shell(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tapetum", *arguments], capture_output=True, text=True, check=False, **options)


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tapetum.app.shell.main import main; code = main(['--help']);"
        "heavy = [name for name in ('torch', 'numpy', 'av', 'tyro', 'rich') if name in sys.modules];"
        "sys.exit(code or heavy or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines if line.startswith("  ")) == sorted([*VERBS, "tapetum-world"])
    headings = [line.partition(":")[0] for line in lines if ": " in line and line[0] != " "]
    assert [heading for heading in headings if heading in GROUPS] == list(GROUPS)
    assert {entry.group for entry in VERBS.values()} == set(GROUPS)


@pytest.mark.slow
def test_verbs_are_parsed_without_torch() -> None:
    code = (
        "import sys; from tapetum.app.shell.main import VERBS, main;"
        "codes = [main([verb, '--help']) for verb in VERBS];"
        "sys.exit([name for name in ('torch', 'av') if name in sys.modules] or max(codes))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_verb_that_there_is_not(run: Run) -> None:
    code, out, err = run("trakc", "clip.mp4")
    assert (code, out, err) == (2, "", "tapetum: there is no verb 'trakc'; did you mean track? (see: tapetum --help)\n")


@pytest.mark.parametrize("arguments", [[], ["eval"]])
def test_usage_errors_exit_2_on_stderr(arguments: list[str], run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert not arguments or err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("track c.mp4 --grid abc", "--grid: 'abc' is no INT (see: tapetum track --help)"),
        ("train tap-nano --out x --steps 1.5", "--steps: '1.5' is no INT (see: tapetum train tap-nano --help)"),
        (
            "track c.mp4 --dtype int",
            "invalid choice 'int' for argument '--dtype'. Expected one of ('auto', 'float32', 'bfloat16', 'float16')"
            " (see: tapetum track --help)",
        ),
        ("track --grid", "Missing value for argument '--grid'. Expected 1 values (see: tapetum track --help)"),
        ("track c.mp4 --grid 3 4", "nothing takes 4 (see: tapetum track --help)"),
        (
            "eval",
            "give one of tapvid, tapvid3d, votsp, paligemma, longvideo, perception-test, davis, objects, zero-shot, retrieval,"
            " all, scenes (see: tapetum eval --help)",
        ),
        ("scenes make", "DIR, --n must be given (see: tapetum scenes make --help)"),
    ],
)
def test_what_does_not_fit_is_one_line(words: str, line: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("30", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run(*words.split()) == (2, "", f"tapetum: {line}\n")
        assert os.environ["COLUMNS"] == columns


def test_debug_shows_where(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_DEBUG", "1")
    code, _, err = run("track", tmp_path / "nothing.mp4")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("tapetum: there is no file")


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "tapetum", "weights", "list"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


def test_weights_list_and_show(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    (tmp_path / "tapir_checkpoint_panning.pt").write_bytes(b"x")
    code, out, _ = run("weights", "list")
    assert code == 0
    assert sorted(line.split()[0] for line in out.splitlines() if line.startswith("  ")) == sorted(known())
    assert re.search(r"\n  tapir +here +Apache-2.0 ", out)
    assert re.search(r"\n  siglip2-base-32 +away +1.5 GB +Apache-2.0 +zero-shot 74.0 ", out)
    code, out, _ = run("weights", "list", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)["weights"]}
    assert entries["tapir"]["here"]
    assert not entries["bootstapir"]["here"]
    code, out, _ = run("weights", "show", "tapir", "--json")
    assert json.loads(out) == entries["tapir"]
    code, out, _ = run("weights", "show", "bootstapir")
    assert "https://storage.googleapis.com/dm-tapnet/bootstap/bootstapir_checkpoint_v2.pt" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["show", "tapri"], "did you mean tapir"), (["show"], "NAME must be given"), (["list", "tapir"], "nothing takes tapir")],
)
def test_weights_errors(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run("weights", *arguments)
    assert (code, out) == (2, "")
    assert message in err
