"""The run that trains the bundled tracker, made tiny: it stops, goes on, hands weights from phase to phase, ends in a file."""

import json
from dataclasses import replace

import pytest
import torch

import tapetum
from support.networks import TAPIR_NANO
from tapetum.core.errors import BadInput
from tapetum.systems.tap import weights
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.recipes import TapirPhase, TapNano
from tapetum.systems.tap.run import train_tap_nano
from tapetum.tracks.training.recipes import changed_phases
from tapetum.train.launch_config import Launch

TINY = TapNano(
    model=TAPIR_NANO,
    phases=(
        TapirPhase(name="a", size=64, steps=2, batch_size=2, micro_batch=1, lr=1e-3, clips=1, points=6, iterations=1),
        TapirPhase(name="b", size=64, steps=1, batch_size=1, micro_batch=1, lr=1e-3, clips=1, points=6, image_clips=1),
    ),
    checks=1,
)


@pytest.mark.slow
def test_stop_go_on_and_finish(tmp_path):
    run = replace(TINY, cache=str(tmp_path / "clips"))
    assert train_tap_nano(run, Launch(out=tmp_path / "run", minutes=0, workers=0)) is None
    made = train_tap_nano(run, Launch(out=tmp_path / "run", workers=0))
    assert made is not None
    tracker = tapetum.load(made)
    assert tracker.model.config == run.model
    rows = [json.loads(line) for line in (tmp_path / "run" / "a" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2
    assert 0 <= rows[-1]["eval"]["average_jaccard"] <= 1
    ledger = json.loads((tmp_path / "run" / "b" / "ledger.json").read_text())
    assert ledger
    # the second phase began with the first one's averaged weights: one small step away from them
    last = torch.cat([p.flatten() for p in tracker.model.parameters()])
    from safetensors.torch import load_file

    ema = load_file(sorted((tmp_path / "run" / "a" / "checkpoints").glob("step_*"))[-1] / "ema.safetensors")
    before = torch.cat([ema[name].flatten() for name, _ in tracker.model.named_parameters()])
    assert 0 < (last - before).abs().max() < 5e-3


def test_a_run_needs_phases(tmp_path):
    with pytest.raises(BadInput, match="no phases"):
        train_tap_nano(replace(TINY, phases=()), Launch(out=tmp_path))


@pytest.mark.slow
def test_a_causal_run_starts_from_the_weights_of_another(tmp_path):
    start = tmp_path / "start.safetensors"
    weights.save(Tapir(TINY.model), start)
    phase = replace(TINY.phases[1], lr=1e-6)
    run = replace(
        TINY, name="live", model=replace(TINY.model, causal=True, second_pass=False), start=str(start), phases=(phase,)
    )
    made = train_tap_nano(run, Launch(out=tmp_path / "run", workers=0))
    assert made == tmp_path / "run" / "live.safetensors"
    ours, theirs = (tapetum.load(path).model for path in (made, start))
    assert ours.config.causal
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3)  # float16 and one small step
    with pytest.raises(BadInput, match="has other sizes than wide"):
        train_tap_nano(replace(run, name="wide", model=replace(run.model, mixer_width=64)), Launch(out=tmp_path / "wide"))


def test_each_phase_takes_steps_batch_and_size_of_the_run() -> None:
    a, _ = TINY.phases
    assert changed_phases(TINY, TINY.phases) == list(TINY.phases)
    [changed] = changed_phases(replace(TINY, steps=7, batch_size=6, size=128), [replace(a, micro_batch=4)])
    assert (changed.steps, changed.batch_size, changed.micro_batch, changed.size) == (7, 6, 2, 128)
    with pytest.raises(BadInput, match="--size is 60"):
        changed_phases(replace(TINY, size=60), [a])
