"""TAPIR beside the public PyTorch implementation: same weights, same video, same tracks and logits."""

import numpy as np
import pytest
import torch

from support.scripts import GOLDEN, script
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.model import Tapir

recipes = script("tests/golden/make_tapir_golden.py")


def _stepwise(model: Tapir, video: torch.Tensor, queries: torch.Tensor) -> dict[str, torch.Tensor]:
    points = model.query_features(model.features(video[:, :1]), queries)
    state, steps = None, []
    for t in range(video.shape[1]):
        out = model.trajectories(model.features(video[:, t : t + 1]), points, state=state, keep_state=True)
        state = out.state
        steps.append(out)
    return {name: torch.cat([getattr(s, name) for s in steps], 2) for name in ("tracks", "occlusion", "expected_dist")}


@pytest.mark.slow
@pytest.mark.parametrize("case", recipes.CASES, ids=lambda case: case.name)
def test_agrees_with_the_public_implementation(case):
    model = recipes.our_model(case)
    video, queries = recipes.recipe_video(case.frames, case.size), recipes.recipe_queries(case)
    with torch.inference_mode():
        if case.stepwise:
            ours = _stepwise(model, video, queries)
        else:
            refine = None if case.refine is None else [(side, side) for side in case.refine]
            out = model(video, queries, refinement_resolutions=refine)
            first = out.unrefined[0]
            ours = {"stage1_tracks": first.tracks, "stage1_occlusion": first.occlusion}
            ours |= {"tracks": out.tracks, "occlusion": out.occlusion, "expected_dist": out.expected_dist}
    with np.load(GOLDEN / "tapir.npz") as golden:
        for name, tensor in ours.items():
            theirs = golden[f"{case.name}/{name}"]
            np.testing.assert_allclose(tensor[0].numpy(), theirs, atol=1e-3, rtol=0, err_msg=name)


def test_published_sizes():
    for pyramid_level, extra, tensors, parameters in ((0, False, 188, 31_072_327), (1, True, 218, 54_699_335)):
        with torch.device("meta"):
            model = Tapir(TapirConfig(pyramid_level=pyramid_level, extra_convs=5 * extra))
        assert len(model.state_dict()) == tensors
        assert sum(p.numel() for p in model.parameters()) == parameters
