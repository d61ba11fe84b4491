"""Episodes of LeRobot data sets as videos, by an address accepted by `open_video`, and so by every command for videos.

    FOLDER#episode=12                    from the first camera
    FOLDER#episode=12,camera=top         from another; the last word of observation.images.top is enough
    FOLDER#episode=3-7    FOLDER#camera=top      several, if a command accepts several videos; FOLDER alone is all of them

A frame of an episode is the video frame nearest to the episode's start there plus the row's timestamp, as in the
package. Cameras whose images are in the rows as PNG or JPEG (dtype "image") are read from there.
"""

import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.video.images import image_rgb
from tapetum.video.lerobot import INFO, LeRobotDataset, is_lerobot, open_lerobot
from tapetum.video.types import Frame, Video

_ADDRESS = re.compile(r"(?P<folder>.+)#(?P<parts>(?:episode|camera)=.*)", re.DOTALL)
_NUMBERS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True, kw_only=True)
class EpisodeAddress:
    """What an address names."""

    folder: Path
    first: int | None = None
    """Number of the first episode; None: all of them."""
    last: int | None = None
    camera: str | None = None
    """None: the first camera."""

    def __str__(self) -> str:
        number = None if self.first is None else f"{self.first}" + (f"-{self.last}" if self.last != self.first else "")
        parts = (("episode", number), ("camera", self.camera))
        text = ",".join(f"{name}={value}" for name, value in parts if value is not None)
        return f"{self.folder}#{text}" if text else str(self.folder)


def parse_episode_address(source: object) -> EpisodeAddress | None:
    """Parse the address of episodes, or the folder of a data set; None for anything else, and for an existing file of this
    name. Raises BadInput for a malformed address, or one whose folder is not such a data set.

    >>> str(parse_episode_address("no-such-file.mp4")), str(parse_episode_address(7))
    ('None', 'None')
    """
    if not isinstance(source, str | os.PathLike) or not (text := os.fspath(source)):
        return None
    if is_lerobot(text):
        return EpisodeAddress(folder=Path(text))
    match = _ADDRESS.fullmatch(text)
    if match is None or os.path.exists(text):
        return None
    address = EpisodeAddress(folder=Path(match["folder"]))
    for part in match["parts"].split(","):
        name, _, value = part.partition("=")
        numbers = _NUMBERS.fullmatch(value)
        if name == "episode" and numbers is not None:
            first = int(numbers[1])
            address = replace(address, first=first, last=first if numbers[2] is None else int(numbers[2]))
        elif name == "camera" and value:
            address = replace(address, camera=value)
        else:
            raise BadInput(f"{text} has {part!r}; write FOLDER#episode=3, FOLDER#episode=3-7 or FOLDER#episode=3,camera=NAME")
    if not is_lerobot(address.folder):
        raise BadInput(f"{address.folder} is no data set of LeRobot (it has no {INFO}), and {text} names an episode of one")
    return address


class EpisodeVideo(Video):
    """The frames of an episode from one camera; times are seconds since its start."""

    def __init__(self, data: LeRobotDataset, number: int, camera: str | None = None, name: str | None = None):
        """Open an existing episode by `number`. Raises BadInput for a camera that is missing, or whose size is unknown."""
        camera = data.camera(camera)
        self._data, self._number, self._camera = data, number, camera
        self.episode = data.episodes[number]
        self.name = name or f"{data.folder.name}#episode={number},camera={camera}"
        shape, axes = data.features[camera].get("shape"), data.features[camera].get("names") or ("height",)
        try:
            channels_first = str(axes[0]).startswith("channel")
            self.height, self.width = map(int, list(shape or ())[1:] if channels_first else list(shape or ())[:2])
        except (TypeError, ValueError, KeyError) as error:
            raise BadInput(f"{data.folder / INFO} says that {camera} has shape {shape}; wanted rows, columns, 3") from error

    def __len__(self) -> int:
        return self.episode.length

    @property
    def frame_rate(self) -> float:
        return self._data.frame_rate

    @cached_property
    def timestamps(self) -> Float64[np.ndarray, " t"]:
        return self._data.rows(self._number, ("timestamp",))["timestamp"].astype(np.float64)

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        if self._camera in self.episode.videos:
            frames = self._whole._read(self._numbers[list(indices)].tolist())
        else:
            images = self._data.rows(self._number, (self._camera,))[self._camera]
            frames = (_image(images[i], f"frame {i} of {self.name}") for i in indices)
        for frame in frames:
            if frame.shape[:2] != (self.height, self.width):
                rows, columns = frame.shape[:2]
                raise BadInput(f"{self.name} has frames of {columns}x{rows}; {INFO} says {self.width}x{self.height}")
            yield frame

    @cached_property
    def _whole(self) -> Video:
        from tapetum.video.read import open_video

        return open_video(self.episode.videos[self._camera][0])

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Numbers of the episode's frames in its file."""
        (file, start), there = self.episode.videos[self._camera], self._whole.timestamps
        times = start + self.timestamps
        after = np.clip(np.searchsorted(there, times), 1, max(1, len(there) - 1))
        before = after - 1
        after = np.minimum(after, len(there) - 1)
        numbers = np.where(times - there[before] <= there[after] - times, before, after)
        if np.abs(there[numbers] - times).max() > 0.5 / self.frame_rate or (np.diff(numbers) < 1).any():
            raise BadInput(
                f"{file} has no frame of its own for each row of episode {self._number}, which begins there at "
                f"{start:g} s; get the data set again"
            )
        return numbers

    def close(self) -> None:
        if "_whole" in self.__dict__:
            self._whole.close()


def list_episodes(source: object) -> list[str]:
    """List the addresses of all episodes in an address or the folder of a data set; none for any other source."""
    address = parse_episode_address(source)
    if address is None:
        return []
    data = open_lerobot(address.folder)
    camera = None if address.camera is None else data.camera(address.camera)
    return [str(replace(address, first=n, last=n, camera=camera)) for n in data.select(address.first, address.last)]


def open_episode(address: EpisodeAddress) -> "EpisodeVideo":
    """Open the video of one episode. Raises BadInput if the address names several, or one that does not exist."""
    data = open_lerobot(address.folder)
    numbers = data.select(address.first, address.last)
    if len(numbers) != 1:
        raise BadInput(f"{address} has {len(numbers)} episodes; name one, such as {address.folder}#episode={numbers[0]}")
    return EpisodeVideo(data, numbers[0], address.camera, name=str(address))


def files_of_episode(source: object) -> list[Path]:
    """List the files that contain an episode's video, and its rows; none for any other source."""
    address = parse_episode_address(source)
    if address is None or address.first is None:
        return []
    data = open_lerobot(address.folder)
    episode = data.episodes[data.select(address.first, address.last)[0]]
    camera = data.camera(address.camera)
    return [episode.rows, *episode.videos.get(camera, ())[:1]]


def _image(stored: bytes | None, name: str) -> Frame:
    try:
        with Image.open(io.BytesIO(stored or b"")) as image:
            return image_rgb(image, name)
    except BadInput:
        raise
    except Exception as error:  # Pillow's plugins raise whatever damage makes them stumble over
        raise BadInput(f"{name} is no image that can be read ({' '.join(str(error).split())[:80]})") from error
