"""Ordered events with captions: objects cross the image one after the other, and only one of 64 captions has their order.

    frames     o>o>o>o>    <#<#<#<#    ...          one event after the other, each of `length` frames
    caption    red circle right, blue square left, ...

By construction, these shortcuts give no information:

    a frame says no direction       the frames of an event and of its reverse are the same ones
    a bag of frames no order        the background is still, so events in another order have the same frames
    words alone say nothing         see `gallery`

A gallery of 64 has the captions of 8 videos (fewer, if there are few events), each in the 8 orders produced by three disjoint
swaps of two events. So no caption stands out: each has seven with the same words, and is as many swaps away from these as any
other. (If a gallery had the true caption and seven that differ from it by one swap, the true one would be known without the
video: it alone is close to all others.)

A benchmark of this project for LongViViT (arXiv 2312.07395). Imports no torch.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import U8, Bool
from tapetum_world.balanced import balanced_choice

SHAPES = "circle", "square", "triangle", "cross"
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230), "yellow": (230, 210, 40)}
MOTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Pixels per frame (x, y)."""
_EVENTS, _FILM, _PLACE, _GALLERY = range(0x6F65, 0x6F69)


@dataclass(frozen=True, kw_only=True)
class OrderedEventsConfig:
    """Sizes of videos and galleries."""

    events: int = 2
    """Of a video, all different."""
    length: int = 8
    """Frames of an event."""
    size: int = 64
    """Rows and columns of a frame."""
    thing: tuple[int, int] = (12, 16)
    """Least and greatest side of a thing, in pixels."""
    noise: float = 12.0
    """Standard deviation of the still background, in grey levels."""
    gallery: int = 64
    """Captions to choose from."""

    def __post_init__(self) -> None:
        kinds = len(SHAPES) * len(COLOURS) * len(MOTIONS)
        if not 2 <= self.events <= kinds or self.length < 2:
            raise BadInput(f"{self.events} events of {self.length} frames: give 2 to {kinds} events, of 2 frames or more")
        if not 4 <= self.thing[0] <= self.thing[1] or self.thing[1] + self.length > self.size:
            raise BadInput(
                f"things of {self.thing} pixels that move {self.length} do not fit frames of {self.size}; take larger frames"
            )
        if self.gallery % self.orders:
            raise BadInput(f"a gallery of {self.gallery} captions is no multiple of {self.orders} orders; take {64}")

    @property
    def exchanges(self) -> int:
        """Count the disjoint swaps of two events, three at most."""
        return min(self.events // 2, 3)

    @property
    def orders(self) -> int:
        """Count the orders of a video's events in a gallery."""
        return 2**self.exchanges

    @property
    def frames(self) -> int:
        """Count the frames of a video."""
        return self.events * self.length


@dataclass(frozen=True)
class Event:
    """One event."""

    colour: str
    shape: str
    motion: str

    @property
    def words(self) -> str:
        """Describe the event."""
        return f"{self.colour} {self.shape} {self.motion}"

    @property
    def image_words(self) -> str:
        """Describe what a single frame of the event shows."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class OrderedEvents:
    """One video."""

    video: U8
    """(t, h, w, 3)."""
    events: tuple[Event, ...]
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Captions, of which one is right."""

    captions: tuple[str, ...]
    answer: int
    """Number of the right one."""
    orders: tuple[int, ...]
    """Numbers of the captions with the video's own events, in some order; the right one among them."""


def events_of(seed: int, number: int, config: OrderedEventsConfig) -> tuple[Event, ...]:
    """Draw the events of video `number`, in their order."""
    kinds = [*product(COLOURS, SHAPES, MOTIONS)]
    chosen = np.random.default_rng([seed, _EVENTS, number]).permutation(len(kinds))[: config.events]
    return tuple(Event(*kinds[k]) for k in chosen)


def make_ordered_events(seed: int, number: int, config: OrderedEventsConfig | None = None) -> OrderedEvents:
    """Make video `number`: a pure function of the arguments."""
    config = config or OrderedEventsConfig()
    events = events_of(seed, number, config)
    rng = np.random.default_rng([seed, _FILM, number])
    grey = rng.normal(128, config.noise, (config.size, config.size, 3))
    video = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[None], config.frames, axis=0)
    for k, event in enumerate(events):
        _film(video[k * config.length : (k + 1) * config.length], event, config, rng)
    return OrderedEvents(video, events, caption_of(events))


def caption_of(events: tuple[Event, ...]) -> str:
    """Write the caption of events in their order."""
    return ", ".join(event.words for event in events)


def gallery(seed: int, number: int, config: OrderedEventsConfig | None = None) -> Gallery:
    """Draw the candidate captions for video `number`: those of several videos, each in all orders.

    The position of the correct one is balanced: it differs among every 64 videos from a multiple of 64 on.
    """
    config = config or OrderedEventsConfig()
    rng = np.random.default_rng([seed, _GALLERY, number])
    own = events_of(seed, number, config)
    families = {frozenset(own): own}
    other = 0
    while len(families) < config.gallery // config.orders:
        drawn = events_of(seed, (number << 24) + (1 << 60) + other, config)  # of no video that is made
        families.setdefault(frozenset(drawn), drawn)
        other += 1
    captions = [text for events in families.values() for text in _orders(events, config.exchanges, rng)]
    right = captions[0]  # the own one as it was
    order = rng.permutation(len(captions))
    place = balanced_choice(seed, _PLACE, number, len(captions))
    at = int(np.flatnonzero(order == 0)[0])
    order[at], order[place] = order[place], 0
    shown = tuple(captions[k] for k in order)
    orders = tuple(int(k) for k in np.flatnonzero(order < config.orders))
    assert shown[place] == right
    return Gallery(shown, place, orders)


def _orders(events: tuple[Event, ...], exchanges: int, rng: np.random.Generator) -> list[str]:
    """The captions of all orders given by disjoint swaps, the unchanged one first."""
    pairs = rng.permutation(len(events))[: 2 * exchanges].reshape(exchanges, 2)
    captions = []
    for done in product((False, True), repeat=exchanges):
        row = list(events)
        for (a, b), exchanged in zip(pairs, done, strict=True):
            if exchanged:
                row[a], row[b] = row[b], row[a]
        captions.append(caption_of(tuple(row)))
    return captions


def _film(frames: U8, event: Event, config: OrderedEventsConfig, rng: np.random.Generator) -> None:
    """Draw a moving object; one that moves the other way takes the same positions in reverse."""
    side = int(rng.integers(config.thing[0], config.thing[1] + 1))
    mask = _shape(event.shape, side)
    room = config.size - side - config.length
    corner = rng.integers(0, room + 1, 2)  # (x, y) of the lowest place on the way
    dx, dy = MOTIONS[event.motion]
    for k, frame in enumerate(frames):
        step = k if dx + dy > 0 else config.length - 1 - k
        x, y = corner[0] + abs(dx) * step, corner[1] + abs(dy) * step
        frame[y : y + side, x : x + side][mask] = COLOURS[event.colour]


def _shape(name: str, side: int) -> Bool:
    y, x = (np.mgrid[:side, :side] + 0.5) / side * 2 - 1
    if name == "circle":
        return x**2 + y**2 <= 1
    if name == "square":
        return np.ones((side, side), bool)
    if name == "triangle":
        return np.abs(x) <= (y + 1) / 2
    return (np.abs(x) < 0.34) | (np.abs(y) < 0.34)
