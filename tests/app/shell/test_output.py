"""Signs of life: on a terminal at once, elsewhere a line now and then."""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.files import listed
from support.networks import save_tapir
from tapetum.app.shell import output
from tapetum.app.track.live import TrackLiveOptions, track_live
from tapetum.app.track.live_run import LiveFrame
from tapetum.app.verb import Listener

Run = Callable[..., tuple[int, str, str]]


def test_a_line_every_few_seconds_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    with output.terminal() as listener:
        for done in range(1, 41):
            listener.progress("tracking", done, 40)
            now[0] += 0.5
        listener.progress("quick", 1, 2)
        listener.progress("quick", 2, 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"tapetum: tracking: {done} of 40" for done in (11, 21, 31)]


def test_the_summary_of_a_live_run_is_the_last_line(run: Run, clip: Path, tmp_path: Path) -> None:
    model = save_tapir(tmp_path / "causal.safetensors", causal=True)
    words = ["--online", "--grid", 2, "--model", model, "--json", "--no-overlay", "--resize", 32]
    code, out, err = run("track", clip, *words, "--out", tmp_path / "out")
    *frames, summary = map(json.loads, out.splitlines())
    assert [line["type"] for line in (*frames, summary)] == ["frame"] * 6 + ["summary"]
    assert {len(frame["points"]) for frame in frames} == {4}
    assert summary["overlay"] is None
    assert (code, err) == (0, "")
    assert listed(tmp_path / "out") == ["tracks.csv", "tracks.npz"]


@pytest.mark.slow
def test_latency_of_a_file_is_without_what_waited_and_each_frame_is_told_of(clip: Path, tmp_path: Path) -> None:
    model = save_tapir(tmp_path / "causal.safetensors", causal=True)
    heard: list[LiveFrame] = []
    told: list[str] = []

    class Ears(Listener):
        def status(self, text: str) -> None:
            told.append(text)

    def slow(frame: LiveFrame) -> None:
        heard.append(frame)

    def watched(_: object) -> bool:
        time.sleep(0.8)  # meanwhile the next frame waits
        return len(heard) < 5

    options = TrackLiveOptions(source=str(clip), model=str(model), query=("0,20,20",), viewer=watched, each=slow)
    done = track_live.run(options, Ears())
    assert [frame.frame for frame in heard] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in heard] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert max(done.latency[1:]) < 0.7
    assert told[0].startswith("frame 0: ")
    assert "latency" in told[1]
    assert told[-1] == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--start", "3"], "need the whole video"),
        (["--fps", "5"], "--fps needs the whole video"),
        (["--json", "--preview", "-"], "would both write to stdout"),
    ],
)
def test_what_a_live_run_refuses(run: Run, clip: Path, tmp_path: Path, words: list[str], message: str) -> None:
    code, out, err = run("track", clip, "--online", *words, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_what_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    """Classes that no image shows have no score; a long evaluation must not end in an error for that."""
    content = {"ap": 0.5, "by_label": {"marble": float("nan"), "ball": 1}, "rows": [(float("inf"), "nan")]}
    output.print_json(content)
    output.print_line(content)
    both = capsys.readouterr().out
    expected = {"ap": 0.5, "by_label": {"marble": None, "ball": 1}, "rows": [[None, "nan"]]}
    assert json.loads(both[: both.rindex("\n{")]) == json.loads(both[both.rindex("\n{") :]) == expected


def test_a_line_is_there_at_once_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tapetum serve > log` says its address while it runs."""
    pipe = io.TextIOWrapper(io.BufferedWriter(raw := io.BytesIO(), 1 << 16))
    monkeypatch.setattr("sys.stdout", pipe)
    with output.terminal() as listener:
        listener.line("address")
        assert raw.getvalue() == b"address\n"
