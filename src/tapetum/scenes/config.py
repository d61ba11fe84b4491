"""Settings of a synthetic scene; imports no torch."""

from dataclasses import dataclass

from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What kind of world to draw and how the camera sees it."""

    size: tuple[int, int] = (256, 256)
    """Height and width of a frame in pixels."""
    frames: int = 24
    """Frames of a clip."""
    rate: float = 24.0
    """Frames per second written into files; motion is defined per clip, not per second."""
    objects: tuple[int, int] = (2, 7)
    """Fewest and most objects in front of the background."""
    room_share: float = 0.4
    """Share of worlds whose background is a room of several walls; the others have one plane."""
    camera_pan: float = 0.35
    """Largest turn of the camera in radians, to each side."""
    camera_travel: float = 1.2
    """Largest way of the camera in world units (the background is 5 to 8 units away)."""
    zoom_share: float = 0.25
    """Share of clips in which the focal length changes."""
    blur_share: float = 0.25
    """Share of clips with motion blur."""
    blur_samples: int = 4
    """Moments averaged for one blurred frame."""
    noise: float = 0.03
    """Largest standard deviation of the sensor noise, as a fraction of full white."""
    compress_share: float = 0.6
    """Share of clips that pass through a JPEG or MPEG-4 codec."""

    def __post_init__(self) -> None:
        if min(self.size) < 16 or self.frames < 1:
            raise BadInput(f"a scene of {self.frames} frames of {self.size} pixels; wanted 1 frame or more of 16x16 or more")
        if not 0 <= self.objects[0] <= self.objects[1]:
            raise BadInput(f"objects is {self.objects}; wanted the fewest and the most, such as (2, 7)")
