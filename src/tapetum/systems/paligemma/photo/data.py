"""Training data of paligemma-photo: features of photographs, computed once, and of classes, made from the classifier's rows.

    photo       vectors of a view of a photograph; its class names it
    mixed       the regions of one photograph, and others of another: two things are there
    prototype   evidence alone, of any of the 1,000 classes: a photograph's probabilities, sorted, given to the class first and
                then to those whose rows are most like its own
    labelled    images with a common noun as their class, such as CIFAR-10's
    segmented   images with masks of classes, such as CamVid's: of each class it is asked whether it is there

Half of the time a photograph's vectors are set to 0 and only its evidence is read, as for a prototype.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16, Float32

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import open_file
from tapetum.data.files import opened_image
from tapetum.data.labelled import labelled_images
from tapetum.data.layouts import listing
from tapetum.data.samples import sample_generator
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.imagenet import class_names, group_classes, synsets
from tapetum.systems.paligemma.data import TextPair
from tapetum.systems.paligemma.images import prepare
from tapetum.systems.paligemma.photo.config import PhotoConfig
from tapetum.systems.paligemma.photo.model import classifier_of, region_vectors
from tapetum.systems.paligemma.photo.texts import Nouns, class_nouns, pairs_about, pairs_of_presence

FOLDS = 5
"""Parts of the photographs; those of one are never trained on. Photograph of class k: fold k modulo this."""
SYNONYMS = {"automobile": "car", "pedestrian": "person", "bicyclist": "bicycle", "sign": "street sign"}
"""Names of classes of other data sets, and the common nouns that stand for them here."""
AREA = 0.01
"""Share of an image's pixels from which a thing of a mask counts as there; one without a pixel counts as not there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoFeatures:
    """Vectors of images, and what they show."""

    vectors: Float16[np.ndarray, "n v t c"]
    """Of v views of each: the whole image first, then its regions."""
    nouns: Sequence[Nouns]
    classes: Sequence[int]
    """Of ImageNet; -1 for images whose class is a common noun."""
    absent: Sequence[tuple[str, ...]] = ()
    """Of segmented images: what is not there."""

    def __len__(self) -> int:
        return len(self.vectors)

    def part(self, where: Sequence[int]) -> "PhotoFeatures":
        """Select some of the images, by number."""
        absent = [self.absent[k] for k in where] if self.absent else ()
        return PhotoFeatures(
            vectors=self.vectors[list(where)],
            nouns=[self.nouns[k] for k in where],
            classes=[self.classes[k] for k in where],
            absent=absent,
        )


def class_of(label: str) -> int | None:
    """Find the ImageNet class with a name or a WordNet number; None if there is none, or if several have the name."""
    names = [name.partition(" (")[0] for name in class_names()]
    if label in synsets():
        return synsets().index(label)
    return names.index(label) if names.count(label) == 1 else None


def nouns_called(label: str) -> Nouns:
    """Make the nouns of another data set's class, which is a common noun.

    >>> nouns_called("automobile").kind, nouns_called("dog").noun
    ('vehicle', 'dog')
    """
    noun = SYNONYMS.get(label, label)
    classes = group_classes().get(noun, ())
    groups = {group for group, members in group_classes().items() if classes and set(classes) <= set(members)}
    kind = class_nouns()[classes[0]].kind if classes else "object"
    return Nouns(name=noun, noun=noun, groups=tuple(sorted(groups)), kind=kind)


def read_photos(place: Path, encoder: EfficientNetLite, views: int, cache: Path, say: Callable[[str], None]) -> PhotoFeatures:
    """Read photographs whose classes are ImageNet's, by name or by WordNet number; others are left out.

    Vectors are computed once and written to `cache`. Raises BadInput if no class is ImageNet's.
    """
    parts = [labelled_images(place, split) for split in ("train", "val")]
    entries = [
        (images, k, class_of(str(names[label]))) for images, labels, names in parts for k, label in enumerate(labels.tolist())
    ]
    known = [(images, k, number) for images, k, number in entries if number is not None]
    if not known:
        raise BadInput(f"{place} has no image with a class of ImageNet; label photographs by its names or WordNet numbers")
    say(f"{place}: {len(known):,} photographs, {len(entries) - len(known)} left out")
    known.sort(key=lambda each: each[2])
    numbers = [number for *_, number in known]
    earlier = [numbers[:k].count(number) for k, number in enumerate(numbers)]
    seeds = [number + len(class_names()) * times for number, times in zip(numbers, earlier, strict=True)]
    vectors = _cached(cache, len(known), lambda n: known[n][0][known[n][1]], encoder, views, say, seeds)
    return PhotoFeatures(vectors=vectors, nouns=[class_nouns()[number] for number in numbers], classes=numbers)


def read_labelled(
    place: Path, split: str, encoder: EfficientNetLite, most: int, cache: Path, say: Callable[[str], None]
) -> PhotoFeatures:
    """Read images whose classes are common nouns, `most` at most."""
    images, labels, names = labelled_images(place, split, most)
    vectors = _cached(cache, len(images), lambda n: images[n], encoder, 1, say)
    nouns = [nouns_called(str(names[label])) for label in labels.tolist()]
    return PhotoFeatures(vectors=vectors, nouns=nouns, classes=[-1] * len(nouns))


def read_segmented(
    place: Path, split: str, encoder: EfficientNetLite, cache: Path, say: Callable[[str], None]
) -> PhotoFeatures:
    """Read images with class masks from parquet; see `AREA`. Raises BadInput if there are no masks."""
    listed = listing("parquet", place, "train" if split == "train" else "val")
    if "mask" not in listed.files:
        raise BadInput(f"{place} has no masks; give parquet with the columns image and mask")
    names = [SYNONYMS.get(name, name) for name in listed.classes]
    vectors = _cached(cache, len(listed), lambda n: np.asarray(opened_image(listed.files["image"][n], "RGB")), encoder, 1, say)
    nouns, absent = [], []
    for n in range(len(listed)):
        mask = np.asarray(opened_image(listed.files["mask"][n], None))
        shares = np.bincount(mask.ravel(), minlength=256)[: len(names)] / mask.size
        there = tuple(name for name, share in zip(names, shares, strict=True) if share >= AREA)
        nouns.append(Nouns(name="street", noun="street", groups=there, kind="place"))
        absent.append(tuple(name for name, share in zip(names, shares, strict=True) if share == 0))
    return PhotoFeatures(vectors=vectors, nouns=nouns, classes=[-1] * len(nouns), absent=absent)


def view_of(image: np.ndarray, number: int, view: int) -> np.ndarray:
    """Cut a view of an image: 0 is the whole, every other one a random crop of 0.6 to 1 of its sides, half mirrored."""
    if view == 0:
        return image
    rng = np.random.default_rng((number, view))
    scale = rng.uniform(0.6, 1.0)
    rows, columns = (max(1, int(side * scale)) for side in image.shape[:2])
    top, left = rng.integers(0, image.shape[0] - rows + 1), rng.integers(0, image.shape[1] - columns + 1)
    part = image[top : top + rows, left : left + columns]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


def _cached(
    cache: Path,
    count: int,
    read: Callable[[int], np.ndarray],
    encoder: EfficientNetLite,
    views: int,
    say: Callable[[str], None],
    seeds: Sequence[int] = (),
) -> Float16[np.ndarray, "n v t c"]:
    """The vectors in a file, computed and written if it is missing. `seeds` are those of the images' views."""
    if cache.is_file():
        with open_file(cache) as file:
            return np.load(file, allow_pickle=False)
    rows = []
    for n in range(count):
        image = np.asarray(read(n))
        pixels = torch.cat(
            [prepare(view_of(image, seeds[n] if seeds else n, view)[None], PhotoConfig.side) for view in range(views)]
        )
        rows.append(region_vectors(encoder, pixels).numpy().astype(np.float16))
        if (n + 1) % 500 == 0:
            say(f"{cache.stem}: {n + 1} of {count} images through the encoder")
    made = np.stack(rows)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(cache) as temporary, open(temporary, "wb") as file:
        np.save(file, made)
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoSample:
    """Features of an image, and texts about it."""

    features: Float32[np.ndarray, "t f"]
    pairs: tuple[TextPair, ...]


class PhotoSamples:
    """Samples by number: a function of (seed, number)."""

    def __init__(
        self,
        sources: Mapping[str, PhotoFeatures],
        shares: Mapping[str, float],
        encoder: EfficientNetLite,
        questions: int = 6,
        vector_share: float = 0.5,
        there_share: float = 0.36,
    ):
        """Take sources by their names in the module's docstring, photo among them; `shares` also has prototype and mixed.

        Args:
            sources: images.
            shares: of the samples.
            encoder: the encoder whose classifier is read.
            questions: about each image.
            vector_share: of samples that show the vectors too.
            there_share: share of questions that ask whether something is there.
        """
        self.sources, self.questions, self.vector_share = sources, questions, vector_share
        self.there_share = there_share
        self.shares = {name: share for name, share in shares.items() if name in ("prototype", "mixed") or name in sources}
        weight, bias = classifier_of(encoder)
        self.weight, self.bias = weight.numpy(), bias.numpy()
        self.rows = self.weight / self.weight.std()
        unit = self.weight / np.linalg.norm(self.weight, axis=1, keepdims=True)
        self.alike = unit @ unit.T

    def draw(self, seed: int, number: int) -> PhotoSample:
        """Draw sample `number` of the endless stream of a seed."""
        rng = sample_generator(seed, number)
        shares = np.array(list(self.shares.values()))
        source = str(rng.choice(list(self.shares), p=shares / shares.sum()))
        if source == "prototype":
            return self.prototype(int(rng.integers(len(class_nouns()))), rng)
        photos = self.sources["photo" if source == "mixed" else source]
        k = int(rng.integers(len(photos)))
        vectors = self._view(photos, k, rng)
        if source == "mixed":
            return self._mixed(vectors, photos.nouns[k], rng)
        features = self.features(vectors, rng.random() < self.vector_share)
        if photos.absent:
            pairs = pairs_of_presence(photos.nouns[k], photos.absent[k], rng, self.questions)
        else:
            pairs = pairs_about(photos.nouns[k], rng, self.questions, there_share=self.there_share)
        return PhotoSample(features=features, pairs=pairs)

    def features(self, vectors: Float32[np.ndarray, "t c"], shown: bool = True) -> Float32[np.ndarray, "t f"]:
        """Compute the model's input for an image; with `shown` false, only its evidence."""
        scaled = vectors / np.sqrt(np.square(vectors).mean(-1, keepdims=True)).clip(1e-6) if shown else np.zeros_like(vectors)
        return np.concatenate((scaled, _product(self.probabilities(vectors), self.rows)), -1)

    def probabilities(self, vectors: Float32[np.ndarray, "t c"]) -> Float32[np.ndarray, "t k"]:
        """Compute the classifier's probabilities."""
        logits = _product(vectors, self.weight.T) + self.bias
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def prototype(self, number: int, rng: np.random.Generator) -> PhotoSample:
        """Make the evidence of a class: a photograph's probabilities, assigned to the class and similar ones."""
        photos = self.sources["photo"]
        sorted_probabilities = -np.sort(-self.probabilities(self._view(photos, int(rng.integers(len(photos))), rng)), axis=-1)
        evidence = []
        for row in sorted_probabilities:
            likeness = self.alike[number] + 0.1 * rng.standard_normal(len(self.alike)).astype(np.float32)
            likeness[number] = np.inf
            first = np.argpartition(-likeness, 30)[:30]  # the others have next to no probability
            order = first[np.argsort(-likeness[first])]
            evidence.append(_product(row[:30], self.rows[order]))
        vectors = np.zeros((len(evidence), self.weight.shape[1]), np.float32)
        features = np.concatenate((vectors, np.stack(evidence).astype(np.float32)), -1)
        return PhotoSample(
            features=features, pairs=pairs_about(class_nouns()[number], rng, self.questions, there_share=self.there_share)
        )

    def _mixed(self, vectors: Float32[np.ndarray, "t c"], nouns: Nouns, rng: np.random.Generator) -> PhotoSample:
        """Replace some rows or columns of regions with another photograph's."""
        photos = self.sources["photo"]
        k = int(rng.integers(len(photos)))
        other = self._view(photos, k, rng)
        side = round((len(vectors) - 1) ** 0.5)
        replaced = np.zeros((side, side), bool)
        replaced[: int(rng.integers(1, side))] = True
        replaced = replaced.T if rng.random() < 0.5 else replaced
        replaced = ~replaced if rng.random() < 0.5 else replaced
        regions = np.where(replaced.reshape(-1, 1), other[1:], vectors[1:])
        joined = np.concatenate((regions.mean(0, keepdims=True), regions))
        pairs = pairs_about(nouns, rng, self.questions, (photos.nouns[k],))
        return PhotoSample(features=self.features(joined, rng.random() < self.vector_share), pairs=pairs)

    def _view(self, photos: PhotoFeatures, k: int, rng: np.random.Generator) -> Float32[np.ndarray, "t c"]:
        return photos.vectors[k, int(rng.integers(photos.vectors.shape[1]))].astype(np.float32)


def _product(a: Float32[np.ndarray, "*s c"], b: Float32[np.ndarray, "c k"]) -> Float32[np.ndarray, "*s k"]:
    """Multiply by torch, which uses the run's threads, so that runs are bit-reproducible."""
    return (torch.from_numpy(np.ascontiguousarray(a)) @ torch.from_numpy(b)).numpy()
