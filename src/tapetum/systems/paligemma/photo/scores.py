"""Scores of answers about photographs with known classes.

    what       "what is this?"                 right where the answer names the class, its noun, or a noun that it is also of,
                                               but for wide ones (`texts.WIDE`): for a beagle "terrier, a kind of dog",
                                               not "animal"
    exact      the same answer                 right where it names the class itself
    animal     "what animal is this?"          of photographs of animals; as what
    vehicle    "what vehicle is this?"         of photographs of vehicles; as what
    kind       "what kind of thing is this?"   right where the answer is the kind
    there      "is there a NOUN?"              half of them yes; half of the others about something of the same kind
    dog        "is there a dog?"               photographs of dogs, and as many others: half of them animals
    caption    "caption en"                    right where the caption names the thing, as what

An answer names a noun if it contains the noun's words as whole words. The intervals are Wilson's, 95 %.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from tapetum.layers.generate import greedy
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.data import pad_rows
from tapetum.systems.paligemma.decoding import PrefixDecodingState
from tapetum.systems.paligemma.photo.model import PhotoPaliGemma
from tapetum.systems.paligemma.photo.texts import Nouns, askable, negative, normalised
from tapetum.systems.paligemma.tokens import Tokens

_BATCH = 64
"""Probes that are answered together."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question about one image, and the rule of its score."""

    group: str
    image: int
    prompt: str
    right: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class ShareRight:
    """A share of right answers."""

    right: int
    count: int

    @property
    def share(self) -> float:
        """Compute the share."""
        return self.right / max(self.count, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Compute Wilson's interval of 95 %.

        >>> [round(end, 3) for end in ShareRight(right=8, count=10).interval]
        [0.49, 0.943]
        """
        n, z = max(self.count, 1), 1.959964
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * (self.share * (1 - self.share) / n + z * z / (4 * n * n)) ** 0.5
        return max(middle - half, 0.0), min(middle + half, 1.0)


def names_any(answer: str, nouns: Sequence[str] | frozenset[str]) -> bool:
    """Check whether an answer names any of the nouns.

    >>> names_any("beagle, a kind of dog", ["dog"]), names_any("doghouse", ["dog"]), names_any("two dogs", ["dog"])
    (True, False, True)
    """
    return any(re.search(rf"\b{re.escape(noun.lower())}(s|es)?\b", answer.lower()) for noun in nouns)


def probes_of(nouns: Sequence[Nouns]) -> list[Probe]:
    """List the questions about images that show these classes."""
    rng, probes = np.random.default_rng(0), []

    def add(group: str, image: int, question: str, right: Callable[[str], bool]) -> None:
        probes.append(Probe(group=group, image=image, prompt=prompts.answer(normalised(question)), right=right))

    def answers(word: str) -> Callable[[str], bool]:
        return lambda answer: answer.strip().lower().split(",")[0].split(" ")[0] == word

    for k, each in enumerate(nouns):
        accepted = each.accepted

        def named(answer: str, accepted: frozenset[str] = accepted) -> bool:
            return names_any(answer, accepted)

        def is_kind(answer: str, kind: str = each.kind) -> bool:
            return names_any(answer, [kind])

        def exact(answer: str, name: str = each.name) -> bool:
            return names_any(answer, [name])

        add("what", k, "what is this?", named)
        add("exact", k, "what is this?", exact)
        if each.kind in ("animal", "vehicle"):
            add(each.kind, k, f"what {each.kind} is this?", named)
        add("kind", k, "what kind of thing is this?", is_kind)
        add("there", k, f"is there a {each.noun}?", answers("yes"))
        add("there", k, f"is there a {negative(each, each.true, rng)}?", answers("no"))
        probes.append(Probe(group="caption", image=k, prompt=prompts.caption(), right=named))
    dogs = [k for k, each in enumerate(nouns) if "dog" in each.true]
    animals = [k for k, each in enumerate(nouns) if "dog" not in each.true and each.kind == "animal"]
    others = [k for k, each in enumerate(nouns) if each.kind != "animal"]
    for pool, count in ((animals, (len(dogs) + 1) // 2), (others, len(dogs) // 2)):
        for k in rng.permutation(pool)[:count].tolist():
            add("dog", k, "is there a dog?", answers("no"))
    for k in dogs:
        add("dog", k, "is there a dog?", answers("yes"))
    return probes


def score_answers(probes: Sequence[Probe], answers: Sequence[str]) -> dict[str, ShareRight]:
    """Count the correct answers of each group."""
    marks: dict[str, list[bool]] = {}
    for probe, answer in zip(probes, answers, strict=True):
        marks.setdefault(probe.group, []).append(probe.right(answer))
    return {group: ShareRight(right=sum(each), count=len(each)) for group, each in marks.items()}


def commonest(probes: Sequence[Probe]) -> dict[str, ShareRight]:
    """Score the best constant answer, among nouns, kinds, yes and no."""
    best: dict[str, ShareRight] = {}
    for candidate in (*askable(), "yes", "no", "object"):
        for group, share in score_answers(probes, [candidate] * len(probes)).items():
            best[group] = max(best.get(group, share), share, key=lambda each: each.right)
    return best


@torch.no_grad()
def answer_features(
    model: PhotoPaliGemma, tokens: Tokens, features: Float32[np.ndarray, "n t f"], probes: Sequence[Probe]
) -> list[str]:
    """Answer probes about images from their features, by greedy decoding."""
    made = []
    for start in range(0, len(probes), _BATCH):
        part = probes[start : start + _BATCH]
        images = model.embed_features(torch.from_numpy(features[[probe.image for probe in part]]))
        prefix = pad_rows([tokens.encode_prefix(probe.prompt) for probe in part])
        ids = greedy(PrefixDecodingState(model, images, prefix, 24), 24, (model.config.end,))
        made += [tokens.decode(each) for each in ids]
    return made


def score_features(
    model: PhotoPaliGemma, tokens: Tokens, features: Float32[np.ndarray, "n t f"], nouns: Sequence[Nouns]
) -> dict[str, ShareRight]:
    """Score a model on images from their features."""
    probes = probes_of(nouns)
    return score_answers(probes, answer_features(model, tokens, features, probes))
