"""What is kept of finished items: files with stamps, settings of a folder, what killed workers left. Rows: test_identity.py."""

from pathlib import Path

import pytest

from support.traced import memory_below
from tapetum.core.errors import BadInput
from tapetum.core.files import write_json
from tapetum.core.finished import ResultsOnDisk, continues_run, read_finished
from tapetum.core.identity import Outdated


def test_results_on_disk_are_read_back_and_take_no_memory() -> None:
    results = ResultsOnDisk(100)
    with memory_below(1 << 22):
        for number in reversed(range(100)):
            results[number] = {"number": number, "text": str(number) * 50_000}
    assert [each["number"] for each in results] == list(range(100))
    assert results[-2:] == [results[98], results[99]]


def test_what_is_finished_is_read_back_for_the_same_stamp_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, outdated = tmp_path / "a.json", Outdated(print)
    assert read_finished(file, {"model": "a"}, outdated) is None
    write_json(file, {"of": {"model": "a"}, "rows": [1]})
    content = read_finished(file, {"model": "a"}, outdated, "of")
    assert content is not None
    assert content["rows"] == [1]
    assert read_finished(file, {"model": "a"}, outdated) is None  # no stamp under this name
    outdated.say(file)
    assert capsys.readouterr().out == ""
    assert read_finished(file, lambda: {"model": "b"}, outdated, "of") is None
    outdated.say("out")
    assert capsys.readouterr().out == "out: 1 result that was kept there differs in model; it is computed again\n"
    for damaged in ("{", "[1]", '"text"'):
        file.write_text(damaged)
        assert read_finished(file, {"model": "a"}, outdated, "of") is None


def test_a_call_goes_on_with_its_own_run_alone(tmp_path: Path) -> None:
    file, settings = tmp_path / "settings.json", {"n": 3, "size": 64}
    assert not continues_run(file, settings, tmp_path, "0 scenes")
    write_json(file, settings)
    assert continues_run(file, settings, tmp_path, "2 scenes")
    with pytest.raises(BadInput, match=r"holds 2 scenes of a run with --n 3 that was not finished; give that again"):
        continues_run(file, {**settings, "n": 4}, tmp_path, "2 scenes")
    file.write_text("{")
    with pytest.raises(BadInput, match=r"cannot be read .*; remove .* or choose another folder"):
        continues_run(file, settings, tmp_path, "2 scenes")
