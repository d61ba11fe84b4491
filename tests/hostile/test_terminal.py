"""What comes from outside does nothing to a terminal, whatever is printed of it: results, remarks, errors, progress."""

import json
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.account.ledger import Ledger
from tapetum.app.shell.output import terminal
from tapetum.app.shell.streams import visible_results
from tapetum.core.errors import visible

Run = Callable[..., tuple[int, str, str]]
EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\r\u202e"
SEEN = r"\x1b[2J\x1b]0;title\x07\x9b31m\x7f\r\u202e"


def harmless(text: str) -> bool:
    return not any((ord(letter) < 32 and letter not in "\n\t") or 127 <= ord(letter) < 160 for letter in text)


def test_control_characters_are_seen() -> None:
    assert visible(EVIL) == SEEN
    assert visible("ünïcödé 日本\t\n") == "ünïcödé 日本\t\n"


def test_a_file_name_in_an_error(run: Run, tmp_path: Path) -> None:
    for verb in ["classify", "caption", "embed", "track", "ledger", "account"]:
        out = {"embed": ["--out", tmp_path / "t.npz"], "track": ["--out", tmp_path / "o"]}.get(verb, [])
        code, stdout, error = run(verb, tmp_path / f"{EVIL}.png", *out)
        assert (code, stdout) == (2, "")
        assert harmless(error)
        assert r"\x1b[2J" in error


def test_a_file_name_and_a_remark_in_results(run: Run, tmp_path: Path) -> None:
    for name in (f"{EVIL}a.png", "b.png"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / f"{EVIL}.png").write_bytes(b"no image")
    code, out, error = run("discover", *tmp_path.iterdir(), "--out", tmp_path / "out", "--clusters", 2)
    assert code == 2  # one of three could not be read
    assert harmless(out + error)
    assert f"{SEEN}.png is not an image" in error
    _, out, _ = run("discover", *tmp_path.glob("*.png"), "--out", tmp_path / "out", "--clusters", 2, "--json")
    assert f"{tmp_path / EVIL}a.png" in [each["path"] for each in json.loads(out)["images"]]


def test_fields_of_a_ledger(run: Run, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        ledger = Ledger(tmp_path / name / "ledger.json", {}, command="test")
        ledger.session["machine"]["cpu"] = ledger.session["energy_method"] = EVIL
        ledger.write()
    for runs in (("a",), ("a", "b")):
        code, out, error = run("ledger", *(tmp_path / name for name in runs))
        assert (code, error) == (0, "")
        assert harmless(out)
        assert SEEN in out


def test_remarks_and_progress_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    before, sys.stderr = sys.stderr, open(theirs, "w", encoding="utf-8")  # noqa: SIM115
    try:
        with terminal() as listener:
            listener.note(f"note {EVIL}")
            listener.status(f"status {EVIL}")
            listener.progress(f"task {EVIL}", 1, 3)
            listener.progress(f"task {EVIL}", 3, 3)
        sys.stderr.flush()
        shown = os.read(ours, 1 << 16).decode()
    finally:
        sys.stderr.close()
        sys.stderr = before
        os.close(ours)
    assert shown.count(r"\x1b]0;title\x07") >= 3
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown


def test_results_in_bytes_pass_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    with visible_results():
        sys.stdout.buffer.write(b"\x1b")
        sys.stdout.writelines(["\x1b", "a\n"])
    assert capfd.readouterr().out == "\x1b\\x1ba\n"
