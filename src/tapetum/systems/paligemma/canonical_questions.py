r"""Rewriting of free-form questions in the wording that `paligemma-nano` was trained on.

The small model was trained on every question of `scenes.words.images` in one wording only, and understands no other. So a
question is normalized, and if it is a known one in other words, it is rewritten:

    "Hey, what's the color of that mug-like object?"        spelling, contractions, punctuation, articles, courtesies
      -> what is the colour of the mug-like thing           patterns, a few for each template
      -> What colour is the mug-like thing?

Any other question is left exactly as it is. The published models get the user's own words; they need no rewriting.
"""

import re
from collections.abc import Callable

from tapetum.data.questions import ADJECTIVES, plural, spoken

_SHORT = {
    "what's": "what is", "whats": "what is", "where's": "where is", "wheres": "where is", "which's": "which is",
    "how's": "how is", "there's": "there is", "that's": "that is", "it's": "it is", "who's": "who is", "what're": "what are",
}  # fmt: skip
_SAME = {
    "color": "colour", "colors": "colour", "colours": "colour", "colored": "coloured", "hue": "colour", "tint": "colour",
    "gray": "grey", "object": "thing", "objects": "things", "item": "thing", "items": "things",
    "bigger": "larger", "greater": "larger", "closest": "nearest", "nearer": "nearest", "closer": "nearest",
    "image": "picture", "photo": "picture", "photograph": "picture", "scene": "picture", "frame": "picture", "shot": "picture",
    "viewer": "camera", "form": "shape", "printed": "written",
}  # fmt: skip
_COURTESY = re.compile(
    r"(?:(?:please|hey|hi|hello|ok|okay|well|so|now|and)|(?:can|could|would|will) you(?: please)?"
    r"|(?:tell|show|give) me|let me know|do you know|(?:i want|i would like|i'd like) to know|i wonder|say|name)[, ]+"
)
_IMAGE = r"(?:in|on|of) (?:the|this|that|my) picture"
_END = re.compile(rf"(?:[, ]+(?:please|{_IMAGE}|here|there|at all))+$")
_ARTICLES = frozenset(re.findall(r"\w+", "the a an this that these those my your our"))
_NO_NAME = frozenset(
    re.findall(
        r"\w+",
        "is are was does do did has have can could what which where how who why when made written picture seen relative it "
        "you i not many",
    )
)
"""Words that no name of a thing has."""
_SIDES = {
    "left of": r"(?:(?:to|on|at) the )?left(?:[- ]hand)?(?: side)? of",
    "right of": r"(?:(?:to|on|at) the )?right(?:[- ]hand)?(?: side)? of",
    "in front of": r"(?:in|at)(?: the)? front of|before",
    "behind": r"behind|in back of|at the back of",
}
_ON = r"on top of|on|upon|atop"
_N, _M = r"(?P<n>[\w' -]+?)", r"(?P<m>[\w' -]+?)"
_LIST = r"(?P<list>[\w', -]+? or [\w' -]+?)"
_SEEN = r"(?:(?:can be|is|are) (?:seen|visible|shown)|(?:can|do) you see|(?:is|are)(?: there)?)"
_LOOK = r",? ?(?:as )?(?:seen|viewed|looking) from the camera,? ?"
_WHICH = r"(?:which|what)(?: one| thing)?"
_OF_THESE = r"(?:(?:which|what)(?: one| thing)?(?: of (?:these|those|them|the following|the three|the things))?)"
_RELATIVE = r"(?:relative to|compared (?:to|with)|with respect to|in relation to|with regard to|as seen from)"
_FOUND = r"(?:(?:is|are|stands|lies|sits)(?: standing| lying| there)?|can be (?:seen|found)|(?:can|do) you see)"
_STAND = r"(?:is|are|stands|lies|sits|is standing|is lying)"


def canonical_question(question: str) -> str:
    """Rewrite a question about an image of scenes in the small model's wording; leave any other unchanged.

    >>> canonical_question("whats the color of that gray mug"), canonical_question("count the cubes, please")
    ('What colour is the grey mug?', 'How many cubes can be seen?')
    >>> canonical_question("Who painted this?")
    'Who painted this?'
    """
    plain = plain_question(question)
    for pattern, rewrite in _PATTERNS:
        match = re.fullmatch(pattern, plain)
        if match and (canonical := rewrite(match)) is not None:
            return canonical
    return question


def plain_question(question: str) -> str:
    """Write a question in lower case, with uniform spelling, and without courtesies and punctuation other than commas."""
    text = question.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(r"[?!.\"\u201c\u201d;]+", " ", text).replace(":", " , ")
    text = re.sub(r"\s*,[\s,]*", ", ", text)
    words = [_SAME.get(word, word) for short in text.split() for word in _SHORT.get(short, short).split()]
    text = re.sub(r"(?<=\w),", ",", " ".join(_SAME.get(w[:-1], w[:-1]) + "," if w.endswith(",") else w for w in words))
    text = text.strip(" ,")
    while match := _COURTESY.match(text):
        text = text[match.end() :]
    if not re.fullmatch(rf".*\b(?:is|are|be seen|see|shown|visible) {_IMAGE}", text):
        text = _END.sub("", text)
    return text.strip(" ,")


def _name(words: str) -> str | None:
    """The name of an object as in scenes: "the larger red ball", "the cup left of the box"; None if it is not one."""
    words = words.strip(" ,")
    for side, pattern in _SIDES.items():
        if match := re.fullmatch(rf"(?P<n>.+?) (?:(?:which|that) is |standing )?(?:{pattern}) (?P<m>.+)", words):
            thing, anchor = _name(match["n"]), _name(match["m"])
            return thing and anchor and f"{thing} {side} {anchor}"
    parts = words.split()
    while len(parts) > 1 and parts[0] in _ARTICLES:
        parts = parts[1:]
    if not parts or len(parts) > 6 or parts[0] in _ARTICLES or not _NO_NAME.isdisjoint(parts):
        return None
    return " ".join(["the", *(ADJECTIVES.get(word, word) for word in parts[:-1]), parts[-1]])


def _names(text: str) -> list[str] | None:
    """Names of objects in a list: "a cup, the ball or a box"."""
    names = [_name(part) for part in re.split(r",? (?:or|and) |, ", text.strip(" ,"))]
    return None if None in names else [name for name in names if name]


def _of(template: str, group: str = "n") -> Callable[[re.Match[str]], str | None]:
    def rewrite(match: re.Match[str]) -> str | None:
        name = _name(re.sub(r"'s?$", "", match[group]))
        return name and template.format(name)

    return rewrite


def _count(match: re.Match[str]) -> str | None:
    words = [word for word in match["n"].split() if word not in _ARTICLES and word != "different"]
    kind = match.groupdict().get("colour")
    words = [kind, "things"] if kind else words
    if not words or len(words) > 4 or not _NO_NAME.isdisjoint(words):
        return None
    last = words[-1] if words[-1].endswith("s") or words[-1] == "dice" else plural(words[-1])
    return f"How many {' '.join([*words[:-1], last])} can be seen?"


def _where(match: re.Match[str]) -> str | None:
    one, other = _name(match["n"]), _name(match["m"])
    return one and other and f"Where is {one}, seen from the camera, relative to {other}?"


def _beside(relation: str) -> Callable[[re.Match[str]], str | None]:
    return _of("Which thing is " + spoken(relation) + " {}?")


def _among(start: str) -> Callable[[re.Match[str]], str | None]:
    def rewrite(match: re.Match[str]) -> str | None:
        names = _names(match["list"])
        other = _name(match["n"]) if "n" in match.re.groupindex else ""
        if names is None or other is None or len(names) < 2:
            return None
        return f"{start.format(other)}: {', '.join(names[:-1])} or {names[-1]}?"

    return rewrite


def _larger(match: re.Match[str]) -> str | None:
    names = _names(match["list"])
    return f"Which is larger, {names[0]} or {names[1]}?" if names and len(names) == 2 else None


def _present(match: re.Match[str]) -> str:
    del match
    return "Which of these can be seen?"


_COLOUR, _MADE, _SHAPE = _of("What colour is {}?"), _of("What is {} made of?"), _of("What is the shape of {}?")
_IN, _READ = _of("What can be seen in {}?"), _of("What is written on {}?")
_ALIKE, _NEAR = _among("Which of these has the same colour as {}"), _among("Which of these is nearest to the camera")
_FREE = r"(?P<list>[\w', -]+? (?:or|and) [\w' -]+?)"
_SHARES = (
    r"(?:(?:has|is|have) (?:of )?the same colour(?: as)?|(?:is|are) coloured (?:like|as)|shares (?:its|the) colour (?:with|of)"
    r"|matches the colour of|is as coloured as)"
)
_WORD = r"(?:words?|text|letters?|writing|label)"
_THERE = rf"(?:{_SEEN}(?: {_IMAGE})?|there are|does the picture show|(?:can|do) you count|can be counted|you (?:can )?see)"
_SIDES_ON = (*_SIDES.items(), ("on", _ON))
_DOES = r"(?:is|stands|lies|can|does)"
_NEAREST = r"(?:the )?nearest(?: (?:to|of) the camera)?"
_PATTERNS: list[tuple[str, Callable[[re.Match[str]], str | None]]] = [
    # which of several
    (rf"{_OF_THESE},? {_SHARES} {_N}, {_LIST}", _ALIKE),
    (rf"(?:which|what|which one) of {_LIST} {_SHARES} {_N}", _ALIKE),
    (rf"{_N} has the same colour as {_OF_THESE}, {_LIST}", _ALIKE),
    (rf"{_LIST}, {_OF_THESE} {_SHARES} {_N}", _ALIKE),
    (rf"{_OF_THESE},? (?:{_STAND} )?{_NEAREST}, {_LIST}", _NEAR),
    (rf"(?:which|what|which one) of {_FREE} (?:{_STAND} )?{_NEAREST}", _NEAR),
    (rf"{_LIST}, {_OF_THESE} (?:{_STAND} )?{_NEAREST}", _NEAR),
    (rf"(?:is|are) {_LIST} {_NEAREST}", _NEAR),
    (rf"nearest(?: to the camera)?, {_LIST}", _NEAR),
    (rf"{_WHICH}(?: of (?:these|those|the two|them))? is (?:the )?larger(?: one| thing)?,? {_LIST}", _larger),
    (rf"{_WHICH} is (?:the )?larger(?: one| thing)? of {_FREE}", _larger),
    (rf"(?:is|are) {_LIST} (?:the )?larger(?: one)?", _larger),
    (rf"(?:between|of) {_FREE}, {_WHICH} is (?:the )?larger(?: one)?", _larger),
    (rf"{_LIST}, {_WHICH} is (?:the )?larger(?: one)?", _larger),
    (rf"which of {_FREE} is (?:the )?larger(?: one)?", _larger),
    (rf"larger,? {_LIST}", _larger),
    # two things
    (rf"(?:seen from the camera, )?where {_DOES} {_N}(?: be seen| stand| lie)?(?:{_LOOK}| ){_RELATIVE} {_M}", _where),
    (rf"{_RELATIVE} {_M}, where (?:is|stands|lies) {_N}(?:{_LOOK})?", _where),
    (rf"(?:seen from the camera, )?where {_N} is(?:{_LOOK}| ){_RELATIVE} {_M}", _where),
    (rf"what is the (?:position|place|location) of {_N} {_RELATIVE} {_M}", _where),
    (rf"(?:the )?(?:position|place|location) of {_N} {_RELATIVE} {_M}", _where),
    (rf"on (?:which|what) side of {_M} is {_N}", _where),
    (rf"how (?:does|is) {_N} (?:stand|placed|positioned) {_RELATIVE} {_M}", _where),
    # one thing
    (rf"(?:what|which) colour (?:is|has|are) {_N}", _COLOUR),
    (rf"(?:what|which) colour does {_N} have", _COLOUR),
    (rf"(?:what|which) colour {_N} (?:is|has)", _COLOUR),
    (rf"(?:what is )?(?:the )?colour of {_N}(?: is what)?", _COLOUR),
    (rf"{_N} (?:is|has) (?:what|which) colour", _COLOUR),
    (rf"how is {_N} coloured", _COLOUR),
    (rf"(?:what|which) (?:shape|sort of shape|kind of shape) (?:is|has|are) {_N}", _SHAPE),
    (rf"(?:what|which) (?:shape|sort of shape|kind of shape) does {_N} have", _SHAPE),
    (rf"(?:what|which) shape {_N} (?:is|has)", _SHAPE),
    (rf"(?:what is )?(?:the )?shape of {_N}", _SHAPE),
    (rf"{_N} (?:is|has) (?:what|which) shape", _SHAPE),
    (rf"how is {_N} shaped", _SHAPE),
    (rf"what is {_N} made (?:up )?(?:out )?(?:of|from)", _MADE),
    (rf"what {_N} is made (?:out )?(?:of|from)", _MADE),
    (rf"(?:out )?(?:of|from) (?:what|which)(?: material)? is {_N} made", _MADE),
    (rf"(?:what|which) (?:kind of )?(?:material|stuff|substance) is {_N}(?: made (?:out )?(?:of|from))?", _MADE),
    (rf"(?:what|which) material does {_N} consist of", _MADE),
    (rf"what does {_N} consist of", _MADE),
    (rf"(?:what is )?(?:the )?material of {_N}", _MADE),
    (rf"{_N} is made (?:out )?(?:of|from) what(?: material)?", _MADE),
    (rf"what is {_N}'s? colour", _COLOUR),
    (rf"what is {_N}'s? shape", _SHAPE),
    (rf"what is {_N}'s? material", _MADE),
    (rf"{_N}(?:'s?)? colour", _COLOUR),
    (rf"{_N}(?:'s?)? shape", _SHAPE),
    (rf"{_N}(?:'s?)? material", _MADE),
    (rf"what (?:is|can be|is there|do you) (?:written|read) on {_N}", _READ),
    (rf"what (?:can|do) you read on {_N}", _READ),
    (rf"what does (?:it say|it read) on {_N}", _READ),
    (rf"what does {_N} (?:say|read)", _READ),
    (rf"what {_N} says", _READ),
    (rf"(?:what|which) {_WORD} (?:is|are|is written|stands|(?:can|do) you see|can be (?:seen|read)) on {_N}", _READ),
    (rf"(?:what is )?the {_WORD} on {_N}", _READ),
    (rf"read (?:what is on |what is written on |the {_WORD} on )?{_N}", _READ),
    (rf"(?:what is )?written on {_N}", _READ),
    # what is there
    (rf"(?:which|what) of (?:these|those|them|the following)(?: things)? {_SEEN}(?: see| {_IMAGE})?", _present),
    (rf"what {_SEEN}(?: {_IMAGE})", _present),
    (r"what (?:can be seen|is visible|can you see|do you see|is shown)", _present),
    (rf"(?:how many|(?:what is )?(?:the )?(?:number|count) of|count(?: all| up)?) {_N}(?:,? {_THERE})?", _count),
    (r"how many things are (?P<colour>\w+)(?P<n>)", _count),
    *((rf"(?:what|which)(?: thing)? {_FOUND} (?:{where}) {_N}", _beside(side)) for side, where in _SIDES_ON),
    *((rf"(?:the )?thing (?:{where}) {_N}(?: is what)?", _beside(side)) for side, where in _SIDES_ON),
    *((rf"(?:{where}) {_N} (?:is|stands|lies) (?:what|which thing)", _beside(side)) for side, where in _SIDES_ON),
    *((rf"(?:{where}) {_N},? what {_FOUND}", _beside(side)) for side, where in _SIDES_ON),
    (rf"(?:what|which)(?: things?)? {_FOUND} (?:in|inside|within)(?: of)? {_N}", _IN),
    (rf"what does {_N} (?:contain|hold|have (?:in it|inside))", _IN),
    (rf"what has {_N} (?:in it|inside)", _IN),
    (rf"(?:what (?:is|are) )?(?:the )?contents? of {_N}", _IN),
    (rf"{_N} (?:contains|holds) what", _IN),
    (rf"(?:in|inside)(?: of)? {_N},? what {_FOUND}", _IN),
]  # fmt: skip
"""Patterns of normalized questions, each with the function that rewrites it; the first that fits counts."""
