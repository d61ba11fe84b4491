"""A loss that depends on how a batch is divided among processes is named before the first step, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file


def said(jobs: Any, out: Path, task: str = "contrast", processes: int = 2, config: Any = None, **options: Any) -> list[str]:
    """Train two steps; returns the warnings."""
    settings = {"steps": 2, **(config or {})}
    codes = jobs.run("train", out, processes, task=task, config=settings, **options)
    assert codes == [0] * processes, (out / "stderr").read_text()
    return [line for line in (out / "stderr").read_text().splitlines() if line.startswith("warning: the loss")]


def test_batch_norm_of_each_process_is_named_and_the_run_stays_the_same_to_the_bit(jobs: Any, tmp_path: Path) -> None:
    lines = said(jobs, tmp_path / "checked", norm="batch")
    assert len(lines) == 1
    assert lines[0].startswith("warning: the loss of Contrast depends on how a batch is divided: of 8 examples it is ")
    assert lines[0].endswith("gather what it compares across examples by tapetum.train.gather.all_gather")
    assert not said(jobs, tmp_path / "unchecked", norm="batch", split_check=False)
    for name in ("model", "slow", "copy", "optimizer"):
        one, other = (tmp_path / run / f"checkpoints/step_00000002/{name}.safetensors" for run in ("checked", "unchecked"))
        assert one.read_bytes() == other.read_bytes(), name
    buffers = load_file(tmp_path / "checked/checkpoints/step_00000002/model.safetensors")
    assert buffers["towers.0.1.num_batches_tracked"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "task", "options"),
    [
        (1, "contrast", {"norm": "batch"}),  # one process has nobody to differ from
        (2, "contrast", {"norm": "joint"}),
        (2, "contrast", {"norm": "joint", "config": {"parallel": "fsdp"}}),
        (2, "contrast", {"dropout": 0.5}),  # what is drawn differs, so that nothing can be said
        (2, "cached", {"norm": "layer", "config": {"accumulation": 2}}),
        (2, "taught", {"norm": "batch", "config": {"find_unused_parameters": True}}),  # it promises nothing
    ],
)
def test_nothing_is_said_of_a_loss_that_gathers_or_draws(
    jobs: Any, tmp_path: Path, processes: int, task: str, options: dict
) -> None:
    assert not said(jobs, tmp_path, task, processes, **options)


@pytest.mark.slow
def test_a_buffer_that_the_loss_moves_is_the_same_for_each_side(jobs: Any, tmp_path: Path) -> None:
    assert len(said(jobs, tmp_path / "checked", "centred")) == 1
    assert not said(jobs, tmp_path / "unchecked", "centred", split_check=False)
    files = (tmp_path / run / "checkpoints/step_00000002/model.safetensors" for run in ("checked", "unchecked"))
    assert next(files).read_bytes() == next(files).read_bytes()


@pytest.mark.slow
def test_a_loss_that_fails_on_other_numbers_of_examples_is_left_alone(jobs: Any, tmp_path: Path) -> None:
    assert not said(jobs, tmp_path, "failing", norm="batch")
    buffers = load_file(tmp_path / "checkpoints/step_00000002/model.safetensors")
    assert buffers["towers.0.1.num_batches_tracked"] == 2


@pytest.mark.slow
def test_a_sharded_model_is_checked_and_stays_the_same(jobs: Any, tmp_path: Path) -> None:
    config = {"parallel": "fsdp"}
    assert len(said(jobs, tmp_path / "checked", norm="batch", config=config)) == 1
    assert not said(jobs, tmp_path / "unchecked", norm="batch", config=config, split_check=False)
    files = (tmp_path / run / "checkpoints/step_00000002/model.safetensors" for run in ("checked", "unchecked"))
    assert next(files).read_bytes() == next(files).read_bytes()
