"""Scores where no device is named: the one that is there is used, here a simulated one, and the numbers are the CPU's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.commands import every_command
from support.simulated import on_simulated_device
from tapetum.app.shell.parsing import options_of


def scored(folder: Path) -> dict[str, dict[str, Any]]:
    """Make small data; gives the arguments of each verb that scores them, by its name."""
    import tapetum
    from support.networks import TAPIR_NANO, save_tapir

    clips = tapetum.app.make.scenes.make(folder / "clips", n=1, size=64, frames=2)
    rows = []
    for name, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
        Image.fromarray(np.full((30, 30, 3), colour, np.uint8)).save(folder / f"{name}.png")
        rows.append({"image": f"{name}.png", "prefix": "answer en colour", "suffix": name})
    lines = folder / "task.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tracker = str(save_tapir(folder / "tiny.safetensors", TAPIR_NANO))
    return {
        "evaluate_tapvid": {"data": str(clips.tapvid), "model": tracker, "size": 64},
        "evaluate_paligemma": {"data": lines, "limit": 1},
    }


@pytest.mark.slow
@on_simulated_device
def test_scores_are_computed_on_the_device_that_is_there(tmp_path: Path) -> None:
    import torch

    import tapetum
    from support import simulated_device
    from tapetum.core import devices

    def numbers(values: Any) -> list[float]:
        parts = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
        return [values] if isinstance(values, float) else [number for part in parts for number in numbers(part)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.sim, "is_available", lambda: True)  # pyright: ignore[reportAttributeAccessIssue]
        patch.setattr(devices, "AUTOMATIC", ("sim",))
        for verb, given in scored(tmp_path).items():
            results, waits = [], []
            for device in ({"device": "cpu"}, {}):
                with simulated_device.counted() as counted:
                    scores = getattr(tapetum, verb)(**given, **device).as_json()
                results.append(numbers({**scores, "seconds": 0}))
                waits.append(counted.total() > 0)
            assert waits == [False, True], verb
            np.testing.assert_allclose(results[1], results[0], atol=1e-6, err_msg=verb)


@pytest.mark.slow
def test_every_command_chooses_its_device() -> None:
    devices = {name: o.default for name, each in every_command() for o in options_of(each.options) if o.names[0] == "device"}
    assert len(devices) > 40
    assert {name for name, default in devices.items() if default != "auto"} == set()
