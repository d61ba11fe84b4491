"""A classifier of ImageNet in the place of a vision-language model: names, presence, boxes and masks of nouns in photographs.

what is this?                        beagle, a kind of dog
is there a cat? is this a lighthouse?   no
caption en                           beagle, a kind of dog
detect cat ; traffic light           one box at most for each noun (`encoders.class_maps`)
what colour is the cat?              I cannot say
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from tapetum.app.see.settings import CANNOT_SAY, READS_WORDS
from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, check_several
from tapetum.core.reading import check_length
from tapetum.encoders.class_maps import LEVEL, DenseProbabilities, box_around, dense_probabilities
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.imagenet import prompt_names
from tapetum.encoders.naming import ClassEvidence, calibrate, is_there, name_image, probability
from tapetum.encoders.wordnet import Noun, find_noun
from tapetum.hub.loading import load as load_model
from tapetum.layers.cpu import speed_up
from tapetum.systems.paligemma.answers import PLACED, Reply
from tapetum.systems.paligemma.locations import ParsedRegions
from tapetum.systems.paligemma.prompts import split_things
from tapetum.transfer.zero_shot import PHOTO, ImageTextEncoder, LabelClassifier, reads_words
from tapetum.types import Boxes, Masks

_WHERE = r"(?: (?:in|on) (?:the|this) (?:image|picture|photo))?"
_WHAT = re.compile(
    r"(?:caption|describe) \w+|what(?: is|'s) (?:this|that|it|(?:in|on) (?:the|this) (?:image|picture|photo))\??"
)
_PRESENCE = re.compile(rf"(?:(?:is|are) there|is (?:this|it)) (?:any )?([^\W_][\w' -]{{0,60}}?){_WHERE}\??")


@dataclass(frozen=True, kw_only=True)
class PlacedReply(Reply):
    """An answer with its boxes and masks."""

    regions: ParsedRegions


def answer_prompt(prompt: str, evidence: ClassEvidence) -> tuple[str, float]:
    """Answer a question about an image, or some together; returns the answer and its probability, 0 where it cannot be said."""
    question = " ".join(re.sub(r"^answer [a-z-]{2,7} ", "", prompt[:200]).lower().split())
    if _WHAT.fullmatch(question):
        return name_image(evidence) or (CANNOT_SAY, 0.0)
    if (match := _PRESENCE.fullmatch(question)) and (noun := find_noun(match[1])):
        there, likely = is_there(noun, evidence), probability(noun, evidence)
        return {True: ("yes", likely), False: ("no", 1 - likely), None: (CANNOT_SAY, 0.0)}[there]
    return CANNOT_SAY, 0.0


def read_things(prompt: str) -> dict[str, Noun]:
    """Read the things that a prompt of `detect` or `segment` names. Raises BadInput for one that is no noun of the table.

    >>> [noun.word for noun in read_things("detect cats ; traffic light").values()]
    ['cat', 'traffic light']
    """
    nouns = {text: find_noun(text) for text in split_things(prompt.partition(" ")[2])}
    unknown = [text for text, noun in nouns.items() if noun is None or noun.kind_of]
    if unknown:
        raise BadInput(
            f'"{unknown[0][:40]}" names no class of ImageNet, nor anything wider; name a thing such as "cat", with ; between '
            f"several, or take {READS_WORDS}"
        )
    return {text: noun for text, noun in nouns.items() if noun is not None}


class PhotoAnswerer:
    """Answers questions about photographs by the names of a classifier; has the methods of `answers.Answerer`."""

    def __init__(self, encoder: EfficientNetLite):
        self.encoder = encoder

    @classmethod
    def load(cls, name: str, device: torch.device | str | None = None) -> "PhotoAnswerer":
        """Load a classifier, or an encoder of images and words, by name.

        Raises BadInput if it is not on this machine, or another kind of network.
        """
        encoder: Any = load_model(name, device)
        if reads_words(encoder):
            return WordsAnswerer(encoder)
        if not isinstance(encoder, EfficientNetLite) or encoder.head is None:
            raise BadInput(f"{name} is a {type(encoder).__name__}; photographs need an efficientnet-lite")
        return cls(speed_up(encoder.eval().requires_grad_(False)))

    def prefix(self, prompt: str, images: int = 1, max_new_tokens: int = 1) -> list[int]:
        """Check a prompt, which has no tokens. Raises BadInput if it is empty, huge, or names no class to box."""
        del images, max_new_tokens
        if not prompt.strip():
            raise BadInput("the prompt is empty; say what is wanted, such as a question")
        check_length(prompt, "the prompt")
        if prompt.startswith(PLACED):
            read_things(prompt)
        return []

    @torch.inference_mode()
    @full_precision()
    def evidence(self, frames: UInt8[np.ndarray, "n h w 3"]) -> ClassEvidence:
        """Compute probabilities of the classes in images and at each cell of the last map, in one pass of the network."""
        assert self.encoder.head is not None
        cells = self.encoder.see(self.encoder.prepare(frames).to(self.encoder.head.weight.dtype))[-1]
        whole, parts = (self.encoder.head(each).float().cpu().numpy() for each in (cells.mean((2, 3)), cells.flatten(2).mT))
        return ClassEvidence(whole=calibrate(whole), regions=calibrate(parts))

    def dense(self, frame: UInt8[np.ndarray, "h w 3"]) -> DenseProbabilities:
        """Compute probabilities of the classes at places of an image."""
        return dense_probabilities(self.encoder, frame)

    def ask(
        self,
        images: Sequence[UInt8[np.ndarray, "_i _h _w 3"]],
        prompts: Sequence[str],
        max_new_tokens: int = 64,
        **without_effect: Any,
    ) -> list[Reply]:
        """Answer prompts, each about one or several images. Raises BadInput as `prefix`."""
        del max_new_tokens, without_effect
        check_several(prompts, "prompts")
        replies: list[Reply] = []
        for frames, prompt in zip(images, prompts, strict=True):
            self.prefix(prompt)
            if prompt.startswith(PLACED):
                replies.append(self._place(frames[0], prompt))
            else:
                text, likely = answer_prompt(prompt, self.evidence(frames))
                replies.append(Reply(text=text, ids=(), log_probabilities=(math.log(max(likely, 1e-9)),), ended=True))
        return replies

    def _place(self, frame: UInt8[np.ndarray, "h w 3"], prompt: str) -> PlacedReply:
        """Find things in an image, with masks; those whose score is below the level of `class_maps` are left out."""
        dense, placed = self.dense(frame), []
        for text, noun in read_things(prompt).items():
            made = dense.of(noun.classes)
            mask = made.mask
            if made.score >= LEVEL and (box := box_around(mask)) is not None:
                placed.append((text, made.score, box, mask))
        labels, scores, boxes, masks = zip(*placed, strict=True) if placed else ((), (), (), ())
        regions = ParsedRegions(
            boxes=Boxes(np.array(boxes, np.float32).reshape(-1, 4), labels, np.array(scores, np.float32)),
            masks=Masks(np.array(masks, bool).reshape(-1, *frame.shape[:2]), labels, np.array(scores, np.float32)),
            of_box=np.arange(len(boxes)),
            text="",
            malformed=0,
        )
        logarithms = tuple(map(math.log, scores))
        return PlacedReply(text=" ; ".join(labels), ids=(), log_probabilities=logarithms, ended=True, regions=regions)

    def find(self, reply: Reply, width: int, height: int, *, masks: bool, **_: Any) -> ParsedRegions:
        """Get the boxes of an answer, and with `masks` masks. Raises BadInput for an answer in words."""
        if not isinstance(reply, PlacedReply):
            raise BadInput("this is an answer in words; ask for boxes or masks with detect or segment")
        none = Masks(np.zeros((0, height, width), bool))
        return reply.regions if masks else replace(reply.regions, masks=none, of_box=np.zeros(0, int))


class WordsAnswerer(PhotoAnswerer):
    """The same by an encoder of images and words: probabilities are a softmax over the names of ImageNet's classes (CLIP,
    arXiv 2103.00020), and places are windows of the image. The thresholds are those of the classifier."""

    def __init__(self, encoder: ImageTextEncoder):
        self.words = LabelClassifier(encoder)

    def evidence(self, frames: UInt8[np.ndarray, "n h w 3"]) -> ClassEvidence:
        """Compute probabilities of the classes in images and in the windows of half their size."""
        whole = self._shares(list(frames))
        return ClassEvidence(whole=whole, regions=np.stack([self._shares(_windows(frame, 2)) for frame in frames]))

    def dense(self, frame: UInt8[np.ndarray, "h w 3"]) -> DenseProbabilities:
        """Compute probabilities of the classes in windows of a half and a third of an image."""
        maps = (torch.from_numpy(self._shares(_windows(frame, parts))).mT.unflatten(1, (2 * parts - 1, -1)) for parts in (2, 3))
        whole = torch.from_numpy(self._shares([frame])[0])
        return DenseProbabilities(size=(frame.shape[0], frame.shape[1]), maps=tuple(maps), whole=whole)

    def _shares(self, images: list[np.ndarray]) -> np.ndarray:
        vectors = np.asarray(self.words.model.embed_images(images))
        return self.words.score(vectors, prompt_names(), PHOTO, none=False).shares


def _windows(frame: np.ndarray, parts: int) -> list[np.ndarray]:
    """Cut overlapping windows of 1 / parts of the sides, row by row, each half a window from the next."""
    height, width = (max(1, n // parts) for n in frame.shape[:2])
    tops, lefts = (np.linspace(0, spare, 2 * parts - 1).astype(int) for spare in np.subtract(frame.shape[:2], (height, width)))
    return [frame[top : top + height, left : left + width] for top in tops for left in lefts]
