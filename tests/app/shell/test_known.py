"""What a command understands is known before it is parsed: a slip of the finger gets one line with the nearest name."""

from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("track a.mp4 --gird 5", "tapetum track has no option --gird; did you mean --grid?"),
        ("track a.mp4 --gird=5", "tapetum track has no option --gird; did you mean --grid?"),
        ("train tap-nano --out o --stesp 5", "tapetum train tap-nano has no option --stesp; did you mean --steps?"),
        ("tapvid3d chek x", "tapetum tapvid3d has no 'chek'; did you mean check?"),
        ("completion bash", "there is no verb 'completion'; it left: "),
        ("weights list --zzzzzzzz", "tapetum weights list has no option --zzzzzzzz; it has --json"),
    ],
)
def test_a_slip_is_one_line(run: Run, words: str, message: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tapetum: {message}")
