"""The loop: what it writes, refuses, skips and stops for."""

import json
import math
import resource
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from support.forks import Forks
from tapetum.core.errors import BadInput, TapetumError
from tapetum.train import Task, TrainConfig, fit
from tapetum.train.checkpoint import CheckpointStore
from tapetum.train.process_group import ProcessGroup
from tapetum.train.state import State, continued_config, identity, restore

CONFIG = TrainConfig(steps=6, batch_size=4, lr=0.05, clip_norm=None, checkpoint_every=2, tensorboard=False)

SHARED = replace(CONFIG, ema_decay=0.9, clip_norm=0.5, eval_every=3)


class Numbers:
    def __getitem__(self, number: int) -> tuple[int, torch.Tensor]:
        return number, torch.randn(3)


class Line(Task):
    """Least squares; gradients are nan in the steps of `bad`."""

    def __init__(self, bad: tuple[int, ...] = (), width: int = 1):
        self.bad = bad
        self.width = width

    def model(self) -> nn.Module:
        return nn.Linear(3, self.width)

    def dataset(self) -> Numbers:
        return Numbers()

    def loss(self, model, batch, moment):
        numbers, x = batch
        loss = (model(x) - x.sum(1, keepdim=True) - 1).square().mean()
        if int(numbers[0]) // 4 in self.bad:
            loss = loss * math.nan
        return loss, {"first": numbers[0], "two": 2}

    def evaluate(self, model, step):
        assert not torch.is_grad_enabled()
        assert not model.training
        return {"weight": float(model.weight.sum())}

    def describe(self):
        return {"width": self.width}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def log_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


class Apart(Line):
    """Two losses of the same weights, the second of which has the average's answers as its target."""

    parts = ("one", "two")
    teachers = ("ema",)

    def dataset(self):
        return Both()

    def loss(self, model, batch, moment):
        teacher = moment.teachers["ema"]
        assert not teacher.training
        name, x = batch
        target = x.sum(1, keepdim=True) + 1 if name[0] == "one" else teacher(x) + 2
        loss = 3 * (model(x) - target).square().mean()
        return loss, {"target": float(target.mean())}


class Both:
    def __getitem__(self, number: int) -> dict:
        return {name: (name, torch.randn(3)) for name in Apart.parts}


def test_losses_learned_apart_keep_their_own_moments_and_their_moves_add_up(tmp_path: Path) -> None:
    config = replace(CONFIG, weight_decay=0.1, clip_norm=0.5, steps=5, ema_decay=0.5, checkpoint_every=2)
    result = fit(Apart(), config, tmp_path / "run")
    model = fit(Apart(), replace(config, lr=1e-30), tmp_path / "still").model
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    one, two = (
        torch.optim.AdamW([{"params": [model.weight], "weight_decay": decay}, {"params": [model.bias], "weight_decay": 0.0}])
        for decay in (0.1, 0.0)
    )
    items = _samples(20, each=2)
    for step in range(5):
        x, y = items[8 * step : 8 * step + 8].unflatten(0, (4, 2)).unbind(1)
        targets = x.sum(1, keepdim=True) + 1, torch.func.functional_call(model, average, (y,)) + 2
        gradients = []
        for inputs, target in zip((x, y), targets, strict=True):
            g = torch.autograd.grad(3 * (model(inputs) - target.detach()).square().mean(), list(model.parameters()))
            norm = math.sqrt(sum(float(part.square().sum()) for part in g))
            gradients.append([part * min(1.0, 0.5 / norm) for part in g])
        lr = 0.05 * (1 + math.cos(math.pi * step / 4)) / 2
        for optimizer, gradient in zip((one, two), gradients, strict=True):
            for p, g in zip(model.parameters(), gradient, strict=True):
                p.grad = g
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        weight = 1 - min(0.5, (1 + step) / (10 + step))
        for name, p in model.named_parameters():
            average[name].lerp_(p.detach(), weight)
    for name, p in result.model.named_parameters():
        torch.testing.assert_close(p, dict(model.named_parameters())[name])
        torch.testing.assert_close(result.averages["ema"][name], average[name])
    assert set(log_of(tmp_path / "run")[0]["metrics"]) == {"one/loss", "one/target", "two/loss", "two/target"}
    flops = json.loads((tmp_path / "run" / "ledger.json").read_text())["sessions"][0]["flops_per_step"]
    assert flops == {"one/forward": 24, "two/forward": 48, "one/backward": 24, "two/backward": 24}  # the teacher's count too


def test_a_teacher_needs_an_average(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ema_decay"):
        fit(Apart(), CONFIG, tmp_path)


def _samples(count: int, each: int = 1) -> torch.Tensor:
    from tapetum.data.samples import SAMPLE, mix_seed, seed_globals

    rows = []
    for number in range(count):
        seed_globals(mix_seed(0, SAMPLE, number))
        rows += [torch.randn(3) for _ in range(each)]
    return torch.stack(rows)


def test_log_checkpoints_and_result(tmp_path: Path) -> None:
    result = fit(Line(), replace(CONFIG, ema_decay=0.5, eval_every=4), tmp_path)
    assert (result.state, result.step) == ("finished", 6)
    assert sorted(f.name for f in (tmp_path / "checkpoints").iterdir()) == ["step_00000004", "step_00000006"]
    log = log_of(tmp_path)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert [line["metrics"]["first"] for line in log] == [0, 4, 8, 12, 16, 20]
    assert [line["step"] for line in log if "eval" in line] == [4, 6]
    saved = load_file(result.checkpoint / "ema.safetensors")
    assert log[-1]["eval"]["weight"] == pytest.approx(float(saved["weight"].sum()), rel=1e-6)
    assert torch.equal(load_file(result.checkpoint / "model.safetensors")["weight"], result.model.weight)
    assert not torch.equal(saved["weight"], result.model.weight)
    again = fit(Line(), replace(CONFIG, ema_decay=0.5, eval_every=4), tmp_path)
    assert (again.state, again.loss) == ("finished", None)
    assert torch.equal(again.model.weight, result.model.weight)


def test_non_finite_gradients_are_skipped_but_not_for_ever(tmp_path: Path) -> None:
    fit(Line(bad=(1, 2, 4)), replace(CONFIG, max_skips=2), tmp_path / "a")
    log = log_of(tmp_path / "a")
    assert [line["skipped"] for line in log] == [0, 1, 2, 2, 3, 3]
    assert [line["loss"] is None for line in log] == [False, True, True, False, True, False]
    with pytest.raises(TapetumError, match="not finite in 3 steps in a row, up to step 4; the checkpoint step_00000002"):
        fit(Line(bad=(1, 2, 3)), replace(CONFIG, max_skips=2), tmp_path / "b")


def test_a_run_that_never_moved_its_weights_has_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(CONFIG, max_skips=CONFIG.steps)
    for _ in range(2):  # the same call again finds the run finished
        with pytest.raises(TapetumError, match="not finite in any of the 6 steps, so nothing was learned"):
            fit(Line(bad=tuple(range(6))), config, tmp_path / "all")
    fit(Line(bad=(1, 4, 5)), config, tmp_path / "some")
    said = "warning: gradients were not finite in 3 of 6 steps, in the last 2 among them; those moved no weights"
    assert said in capsys.readouterr().err.splitlines()
    assert fit(Line(bad=(1, 2, 3)), config, tmp_path / "early").state == "finished"
    assert "in 3 of 6 steps; those" in capsys.readouterr().err
    fit(Line(), config, tmp_path / "none")
    assert "not finite" not in capsys.readouterr().err


def test_skips_in_a_row_are_remembered_by_checkpoints(tmp_path: Path) -> None:
    fit(Line(bad=(0, 1, 2)), replace(CONFIG, max_minutes=0, max_skips=2), tmp_path)
    fit(Line(bad=(0, 1, 2)), replace(CONFIG, max_minutes=0, max_skips=2), tmp_path)
    with pytest.raises(TapetumError, match="in 3 steps in a row"):
        fit(Line(bad=(0, 1, 2)), replace(CONFIG, max_minutes=0, max_skips=2), tmp_path)


def test_time_limit_stops_and_the_same_call_goes_on(tmp_path: Path) -> None:
    whole = fit(Line(), CONFIG, tmp_path / "whole")
    states = [fit(Line(), replace(CONFIG, max_minutes=0), tmp_path / "cut").state for _ in range(6)]
    assert states == ["stopped"] * 5 + ["finished"]
    cut = fit(Line(), CONFIG, tmp_path / "cut")
    assert torch.equal(cut.model.weight, whole.model.weight)
    assert len(log_of(tmp_path / "cut")) == 6
    ledger = json.loads((tmp_path / "cut" / "ledger.json").read_text())
    assert ledger["total"]["steps"] == 6
    assert len(ledger["sessions"]) == 6
    assert ledger["total"]["flops_forward"] == 6 * 4 * 3 * 2
    assert ledger["total"]["flops_backward"] == 6 * 4 * 3 * 2  # only the weight's: the input needs no gradient


class Scored(Line):
    """Its score, which should fall, is not a number in step 2, best in step 3, and no better in steps 4 and 5."""

    watched = "-fall"

    def evaluate(self, model, step):
        return {"fall": (9.0, 3, math.nan, 1, 1, 2, 0, 0)[step]}


PATIENT = replace(CONFIG, steps=7, eval_every=1, patience=2)


@pytest.mark.parametrize("minutes", [None, 0])
def test_a_run_ends_where_scores_are_no_better(minutes: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [fit(Scored(), replace(PATIENT, max_minutes=minutes), tmp_path)]
    while runs[-1].state == "stopped":
        runs.append(fit(Scored(), replace(PATIENT, max_minutes=minutes), tmp_path))
    assert (runs[-1].step, len(runs)) == (5, 1 if minutes is None else 5)
    assert "ends after step 5 of 7: fall was not better in the last 2 evaluations" in capsys.readouterr().err
    assert [record["step"] for record in log_of(tmp_path)] == [1, 2, 3, 4, 5]
    assert json.loads((tmp_path / "ledger.json").read_text())["sessions"][-1]["state"] == "finished"
    again = fit(Scored(), PATIENT, tmp_path)
    assert (again.state, again.step, again.loss) == ("finished", 5, None)
    assert fit(Scored(), replace(PATIENT, patience=3), tmp_path / "more").step == 7
    with pytest.raises(BadInput, match="patience is 2, and no score is computed"):
        fit(Line(), PATIENT, tmp_path / "none")


@pytest.mark.slow
def test_two_processes_end_together(tmp_path: Path, forks: Forks) -> None:
    assert forks.pair(__file__, tmp_path / "two", errors=tmp_path / "errors") == [0, 0]
    assert log_of(tmp_path / "two")[-1]["step"] == 5


def test_other_settings_are_refused_and_harmless_ones_are_not(tmp_path: Path) -> None:
    fit(Line(), replace(CONFIG, max_minutes=0), tmp_path)
    with pytest.raises(BadInput, match=r"step_00000001 is of a run with lr 0\.05 \(now 0\.1\); resume with") as error:
        fit(Line(), replace(CONFIG, lr=0.1), tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match=r"task\.width 1 \(now 2\)"):
        fit(Line(width=2), CONFIG, tmp_path)
    with pytest.raises(BadInput, match=r"batch_size 4 \(now 8\)"):
        fit(Line(), replace(CONFIG, batch_size=8), tmp_path)
    other = replace(CONFIG, log_every=2, keep_last=3, checkpoint_every=3, eval_every=2, prefetch=1, threads=1)
    assert fit(Line(), other, tmp_path).state == "finished"


def test_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = fit(Line(), replace(CONFIG, keep_last=5), tmp_path)
    file = tmp_path / "checkpoints" / "step_00000006" / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    (tmp_path / "checkpoints" / "step_00000004" / "manifest.json").unlink()
    (tmp_path / "checkpoints" / "tmp-step_00000008").mkdir()
    again = fit(Line(), replace(CONFIG, keep_last=5), tmp_path)
    errors = capsys.readouterr().err
    assert "step_00000006 is damaged: optimizer.safetensors does not match its checksum" in errors
    assert "step_00000004 has no readable manifest.json" in errors
    assert "goes on after step 2 of 6" in errors
    assert torch.equal(again.model.weight, whole.model.weight)
    assert len(log_of(tmp_path)) == 6
    names = sorted(f.name for f in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_00000002", "step_00000004", "step_00000006"]  # replaced by whole ones
    for name in names:
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="none of the 3 checkpoints"):
        fit(Line(), CONFIG, tmp_path)


def test_full_disk_is_one_line_and_the_previous_checkpoint_stays(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=20, log_every=20)
    task = Line(width=300)  # checkpoint files of several kB
    fit(task, replace(config, max_minutes=0), tmp_path)
    kept = {f: f.read_bytes() for f in (tmp_path / "checkpoints" / "step_00000001").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        with pytest.raises(
            BadInput, match=r"cannot save checkpoint step_00000002: .*; the previous one, step_00000001"
        ) as error:
            fit(task, config, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert [f.name for f in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]
    assert kept == {f: f.read_bytes() for f in (tmp_path / "checkpoints" / "step_00000001").iterdir()}
    whole = fit(task, config, tmp_path / "whole")
    assert torch.equal(fit(task, config, tmp_path).model.weight, whole.model.weight)


def test_full_disk_under_the_log_is_one_line(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        with pytest.raises(BadInput, match=r"cannot write to .*; make room"):
            fit(Line(), replace(CONFIG, checkpoint_every=100), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    class Slow(Line):
        def evaluate(self, model, step):
            with pytest.raises(BadInput, match="another run is training in"):
                fit(Line(), CONFIG, tmp_path)
            return {"tried": 1.0}

    fit(Slow(), replace(CONFIG, eval_every=6), tmp_path)
    assert log_of(tmp_path)[-1]["eval"] == {"tried": 1.0}


def test_works_off_the_main_thread_and_in_bf16(tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(Line(), replace(CONFIG, bf16=True), tmp_path)))
    thread.start()
    thread.join()
    assert results[0].state == "finished"
    assert results[0].model.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"warmup_steps": 6}, "warm-up must end"),
        ({"final_lr": 1.0}, "final_lr 1.0"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"max_minutes": -1.0}, "max_minutes is -1.0"),
    ],
)
def test_bad_settings_are_refused(change: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        replace(CONFIG, **change)


def test_bad_device_and_indivisible_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no device 'tpu9'"):
        fit(Line(), replace(CONFIG, device="tpu9"), tmp_path)
    with pytest.raises(BadInput, match="batch_size 4 does not divide into 1 processes x 3"):
        fit(Line(), replace(CONFIG, accumulation=3), tmp_path)
    assert not (tmp_path / "log.jsonl").exists()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(fit(Scored(), replace(PATIENT, accumulation=2), sys.argv[1]).step != 5)


def test_a_run_that_goes_on_in_fewer_processes_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task, model = Line(), nn.Linear(3, 1)
    (tmp_path / "state.json").write_text(json.dumps({"run": identity(task, CONFIG, 2, model)}))
    config, run = continued_config(tmp_path, task, CONFIG, ProcessGroup(0, 1, torch.device("cpu")), model)
    assert config == replace(CONFIG, accumulation=2)
    assert run == identity(task, CONFIG, 2, model)
    assert "accumulates 2 micro-batches in each of 1 processes" in capsys.readouterr().err
    with pytest.raises(BadInput, match="batch_size 4 does not divide into 3 processes"):
        continued_config(tmp_path, task, CONFIG, ProcessGroup(0, 3, torch.device("cpu")), model)


def test_an_average_in_shards_goes_on_from_whole_tensors(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        average = SimpleNamespace(average={"weight": distribute_tensor(torch.zeros(4), mesh, [Shard(0)])}, updates=0)
        state = State(nn.Identity(), {}, {"slow": average})  # pyright: ignore[reportArgumentType]
        numbers = {"run": {}, "log_position": 7, "step": 3, "skipped": 0, "skipped_in_a_row": 0, "seconds": 1.5}
        weights = {"model": {}, "slow": {"weight": torch.arange(4.0)}}
        assert restore(state, CheckpointStore(tmp_path).save(3, weights, {**numbers, "slow_updates": 2}), {}) == 7
        assert average.average["weight"].full_tensor().tolist() == [0, 1, 2, 3]
    finally:
        distributed.destroy_process_group()
    assert (average.updates, state.step) == (2, 3)
