"""A small real video, and the command line in this process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.video import write_video


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 of 6 frames of 64x48 pixels: a bright square that moves right over noise."""
    noise = np.random.default_rng(0).integers(0, 120, (48, 64, 3), dtype=np.uint8)
    frames = np.repeat(noise[None], 6, axis=0)
    for index, frame in enumerate(frames):
        frame[16:28, 10 + 4 * index : 22 + 4 * index] = (250, 200, 40)
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames, 10)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; gives exit code, stdout and stderr."""
    from tapetum.cli.main import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call
