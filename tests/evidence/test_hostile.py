"""What looks at hostile commands sees each fault; the commands follow from the seed."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.scripts import script

cli, foreign, outcomes = (script(f"evidence/hostile-cli/{name}.py") for name in ("claims", "foreign", "outcomes"))


def _log(path: Path, *losses: float | None) -> None:
    path.write_text("".join(json.dumps({"step": k, "loss": loss}) + "\n" for k, loss in enumerate(losses)))


RESULTS: list[tuple[str, str, Callable[[Path], Any], bool]] = [
    ("", "e.npz", lambda path: np.savez(path, embedding=np.ones(2), cosines=np.full(2, np.nan)), True),
    ("", "e.npz", lambda path: np.savez(path, embedding=np.array([1, np.nan])), False),
    ("", "vectors.f16", lambda path: np.full(2, np.inf, np.float16).tofile(path), False),
    ("", "a.csv", lambda path: path.write_text("name,x\na=1,-2.5\n"), True),
    ("", "a.csv", lambda path: path.write_text('name,x\n"=1+1",2\n'), False),
    ("", "a.csv", lambda path: path.write_text("x,name\n2,@SUM(A1)\n"), False),
    ("", "a.json", lambda path: path.write_text('{"a": NaN}'), False),
    ("", "log.jsonl", lambda path: _log(path, None, 2.5), True),
    ("", "log.jsonl", lambda path: _log(path, None, None), False),
    ("", "a.safetensors", lambda path: path.write_bytes(b"<html>not found</html>"), False),
    ("nan.npy: 3 frames, cosine 0.5, info", "a.txt", lambda path: path.write_text("nan"), True),
    ("cosine nan, a.png", "a.txt", lambda path: path.write_text("nan"), False),
]


@pytest.mark.parametrize(("printed", "name", "write", "sound"), RESULTS)
def test_results_that_are_none_are_seen(tmp_path: Path, printed: str, name: str, write: Any, sound: bool) -> None:
    write(tmp_path / name)
    assert (not list(outcomes.lies(tmp_path, {}, printed))) == sound
    assert not list(outcomes.lies(tmp_path, outcomes.digests(tmp_path), ""))  # it was there before


def test_a_secret_is_found_where_it_is_printed_or_written(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not list(outcomes.leaks("hunter2", "user:***@host", [tmp_path]))
    (tmp_path / "a" / "b" / "ledger.json").write_bytes(b"\xffuser:hunter2@host")
    assert len(list(outcomes.leaks("hunter2", "user:hunter2@host", [tmp_path]))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import time; x = b'1' * 2**29; time.sleep(20)", "memory"),
        ("import time; open('big', 'wb').truncate(2**29); time.sleep(20)", "written"),
        ("pass", ""),
    ],
)
def test_a_command_that_takes_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, fault: str) -> None:
    monkeypatch.setattr(outcomes, "MOST_MEMORY", 1 << 28)
    monkeypatch.setattr(outcomes, "MOST_WRITTEN", 1 << 28)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    watch = outcomes.Watch(process, [tmp_path])
    assert watch.wait(20) == (-9 if fault else 0)
    assert (fault in watch.bloat) if fault else not watch.bloat
    assert not watch.remaining()


@pytest.mark.slow
def test_a_process_that_a_command_leaves_behind_is_seen_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "LINGER", 0.5)
    code = "import subprocess; subprocess.Popen(['sleep', '30'])"
    watch = outcomes.Watch(subprocess.Popen([sys.executable, "-c", code], start_new_session=True), [tmp_path])
    assert watch.wait(20) == 0
    assert watch.remaining()
    assert not watch.remaining()


def test_a_command_follows_from_the_seed_and_its_number() -> None:
    def drawn(seed: int) -> list[list[str]]:
        return [cli.command(verb, cli.Dice(random.Random(f"{seed} {k}"), 0.4)) for k, verb in enumerate([*cli.VERBS] * 5)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    words = {word for command in drawn(1) for word in command}
    assert {foreign._NAME.match(word)[1] for word in words if foreign._NAME.match(word)} >= {"vit", "index", "run", "lerobot"}
