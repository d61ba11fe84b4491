"""TAPNext's network: what the public PyTorch class says on the same weights, and what must hold for any weights."""

from dataclasses import replace

import pytest
import torch

from support.tapnext import TINY, clip
from tapetum.core.errors import BadInput
from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.model import keep_points

PUBLIC_XY = {
    (0, 0): [[92.6934, 91.7245], [34.4439, 90.9695], [93.2074, 90.9632]],
    (0, 1): [[93.1235, 91.0551], [93.2197, 91.0183], [93.2653, 91.1054]],
    (0, 4): [[93.1235, 91.0551], [93.2578, 91.0372], [93.2543, 91.0337]],
    (1, 2): [[93.1242, 91.0777], [93.0963, 91.1671], [93.0203, 90.9608]],
}
"""By video and point: x, y on frames 0, 3, 6, by the public class (google-deepmind/tapnet, c2cbab8) on these weights."""
PUBLIC_LOGITS = {
    (0, 0, 0, 0): [1.996295, 0.469567, 3.088431, 4.109004],
    (0, 1, 6, 1): [1.662119, 0.295231, 1.065411, 0.719871],
    (1, 3, 2, 0): [2.022577, 0.419493, 3.762649, 3.140859],
    (1, 4, 5, 1): [1.620615, 0.332633, 1.169094, 0.8789],
}
"""By video, point, frame and axis: bins 20 to 23."""
PUBLIC_VISIBLE = {
    (0, 1): [-0.776204, -0.766464, -0.822858, -0.906916, -0.916602, -0.939407, -0.93844],
    (1, 4): [-0.765248, -0.925096, -0.987687, -0.93672, -0.957751, -0.975147, -0.985207],
}
"""By video and point: logits on all frames."""


@torch.no_grad()
def test_predictions_are_those_of_the_public_class(network: TapNext) -> None:
    predictions = network(*clip())
    assert predictions.logits.shape == (2, 5, 7, 2, 256)
    for (b, k), xy in PUBLIC_XY.items():
        assert (predictions.xy[b, k, [0, 3, 6]] - torch.tensor(xy)).abs().max() < 2e-4
    for (b, k, t, axis), logits in PUBLIC_LOGITS.items():
        assert (predictions.logits[b, k, t, axis, 20:24] - torch.tensor(logits)).abs().max() < 1e-5
    for (b, k), logits in PUBLIC_VISIBLE.items():
        assert (predictions.visible_logits[b, k] - torch.tensor(logits)).abs().max() < 1e-5
    assert torch.equal(predictions.visible, predictions.visible_logits > 0)


def test_bad_inputs_are_refused(network: TapNext) -> None:
    video, queries = clip()
    for frames, points in ((video[0], queries), (video, queries[0]), (video, queries[..., :2]), (video[:, :0], queries)):
        with pytest.raises(BadInput, match="shape"):
            network(frames, points)
    with pytest.raises(BadInput, match="do not divide"):
        network(video[:, :, :30], queries)
    with pytest.raises(BadInput, match="this state takes"):
        network.step(network.start(queries, (32, 40)), video)


@pytest.mark.parametrize(
    "change",
    [{"width": 30}, {"heads": 3}, {"gate_blocks": 5}, {"image_size": (30, 48)}, {"video_size": (32, 47)}, {"depth": 0}],
)
def test_configs_that_fit_no_network_are_refused(change: dict) -> None:
    with pytest.raises(BadInput, match=next(iter(change))):
        replace(TINY, **change)


@torch.no_grad()
def test_points_that_stay_keep_their_state(network: TapNext) -> None:
    video, queries = clip()
    for spare in (False, True):
        state, _ = network.step(network.start(queries, TINY.image_size, spare=spare), video[:, :3])
        order = torch.tensor([4, 0, 3, 1, 2])
        _, whole = network.step(state, video[:, 3:])
        _, kept = network.step(keep_points(state, order), video[:, 3:])
        assert (kept.logits - whole.logits[:, order]).abs().max() < 1e-5
        assert network.step(keep_points(state, order[:2]), video[:, 3:])[1].xy.shape == (2, 2, 4, 2)
