"""Trackers, text, vectors and adapted encoders on the simulated device: as on the CPU, and nothing waits that need not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.simulated import on_simulated_device

FRAMES, SIZE = 4, (64, 64)
POINTS = np.array([[0, 20.5, 30.5], [0, 40.5, 12.5], [2, 30.5, 40.5]], np.float32)
WAITS_PER_FRAME = {"tapir": 2, "tapnext": 1}
"""Of a live tracker: its points come back; and TAPIR's looks at the weights, which must be those that began the stream."""


def video(frames: int = FRAMES) -> np.ndarray:
    """Make an image that slides by two pixels a frame, uint8 (t, 64, 64, 3)."""
    wide = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([wide[:, 2 * t : 2 * t + SIZE[1]] for t in range(frames)])


def tracker(name: str) -> Any:
    """Build a tiny tracker of random weights."""
    from dataclasses import replace

    from support import networks
    from support.tapnext import TINY, public_state
    from tapetum.systems.tapnext import from_official
    from tapetum.systems.tapnext.tracker import TapNextTracker

    if name == "tapnext":
        return TapNextTracker(from_official(public_state(replace(TINY, image_size=SIZE, video_size=SIZE))))
    return networks.tracker(networks.TAPIR_NANO if name == "tapir-nano" else networks.TAPIR, causal=name == "tapir")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tapir", "tapir-nano", "tapnext"])
@on_simulated_device
def test_a_video_is_tracked(name: str) -> None:
    """The tiny tapir-nano has two passes, polishes and enlarges."""
    expected = tracker(name).track(video(), POINTS)
    tracks = tracker(name).to("sim").track(video(), POINTS)
    np.testing.assert_allclose(tracks.xy, expected.xy, atol=1e-3)
    np.testing.assert_allclose(tracks.confidence, expected.confidence, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tapir", "tapnext"])
@on_simulated_device
def test_frames_are_tracked_as_they_come(name: str) -> None:
    from support import simulated_device

    found: dict[str, list[np.ndarray]] = {}
    for device in ("cpu", "sim"):
        one, frames = tracker(name).to(device), video()
        stream = one.start(frames[0], POINTS[:2, 1:])
        stream = one.add(stream, frames[0], [[30.5, 40.5]])
        for frame in frames:
            with simulated_device.counted() as waits:
                stream, now = one.step(stream, frame)
            found.setdefault(device, []).append(now.xy)
        stream = one.keep(stream, [2, 0])
        assert one.step(stream, frames[-1])[1].ids.tolist() == [2, 0]
    np.testing.assert_allclose(found["sim"], found["cpu"], atol=1e-3)
    assert waits.total() == WAITS_PER_FRAME[name], dict(waits.places)


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
@on_simulated_device
def test_answers_are_generated(beams: int) -> None:
    from support.scripts import GOLDEN, script
    from tapetum.layers.generate import SamplingConfig
    from tapetum.systems.paligemma import prompts
    from tapetum.systems.paligemma.answers import Answerer

    world, replies = script("tests/golden/make_paligemma_taught_golden.py"), {}
    shown = [world.make_image("red", "right")[None], world.make_image("blue")[None]]
    for device in ("cpu", "sim"):
        answerer = Answerer.load(GOLDEN / "paligemma_taught.safetensors", device=device)
        asked = [prompts.answer("what color is the square ?"), prompts.caption()]
        replies[device] = answerer.ask(shown, asked, 8, sampling=SamplingConfig(beams=beams))
    assert [reply.text for reply in replies["sim"]] == [reply.text for reply in replies["cpu"]]
    np.testing.assert_allclose(*([reply.score for reply in replies[device]] for device in ("sim", "cpu")), rtol=1e-4)


ENCODERS: dict[str, dict[str, Any]] = {
    "vit-nano": {"width": 32, "depth": 2, "heads": 2, "mlp_width": 64, "patch": 4, "image_size": (16, 16)},
    "resnet-18": {"stem_width": 4, "depths": (1, 1, 1, 1)},
    "nfnet-f0": {"depths": (1, 1, 1, 1), "channels": (16, 16, 16, 16), "stem_width": 8, "group_width": 8, "final_width": 16},
    "efficientnet-lite0": {"width_multiplier": 0.25},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
@on_simulated_device
def test_images_become_vectors(name: str) -> None:
    """Between the images' way there and the vectors' way back nothing waits."""
    from support import simulated_device
    from tapetum.encoders import build

    vectors: dict[str, torch.Tensor] = {}
    for device in ("cpu", "sim"):
        encoder = build(name, **ENCODERS[name])
        images = encoder.prepare(video()).to(device)  # on the CPU, which resizes by another kernel
        encoder.to(device)
        with simulated_device.counted() as waits, torch.no_grad():
            pooled = encoder(images).pooled
        assert waits.total() == 0, dict(waits.places)
        vectors[device] = pooled.cpu()
    torch.testing.assert_close(vectors["sim"], vectors["cpu"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@on_simulated_device
def test_a_long_video_is_encoded_segment_by_segment() -> None:
    from systems.longvideo.test_captioner import VIDEO
    from tapetum.systems import longvideo

    encoder, clip = longvideo.build("mcvit-nano", **VIDEO), torch.rand(2, 20, 16, 16, 3) * 2 - 1
    lengths = torch.tensor([20, 13])
    with torch.no_grad():
        expected = encoder(clip, lengths).pooled
        encoder.to("sim")
        on_device = encoder(clip.to("sim"), lengths).pooled
        state = encoder.start(2)
        for first in range(0, 20, 8):
            state, features = encoder.step(state, clip[:, first : first + 8].to("sim"))
    torch.testing.assert_close(on_device.cpu(), expected, rtol=1e-4, atol=1e-5)
    assert features.pooled.device.type == "sim"


@pytest.mark.slow
@on_simulated_device
def test_what_a_gpu_refuses_is_refused() -> None:
    """The rules of the device itself."""
    from support import simulated_device

    here = torch.ones(3, device="sim")
    refused: list[Callable[[], Any]] = [
        lambda: here + torch.ones(3),
        lambda: here[torch.tensor([0])],
        lambda: torch.cat([here, torch.ones(1)]),
        lambda: here.numpy(),
        lambda: np.asarray(here),
        lambda: torch.randn(3, generator=torch.Generator(), device="sim"),
        lambda: torch.randperm(3, generator=torch.Generator("sim")),
    ]
    for number, each in enumerate(refused):
        with pytest.raises((RuntimeError, TypeError)):
            print(number, each())
    assert (here * torch.tensor(2.0)).tolist() == [2.0] * 3
    waiting: dict[str, tuple[Callable[[], Any], str]] = {
        "a number": (lambda: here[0].item(), "item"),
        "a truth": (lambda: bool(here.all()), "item"),
        "equality": (lambda: torch.equal(here, here), "item"),
        "a list": (lambda: here.tolist(), "to host"),
        "a copy": (lambda: here.cpu(), "to host"),
        "a new tensor": (lambda: torch.tensor([1.0], device="sim"), "from host"),
        "a mask": (lambda: here[here > 0], "shape"),
        "places": (lambda: here.nonzero(), "shape"),
    }
    for name, (work, kind) in waiting.items():
        with simulated_device.counted() as waits:
            work()
        assert waits[kind] >= 1, name
    with simulated_device.counted() as waits:
        torch.ones(3).to("sim", non_blocking=True)
        torch.arange(3, device="sim")
        torch.where(here > 0, here, 0.0).sum().sqrt()
        here[here > 0] = 2.0
    assert not waits
    with torch.autocast("sim", torch.bfloat16):
        assert torch.nn.functional.linear(here[None], here[None]).dtype == torch.bfloat16
        assert here.to(torch.bfloat16).softmax(0).dtype == torch.float32


@pytest.mark.slow
@on_simulated_device
def test_an_adapted_encoder_is_proved_and_its_policy_acts(tmp_path: Path) -> None:
    from support.recipe_runs import RUNS
    from tapetum.systems.adapters import load_headed
    from tapetum.systems.adapters.worlds.world import ReachWorld, roll
    from tapetum.train.launch_config import Launch

    RUNS["adapters, policy"](tmp_path, Launch(out=tmp_path / "run", workers=0, threads=1, device="sim"))
    policy: Any = load_headed(next((tmp_path / "run").glob("*.safetensors")))
    assert policy.trunk.verify().now == policy.trunk.verify().before
    policy.to("sim")
    assert np.isfinite(roll(ReachWorld(pixels=16, horizon=3), policy.act, 0).actions).all()
