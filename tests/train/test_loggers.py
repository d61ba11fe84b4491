"""Loggers beside log.jsonl: each gets every number once, also of a run that resumes; one that fails does not end the run."""

import glob
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tapetum.core.errors import MissingExtra, install_line
from tapetum.train import Task, TrainConfig, fit
from tapetum.train.loggers import Loggers

CONFIG = TrainConfig(steps=4, batch_size=2, lr=0.05, checkpoint_every=2, threads=1, tensorboard=False)


class Line(Task):
    """Learns to be zero."""

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def dataset(self) -> list[torch.Tensor]:
        return [torch.ones(1)] * 100

    def loss(self, model, batch, context):
        return model(batch).square().mean(), {"first": batch[0, 0]}

    def evaluate(self, model, step):
        return {"weight": float(model.weight[0, 0])}


def logged(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Each number of log.jsonl that loggers have too, by their name, as (step, value)."""
    values: dict[str, list[tuple[int, float]]] = {}
    for line in (out / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        named = {"train/loss": record["loss"], "train/lr": record["lr"], "train/first": record["metrics"]["first"]}
        named |= {"eval/weight": record["eval"]["weight"]} if "eval" in record else {}
        for name, value in named.items():
            values.setdefault(name, []).append((record["step"], value))
    return values


def run_twice(out: Path, logger: str) -> None:
    """Train in two sessions, the first of which stops after its first step."""
    config = replace(CONFIG, log_to=(logger,), eval_every=2)
    assert fit(Line(), replace(config, max_minutes=0), out).state == "stopped"
    assert fit(Line(), config, out).state == "finished"


def test_tensorboard_has_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportMissingImports]

    run_twice(tmp_path, "tensorboard")
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((tmp_path / "tensorboard").iterdir(), key=lambda file: int(file.suffix[1:])):
        content = file.read_bytes()
        while content:  # a record: length (8 bytes), its checksum (4), an event, its checksum (4)
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            content = content[16 + length :]
    for name, values in logged(tmp_path).items():
        assert [step for step, _ in found[name]] == [step for step, _ in values]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in values], rel=1e-6)
    assert len(logged(tmp_path)["train/loss"]) == 4


@pytest.mark.slow
def test_wandb_has_the_log_of_both_sessions_under_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_twice(tmp_path, "wandb")
    number = json.loads((tmp_path / "loggers.json").read_text())["wandb"]
    files = sorted(glob.glob(str(tmp_path / "wandb" / f"offline-run-*-{number}" / f"run-{number}.wandb")))
    assert len(files) == 2
    found: dict[str, list[tuple[int, float]]] = {}
    for file in files:
        for name, values in read_wandb(file).items():
            found.setdefault(name, []).extend(values)
    for name, values in logged(tmp_path).items():
        assert found[name] == values


def read_wandb(file: str) -> dict[str, list[tuple[int, float]]]:
    """Read the numbers of an offline run: a log in LevelDB's format, whose records are messages of wandb."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportMissingImports]

    found: dict[str, list[tuple[int, float]]] = {}
    for data in leveldb_records(Path(file).read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name, value in row.items():
                found.setdefault(name, []).append((row.get("_step", record.history.step.num), value))
    return found


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """Join the pieces of each record: checksum (4 bytes), length (2), kind (1), data; none crosses a block of 32 KiB."""
    position, parts = 7, []  # after wandb's own header
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        parts.append(content[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield b"".join(parts)
            parts = []


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"needs the package wandb, .* pip install 'tapetum\[wandb\]'"):
        fit(Line(), replace(CONFIG, log_to=("wandb",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_tensorboardx_there_is_one_notice_where_nobody_asked(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorboardX'] = None\n"  # as if it were not installed
        "from pathlib import Path; from tapetum.train.loggers import open_loggers\n"
        f"assert not open_loggers((), Path({str(tmp_path)!r}), 0, {{}}, tensorboard=True)\n"
        f"open_loggers(('tensorboard',), Path({str(tmp_path)!r}), 0, {{}}, tensorboard=False)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    notice, *_, last = run.stderr.splitlines()
    assert notice == f"no TensorBoard files; to have them: {install_line('logs')}"
    assert last.endswith(f"needs the package tensorboardX, which is not installed: {install_line('logs')}")
    assert not list(tmp_path.iterdir())


class Broken:
    """A service that is gone after its second step."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if step > 2:
            raise ConnectionError("the server is gone\nand here is a page of HTML")
        self.steps.append(step)

    def close(self, outcome: str) -> None:
        raise AssertionError("it was left out")


def test_a_service_that_fails_is_left_out_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Broken()
    loggers = Loggers({"wandb": broken})
    for step in range(1, 6):
        loggers.write({"step": step, "loss": 1.0, "metrics": {}})
    loggers.close("finished")
    assert broken.steps == [1, 2]
    said = capsys.readouterr().err
    assert said == "warning: nothing more is logged to wandb: the server is gone; log.jsonl goes on\n"


@pytest.mark.slow
def test_one_of_two_processes_logs(jobs, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    config = {"log_to": ["tensorboard"], "steps": 2}
    assert jobs.run("train", tmp_path / "two", 2, task="contrast", config=config) == [0, 0]
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
