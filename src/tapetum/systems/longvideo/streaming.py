"""Streaming: a video of any length through a `VideoText` or a `Captioner`, segment by segment, in constant memory apart from
the encoder's memories.

Positions are stretched to a video of up to twice the trained length; in a longer one, positions past the end stay at the last
time step (`VideoEncoder.start`). A network with joint memory gets one segment: as many frames as in training, evenly spaced.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, check_several
from tapetum.core.reading import check_length
from tapetum.encoders.embed import EmbeddedPiece
from tapetum.encoders.features import check_finite
from tapetum.layers.cpu import speed_up
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.encoder import EncodedVideo
from tapetum.systems.longvideo.video_text import VideoText, tokenize
from tapetum.video import Video, open_video
from tapetum.video.read import label_of
from tapetum.video.types import resize_frame

_ALL = 1000.0
"""Frames a second from which on all frames are taken."""


@dataclass(frozen=True)
class Passage:
    """A segment of a video and its vectors."""

    start_s: float
    stop_s: float
    vector: Float32[np.ndarray, " e"]
    """Of length 1, of this segment's tokens; with a memory, these have attended to earlier segments."""
    so_far: Float32[np.ndarray, " e"]
    """Of length 1, of the whole video up to here."""
    moments: Float32[np.ndarray, "m e"] | None = None
    """Of length 1, of the moments of this segment (`VideoTextConfig.moment_slots`); None: the network has none."""


@dataclass(frozen=True, kw_only=True)
class FrameSelection:
    """Selection of the frames of a video that are encoded."""

    frame_rate: float = 1.0
    start_s: float | None = None
    """From here on; None: from the beginning."""
    stop_s: float | None = None
    frames: int | None = None
    """At most this many, the first ones; None: all."""
    spread: bool = False
    """Take `frames` evenly from the first to the last in place of `frame_rate`."""
    grey: bool = False
    """Show grey ones in their place, for a blind score."""

    def numbers(self, video: Video) -> list[int]:
        """Choose frames, at least one."""
        times = video.timestamps - video.timestamps[0]
        first = 0.0 if self.start_s is None else min(max(self.start_s, 0.0), float(times[-1]))
        inside = times >= first - 1e-6
        if self.stop_s is not None:
            inside &= times < max(self.stop_s, first + 1e-3) - 1e-6
        begin = int(inside.argmax()) if inside.any() else int(np.searchsorted(times, first).clip(max=len(times) - 1))
        part = times[begin : begin + max(int(inside.sum()), 1)]
        if self.spread and self.frames is not None:
            return [begin + k for k in dict.fromkeys(np.linspace(0, len(part) - 1, self.frames).astype(int).tolist())]
        if not self.frame_rate > 0:
            raise BadInput(f"frame_rate is {self.frame_rate}; give frames a second, more than 0")
        if self.frame_rate >= _ALL or 1 / self.frame_rate <= np.diff(part).min(initial=np.inf):
            return [begin + k for k in range(len(part))][: self.frames]
        grid = np.arange(0, part[-1] - part[0] + 1e-6, 1 / self.frame_rate) + part[0]
        chosen = np.unique(np.minimum(np.searchsorted(part, grid - 1e-6), len(part) - 1))
        return (begin + chosen).tolist()[: self.frames]

    def load_frames(self, model: "StreamingModel", video: Video, numbers: list[int]) -> Float[Tensor, "1 t h w 3"]:
        """Decode and prepare frames, or grey ones."""
        if self.grey:
            rows, columns = model.config.video.size
            return torch.zeros(1, len(numbers), rows, columns, 3).to(model.video.tubelets.positions)
        return preprocess_frames(model, video[numbers])


StreamingModel = VideoText | Captioner
"""A model with a video encoder."""


def stream_features(
    model: StreamingModel, video: Video, selection: FrameSelection | None = None
) -> Iterator[tuple[float, float, EncodedVideo]]:
    """Encode a video segment by segment; yields start and stop in seconds, and features."""
    selection = FrameSelection() if selection is None else selection
    config = model.config.video
    at = selection.numbers(video)
    times = video.timestamps - video.timestamps[0]
    to_the_end = selection.frames is None and selection.stop_s is None
    end = float(times[-1] if to_the_end else times[at[-1]]) + 1 / selection.frame_rate
    if config.memory == "joint":
        chosen = [at[k] for k in np.linspace(0, len(at) - 1, min(config.frames, len(at))).round().astype(int)]
        with full_precision():
            features = model.video(selection.load_frames(model, video, chosen))
        yield float(times[at[0]]), end, features
        return
    state = model.video.start(1, len(at) if len(at) <= 2 * config.frames else None)
    for first in range(0, len(at), config.segment_frames):
        numbers = at[first : first + config.segment_frames]
        with full_precision():
            state, features = model.video.step(state, selection.load_frames(model, video, numbers))
        last = first + len(numbers) >= len(at)
        stop = end if last else float(times[at[first + len(numbers)]])
        yield float(times[numbers[0]]), stop, features


@torch.inference_mode()
def stream_passages(model: VideoText, video: Video, selection: FrameSelection | None = None) -> Iterator[Passage]:
    """Encode a video's passages in order."""
    for start, stop, features in stream_features(model, video, selection):
        yield make_passage(model, start, stop, features)


@full_precision()
def make_passage(model: VideoText, start: float, stop: float, features: EncodedVideo) -> Passage:
    """Make a passage from the features of a stream's segment, or of a whole video."""
    if features.tokens.shape[1] > 1 or model.config.video.memory == "joint":
        whole = model.embed_pooled(features.pooled)[0].float().cpu().numpy()
        return Passage(start, stop, whole, whole)
    tokens, valid = features.tokens[:, 0], features.valid[:, 0]
    own = model.embed_pooled(tokens.sum(1) / valid.sum(1, keepdim=True))
    both = torch.cat([own, model.embed_pooled(features.pooled)]).float().cpu().numpy()
    moments = None
    if model.config.moment_slots:
        vectors = model.embed_moments(features)[0, 0]
        moments = vectors[vectors.any(-1)].float().cpu().numpy()
    return Passage(start, stop, both[0], both[1], moments)


@full_precision()
@torch.inference_mode()
def stream_moments(
    model: VideoText, video: Video, frame_rate: float
) -> Iterator[tuple[float, float, Float32[np.ndarray, " e"]]]:
    """Embed the moments of a video (`VideoTextConfig.moment_slots`): start and stop in seconds, and a vector of length 1.

    A video longer than the network was trained on is encoded in parts of that length, each with its own memory.
    """
    config = model.config.video
    selection, size = FrameSelection(frame_rate=frame_rate), config.tubelet[0] * model.config.moment_slots
    times, at = video.timestamps - video.timestamps[0], selection.numbers(video)
    bounds = [*times[at].tolist(), float(times[-1]) + 1 / frame_rate]
    for begin in range(0, len(at), config.frames):
        part = at[begin : begin + config.frames]
        state = model.video.start(1, len(part))
        for first in range(0, len(part), config.segment_frames):
            numbers = part[first : first + config.segment_frames]
            state, features = model.video.step(state, selection.load_frames(model, video, numbers))
            vectors = model.embed_moments(features)[0, 0].float().cpu().numpy()
            for k in range(0, len(numbers), size):
                start = begin + first + k
                yield bounds[start], bounds[min(start + size, begin + first + len(numbers))], vectors[k // size]


@full_precision()
@torch.inference_mode()
def encode_video(
    model: Captioner, video: Video, selection: FrameSelection | None = None, progress: Callable[[int], None] = lambda done: None
) -> Float[Tensor, "1 l w"]:
    """Compute the latents of a whole video, segment by segment; `progress` is called with the number of segments done."""
    means = model.cell_means()
    for number, (_, _, features) in enumerate(stream_features(model, video, selection), 1):
        means.add(features)
        progress(number)
    return model.latents_of(means)


def embed_video(model: VideoText, video: Video, selection: FrameSelection | None = None) -> Float32[np.ndarray, " e"]:
    """Compute the vector of length 1 of a whole video, or of a selection of its frames."""
    return [*stream_passages(model, video, selection)][-1].so_far


@full_precision()
@torch.inference_mode()
def embed_words(model: VideoText, texts: Sequence[str]) -> Float32[np.ndarray, "n e"]:
    """Compute vectors of length 1 of texts."""
    return model.embed_texts(model.tokens(texts)).float().cpu().numpy()


def similarity_scores(
    model: VideoText, words: Float[np.ndarray, "n e"], vectors: Float[np.ndarray, "m e"]
) -> Float[np.ndarray, " n"]:
    """Compute how well each text fits a video: its cosine with the video's vector, or the soft maximum over moments.

    That is log(sum over m of exp(s * cosine)) / s with the network's scale s.
    """
    cosines, scale = words @ vectors.T, float(model.scale().detach())
    return np.logaddexp.reduce(scale * cosines, axis=1) / scale if len(vectors) > 1 else cosines[:, 0]


class VideoOptionScorer:
    """Scores the options of a question passage by passage, in constant memory."""

    def __init__(self, model: VideoText, question: str, options: Sequence[str]):
        self._model, self._words = model, embed_answers(model, question, options)
        self._scale = float(model.scale().detach())
        self._so_far: Float[np.ndarray, " n"] | None = None

    def add(self, passage: Passage) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Compute the scores of one more passage alone, and of all so far."""
        if passage.moments is None:
            return self._words @ passage.vector, self._words @ passage.so_far
        own, before = similarity_scores(self._model, self._words, passage.moments), self._so_far
        self._so_far = own if before is None else np.logaddexp(self._scale * before, self._scale * own) / self._scale
        return own, self._so_far


def embed_for_answers(model: VideoText, video: Video, selection: FrameSelection | None = None) -> Float32[np.ndarray, "m e"]:
    """Compute the video vectors that `similarity_scores` compares with answers: one per moment, or one for the whole."""
    passages = [*stream_passages(model, video, selection)]
    moments = [passage.moments for passage in passages if passage.moments is not None]
    return np.concatenate(moments) if moments else passages[-1].so_far[None]


@full_precision()
@torch.inference_mode()
def embed_answers(model: VideoText, question: str, options: Sequence[str]) -> Float32[np.ndarray, "n e"]:
    """Compute vectors of length 1 of a question followed by each answer; if too long, the question's beginning is cut.

    Raises BadInput for answers too long to be distinguished.
    """
    check_several(options, "options")
    texts = [f"{question} {option}".strip() for option in options]
    for text in texts:
        check_length(text, "a question with an option")
    if model.tokenizer is not None:
        ids = tokenize(texts, model.tokenizer, model.config.text, from_end=True)
        if len(set(map(tuple, ids.tolist()))) < len(set(texts)):
            raise BadInput(f"two answers end with the same {ids.shape[1]} tokens, all that this text tower reads; reword them")
        return model.embed_texts(ids.to(model.log_scale.device)).float().cpu().numpy()
    room = model.config.text.length - 2
    raw = [text.encode(errors="replace") for text in texts]
    if max(map(len, raw)) > room:
        if len({each[-room:] for each in raw}) < len(raw):
            raise BadInput(f"two answers end with the same {room} bytes, all that this text tower reads; say them shorter")
        texts = [each[-room:].decode(errors="ignore") for each in raw]
    return embed_words(model, texts)


class VideoEmbedder:
    """Computes a vector for every segment or moment of videos, and for images: the embedder of `tapetum embed`."""

    takes_videos = True

    def __init__(self, model: VideoText):
        self.model, self.frame_rate = speed_up(model.eval()), model.config.frame_rate
        self.identity = model.identity()

    @property
    def device(self) -> torch.device:
        """Get the device of the model."""
        return self.model.log_scale.device

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Embed the passages or moments of a file in order. Raises BadInput if it cannot be read."""
        with open_video(path) as video:
            if len(video) == 1:
                yield EmbeddedPiece(label_of(path), None, None, {"image": self.prepare(video[0])})
                return
            if self.model.config.moment_slots:
                for start, stop, vector in stream_moments(self.model, video, self.frame_rate):
                    yield EmbeddedPiece(label_of(path), start, stop, {"video": torch.from_numpy(vector)})
                return
            for each in stream_passages(self.model, video, FrameSelection(frame_rate=self.frame_rate)):
                yield EmbeddedPiece(label_of(path), each.start_s, each.stop_s, {"video": torch.from_numpy(each.vector)})

    @full_precision()
    @torch.inference_mode()
    def prepare(self, frame: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, " e"]:
        """Compute the vector of an image."""
        return self.model.embed_images(preprocess_frames(self.model, frame[None])[0])[0].float().cpu()

    def embed(self, pieces: Sequence[EmbeddedPiece]) -> Float32[np.ndarray, "n e"]:
        """Stack the vectors, which were computed with the pieces."""
        return check_finite(torch.stack([next(iter(piece.inputs.values())) for piece in pieces])).numpy()


def preprocess_frames(model: StreamingModel, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "1 t h w 3"]:
    """Convert frames to the encoder's size and value range."""
    rows, columns = model.config.video.size
    small = np.stack([resize_frame(frame, columns, rows) for frame in frames])
    parameter = model.video.tubelets.positions
    return (torch.from_numpy(small).to(parameter.device).float() / 127.5 - 1).to(parameter.dtype)[None]
