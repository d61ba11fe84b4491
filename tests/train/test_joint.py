"""Runs whose loss looks across examples: two processes, accumulated micro-batches and one process end alike, in float64."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

FILES = "model", "slow", "copy", "optimizer"


def log_of(out: Path) -> list[dict]:
    """The log without what a clock decides."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


def tensors_of(out: Path, step: int = 6) -> dict[str, torch.Tensor]:
    folder = out / "checkpoints" / f"step_{step:08d}"
    return {f"{name}/{key}": value for name in FILES for key, value in load_file(folder / f"{name}.safetensors").items()}


def assert_alike(out: Path, other: Path, tolerance: float = 1e-9) -> None:
    """Losses, norms of gradients, scores, weights, averages and moments agree."""
    for ours, theirs in zip(log_of(out), log_of(other), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=tolerance)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=tolerance)
        assert ours.get("eval", {}) == pytest.approx(theirs.get("eval", {}), rel=tolerance)
    torch.testing.assert_close(tensors_of(out), tensors_of(other), rtol=tolerance, atol=tolerance)


def trained(
    jobs: Any, out: Path, task: str = "contrast", processes: int = 1, deadly: str = "-", norm: str = "none", **config: Any
) -> Path:
    codes = jobs.run("train", out, processes, deadly, task=task, norm=norm, config={"eval_every": 3, **config})
    assert deadly != "-" or codes == [0] * processes, (out / "stderr").read_text()
    return out


LARS = {
    "optimizer": "lars",
    "lr": 3.0,
    "trust_coefficient": 0.01,
    "clip_norm": None,
    "rules": [{"pattern": "towers.0.4.*", "frozen": True}],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallel", "norm", "changes"),
    [
        ("ddp", "none", {"optimizer": "sgd", "nesterov": True, "final_weight_decay": 0.4}),
        ("ddp", "joint", {}),
        ("fsdp", "none", LARS),
        ("fsdp", "joint", {}),
    ],
)
def test_two_processes_are_one_with_the_joint_batch_also_after_a_kill(
    jobs: Any, tmp_path: Path, parallel: str, norm: str, changes: dict
) -> None:
    one = trained(jobs, tmp_path / "one", norm=norm, **changes)
    options = {"processes": 2, "norm": norm, "parallel": parallel, "checkpoint_every": 2, **changes}
    two = trained(jobs, tmp_path / "two", **options)
    assert_alike(two, one)
    flops = [json.loads((out / "ledger.json").read_text())["total"] for out in (one, two)]
    assert flops[0]["flops_forward"] == flops[1]["flops_forward"] > 0
    killed = tmp_path / "killed"
    trained(jobs, killed, deadly="os.rename:tmp-step_00000004", **options)
    assert [line["step"] for line in log_of(killed)] == [1, 2, 3, 4]
    trained(jobs, killed, **options)
    assert "goes on after step 2" in (killed / "stderr").read_text()
    assert log_of(killed) == log_of(two)
    assert all(torch.equal(value, tensors_of(two)[name]) for name, value in tensors_of(killed).items())


def test_batch_norm_of_each_process_is_something_else(jobs: Any, tmp_path: Path) -> None:
    """What the test above would not see if it compared nothing."""
    one = trained(jobs, tmp_path / "one", norm="batch")
    two = trained(jobs, tmp_path / "two", processes=2, norm="batch")
    assert log_of(one)[0]["loss"] != pytest.approx(log_of(two)[0]["loss"], rel=1e-3)


def refusal(jobs: Any, out: Path, processes: int, task: str = "contrast", norm: str = "none", **config: Any) -> str:
    (out / "stderr").unlink(missing_ok=True)
    assert jobs.run("train", out, processes, task=task, norm=norm, config={"eval_every": 3, **config})[0] == 2
    return (out / "stderr").read_text().splitlines()[0]


@pytest.mark.slow
def test_a_joint_batch_is_part_of_the_runs_identity(jobs: Any, tmp_path: Path) -> None:
    one = trained(jobs, tmp_path / "one")
    run = trained(jobs, tmp_path / "run", processes=2, max_minutes=0)
    trained(jobs, run, processes=1, max_minutes=0)  # the same joint batch in one process
    trained(jobs, run, processes=2, parallel="fsdp")
    assert_alike(run, one)
    batch = trained(jobs, tmp_path / "batch", processes=2, norm="batch", max_minutes=0)
    said = refusal(jobs, batch, 1, norm="batch")  # statistics of each process's own
    assert said.startswith("step_00000001 is of a run with micro_batch 4 (now 8); resume with the old settings")
    joint = trained(jobs, tmp_path / "joint", processes=2, norm="joint", max_minutes=0)
    trained(jobs, joint, processes=1, norm="joint")


@pytest.mark.slow
def test_two_groups_of_processes_with_a_sharded_model_each_are_one(jobs: Any, tmp_path: Path) -> None:
    one = trained(jobs, tmp_path / "one", **LARS)
    four = {"processes": 4, "parallel": "fsdp", "replicas": 2}
    assert_alike(trained(jobs, tmp_path / "four", **four, **LARS), one)


@pytest.mark.parametrize(("processes", "whole", "computed"), [(2, False, 2), (4, False, 1), (2, True, 3)])
def test_processes_share_the_scores_of_weights_in_shards(
    jobs: Any, tmp_path: Path, processes: int, whole: bool, computed: int
) -> None:
    scores = {}
    for count in (1, processes):
        config = {"eval_every": 3, "parallel": "fsdp" if count > 1 else "ddp"}
        out = tmp_path / str(count)
        assert not any(jobs.run("train", out, count, task="scored", whole=whole, config=config)), (out / "stderr").read_text()
        scores[count] = [line["eval"] for line in log_of(out) if "eval" in line]
    one, several = scores[1], scores[processes]
    assert [score["loss"] for score in several] == pytest.approx([score["loss"] for score in one], rel=1e-9)
    assert [score["computed"] for score in one] == [3, 3]
    assert [(score["computed"], score["in_shards"]) for score in several] == [(computed, not whole)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"activation_checkpointing": True}])
def test_a_sharded_teacher_is_the_whole_one_and_gradients_are_exchanged_once_a_step(
    jobs: Any, tmp_path: Path, changes: dict
) -> None:
    one = trained(jobs, tmp_path / "one", "taught", accumulation=4)
    two = trained(jobs, tmp_path / "two", "taught", 2, accumulation=2, parallel="fsdp", max_minutes=0, **changes)
    trained(jobs, two, "taught", 2, accumulation=2, parallel="fsdp", **changes)  # goes on after the first step
    assert_alike(two, one)
    counts = json.loads((two / "exchanges-0.json").read_text())
    assert counts["reduce_scatter"] == 5 * 2 * 2  # steps; micro-batches; towers (the scale learns nothing here)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_gradient_caching_is_the_undivided_batch(jobs: Any, tmp_path: Path, processes: int) -> None:
    one = trained(jobs, tmp_path / "one", norm="layer")
    cached = trained(jobs, tmp_path / "cached", "cached", processes, norm="layer", accumulation=4 // processes)
    assert_alike(cached, one)
    run = trained(jobs, tmp_path / "run", "cached", 1, norm="layer", accumulation=8, max_minutes=0)
    trained(jobs, run, "cached", 2, norm="layer", accumulation=2, parallel="fsdp", max_minutes=0)
    trained(jobs, run, "cached", 2, norm="layer", accumulation=2, parallel="ddp", max_minutes=0)
    trained(jobs, run, "cached", 1, norm="layer")
    assert_alike(run, one)
    told = json.loads((cached / "ledger.json").read_text())["sessions"][0]["flops_per_step"]
    plain = json.loads((one / "ledger.json").read_text())["sessions"][0]["flops_per_step"]
    assert told == {"forward": plain["forward"], "backward": plain["backward"] + plain["forward"]}  # computed once more


def test_gradient_caching_refuses_statistics_of_a_batch(jobs: Any, tmp_path: Path) -> None:
    for norm, kind in (("batch", "BatchNorm1d"), ("joint", "SyncBatchNorm")):
        said = refusal(jobs, tmp_path / norm, 1, "cached", norm, accumulation=2)
        assert said.startswith(f"towers.0.1 ({kind}) has statistics of a batch"), said
        assert not (tmp_path / norm / "log.jsonl").exists()
        trained(jobs, tmp_path / norm, "cached", norm=norm)  # as one micro-batch it is welcome
