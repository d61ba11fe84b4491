"""Numbers that are promised do not follow the caller's autocast."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from tapetum.core.devices import full_precision
from tapetum.encoders import build
from tapetum.systems import longvideo
from tapetum.systems.longvideo.streaming import stream_passages
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.tap.tracking.follower import OnlineTracker
from tapetum.transfer.probing import features_of

rng = np.random.default_rng(0)
VIDEO = rng.integers(0, 255, (4, 64, 64, 3), np.uint8)


def tracked() -> Any:
    tracks = tapetum.tap.build("tapir-nano").track(VIDEO, [(0, 20.0, 30.0), (2, 40.0, 11.0)])
    return tracks.xy, tracks.confidence


def followed() -> Any:
    follower = OnlineTracker(tapetum.tap.build("causal-tapir-nano").model)
    stream = follower.start(VIDEO[0], [(20.0, 30.0)])
    for frame in VIDEO[1:]:
        stream, seen = follower.step(stream, frame)
    return seen.xy, seen.confidence


def tracked_by_the_verb() -> Any:
    return tapetum.track(VIDEO, model="tapir-nano", query=[(0, 20, 30)]).tracks.xy


def embedded(folder: Path) -> Any:
    return tapetum.embed(folder / "a.png").vectors, tapetum.embed(folder / "a.png", model=str(folder / "e.safetensors")).vectors


def watched(folder: Path) -> Any:
    model = longvideo.load(folder / "v.safetensors")
    found = tapetum.answer(folder / "v.npy", "what?", options=("a", "b"), model=folder / "v.safetensors")
    return found.cosines, [each.vector for each in stream_passages(model, tapetum.video.open_video(VIDEO, frame_rate=2))]


def asked() -> Any:
    [reply] = Answerer.load("paligemma-nano-2").ask([VIDEO[:1]], ["answer en what colour is the cup?"])
    return reply.log_probabilities


def probed() -> Any:
    return features_of(build("vit-nano"), list(VIDEO[:, :32, :32]))


@pytest.mark.slow
@pytest.mark.parametrize("call", [tracked, followed, tracked_by_the_verb, embedded, watched, asked, probed])
def test_results_are_those_without_autocast(call: Callable[..., Any], tmp_path: Path) -> None:
    from tapetum.encoders import save

    arguments = (tmp_path,) if call in (embedded, watched) else ()
    Image.fromarray(VIDEO[0]).save(tmp_path / "a.png")
    np.save(tmp_path / "v.npy", VIDEO)
    if call is embedded:
        save(build("vit-nano"), tmp_path / "e.safetensors")
    if call is watched:
        longvideo.save(longvideo.build_video_text("mcvit-nano", depth=1), tmp_path / "v.safetensors")
    plain = call(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        assert str(call(*arguments)) == str(plain)
        assert torch.is_autocast_enabled("cpu")


def test_full_precision_is_a_block_and_a_decorator() -> None:
    x = torch.full((4, 4), 1 / 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision():
            assert (x @ x).dtype == torch.float32
        assert full_precision()(lambda: (x @ x).dtype)() == torch.float32
        assert (x @ x).dtype == torch.bfloat16
