"""What long-video training takes from the synthetic world, by its registered names."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.longvideo.data import ScoredClips, open_clips
from tapetum.systems.longvideo.recipes import recipe
from tapetum.systems.longvideo.video_text import build_video_text
from tapetum.world.training.longvideo_sources import OrderedEventClips

RUN = recipe("short", "ordered-events", size=64, frames=8, event_frames=2, checks=3)


def test_ordered_events_are_found_by_name_and_are_functions_of_their_number() -> None:
    clips = open_clips(RUN)
    assert isinstance(clips, OrderedEventClips)
    assert isinstance(clips, ScoredClips)
    assert (clips.count, clips.validation_count) == (None, 3)
    one, again, other = (clips.training_clip(k, np.random.default_rng(0)) for k in (5, 5, 6))
    assert one.frames.shape == (8, 64, 64, 3)
    np.testing.assert_array_equal(one.frames, again.frames)
    assert (one.text, one.image_text) == (again.text, again.image_text)
    assert not np.array_equal(one.frames, other.frames)
    assert any(np.array_equal(one.image, frame) for frame in one.frames)


def test_scores_find_the_right_caption_among_all_and_among_orders() -> None:
    clips = OrderedEventClips(RUN)
    model = build_video_text("vivit-nano", width=12, depth=1, heads=2, mlp_width=12)
    with torch.no_grad():
        right = model.embed_texts(model.tokens([clips.validation_clip(k).text for k in range(3)]))
        scores = clips.score(model, right)
    assert (scores["recall"], scores["order"]) == (1.0, 1.0)
    assert 0 < scores["order_chance"] <= 0.5


def test_what_ordered_events_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="ordered-events ask no questions"):
        open_clips(replace(RUN, stage="questions"))
    with pytest.raises(BadInput, match="8 frames are no multiple of events of 3"):
        open_clips(replace(RUN, event_frames=3))
