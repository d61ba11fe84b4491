"""The autoencoder of tracks: equality with the public code on random weights, its files, and the score of motion."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.hub.loading import load
from tapetum.systems.tap import trajan
from tapetum.systems.tap.config import TrajanConfig
from tapetum.systems.tap.trajan import Trajan, TrajanPredictions, motion_score
from tapetum.types import Tracks

recipes = script("tests/golden/make_trajan_golden.py")
TINY = TrajanConfig(
    frames=6, latents=3, latent_width=4, frequencies=2, track_width=8, encoder_width=8, decoder_width=32, time_width=8, heads=2,
    head_width=4, hidden=(8, 8, 8, 8), depths=(1, 1, 1, 1),
)  # fmt: skip


def test_agrees_with_the_public_code_on_random_weights():
    given = {name: torch.from_numpy(array) for name, array in recipes.inputs().items()}
    with np.load(GOLDEN / "trajan.npz") as golden:
        model = trajan.from_flax(recipes.weights(json.loads(str(golden["shapes"]))))
        model.config = replace(model.config, track_scale=0.5, time_scale=4.0)  # which no shape tells
        with torch.inference_mode():
            latents = model.encode(given["xy"], given["visible"], given["frames"])
            made = model.decode(latents, given["queries"], torch.from_numpy(golden["noise"]))
        np.testing.assert_allclose(latents, golden["latents"], atol=2e-4)
        for name, tensor in made._asdict().items():
            np.testing.assert_allclose(tensor, golden[name], atol=2e-4, err_msg=name)


def test_a_file_restores_the_network_and_gradients_reach_all_of_it(tmp_path):
    model = Trajan(TINY)
    trajan.save(model, tmp_path / "a.safetensors")
    loaded = load(tmp_path / "a.safetensors")
    assert loaded.config == TINY
    xy, visible = torch.rand(1, 5, 6, 2), torch.ones(1, 5, 6, dtype=torch.bool)
    given = xy, visible, torch.tensor([6]), torch.tensor([[[1.0, 0.2, 0.3], [4.0, 0.5, 0.5]]])
    made = model(*given)
    torch.testing.assert_close(loaded(*given), made)
    torch.cat([part.flatten() for part in made]).square().sum().backward()
    assert not [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]


def test_arrays_of_another_network_are_refused():
    with pytest.raises(BadInput, match=r"lack .*state_init"):
        trajan.from_flax({"Dense_0/kernel": np.zeros((2, 2))})


class Shifted(nn.Module):
    """Says that every point stays `shift` to the right of its query, with these logits of visible and of certain."""

    def __init__(self, shift: float, visible: float, certain: float):
        super().__init__()
        self.config, self.shift, self.logits = TINY, shift, (visible, certain)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, xy, visible, frames, queries):
        places = queries[:, :, None, 1:].expand(-1, -1, TINY.frames, -1) + torch.tensor([self.shift, 0.0])
        return TrajanPredictions(places, *(torch.full(places.shape[:3], value) for value in self.logits))


def still_tracks(frames: int) -> Tracks:
    places = np.random.default_rng(0).random((8, 1, 2)).astype(np.float32) * (64, 32)
    queries = np.concatenate([np.zeros((8, 1)), places[:, 0]], 1)
    visible = np.ones((8, frames), bool)
    return Tracks(xy=places.repeat(frames, 1), visible=visible, confidence=visible, queries=queries)


@pytest.mark.parametrize(
    ("shift", "visible", "certain", "expected"),
    [
        (0.0, 5.0, 5.0, 1.0),
        (3 / 64, 5.0, 5.0, 0.6),  # 3 pixels: near enough for 4, 8 and 16
        (0.0, -5.0, 5.0, 1.0),  # hidden only if both say so
        (0.0, -5.0, -5.0, 0.0),
    ],
)
@pytest.mark.parametrize("frames", [4, 9])
def test_the_score_is_the_average_jaccard_of_points_held_out(shift, visible, certain, expected, frames):
    scores = motion_score(Shifted(shift, visible, certain), still_tracks(frames), (32, 64))  # type: ignore[arg-type]
    assert scores["average_jaccard"] == pytest.approx(expected)


def test_a_score_wants_points_on_both_sides():
    with pytest.raises(BadInput, match="8 of them held out"):
        motion_score(Trajan(TINY), still_tracks(4), (32, 64), targets=8)
