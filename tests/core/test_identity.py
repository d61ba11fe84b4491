"""What is kept belongs to content: fingerprints of files, folders and weights, and the line that says what differs."""

import os
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.identity import Outdated, differing, fingerprint, source_label, stamp
from tapetum.hub.registry import known, location, weights_fingerprint


def test_a_fingerprint_is_of_content_and_not_of_names_or_times(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "deep").mkdir(parents=True)
        (folder / "a.bin").write_bytes(b"x" * 9)
        (folder / "deep" / "b.bin").write_bytes(b"y")
    os.utime(other / "a.bin", ns=(5, 5))
    assert fingerprint(one) == fingerprint(other) != fingerprint(one / "deep")
    (other / ".hidden").write_bytes(b"z")
    assert fingerprint(one) == fingerprint(other)
    (other / "deep" / "b.bin").write_bytes(b"z")
    assert fingerprint(one) != fingerprint(other)
    assert source_label(one).split()[1] == source_label(other).split()[1]  # names and sizes alone, of what may be large
    (other / "deep" / "b.bin").write_bytes(b"zz")
    assert source_label(one).split()[1] != source_label(other).split()[1]
    assert source_label(None) is None
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        fingerprint(tmp_path / "pipe")


def test_weights_by_name_file_folder_and_run(tmp_path: Path) -> None:
    bundled = location(known()["tapir-nano"])
    assert weights_fingerprint("tapir-nano") == weights_fingerprint(bundled) == fingerprint(bundled)
    (tmp_path / "encoder.safetensors").write_bytes(b"weights")
    (tmp_path / "log.jsonl").write_text("1")
    of_run = weights_fingerprint(tmp_path)
    (tmp_path / "log.jsonl").write_text("2")  # what a run writes beside its weights does not count
    assert of_run == weights_fingerprint(tmp_path) == fingerprint(tmp_path / "encoder.safetensors")
    assert weights_fingerprint("static") == "static"


def test_stamps_hold_what_is_short_and_hash_what_is_long() -> None:
    short = stamp(rate=1.5, question="what?", options=("a", "b"), image=np.zeros((2, 2)), nothing=None)
    assert (short["rate"], short["question"], short["nothing"]) == (1.5, "what?", None)
    assert len(short["options"]) == len(short["image"]) == 16
    for changed in (
        stamp(options=("b", "a")), stamp(image=np.ones((2, 2))), stamp(image=np.zeros((2, 2), int)), stamp(image=np.zeros(4)),
    ):  # fmt: skip
        assert differing(short, changed) == list(changed)
    assert differing("no stamp", {"a": 1}) == ["a"]


def test_one_line_counts_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    outdated = Outdated(print)
    outdated.say("x")
    outdated.add(["dtype"])
    outdated.add(["weights", "dtype"], 2)
    outdated.say("x", done=True)
    outdated.say("x")
    assert (
        capsys.readouterr().out == "x: 3 results that were kept there differ in dtype and weights; they were computed again\n"
    )
