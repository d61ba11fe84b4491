"""Every verb that computes takes --threads, and where it is not given the cores decide."""

import os
from collections.abc import Callable

import pytest
import torch

from support.commands import commands_of
from tapetum.app.shell.doctor import doctor
from tapetum.app.shell.main import VERBS
from tapetum.app.shell.parsing import options_of
from tapetum.app.shell.threads import IDLE, computing, has_threads, take_threads
from tapetum.core.errors import BadInput
from tapetum.core.threads import SHARED, threads_each, usable_cores

Run = Callable[..., tuple[int, str, str]]


def test_every_verb_that_computes_takes_threads() -> None:
    for verb in [verb for verb in VERBS if verb not in IDLE]:
        for path, command in commands_of(verb):
            own = any("threads" in option.names for option in options_of(command.options))
            assert has_threads(verb, command.options) is not own, path


def test_threads_are_taken_out_of_the_words() -> None:
    assert take_threads(["x", "--threads", "3", "--grid", "4"]) == (["x", "--grid", "4"], 3)


def test_after_two_dashes_it_is_a_word() -> None:
    words = ["a.mp4", "--", "--threads", "3"]
    assert take_threads(words) == (words, None)


def test_help_names_it_where_it_is_taken(run: Run) -> None:
    assert "--threads" in run("track", "--help", "all")[1]
    assert "--threads" not in run("ledger", "--help", "all")[1]
    assert "by default OMP_NUM_THREADS, or" not in run("train", "tap-nano", "--help", "all")[1]


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "9999999", "1.5"])
def test_what_is_no_number_of_threads_is_refused(value: str, run: Run) -> None:
    code, _, errors = run("track", "a.mp4", f"--threads={value}")
    assert code == 2
    assert errors.startswith(f"tapetum: --threads {value}")
    with pytest.raises(BadInput):
        take_threads(["--threads"])


def test_torch_computes_with_them_and_has_its_own_again_afterwards(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before, counts = torch.get_num_threads(), []
    monkeypatch.setattr(doctor, "run", lambda *_: counts.append((torch.get_num_threads(), threads_each(2))))
    assert run("doctor", "--threads", before + 1)[0] == 0
    assert counts == [(before + 1, before + 1)]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("said", "asked", "threads"), [("5", None, "5"), (None, None, str(usable_cores())), ("5", 2, "2")])
def test_the_user_decides_before_the_machine(
    said: str | None, asked: int | None, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "torch")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    with computing(asked):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == (threads, "passive")
        shared = said is None and asked is None
        assert threads_each(2) == (max(1, int(threads) // 2) if shared else int(threads))
    assert os.environ.get("OMP_NUM_THREADS") == said
    assert SHARED not in os.environ
