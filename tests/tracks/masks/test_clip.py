"""Masks through a video whose motion is known, with a tracker that knows it too."""

from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.metrics.masks import mask_iou
from tapetum.tracks.masks import ClipMasks, Prompt, outline, segment_clip
from tapetum.tracks.masks.clip import INSIDE, OUTSIDE, fit_affine, sample_points
from tapetum.tracks.masks.solve import signed_distance
from tapetum.types import Tracks

FRAMES, SIZE = 10, (96, 128)
HIDDEN = range(6, 8)
STEP = np.array([4.0, 1.5])


def truth(frame: int) -> np.ndarray:
    rows, columns = np.indices(SIZE) + 0.5
    x, y = np.array([40.0, 40.0]) + frame * STEP
    return (abs(columns - x) < 18) & (abs(rows - y) < 13)


def make_video() -> np.ndarray:
    """A red block that moves over a speckled ground, and is covered in two frames."""
    rng = np.random.default_rng(0)
    ground = np.array([80, 120, 90]) + rng.normal(0, 15, (*SIZE, 3))
    frames = []
    for frame in range(FRAMES):
        image = ground.copy()
        if frame not in HIDDEN:
            image[truth(frame)] = np.array([180, 60, 50]) + rng.normal(0, 10, (int(truth(frame).sum()), 3))
        frames.append(image.clip(0, 255).astype(np.uint8))
    return np.stack(frames)


VIDEO = make_video()


class Truth:
    """A tracker that knows where the block goes and when it is hidden."""

    calls = 0

    def track(self, video: Any, queries: Any, /, *, progress: Any = None) -> Tracks:
        self.calls += 1
        times, xy = queries[:, 0].astype(int), queries[:, 1:]
        on = np.array([truth(t)[int(y), int(x)] for t, (x, y) in zip(times, xy, strict=True)])
        away = (np.arange(FRAMES)[None] - times[:, None])[..., None] * STEP
        visible = np.ones((len(xy), FRAMES), bool)
        visible[on, HIDDEN.start : HIDDEN.stop] = False
        return Tracks(
            xy=xy[:, None] + np.where(on[:, None, None], away, 0),
            visible=visible,
            confidence=visible.astype(np.float32),
            queries=queries,
        )


def overlaps(masks: ClipMasks) -> list[float]:
    return [float(mask_iou(masks[t][None], truth(t)[None])[0]) for t in range(FRAMES) if t not in HIDDEN]


@pytest.mark.parametrize("start", [0, 9])
def test_a_click_is_followed_both_ways_and_hidden_where_it_is(start: int):
    x, y = np.array([40.0, 40.0]) + start * STEP
    tasks = []
    masks = segment_clip(
        VIDEO, [Prompt(frame=start, inside=((x, y),))], Truth(), progress=lambda task, done, total: tasks.append((task, done))
    )
    assert len(masks) == FRAMES
    assert min(overlaps(masks)) > 0.9
    assert not any(masks[t].any() for t in HIDDEN)
    assert tasks[-1] == ("segmenting", FRAMES)


def test_colours_and_edges_mend_a_first_mask_that_is_too_small():
    rough = truth(0) & np.roll(truth(0), 4, 0)
    masks = segment_clip(VIDEO, [Prompt(inside=((40, 40),))], Truth(), model=lambda frame, prompt, before: rough)
    assert (masks[0] == rough).all()
    assert mask_iou(masks[4][None], truth(4)[None])[0] > mask_iou(rough[None], truth(0)[None])[0] + 0.05


def test_a_correction_wins_in_its_frame_and_changes_those_around_it_alone():
    tracker = Truth()
    wrong = np.zeros(SIZE, bool)
    wrong[30:50, 26:34] = True  # a part of the block

    def model(frame: np.ndarray, prompt: Prompt, before: np.ndarray | None) -> np.ndarray:
        return wrong if prompt.frame == 0 else outline(frame, prompt, before)

    first = Prompt(inside=((30, 40),))
    once = segment_clip(VIDEO, [first], tracker, model=model)
    x1, y1 = np.array([22.0, 27.0]) + 4 * STEP
    second = Prompt(frame=4, box=(x1, y1, x1 + 36, y1 + 26))
    twice = segment_clip(VIDEO, [first, second], tracker, model=model, before=once)
    assert tracker.calls == 2
    assert (twice[0] == wrong).all()
    assert min(overlaps(twice)[4:]) > 0.9
    assert max(overlaps(once)[4:]) < 0.85
    again = segment_clip(VIDEO, [first, second], tracker, model=model, before=twice)
    assert tracker.calls == 2
    assert again.runs == twice.runs
    fresh = segment_clip(VIDEO, [first, second], tracker, model=model)
    assert fresh.runs == twice.runs
    third = segment_clip(VIDEO, [first, second, Prompt(frame=8, outside=((5, 5),))], tracker, model=model, before=twice)
    assert third.runs[:5] == twice.runs[:5]


def test_one_image_needs_no_tracker():
    masks = segment_clip(VIDEO[:1], [Prompt(inside=((40, 40),))])
    assert mask_iou(masks[0][None], truth(0)[None])[0] > 0.9


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no click was given"),
        ([Prompt(outside=((3, 3),))], "frame 0 has clicks outside the object only; add one inside it"),
        ([Prompt(frame=10, inside=((3, 3),))], r"a click or box is in frame 10; the video has frames 0\.\.9"),
        ([Prompt(inside=((300, 3),))], "a click at 300,3 in frame 0 is outside the image of 128x96 pixels"),
        ([Prompt(box=(9, 3, 4, 8))], "9,3,4,8 in frame 0 is no box"),
        ([Prompt(inside=((3, 3),)), Prompt(outside=((3, 3),))], "frame 0 has two prompts"),
        ([Prompt(inside=((3, 3),)), Prompt(frame=2)], "the prompt of frame 2 has neither"),
    ],
)
def test_bad_prompts_are_refused(prompts: list[Prompt], message: str):
    with pytest.raises(BadInput, match=message):
        segment_clip(VIDEO, prompts, Truth())


def test_a_video_needs_a_tracker_and_a_model_masks_of_its_size():
    with pytest.raises(BadInput, match="needs a tracker"):
        segment_clip(VIDEO, [Prompt(inside=((40, 40),))])
    with pytest.raises(BadInput, match=r"shape \(2, 2\)"):
        segment_clip(VIDEO, [Prompt(inside=((40, 40),))], Truth(), model=lambda *_: np.ones((2, 2), bool))


def test_an_affine_map_is_found_among_outliers():
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 100, (40, 2))
    linear, shift = np.array([[1.1, -0.2], [0.15, 0.95]]), np.array([7.0, -3.0])
    b = a @ linear.T + shift
    b[:8] += rng.uniform(-40, 40, (8, 2))
    found = fit_affine(a, b)
    assert np.abs(a[8:] @ found[:, :2].T + found[:, 2] - b[8:]).max() < 1.5
    np.testing.assert_allclose(fit_affine(a[:1], a[:1] + 5), [[1, 0, 5], [0, 1, 5]], atol=1e-9)


def test_points_lie_on_their_side():
    mask = truth(0)
    inside, outside = sample_points(signed_distance(mask))
    assert 0.9 * INSIDE <= len(inside) <= INSIDE
    assert 0.9 * OUTSIDE <= len(outside) <= OUTSIDE
    assert all(mask[int(y), int(x)] for x, y in inside)
    assert not any(mask[int(y), int(x)] for x, y in outside)
    assert len(np.unique(np.concatenate([inside, outside]), axis=0)) == len(inside) + len(outside)
