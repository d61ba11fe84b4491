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
        ("train tap-nano --out o --layout voc", "tapetum train tap-nano has no option --layout; did you mean"),
        ("eval tapvdi --data x", "tapetum eval has no 'tapvdi'; did you mean tapvid?"),
        ("data shrads x", "tapetum data has no 'shrads'; did you mean shards?"),
        ("tapvid3d chek x", "tapetum tapvid3d has no 'chek'; did you mean check?"),
        ("doctor --quick", "tapetum doctor has no option --quick; it left: doctor tries nothing any more"),
        ("data check x", "tapetum data has no 'check'; it left: "),
        ("completion bash", "there is no verb 'completion'; it left: "),
        ("weights list --zzzzzzzz", "tapetum weights list has no option --zzzzzzzz; it has --json"),
    ],
)
def test_a_slip_is_one_line(run: Run, words: str, message: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tapetum: {message}")
