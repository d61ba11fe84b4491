"""Masks of objects through a video from clicks and boxes, by SAM 2 or EdgeTAM of transformers.

Source: SAM 2 (arXiv 2408.00714), EdgeTAM (arXiv 2501.07256).

The network, its preprocessing and its memory of frames are the library's, and masks equal those of its own session over the
whole video. Here frames are decoded when they are read, and what the network will not read again is dropped, so that memory
does not grow with the video. Each object has a session of its own, and all share the features of the current frame: objects may
be prompted first in different frames, which a session of the library does not allow. Frames after an object's first prompt come
in order, then those before it, backwards.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import no_pipes_in
from tapetum.hub.registry import resolve


@dataclass(frozen=True, kw_only=True)
class MaskPrompt:
    """A click in one frame, or a box around an object there."""

    frame: int
    object: int = 1
    """Number of the object, from 1."""
    point: tuple[float, float] | None = None
    """x and y in pixels."""
    inside: bool = True
    """The point is on the object, not beside it."""
    box: tuple[float, float, float, float] | None = None
    """x1, y1, x2, y2 in pixels, in place of a point."""


class Frames(Protocol):
    """A video, as `tapetum.open_video` gives it."""

    width: int
    height: int

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> UInt8[np.ndarray, "h w 3"]: ...


def check_prompts(prompts: Sequence[MaskPrompt], video: Frames) -> None:
    """Raise BadInput for prompts outside the video or its image, two boxes in one place, and objects that no prompt is on."""
    if not prompts:
        raise BadInput("there is no click and no box; give one, such as --click 0,120,80")
    boxes = [(each.object, each.frame) for each in prompts if each.box is not None]
    if len(set(boxes)) < len(boxes):
        raise BadInput("one object has two boxes in one frame; give one")
    for each in prompts:
        if not 0 <= each.frame < len(video):
            raise BadInput(f"a prompt is in frame {each.frame}; the video has frames 0 to {len(video) - 1}")
        place = [*(each.point or each.box or ())]
        xs, ys = place[::2], place[1::2]
        if not all(0 <= x <= video.width for x in xs) or not all(0 <= y <= video.height for y in ys):
            raise BadInput(
                f"a prompt at {', '.join(map(str, place))} lies outside the image, which is {video.width}x{video.height}"
            )
        if each.box is not None and not (xs[0] < xs[1] and ys[0] < ys[1]):
            raise BadInput(f"the box {each.box} is empty; give x1 below x2, and y1 below y2")
    for name in {each.object for each in prompts}:
        if not any(each.inside for each in prompts if each.object == name):
            raise BadInput(f"all clicks of object {name} lie beside it; give one that is on it")


class _Prepared(dict[int, torch.Tensor]):
    """Prepared frames by number, decoded when they are read; only the last is kept."""

    def __init__(self, video: Frames, prepare: Any):
        super().__init__()
        self._video, self._prepare = video, prepare

    def __len__(self) -> int:
        return len(self._video)

    def __missing__(self, number: int) -> torch.Tensor:
        self.clear()
        self[number] = frame = self._prepare(self._video[number])
        return frame


class VideoSegmenter:
    """A SAM 2 or EdgeTAM with its processor."""

    def __init__(self, model: Any, processor: Any):
        """Combine a model and its processor, both of transformers."""
        self.model, self.processor = model.eval().requires_grad_(False), processor
        self._memory = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str], device: torch.device | str | None = None) -> "VideoSegmenter":
        """Load a model by name or from its folder. Raises MissingExtra without transformers, BadInput for another model."""
        try:
            from transformers import AutoModel, AutoProcessor
            from transformers.utils.logging import disable_progress_bar
        except ImportError:
            raise MissingExtra("transformers", "vlm", "masks by clicks") from None
        disable_progress_bar()
        folder = Path(name_or_path)
        folder = folder if folder.is_dir() else resolve(name_or_path, "segment")[0]
        own: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            place = no_pipes_in(folder)
            processor = AutoProcessor.from_pretrained(place, **own)
            if not hasattr(processor, "init_video_session"):
                raise OSError("its processor knows no video with clicks")
            model: Any = AutoModel.from_pretrained(place, use_safetensors=True, **own)
        except Exception as error:  # each processor and config checks itself, by classes of errors of its own
            reason = " ".join(str(error).split())[:160]
            raise BadInput(f"{folder} is no SAM 2 of transformers ({reason}); take sam2-tiny, or a folder of one") from error
        return cls(model.to(device), processor)

    @full_precision()
    @torch.inference_mode()
    def segment(self, video: Frames, prompts: Sequence[MaskPrompt]) -> Iterator[tuple[int, int, Bool[np.ndarray, "h w"]]]:
        """Yield frame, object and mask (h, w), each pair once. Raises BadInput as `check_prompts`."""
        check_prompts(prompts, video)
        frames = _Prepared(video, self._prepare)
        starts = {each.object: min(one.frame for one in prompts if one.object == each.object) for each in prompts}
        sessions = {name: self._session(video, frames) for name in starts}
        shared = next(iter(sessions.values())).cache
        for name, session in sessions.items():
            session.cache = shared
            own = [each for each in prompts if each.object == name]
            for number in sorted({each.frame for each in own}):
                self._add(session, number, [each for each in own if each.frame == number])
        for number in range(min(starts.values()), len(video)):
            for name, session in sessions.items():
                if number >= starts[name]:
                    yield number, name, self._step(session, video, number, reverse=False)
                    if number - self._memory > starts[name] + self._memory:  # earlier ones are read on the way back
                        _drop(session, number - self._memory)
        for number in range(max(starts.values()) - 1, -1, -1):
            for name, session in sessions.items():
                if number < starts[name]:
                    yield number, name, self._step(session, video, number, reverse=True)
                    _drop(session, number + self._memory)

    def _session(self, video: Frames, frames: _Prepared) -> Any:
        session = self.processor.init_video_session(inference_device=self.model.device, dtype=self.model.dtype)
        session.processed_frames, session.video_height, session.video_width = frames, video.height, video.width
        return session

    def _prepare(self, frame: UInt8[np.ndarray, "h w 3"]) -> torch.Tensor:
        prepared = self.processor.video_processor(videos=[frame[None]], return_tensors="pt")
        return prepared.pixel_values_videos[0][0].to(self.model.device, self.model.dtype)

    def _add(self, session: Any, number: int, prompts: Sequence[MaskPrompt]) -> None:
        """Give a session the prompts of one frame."""
        points = [list(each.point) for each in prompts if each.point is not None]
        labels = [int(each.inside) for each in prompts if each.point is not None]
        boxes = [list(each.box) for each in prompts if each.box is not None]
        self.processor.add_inputs_to_inference_session(
            session,
            number,
            1,
            input_points=[[points]] if points else None,
            input_labels=[[labels]] if points else None,
            input_boxes=[boxes] if boxes else None,
        )
        self.model(inference_session=session, frame_idx=number)

    def _step(self, session: Any, video: Frames, number: int, reverse: bool) -> Bool[np.ndarray, "h w"]:
        out = self.model(inference_session=session, frame_idx=number, reverse=reverse)
        [masks] = self.processor.post_process_masks([out.pred_masks], original_sizes=[[video.height, video.width]])
        return masks[0, 0].cpu().numpy().astype(bool)


def _drop(session: Any, number: int) -> None:
    """Forget what a session keeps of a frame without prompts."""
    session.output_dict_per_obj[0]["non_cond_frame_outputs"].pop(number, None)


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> VideoSegmenter:
    """Load a segmenter, as `tapetum.load` does; its weights stay in float32. Raises BadInput as `VideoSegmenter.load`."""
    del dtype
    return VideoSegmenter.load(name_or_path, device)
