"""What left is named in one line, with what took its place, and nothing that is there is called gone."""

from collections.abc import Callable

from tapetum.app.commands import Command, Group
from tapetum.app.shell import retired
from tapetum.app.shell.main import VERBS, command
from tapetum.app.shell.parsing import options_of


def test_what_left_is_not_there() -> None:
    for path, option in retired.RETIRED:
        verb, *below = path.split() or ["track"]
        chosen = command(verb) if verb in VERBS else None
        for word in below:
            chosen = chosen.find(word) if isinstance(chosen, Group) else None
        assert bool(option) or chosen is None, path
        if isinstance(chosen, Command):
            assert option not in {name for each in options_of(chosen.options) for name in each.names}, (path, option)


def test_it_is_answered_in_one_line(run: Callable[..., tuple[int, str, str]]) -> None:
    for line in (
        "hip plan",
        "data check x",
        "search cat --exact",
        "show tracks a.npz",
        "data show x",
        "pretrain mae --cache-gb 3",
    ):
        code, out, err = run(*line.split())
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "it left: " in err
