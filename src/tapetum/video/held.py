"""Decoded frames that are kept, within a fixed amount of memory, so that further passes over a video need not decode them.

Passes go from the first frame to the last, again and again. Of a video that does not fit, the frames that came first are
therefore kept and never given up for later ones: of the frame that was used longest ago, as most caches choose, the next
pass would find none.
"""

import threading
from typing import Generic, TypeVar

HELD_BYTES = 512 << 20
"""Memory for the pixels of the frames that a video holds, if nothing else is asked for."""

Kept = TypeVar("Kept")


class HeldFrames(Generic[Kept]):
    """Frames by their number, as long as there is room; may be shared by threads."""

    def __init__(self, room: int):
        """Begin with none; `room` is in bytes."""
        self.room = room
        self._frames: dict[int, Kept] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count the frames that are held."""
        return len(self._frames)

    def __contains__(self, number: int) -> bool:
        """Tell whether the frame of this number is held."""
        return number in self._frames

    def __getitem__(self, number: int) -> Kept:
        """Give the frame of this number, which is held."""
        return self._frames[number]

    def put(self, number: int, frame: Kept, size: int) -> None:
        """Hold a frame of `size` bytes, unless it is held already or there is no room left for it."""
        with self._lock:
            if number not in self._frames and size <= self.room:
                self.room -= size
                self._frames[number] = frame
