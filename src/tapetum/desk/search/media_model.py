"""The model of an index of images and films: one set of weights embeds files, images and words."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tapetum.bench.word_models import fetch_command, identity_of, installed_word_model, is_here
from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference, split_reference

if TYPE_CHECKING:
    import numpy as np

    from tapetum.desk.search.vector_index import IndexedPiece
    from tapetum.encoders.embed import EmbeddedPiece

    MediaPart = tuple[EmbeddedPiece, bytes | None]
    """An image or a second of a film, prepared for the network, and its thumbnail."""

_SIDE = 128
"""Longer side of a thumbnail, in pixels."""
_CLASSIFIER, _BUNDLED = "efficientnet-lite2", "resnet-nano"


def default_model() -> str:
    """Find the best model on this machine: one that reads words, else one that learned from ImageNet, else the bundled one."""
    return installed_word_model() or (_CLASSIFIER if is_here(_CLASSIFIER) else _BUNDLED)


def better_model(reads_words: bool) -> str | None:
    """Say how to get a better model for an index; None if it already reads words."""
    return None if reads_words else f"this model reads no words; for search in words {fetch_command()}"


def stored_reference(about: Mapping[str, str]) -> str:
    """Read the reference that loads the weights of an index; "" if there is none.

    Raises BadInput for code: a file must not choose which code is run.
    """
    reference = about.get("reference", "")
    if is_reference(split_reference(reference, "encoder")[0], "encoder"):
        raise BadInput(f"the index was made by code, {reference[:200]}; if you trust that, say so: --model {reference[:200]}")
    return reference


class MediaModel:
    """Weights that embed files; some also embed words.

    Raises BadInput for weights that make no vectors.
    """

    def __init__(self, reference: str, device: str | None = None, dtype: str = "float32"):
        from tapetum.encoders.embed import EncoderEmbedder, set_precision
        from tapetum.hub.loading import find_loader, load
        from tapetum.transfer.zero_shot import reads_words

        find_loader(reference, "embed", trackers=False)  # what can be said without torch is said at once
        model = load(reference, device)
        if not hasattr(model, "embedder"):
            raise BadInput(f"{reference} holds a {type(model).__name__}, which makes no vectors; give an encoder")
        self.reference, self.identity = reference, identity_of(model)
        self._model, self._embedder = model, model.embedder()
        set_precision(model, dtype)
        self._sees_frames = isinstance(self._embedder, EncoderEmbedder)
        self._films = not self._sees_frames and hasattr(model, "embed_texts")
        self.reads_words: bool = self._films or reads_words(model)

    def embed_words(self, texts: Sequence[str]) -> "np.ndarray":
        """Compute unit vectors of texts, float32 (n, channels). Raises BadInput if the model reads none."""
        if self._films:
            from tapetum.systems.longvideo.streaming import embed_words

            return embed_words(self._model, texts)
        if not self.reads_words:
            raise BadInput(f"{self.reference} reads no words; give --image or --moment, or {fetch_command()}")
        return self._model.embed_texts(texts)

    def embed_image(self, frame: "np.ndarray") -> "np.ndarray":
        """Compute the vector of an image, uint8 (h, w, 3): float32 (channels)."""
        from tapetum.encoders.embed import EmbeddedPiece

        return self._embedder.embed([EmbeddedPiece("", None, None, {"image": self._embedder.prepare(frame)})])[0]

    @property
    def channels(self) -> int:
        """Return the length of a vector."""
        import numpy as np

        return len(self.embed_image(np.zeros((32, 32, 3), np.uint8)))

    def parts(self, path: Path) -> "Iterator[MediaPart]":
        """Read the parts of a file, an image or the seconds of a film, each with a thumbnail; frames are decoded one by one.

        Large JPEGs are decoded at a fraction of their size that is at least twice what the network sees. Raises BadInput for
        unreadable files.
        """
        return self._frames(path) if self._sees_frames else self._passages(path)

    def index_parts(self, parts: "Sequence[MediaPart]") -> "list[tuple[IndexedPiece, np.ndarray]]":
        """Compute the piece of an index, and the vector, float32 (channels), of each part; all have the same modalities."""
        from tapetum.desk.search.vector_index import IndexedPiece

        pieces = [piece for piece, _ in parts]
        vectors = self._embedder.embed(pieces)
        return [
            (IndexedPiece(path=piece.file, start_s=piece.start, stop_s=piece.stop, thumbnail=small), vector)
            for (piece, small), vector in zip(parts, vectors, strict=True)
        ]

    def _frames(self, path: Path) -> "Iterator[MediaPart]":
        from tapetum.encoders.embed import EmbeddedPiece, frames_of, is_image
        from tapetum.video.images import read_reduced

        how = self._model.preprocessing
        if is_image(path):
            frames = [(None, None, read_reduced(path, 2 * round(max(how.size) / how.crop_fraction)))]
        else:
            frames = frames_of(path)
        for start, stop, frame in frames:
            yield EmbeddedPiece(str(path), start, stop, {"image": self._embedder.prepare(frame)}), thumbnail_of(frame)

    def _passages(self, path: Path) -> "Iterator[MediaPart]":
        """Pieces of a network that takes more than one frame at a time."""
        import numpy as np

        from tapetum.video import open_video

        with open_video(path) as video:
            times = video.timestamps - video.timestamps[0]
            for piece in self._embedder.pieces(path):
                middle = ((piece.start or 0.0) + (piece.stop or 0.0)) / 2
                yield piece, thumbnail_of(video[int(np.abs(times - middle).argmin())])


def thumbnail_of(frame: "np.ndarray") -> bytes:
    """Make a small JPEG of an image, uint8 (h, w, 3)."""
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=75)
    return out.getvalue()
