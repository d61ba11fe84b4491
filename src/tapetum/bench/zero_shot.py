"""Zero-shot classification and retrieval with two towers: ImageNet, CIFAR, COCO and Flickr30k.

Sources: CLIP (arXiv 2103.00020, sections 3.1.2 and 3.1.4), whose templates and class names published results use; accuracies
are top 1, top 5 and the mean of per-class accuracies; recall is at 1, 5 and 10 in both directions, with at most five captions
per image. open_clip's evaluation gives the same numbers for the same weights.

Differs from it for equal similarities, such as those of duplicate captions: the wrong ones rank first (`metrics.retrieval`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from tapetum.bench.own import Benchmark
from tapetum.core.errors import BadInput
from tapetum.data.files import StoredFile, opened_image, stored_file
from tapetum.data.labelled import ImageSequence
from tapetum.data.layouts import listing
from tapetum.data.questions import CaptionedImage
from tapetum.data.vision_language.captions import read_captions
from tapetum.encoders.imagenet import prompt_names, synsets
from tapetum.hub.loading import load
from tapetum.metrics.retrieval import ranks_of_right
from tapetum.transfer.zero_shot import ImageTextEncoder, LabelClassifier, published_templates, reads_words

_TOGETHER = 16
"""Images that are in memory at a time."""
_QUERIES = 256
"""Queries that are ranked at a time."""
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class ZeroShotScores:
    """How often the words of an image's class are most like it; from 0 to 1."""

    top_1: float
    top_5: float
    mean_per_class: float
    """Mean over classes of their own top 1, where classes are of different sizes."""
    images: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class ImageTextRecall:
    """Recall at ranks, from 0 to 1."""

    text_of_image: dict[int, float]
    """An image is asked for its texts: one of them is among the first k."""
    image_of_text: dict[int, float]
    """A text is asked for its image."""
    images: int
    texts: int


class ZeroShot(Benchmark):
    """An encoder of images and words on ImageNet's validation images, by the words and templates of CLIP."""

    headline = "top_1"
    _words: Sequence[str] = ()
    _templates: Sequence[str] = ()

    def items(self, data: Path) -> Mapping[str, tuple[Path | bytes, int]]:
        """List the images, each with the number of its class."""
        listed = listing("imagenet", data, "val")
        self._words = words_of_classes(listed.classes)
        self._templates = published_templates()["imagenet" if {*listed.classes} <= {*synsets()} else "simple"]
        return {str(k): (listed.files["image"][k].content, label) for k, label in enumerate(np.asarray(listed.truth).tolist())}

    def load(self, model: str, device: str | None) -> LabelClassifier:
        """Load the encoder; vectors of classes are kept."""
        return LabelClassifier(load_encoder(model, device))

    def score(self, model: LabelClassifier, item: tuple[Path | bytes, int]) -> Mapping[str, float]:
        """Compare an image with the words of all classes."""
        image = np.asarray(opened_image(StoredFile("an image", item[0]), "RGB"))
        similarity = model.model.embed_images([image]) @ model.class_vectors(self._words, self._templates).T
        best = np.argsort(-similarity[0], kind="stable")[:5]
        return {"top_1": float(best[0] == item[1]), "top_5": float(item[1] in best)}


class Retrieval(Benchmark):
    """An encoder of images and words on captioned images, which are one item."""

    def items(self, data: Path) -> Mapping[str, tuple[CaptionedImage, ...]]:
        return {"all": tuple(read_captions(data, "test")[: self.limit])}

    def load(self, model: str, device: str | None) -> ImageTextEncoder:
        return load_encoder(model, device)

    def score(self, model: ImageTextEncoder, item: Sequence[CaptionedImage]) -> Mapping[str, float]:
        scores = evaluate_retrieval(model, item)
        both = (("text of image", scores.text_of_image), ("image of text", scores.image_of_text))
        return {f"{name} recall@{k}": value for name, recalls in both for k, value in recalls.items()}


def load_encoder(model: str, device: str | None) -> ImageTextEncoder:
    """Load an encoder of images and words. Raises BadInput for a model that reads no words."""
    loaded = load(model, device)
    if not reads_words(loaded):
        raise BadInput(f"{model} holds a {type(loaded).__name__} that reads no words; give such as siglip2-base-32")
    return loaded


def words_of_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Choose the words for class names: the published ones for ImageNet folders, else the names themselves.

    >>> words_of_classes(["n01440764", "n02012849"]), words_of_classes(["aquarium_fish"])
    (('tench', 'crane bird'), ('aquarium fish',))
    """
    published = dict(zip(synsets(), prompt_names(), strict=True))
    if names and all(name in published for name in names):
        return tuple(published[name] for name in names)
    return tuple(name.replace("_", " ") for name in names)


def evaluate_zero_shot(
    model: ImageTextEncoder,
    images: ImageSequence,
    labels: Int64[np.ndarray, " n"],
    words: Sequence[str],
    templates: Sequence[str],
    progress: Progress = lambda done, total: None,
) -> ZeroShotScores:
    """Compute the accuracy of a model that classifies images by the words of their classes, in texts with {} in their place.

    The vectors of the texts are averaged. Raises BadInput if there are no images.
    """
    if not len(images):
        raise BadInput("there are no images to be named; give data that has some")
    class_vectors = LabelClassifier(model).class_vectors(words, templates)
    vectors = embed_all(model, (images[k] for k in range(len(images))), len(images), progress)
    order = np.argsort(-(vectors @ class_vectors.T), 1, kind="stable")[:, :5]
    hits = order == labels[:, None]
    first = hits[:, 0]
    return ZeroShotScores(
        top_1=float(first.mean()),
        top_5=float(hits.any(1).mean()),
        mean_per_class=float(np.mean([first[labels == k].mean() for k in np.unique(labels)])),
        images=len(images),
        classes=len(words),
    )


def evaluate_retrieval(
    model: ImageTextEncoder,
    samples: Sequence[CaptionedImage],
    most_captions: int = 5,
    progress: Progress = lambda done, total: None,
) -> ImageTextRecall:
    """Compute recall of images by their captions and of captions by their images.

    Raises BadInput if there are no images, one has no caption, or a file cannot be read.
    """
    if not samples:
        raise BadInput("there are no images with captions; give data that has some")
    for sample in samples:
        if not sample.captions[:most_captions]:
            raise BadInput(f"{sample.image} has no captions; leave it out")
    captions = [caption for sample in samples for caption in sample.captions[:most_captions]]
    owner = np.repeat(np.arange(len(samples)), [len(sample.captions[:most_captions]) for sample in samples])
    frames = (np.asarray(opened_image(stored_file(sample.image), "RGB")) for sample in samples)
    images = embed_all(model, frames, len(samples), progress)
    similarity = images @ model.embed_texts(captions).T
    numbers = np.arange(len(samples))
    return ImageTextRecall(
        text_of_image=_recalls(similarity, numbers, owner),
        image_of_text=_recalls(similarity.T, owner, numbers),
        images=len(samples),
        texts=len(captions),
    )


def _recalls(
    similarity: Float32[np.ndarray, "q n"], image_of_query: Int64[np.ndarray, " q"], image_of_item: Int64[np.ndarray, " n"]
) -> dict[int, float]:
    """Compute recall at 1, 5 and 10, for some queries at a time: the 25,000 captions of COCO each rank 5,000 images."""
    best = []
    for start in range(0, len(similarity), _QUERIES):
        part = slice(start, start + _QUERIES)
        ranks, right = ranks_of_right(similarity[part], image_of_query[part, None] == image_of_item[None])
        best.append(np.where(right, ranks, ranks.shape[1] + 1).min(1))
    return {k: float((np.concatenate(best) <= k).mean()) for k in (1, 5, 10)}


def embed_all(
    model: ImageTextEncoder, images: Iterable[UInt8[np.ndarray, "h w 3"]], count: int, progress: Progress
) -> Float32[np.ndarray, "n d"]:
    """Compute the embeddings of images, with only a few in memory at a time."""
    vectors: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for done, image in enumerate(images, 1):
        waiting.append(image)
        if len(waiting) == _TOGETHER or done == count:
            vectors.append(model.embed_images(waiting))
            waiting = []
            progress(done, count)
    return np.concatenate(vectors)
