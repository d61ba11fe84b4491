r"""Questions about photographs, and their answers by a classifier's probabilities and WordNet (`tapetum.encoders.naming`).

    what is this?                     beagle, a kind of dog
    what animal is this?              beagle, a kind of dog
    what vehicle is this?             no vehicle: beagle
    what kind of thing is this?       an animal
    is there a cat in the picture?    no
    is it a dog or a wolf?            dog
    is there a black dog?             I cannot say: nobody knows whether it is black; without a dog: no
    is there a campfire?              by the sentence encoder, if it is here: yes, or I cannot say
    caption en                        a photo of a beagle, a kind of dog
    what colour is the cat?           black, of the pixels where it is (`photo_regions`)
    where is the cat?                 on the left
    how many? who? why?               I cannot say

A question is read word by word: nouns of the table, words of the frame of a question, and all other words, which are never
compared with names. Imports no torch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tapetum.app.see.settings import CANNOT_SAY
from tapetum.encoders import naming
from tapetum.encoders.naming import (
    ClassEvidence,
    Name,
    is_mended,
    is_there,
    name_image,
    plain_name,
    probability,
    remarks_on,
    with_article,
)
from tapetum.encoders.wordnet import Thing, split_nouns
from tapetum.systems.paligemma.canonical_questions import plain_question

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

WORD_LEVEL = 0.9
"""Probability from which on a word that is in no table is said to be there; `evidence/photo-questions` scores it."""
_LONGEST = 500
"""Characters of a question that is read; longer ones are about more than one thing."""
_THIS = r"(?:this|that|it|these|those|they|(?:the|this|that|my) (?:main )?(?:thing|picture|subject)|here|there)"
_SEE = (
    rf"(?:(?:is|are|was)(?: {_THIS}| shown| visible)?(?: (?:in|on|of) (?:the|this|that|my) picture)?"
    rf"|(?:can|do|could) (?:you|we|i|one) see|can be seen|(?:am|are) (?:i|we|you) looking at"
    rf"|does {_THIS} (?:show|depict|contain))"
)
_SORT = r"(?:kind|sort|type|breed|species|variety|make|model)"
_NOUN = r"([\w' -]+?)"
_WHAT = re.compile(
    rf"(?:what|which)(?: thing)? {_SEE}(?: called| about| a picture of)?|(?:what|this|it)|{_THIS}|what {_THIS} is"
    rf"|what (?:do|would) you call {_THIS}|(?:what is )?the (?:name of {_THIS}|(?:main )?(?:thing|subject)(?: of {_THIS})?)"
    rf"|(?:describe|identify|name) {_THIS}|(?:what|which) {_SORT} (?:is|are) {_THIS}"
)
_KIND = re.compile(
    rf"(?:what|which) (?:kind|sort|type)s? of things? {_SEE}|(?:what|which) (?:category|group|class) is {_THIS}(?: in)?"
    rf"|(?:to )?(?:what|which) (?:category|group|kind|class) does {_THIS} belong(?: to)?"
)
_WHICH = re.compile(
    rf"(?:what|which)(?: {_SORT} of)? {_NOUN} {_SEE}(?: (?:in|on|at) .*)?"
    rf"|(?:what|which) {_SORT} (?:is|are) (?:this|that|the) {_NOUN}"
    rf"|(?:what is )?the (?:name|{_SORT}) of (?:this|that|the) {_NOUN}"
    rf"|(?:what is |identify )?(?:this|that|the) {_NOUN}(?: called)?"
)
_OF_ONE = {
    "colour": re.compile(
        r"(?:what|which) colour (?:is|are|does|has) (?:the|this|that|my) ([\w' -]+?)(?: have| in the picture)?"
    ),
    "place": re.compile(r"where (?:is|are) (?:the|this|that|my) ([\w' -]+?)(?: in the picture)?"),
}
"""Questions about the pixels where a thing is."""
_OPENS = re.compile(r"(?:is|are|was|were|do|does|can|could|will|would|has|have|any)\b")
_EXISTS = frozenset(
    re.findall(r"\w+", "there this that it these those they see show shows contain contains picture visible seen any here")
)
"""Words of questions of presence, as "is it" and "do you see"."""
_UNKNOWN = re.compile(
    rf"{_SEE} (?:an?|any) [\w' -]+?(?: (?:here|there|in (?:the|this) picture))?$|(?:is|are) (?:there|it) (?:an?|any) "
)
"""Questions of the presence of something that may be in no table."""
_MAINLY = re.compile(r"(?:is|are|was) (?:this|that|it|these|those|they|the (?:main )?thing)\b(?! a picture)")
_FRAME = frozenset(
    re.findall(
        r"\w+",
        "is are was were be been do does did can could will would you we i one see seen find spot show shown "
        "shows contain contains depict has have having picture in of on at visible present here there this "
        "that it these those they main thing things also with really actually kind sort type breed species "
        "maybe perhaps",
    )
) | _EXISTS  # fmt: skip
_DENIES = frozenset(
    re.findall(
        r"\w+",
        "not no without never neither nor except other than only just more less most all every isn aren doesn "
        "don cannot left right behind front above below under between many much how why who whose when where "
        "colour number count",
    )
)
"""Words with which a question is not about what is there."""


@dataclass(frozen=True, kw_only=True)
class PhotoQuestion:
    """What is asked about a photograph."""

    asks: Literal["what", "which", "kind", "there", "either", "caption", "word", "colour", "place", "other"]
    nouns: tuple[Thing, ...] = ()
    ignored: tuple[str, ...] = ()
    """Words that no class can be compared with."""
    exists: bool = False
    """Of "there": whether something is there, not what it does."""
    mainly: bool = False
    """Of "there" and "either": about the main thing, as "is it a dog"."""
    word: str = ""
    """Of "word": what is asked for, which is in no table."""

    def remarks(self) -> Iterator[str]:
        """Write what a user should know of the nouns and of other words."""
        if self.word:
            yield unknown_remark(self.word)
        if self.ignored:
            yield f"not looked at: {', '.join(self.ignored)}; the classifier knows nouns alone"
        for thing in self.nouns:
            yield from remarks_on(thing)


def read_question(prompt: str) -> PhotoQuestion:
    """Read a question, or the prompt of a caption.

    >>> read_question("What kind of dog is this?").asks, read_question("Is there a black cat?").ignored
    ('which', ('black',))
    """
    if re.fullmatch(r"(?:caption|describe) \w+", prompt):
        return PhotoQuestion(asks="caption")
    if len(prompt) > _LONGEST:
        return PhotoQuestion(asks="other")
    plain = plain_question(re.sub(r"^answer [a-z-]{2,7} ", "", prompt))
    words = re.findall(r"\w+", plain)
    for asks, pattern in _OF_ONE.items():
        if match := pattern.fullmatch(plain):
            nouns, others = split_nouns(match[1])
            if len(nouns) == 1 and not others and not nouns[0].kind_of and not naming.is_person(nouns[0]):
                return PhotoQuestion(asks=asks, nouns=nouns)  # type: ignore[arg-type]
    if not words or not _DENIES.isdisjoint(words):
        return PhotoQuestion(asks="other")
    if _WHAT.fullmatch(plain):
        return PhotoQuestion(asks="what")
    if _KIND.fullmatch(plain):
        return PhotoQuestion(asks="kind")
    if match := _WHICH.fullmatch(plain):
        noun = next(filter(None, match.groups()))
        nouns, others = split_nouns(" ".join(word for word in noun.split() if word not in _FRAME))
        if len(nouns) != 1 or not noun.endswith((nouns[0].text, " breed", " species")):
            return PhotoQuestion(asks="other")
        return PhotoQuestion(asks="which", nouns=nouns, ignored=others)
    if "or" in words:
        return _either(plain)
    nouns, others = split_nouns(" ".join(word for word in words if word not in _FRAME))
    named = len(words) == 1 or not {"a", "an", "any"}.isdisjoint(words) or not any(map(is_mended, nouns))
    if not nouns and _UNKNOWN.match(plain) and 0 < len(others) <= 3:
        return PhotoQuestion(asks="word", word=" ".join(others))
    if not nouns or not named or not (_OPENS.match(plain) or not others):
        return PhotoQuestion(asks="other")
    exists = not _EXISTS.isdisjoint(words) or not _OPENS.match(plain)
    return PhotoQuestion(asks="there", nouns=nouns, ignored=others, exists=exists, mainly=bool(_MAINLY.match(plain)))


def _either(plain: str) -> PhotoQuestion:
    """Read a choice between nouns; what stands before a comma need not have one."""
    first, *more = (
        split_nouns(" ".join(word for word in re.findall(r"\w+", part) if word not in _FRAME))
        for part in re.split(r",? or |, ", plain)
    )
    parts = more if not first[0] and len(more) > 1 else [first, *more]
    if any(len(nouns) != 1 for nouns, _ in parts):
        return PhotoQuestion(asks="other")
    ignored = tuple(word for _, others in parts for word in others)
    chosen = tuple(nouns[0] for nouns, _ in parts)
    return PhotoQuestion(asks="either", nouns=chosen, ignored=ignored, mainly=bool(_MAINLY.match(plain)))


def answer_question(question: PhotoQuestion, evidence: ClassEvidence) -> tuple[str, float]:
    """Answer a question about an image, or some together; returns the answer and its probability, 0 where it cannot be said."""
    if question.asks == "there":
        return _presence(question, evidence)
    if question.asks == "either":
        return _choice(question, evidence)
    if question.asks == "word":
        likely = max(map(float, word_likelihoods(question.word, evidence.whole)), default=0.0)
        return ("yes", likely) if likely >= WORD_LEVEL else (CANNOT_SAY, 0.0)
    if question.asks == "which":
        return _narrower(question.nouns[0], evidence)
    name = name_image(evidence) if question.asks in ("what", "kind", "caption") else None
    if name is None:
        return CANNOT_SAY, 0.0
    if question.asks == "kind":
        return with_article(name.kind or name.noun), name.probability
    if question.asks == "caption":
        return f"a photo of {with_article(name.words)}", name.probability
    return name.words, name.probability


def word_likelihoods(word: str, probabilities: "Float[np.ndarray, 'n 1000']") -> list[float]:
    """Compute how likely a word that is in no table is in each image; nothing if the sentence encoder is not here."""
    from tapetum.encoders.sentences import likelihood, relate

    relation = relate(word)
    return [] if relation is None else [likelihood(value) for value in (probabilities @ relation).tolist()]


def unknown_remark(word: str) -> str:
    """Write what becomes of a word that is in no table."""
    from tapetum.encoders.sentences import FETCH, folder

    what = (
        "compared by a sentence encoder, which is often unsure" if folder() else f"a sentence encoder would compare it: {FETCH}"
    )
    return f"{word[:80]}: no noun of the table; {what}"


def _presence(question: PhotoQuestion, evidence: ClassEvidence) -> tuple[str, float]:
    there = [is_there(thing, evidence, mainly=question.mainly) for thing in question.nouns]
    likely = [probability(thing, evidence) for thing in question.nouns]
    if False in there and question.exists:
        return "no", 1 - min(p for p, yes in zip(likely, there, strict=True) if yes is False)
    if not all(there) or question.ignored or not question.exists:
        return CANNOT_SAY, 0.0
    [first, *more] = question.nouns
    if more or len(first.senses) == 1:
        return "yes", min(likely)
    best = max(first.classes, key=lambda number: evidence.whole[:, number].max())
    return f"yes: {plain_name(best)}", likely[0]


def _choice(question: PhotoQuestion, evidence: ClassEvidence) -> tuple[str, float]:
    there = [is_there(thing, evidence, mainly=question.mainly) for thing in question.nouns]
    if not any(there) or len({thing.classes for thing in question.nouns}) < len(question.nouns):
        return ("neither", 1.0) if all(yes is False for yes in there) else (CANNOT_SAY, 0.0)
    chosen = [thing for thing, yes in zip(question.nouns, there, strict=True) if yes]
    return " and ".join(thing.word for thing in chosen), min(probability(thing, evidence) for thing in chosen)


def _narrower(thing: Thing, evidence: ClassEvidence) -> tuple[str, float]:
    if is_there(thing, evidence, mainly=True) is False:
        name = name_image(evidence)
        return f"no {thing.word}" + (f": {name.words}" if name else ""), 1 - probability(thing, evidence)
    name: Name | None = name_image(evidence, thing.classes) if probability(thing, evidence) >= naming.YES else None
    if name is None or name.name == thing.word:
        return CANNOT_SAY, 0.0
    return name.words, name.probability
