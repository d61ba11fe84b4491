"""The published order of operations that the benchmarks time ours against: it gives the public model's numbers."""

import numpy as np
import pytest
import torch

import tapetum
from support.scripts import GOLDEN, script

recipes = script("tests/golden/make_tapir_golden.py")
published = script("benchmarks/tap_published.py")
CASES = [case for case in recipes.CASES if case.refine is None]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_transcription_gives_the_public_numbers(case):
    model = recipes.our_model(case)
    video, queries = recipes.recipe_video(case.frames, case.size), recipes.recipe_queries(case)
    plain = published.Published(model)
    with torch.inference_mode():
        if case.stepwise:
            points, context = plain.start(video[:, :1], queries[..., 1:])
            steps = []
            for t in range(video.shape[1]):
                *seen, context = plain.step(points, context, video[:, t : t + 1])
                steps.append(seen)
            seen = [torch.cat(part, 2) for part in zip(*steps, strict=True)]
        else:
            seen = plain.track(video, queries)
    with np.load(GOLDEN / "tapir.npz") as golden:
        for name, tensor in zip(("tracks", "occlusion", "expected_dist"), seen, strict=True):
            np.testing.assert_allclose(tensor[0].numpy(), golden[f"{case.name}/{name}"], atol=1e-3, rtol=0, err_msg=name)


@pytest.mark.slow
def test_it_agrees_with_ours_on_every_output():
    tracker = tapetum.tap.build("causal-tapir")
    video = torch.rand(1, 2, 256, 256, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    queries = torch.tensor([[[0.0, 30.0, 40.0], [1.0, 200.0, 100.0]]])
    with torch.inference_mode():
        theirs, ours = published.Published(tracker.model).track(video, queries), tracker.model(video, queries)
    for a, b in zip(theirs, (ours.tracks, ours.occlusion, ours.expected_dist), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)
