"""Cameras and lights of episodes."""

import numpy as np

from tapetum.scenes.bodies.episode import Camera, Light
from tapetum.scenes.types import F64

Rng = np.random.Generator


def look_at(eyes: F64, targets: F64) -> F64:
    """Compute world-to-camera matrices (k, 4, 4) in OpenCV's axes for cameras at `eyes` (k, 3), upright."""
    forward = targets - eyes
    forward = forward / np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    rotation = np.stack([right, down, forward], 1)
    made = np.tile(np.eye(4), (len(eyes), 1, 1))
    made[:, :3, :3] = rotation
    made[:, :3, 3] = -np.einsum("kij,kj->ki", rotation, eyes)
    return made


def wobble(rng: Rng, times: F64, size: float, slow: float = 0.4, fast: float = 3.0) -> F64:
    """Draw a smooth unsteadiness (k, 3): a few sines whose strength falls with their frequency."""
    total = np.zeros((len(times), 3))
    for f in np.exp(np.linspace(np.log(slow), np.log(fast), 5)):
        phase, strength = rng.uniform(0, 2 * np.pi, 3), rng.normal(0, size * (slow / f) ** 0.7, 3)
        total += strength * np.sin(2 * np.pi * f * times[:, None] + phase)
    return total


def draw_camera(
    rng: Rng,
    times: F64,
    size: tuple[int, int],
    *,
    whole: float,
    azimuth: float,
    target: F64,
    elevation: tuple[float, float] = (0.35, 0.85),
    distance: tuple[float, float] = (0.66, 0.95),
) -> Camera:
    """Draw a camera at moments `times` (k,) of an episode of `whole` seconds: still, swaying around, held by hand, or both.

    `azimuth`: radians from +x. The same draw at other times continues the same way of the camera.
    """
    h, w = size
    kind = rng.choice(["still", "orbit", "shake", "both"], p=[0.35, 0.3, 0.2, 0.15])
    count = len(times)
    sway = 0.5 * np.sin(2 * np.pi * (times / (min(whole, 20.0) * float(rng.uniform(1.2, 2.5))) + float(rng.uniform())))
    sweep = float(rng.uniform(0.15, 0.6)) if kind in ("orbit", "both") else 0.0
    turn, climb = azimuth + sweep * sway, float(rng.normal(0, 0.06)) if sweep else 0.0
    up, far = float(rng.uniform(*elevation)) + climb * sway, float(rng.uniform(*distance))
    eyes = target + far * np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], 1)
    aims = np.tile(target, (count, 1))
    if kind in ("shake", "both"):
        eyes, aims = eyes + wobble(rng, times, 0.004), aims + wobble(rng, times, 0.003)
    fx = float(rng.uniform(1.15, 1.5)) * max(h, w)
    blurred = rng.random() < 0.3
    return Camera(
        intrinsics=np.tile([fx, fx, w / 2, h / 2], (count, 1)),
        world_to_camera=look_at(eyes, aims),
        focus=np.linalg.norm(target - eyes, axis=1),
        aperture=float(rng.uniform(0.002, 0.01)) if blurred else 0.0,
        shutter=float(rng.uniform(0.2, 0.6)) if rng.random() < 0.6 else 0.0,
    )


def draw_light(rng: Rng, times: F64) -> Light:
    """Draw a sun and a sky for moments `times` (k,)."""
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.35)
    direction = -np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)])
    warm = rng.uniform(-0.12, 0.12)
    strength = rng.uniform(0.75, 1.15)
    exposure = np.full(len(times), float(rng.uniform(0.85, 1.2)))
    if rng.random() < 0.3:
        exposure = exposure * np.exp(
            rng.uniform(0.05, 0.2) * np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * times + rng.uniform(0, 6))
        )
    return Light(
        direction=direction,
        colour=strength * np.array([1 + warm, 1.0, 1 - warm]),
        sky=rng.uniform(0.3, 0.55) * np.array([1 - warm / 2, 1.0, 1 + warm / 2]),
        softness=float(rng.choice([0.0, 0.03, 0.08, 0.15])),
        exposure=exposure,
    )
