"""One episode of the physical world as files: simulated and rendered part by part, so memory use is independent of its length.

parts of the episode ─► frames ─► mp4 ◄─ sound ◄─ parts
          │               └─► the clip (its first frames): TAP-Vid pickle, TAPVid-3D npz
          └─► record (.npz), wav, annotations
"""

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.data.textures import Textures
from tapetum.systems.tapvid3d.data import write_clip
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.video import write_video
from tapetum.video.sound import SoundTrack, WavWriter, wav_file
from tapetum.world.bodies.episode import Episode
from tapetum.world.bodies.files import save_episode
from tapetum.world.files.annotations import Annotations
from tapetum.world.files.items import ItemRequest, candidate_rows
from tapetum.world.image import first_valid_start
from tapetum.world.physics import episode_parts, make_episode
from tapetum.world.rendering import GroundTruth, PointTracks, random_render_config, render_episode
from tapetum.world.sound import record
from tapetum.world.words import EpisodeEvents, episode_candidates, episode_caption
from tapetum.world.words.episodes import grounded_questions

PART_S = 60.0
"""Longer episodes are made in parts of about so many seconds."""
SOUND_RATE = 16000
CLIP_FRAMES, CLIP_BYTES = 250, 2**28
"""Most frames of a clip whose points are followed, as in TAP-Vid's own videos, and most bytes that they have."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRequest(ItemRequest):
    """Episodes to record."""

    seconds: float
    frame_rate: float
    points: int
    story: str | None
    split: str


class _Pieces(deque[np.ndarray]):
    """Pieces of sound, each available once its frames are; an iterator that may be empty for a while."""

    def __iter__(self) -> "_Pieces":
        return self

    def __next__(self) -> np.ndarray:
        if not self:
            raise StopIteration
        return self.popleft()


class Recording:
    """Makes episode `number` and its files in the folder `out`."""

    def __init__(self, request: EpisodeRequest, out: Path, number: int, name: str, textures: Textures):
        """Prepare; nothing is made yet."""
        self.request, self.out, self.name, self.textures = request, out, name, textures
        self.frames = round(request.seconds * request.frame_rate)
        size = (request.size, request.size)
        self.key, self._parts = first_valid_start((request.seed, number), self._begin)
        self._config = random_render_config(np.random.default_rng((self.key, 6)))
        self._sounds = _Pieces()
        self._annotations = Annotations(size, request.frame_rate, self.frames)
        self._clip: list[np.ndarray] = []
        self._first: Episode | None = None

    def make(self) -> dict[str, Any]:
        """Write video, sound, record and tracks; returns the ground truth of the episode."""
        out, name, frame_rate = self.out, self.name, self.request.frame_rate
        with wav_file(out / "audios" / f"{name}.wav", SOUND_RATE) as wav:
            write_video(out / "videos" / f"{name}.mp4", self._film(wav), frame_rate, sound=SoundTrack(self._sounds, SOUND_RATE))
        assert self._first is not None
        self._write_tracks(self._first)
        events = EpisodeEvents(self._first)
        item = self._annotations.item(name, self.request.split, wav.samples, SOUND_RATE, grounded_questions(events))
        return {
            "id": name,
            "story": self._first.settings.get("story", ""),
            "caption": episode_caption(events),
            "told_s": self._first.seconds,
            "item": item,
            "candidates": candidate_rows(episode_candidates(self._first, self.key)),
        }

    def _begin(self, key: int) -> Iterator[Episode]:
        request = self.request
        size, frame_rate, seconds = (request.size, request.size), request.frame_rate, request.seconds
        if seconds <= PART_S:
            return iter([make_episode(key, request.story, seconds=seconds, size=size, frame_rate=frame_rate)])
        parts = episode_parts(key, request.story, seconds=seconds, part_seconds=PART_S, size=size, frame_rate=frame_rate)
        return chain([next(parts)], parts)

    def _film(self, wav: WavWriter) -> Iterator[np.ndarray]:
        """Yield the frames of all parts; each part's sound and ground truth are recorded as it begins."""
        start = 0
        for number, part in enumerate(self._parts):
            whole = start == 0 and part.frames == self.frames
            save_episode(part, self.out / "episodes" / f"{self.name}{'' if whole else f'.{number:03d}'}.npz")
            samples, events = record(part, SOUND_RATE)
            wav.write(samples)
            self._sounds.append(samples)
            self._annotations.add(part, GroundTruth(part), events, start)
            self._first = self._first or part
            for frame in render_episode(part, self.textures, self._config):
                if start == 0 and len(self._clip) < self._most():
                    self._clip.append(frame.rgb)
                yield frame.rgb
            start += part.frames

    def _most(self) -> int:
        return max(1, min(CLIP_FRAMES, CLIP_BYTES // (3 * self.request.size**2)))

    def _write_tracks(self, part: Episode) -> None:
        """Track points through the clip, and through the whole video if it has one part."""
        truth = GroundTruth(replace(part, frames=len(self._clip)))
        points, queried, xy = truth.sample(np.random.default_rng((self.key, 7)), self.request.points)
        one = part.frames == self.frames
        followed = GroundTruth(part).follow(points, range(part.frames if one else len(self._clip)))
        if one:
            self._annotations.follow(part, points.body, followed)
        count = len(self._clip)
        clip = PointTracks(followed.xy[:, :count], followed.xyz[:, :count], followed.state[:, :count], followed.instance)
        shares = clip.xy / np.float32(self.request.size)
        entry = TapVidEntry(name=self.name, video=np.stack(self._clip), points=shares, occluded=~clip.visible)
        write_entries(self.out / "tapvid" / f"{self.name}.pkl", {self.name: entry})
        moments = np.arange(count) * part.moments_per_frame
        write_clip(
            self.out / "tapvid3d" / f"{self.name}.npz",
            tracks_XYZ=clip.xyz.transpose(1, 0, 2).astype(np.float64),
            visibility=clip.visible.T,
            queries_xyt=np.concatenate([xy, queried[:, None]], 1).astype(np.float64),
            fx_fy_cx_cy=part.camera.intrinsics[0],
            images_jpeg_bytes=[_jpeg(frame) for frame in self._clip],
            extrinsics_w2c=part.camera.world_to_camera[moments],
        )


def _jpeg(frame: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=95)
    return data.getvalue()
