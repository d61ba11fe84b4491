"""Small moving images, and a very small network that learns from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.networks import TAPIR_NANO, save_tapir
from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.video import write_video


def _drift(seed: int, frames: int, step: int = 2, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    w, h = size
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((w + step * frames, h), Image.Resampling.BICUBIC))
    return np.stack([wide[:, step * t : step * t + w] for t in range(frames)])


@pytest.fixture(scope="session")
def drift() -> Callable[..., np.ndarray]:
    """(seed, frames, step=2, size=(64, 48)) -> uint8 (t, h, w, 3): a random image that slides by `step` pixels a frame."""
    return _drift


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a very small network."""
    return save_tapir(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", TAPIR_NANO)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory, drift: Callable[..., np.ndarray]) -> Path:
    """A folder of three short videos, of a clip each."""
    folder = tmp_path_factory.mktemp("videos")
    for seed in range(3):
        write_video(folder / f"{seed}.mp4", drift(seed, 13), 25)
    return folder


@pytest.fixture(scope="session")
def recipe(tiny: Path) -> BootstrapRun:
    """A bootstrapping run of seconds."""
    return BootstrapRun(
        model=str(tiny),
        settings=Ingredients(points=8, stride=1),
        steps=6,
        frames=5,
        size=32,
        scenes=3,
        checks=2,
        scored=3,
        bf16=False,
    )
