"""Ordered events: the film shows what the caption says, and galleries tell nothing to who has not seen the order."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum_world import ordered_events
from tapetum_world.ordered_events import COLOURS, MOTIONS, Event, OrderedEventsConfig, gallery, make_ordered_events

MANY = OrderedEventsConfig(events=8, length=4)


def place_of(frame: np.ndarray, colour: str) -> np.ndarray:
    """The middle of what has a colour, (x, y)."""
    rows, columns = np.nonzero((frame == np.array(COLOURS[colour], np.uint8)).all(-1))
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("config", [OrderedEventsConfig(), MANY])
def test_the_film_shows_what_the_caption_says(config: OrderedEventsConfig) -> None:
    for number in range(6):
        made = make_ordered_events(1, number, config)
        assert made.video.shape == (config.frames, 64, 64, 3)
        assert len(set(made.events)) == config.events
        assert made.caption == ", ".join(f"{e.colour} {e.shape} {e.motion}" for e in made.events)
        for k, event in enumerate(made.events):
            frames = made.video[k * config.length : (k + 1) * config.length]
            for before, after in pairwise(frames):
                moved = place_of(after, event.colour) - place_of(before, event.colour)
                assert moved == pytest.approx(MOTIONS[event.motion], abs=1e-6)


def test_frames_of_an_event_and_of_its_reverse_are_the_same_ones() -> None:
    for one, other in (("left", "right"), ("up", "down")):
        films = []
        for motion in (one, other):
            film = np.full((8, 64, 64, 3), 99, np.uint8)
            ordered_events._film(film, Event("red", "cross", motion), OrderedEventsConfig(), np.random.default_rng(3))
            films.append([frame.tobytes() for frame in film])
        assert films[0] != films[1]
        assert Counter(films[0]) == Counter(films[1])


def apart(one: str, other: str) -> int:
    """Places at which two captions have different events."""
    return sum(a != b for a, b in zip(one.split(", "), other.split(", "), strict=True))


@pytest.mark.parametrize(("events", "orders"), [(2, 2), (4, 4), (8, 8)])
def test_a_gallery_tells_nothing_to_who_reads_it_alone(events: int, orders: int) -> None:
    config = OrderedEventsConfig(events=events, length=4)
    for number in range(3):
        found, made = gallery(1, number, config), make_ordered_events(1, number, config)
        assert len(set(found.captions)) == 64
        assert found.captions[found.answer] == made.caption
        assert len(found.orders) == orders
        assert found.answer in found.orders
        assert all(sorted(found.captions[k].split(", ")) == sorted(made.caption.split(", ")) for k in found.orders)
        bags = {tuple(sorted(text.split(", "))): 0 for text in found.captions}
        for text in found.captions:
            bags[tuple(sorted(text.split(", ")))] += 1
        assert set(bags.values()) == {orders}  # by its bag of events every caption has as many like it
        near = [
            sorted(apart(text, other) for other in found.captions if sorted(other) == sorted(text)) for text in found.captions
        ]
        assert len({tuple(row[:orders]) for row in near}) == 1  # and as many at each distance


def test_the_places_of_right_captions_are_balanced_by_count() -> None:
    answers = [gallery(1, number, OrderedEventsConfig(gallery=8)).answer for number in range(16)]
    assert Counter(answers[:8]) == Counter(answers[8:]) == dict.fromkeys(range(8), 1)
    assert answers[:8] != answers[8:]


def test_a_video_is_a_function_of_seed_and_number() -> None:
    once, again = (make_ordered_events(2, 3, MANY) for _ in range(2))
    assert np.array_equal(once.video, again.video)
    assert gallery(2, 3, MANY) == gallery(2, 3, MANY)
    assert make_ordered_events(2, 4, MANY).events != once.events


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"events": 1}, "give 2 to 64"), ({"length": 60}, "larger frames"), ({"events": 6, "gallery": 60}, "no multiple of 8")],
)
def test_what_cannot_be_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        OrderedEventsConfig(**changes)
