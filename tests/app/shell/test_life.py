"""On a terminal, a verb shows at once that it lives, before torch is imported."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

TRY = """
import sys
from tapetum.app.shell.main import main
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.stderr.flush()
            print("torch is imported", file=sys.stderr)
sys.meta_path.insert(0, NoTorch())
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [["track", "CLIP", "--grid", "2", "--out", "OUT"], ["doctor"]])
def test_a_sign_of_life_comes_before_torch(clip: Path, tmp_path: Path, words: list[str]) -> None:
    ours, theirs = pty.openpty()
    words = [{"CLIP": str(clip), "OUT": str(tmp_path / "out")}.get(word, word) for word in words]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", TRY, *words], stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown, until = "", time.monotonic() + 600
    try:
        while "torch is imported" not in shown and time.monotonic() < until:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    shown += os.read(ours, 4096).decode(errors="replace")
                except OSError:  # the other end is closed
                    break
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    before, imported, _ = shown.partition("torch is imported")
    assert imported
    assert before.startswith(f"tapetum {words[0]} ...")
    assert "loading" in before
