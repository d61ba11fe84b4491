"""Captions against references, as COCO's evaluation scores them (Chen et al., arXiv 1504.00325): CIDEr, BLEU-1 to 4, ROUGE-L.

    CIDEr    arXiv 1411.5726: cosine of the weighted n-grams (1 to 4) of a caption and each reference, an n-gram weighing less
             the more images of the set have it in their references; times 10, the mean over n and references. Papers print
             it times 100, so 1.2 here is 120 there
    BLEU     shares of n-grams that a reference has, over all captions together, less where they are shorter than the closest
             reference
    ROUGE-L  F of the longest common subsequence, recall counting 1.2 squared times, the best of references for each part

Unusual, kept: the usual CIDEr is CIDEr-D: counts are clipped, and the score is multiplied by a Gaussian of the difference in
length (sigma 6); lengths are counted in word pairs. Weights come from the references that are scored, so a set of one image has
CIDEr 0, and scores of two sets, or of parts of one, are not comparable. METEOR and SPICE need Java and are not included.

Words (`ptb_words`) are those of the Penn Treebank, lower-case, without punctuation:

    "A man's dog isn't here (it can't swim)."  ─►  a man 's dog is n't here -lrb- it ca n't swim -rrb-

The public evaluation runs PTBTokenizer of Stanford CoreNLP 3.4.1 and drops some marks; scores depend on it. This is an
independent lexer of English with the same results on typical captions: contractions, abbreviations, initials, numbers,
fractions, times, prices, hyphens and slashes, quotes, dashes, tags, addresses, smileys.
At each position the longest match wins, and among equal ones the first rule; a rule may look beyond the word that it returns.

Unusual, kept: brackets become -lrb- and so on, and since the marks to drop are named in capitals they stay; of several marks,
such as "!!", only single ones are dropped; a space inside a fraction, a telephone number or a tag becomes U+00A0, so that it
stays one word; ½ becomes 1/2, £ becomes #, € becomes $, ¢ becomes cents.

Differs from it: rare rules are left out; how often the results differ is in docs/systems/metrics.md. There the words of a
caption that ends in a letter with a full stop ("plan B.") depend on how the next caption in the file begins; here they don't.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tapetum.core.errors import BadInput, check_several
from tapetum.metrics.pairing import paired, text

_LETTER = r"[^\W\d_²³¹¼-¾⁰-₟⅐-↋]"
_SIGN = r"[^\W_²³¹¼-¾⁰-₟⅐-↋]"
_APOSTROPHE = r"(?:['\x92’]|&apos;)"
_DROPPED = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))

_BEFORE_STOP = (
    "adj adm al ala alex apr ariz assn assoc asst attys? aug ave bancorp bhd bldg blvd brig bros calif capt cf cie "
    "cmdr cos? col colo comdr conn corp cpl ct dak dec dept det drs? elec ens esq est etc ext feb fla fri ft ga gen "
    "govs? hon inc ind insp intl invt jan jos jr jul jun kans? ky lieut lt ltd maj mar md messrs mfg mich minn mlle "
    "mme mo mon mont mrs? ms mt mtg natl neb nev nov oct okla penn pfc ph plc pres profs? pte ptys? pvt rd reps? "
    "rev rt sens? sept? sgt spc sq sr ste? supts? sys tel tenn thu thurs treas tues? univ va vs vt wed wisc? wm wyo"
)
_BEFORE_STOP_IN_CAPITALS = "Az Ark Del Ill La Mass Miss Ore Pa Tex Wash"
_BEFORE_NUMBER = "art ca fig nos? op pp prop"
_STARTERS = (
    "A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|Many|More|Mr.|Ms.|Now|Once|One|"
    "Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You"
)
"""Words before which a single letter with a full stop ends its sentence."""
_FILES = (
    "bat|bmp|c|cgi|class|cpp|dll|docx?|exe|gif|gz|html?|h|"
    "jar|java|jpe?g|mov|mp3|pdf|php|pl|png|pptx?|ps|py|sql|tar|txt|wav|x|xml|zip"
)
_ELIDED = "'till? 'cause ne'er e'er ev'ry li'l nor'easter nat'l c'mon s'mores dunkin' somethin' ol'"


def _any(words: str) -> str:
    return "(?:" + "|".join(words.replace("'", _APOSTROPHE).split()) + ")"


_RULES = tuple(
    re.compile(
        rule.replace("LETTER", _LETTER).replace("SIGN", _SIGN).replace("APO", _APOSTROPHE).replace("CAPITAL", "[A-ZÀ-ÖØ-Þ]")
    )
    for rule in (
        r"</?[A-Za-z_:][\w:.-]*(?:\s+[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[\w.]+))?)*\s*/?>|<[!?][^<>\r\n]*>",
        r"&(?:amp|lt|gt|quot|apos|#\d+);",
        r"(?i:(can)not|(?:(gon|wan)na|(got)ta|(lem|gim)me))(?!SIGN)",
        r"('[Tt])(?i:is|was)(?!SIGN)",
        r"(LETTER*[A-MO-Za-mo-zÀ-ÿ])[nN]APO[tT]",
        r"[nN]APO[tT](?!SIGN)",
        r"(LETTERSIGN*(?:[.!?]LETTERSIGN*)*)APO(?i:[msd]|re|ve|ll)(?!LETTER)",
        r"APO(?i:[msd]|re|ve|ll)(?!LETTER)",
        rf"(?i:{_any(_ELIDED)})(?!LETTER)",
        r"APO[eE][mM]|APO[nN](?:APO|(?!LETTER))",
        r"APO(?:[2-9]0s|\d\d(?=\s|$))",
        r"[lLdDjJ]APO|[yY]APO(?=LETTER)",
        r"[A-HJ-XZdlno]APOLETTERLETTERSIGN*(?:-SIGN+)*",
        r"LETTER+[aeiouyAEIOUY]APO[aeiouA-Z]LETTER*",
        r"LETTERSIGN*(?:[.!?]LETTERSIGN*)*",
        r"SIGN+",
        r"SIGN+(?:[-_]SIGN+)+",
        r"SIGN(?:SIGN|[.,])*(?:-(?:(?:[A-Za-z]\.){2,}|SIGN+))+",
        r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}",
        r"CAPITAL+(?:(?:[+&]|&amp;)CAPITAL+)+",
        r"[Cc]\+\+|[CcFf]#|\\[*/]",
        r"[-+]?\d*(?:[.:,]\d+)+|[-+]?\d+",
        r"(?:\d{1,4}[- \xa0])?\d{1,4}\\?/\d{1,4}|\d{1,2}[-/]\d{1,2}[-/]\d{2,4}",
        r"(?:\(\d{2,3}\)[ \xa0]?|(?:\+\+?)?(?:\d{2,4}[- \xa0])?\d{2,4}[- \xa0])\d{3,4}[- \xa0]?\d{3,5}(?!SIGN)",
        rf"[A-Za-z](?:(?:\.[A-Za-z])+\.|\.(?!\s+(?:(?:{_STARTERS})\s|</?[A-Za-z][^<>]*>)))|(?i:ph|ed)\.[dD]\.",
        r"(\d*LETTERSIGN*\.)[,;:]",
        rf"SIGN+(?:\.SIGN+)*\.(?:{_FILES})(?=\s|$)",
        rf"(?i:{_any(_BEFORE_STOP)})\.|{_any(_BEFORE_STOP_IN_CAPITALS)}\.",
        rf"(?i:({_any(_BEFORE_NUMBER)}\.))\s?\d",
        r"https?://[^\s\"<>|(){}]+[^\s\"<>|.!?(){},-]",
        r"(?:www\.(?:[^\s\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}|(?:[^\s\"`'<>|.!?(){}\[\],$_/:-]+\.)+(?:com|net|org|edu)(?!SIGN))"
        r"(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?",
        r"<?[a-zA-Z0-9][^\s\"<>|()]{0,300}@(?:[^\s\"<>|().]+\.)*[^\s\"<>|().]+>?",
        r"@[A-Za-z_][A-Za-z_0-9]*|#[A-Za-z]+",
        r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]](?!SIGN)",
        r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)",
        r"(?:[A-Z]{1,2})?\$",
        r"``|''|<<|>>|\.\.\.|-+|[?!]+|\*+|_+|#+|@+",
    )
)
_PLAIN = re.compile(r"[A-Za-z]{2,}(?=[ \n]|$)")
_SPLIT_WORDS = frozenset(("cannot", "gonna", "wanna", "gotta", "lemme", "gimme"))
_AUXILIARY = re.compile(r"n?['\x92’](?:t|s|m|d|re|ve|ll)")
_SPACE = re.compile(r"(?:\s|[\u200b\u3000]|&nbsp;)+")
_WRITTEN = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "&amp;": "&", "&lt;": "<", "&gt;": ">",
    "&quot;": "''", "&apos;": "'", "£": "#", "€": "$", "¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3",
}  # fmt: skip
_MARKS = dict.fromkeys('"“”‘’‚„«»‹›\x91\x92\x93\x94…–—\x85\x96\x97', "'")  # quotes, ellipses and dashes: dropped alike


@lru_cache(maxsize=1 << 16)
def ptb_words(text: str) -> str:
    """Split a text into words, lower-case, with a space between them.

    >>> ptb_words("A man's dog isn't here (it can't swim).")
    "a man 's dog is n't here -lrb- it ca n't swim -rrb-"
    """
    text = text.replace("\xad", "").replace("\ufe0f", "")
    words: list[str] = []
    at = 0
    while at < len(text):
        space = _SPACE.match(text, at)
        if space:
            at = space.end()
            continue
        plain = _PLAIN.match(text, at)
        word = plain[0] if plain and plain[0].lower() not in _SPLIT_WORDS else _longest(text, at)
        at += len(word)
        words.append(_written(word))
    return " ".join(word for word in words if word and word not in _DROPPED)


def _longest(text: str, at: int) -> str:
    word, most = text[at], 1
    for rule in _RULES:
        match = rule.match(text, at)
        if match and match.end() - at > most:
            most = match.end() - at
            word = next((group for group in match.groups() if group), match[0]) if rule.groups else match[0]
    return word


def _written(word: str) -> str:
    if word in _WRITTEN:
        return _WRITTEN[word]
    if word in _MARKS:
        return _MARKS[word]
    if len(word) == 1:
        return word.lower() if ord(word) < 0x10000 else ""
    if set(word) == {"-"}:
        return "--" if len(word) < 5 else word
    word = word.lower().replace("&apos;", "'").replace("&amp;", "&").replace(" ", "\xa0")
    if _AUXILIARY.fullmatch(word):
        return word.replace("’", "'").replace("\x92", "'")
    return word.replace("(", "-lrb-").replace(")", "-rrb-") if word[0] != "<" else word


MOST_WORDS = 4
_SIGMA = 6.0
_BETA = 1.2
_TINY, _SMALL = 1e-15, 1e-9
Counts = Counter[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class CaptionScores:
    """Scores of captions against their references."""

    cider: float
    """0..10; papers print it times 100."""
    bleu: tuple[float, float, float, float]
    rouge_l: float
    cider_each: Mapping[Hashable, float]
    rouge_each: Mapping[Hashable, float]


def caption_scores(predictions: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]]) -> CaptionScores:
    """Score captions by image (or clip), one an image against one reference or more.

    Raises BadInput for ids that don't match, captions that are not text, and an image without a reference.

    >>> scores = caption_scores({1: "A red cat.", 2: "two dogs"}, {1: ["a red cat", "a cat"], 2: ["three dogs run"]})
    >>> round(scores.cider, 3), round(scores.bleu[0], 3), round(scores.rouge_l, 3)
    (2.882, 0.655, 0.693)
    """
    candidates, tokenized = {}, {}
    for key, prediction, several in paired(predictions, references):
        check_several(several, f"the references of {key!r}")
        if not len(several):
            raise BadInput(f"the references of {key!r} are {several!r}; give a list of one text or more")
        candidates[key] = ptb_words(text(prediction, key))
        tokenized[key] = [ptb_words(text(reference, key)) for reference in several]
    counted = {key: [_grams(reference) for reference in several] for key, several in tokenized.items()}
    images: Counts = Counter()
    for several in counted.values():
        images.update({gram for grams in several for gram in grams})
    log_all = math.log(len(counted))
    each = {
        key: _cider(_weighted(_grams(words), images, log_all), [_weighted(g, images, log_all) for g in counted[key]])
        for key, words in candidates.items()
    }
    rouge = {key: rouge_l(words, tokenized[key]) for key, words in candidates.items()}
    return CaptionScores(
        cider=sum(each.values()) / len(each),
        bleu=bleu(candidates, tokenized),
        rouge_l=sum(rouge.values()) / len(rouge),
        cider_each=each,
        rouge_each=rouge,
    )


def bleu(candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]]) -> tuple[float, float, float, float]:
    """Compute BLEU-1 to 4 of all captions together. Words are split at spaces; the same ids on both sides."""
    matched, possible = [0] * MOST_WORDS, [0] * MOST_WORDS
    length = reference_length = 0
    for key, words in candidates.items():
        several = [_grams(reference) for reference in references[key]]
        long = len(words.split())
        most: Counts = Counter()
        for grams in several:
            most |= grams
        for gram, count in _grams(words).items():
            matched[len(gram) - 1] += min(count, most[gram])
        for n in range(MOST_WORDS):
            possible[n] += max(0, long - n)
        length += long
        reference_length += min((abs(len(r.split()) - long), len(r.split())) for r in references[key])[1]
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for n in range(MOST_WORDS):
        product *= (matched[n] + _TINY) / (possible[n] + _SMALL)
        scores.append(product ** (1 / (n + 1)) * brevity)
    return scores[0], scores[1], scores[2], scores[3]


def rouge_l(candidate: str, references: Sequence[str]) -> float:
    """Compute ROUGE-L of one caption, 0..1. Words are split at spaces.

    >>> round(rouge_l("the cat sat", ["a cat sat down", "the dog"]), 4)
    0.5571
    """
    check_several(references, "the references")
    words = candidate.split(" ")
    common = [(_longest_common(words, r.split(" ")), len(r.split(" "))) for r in references]
    precision, recall = max(c for c, _ in common) / len(words), max(c / long for c, long in common)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision) if precision and recall else 0.0


def _grams(words: str) -> Counts:
    split = words.split()
    return Counter(tuple(split[i : i + n]) for n in range(1, MOST_WORDS + 1) for i in range(len(split) - n + 1))


@dataclass(frozen=True)
class _Weighted:
    """n-grams of a text with their weights, by n."""

    grams: list[dict[tuple[str, ...], float]]
    norms: list[float]
    pairs: int


def _weighted(grams: Counts, images: Counts, log_all: float) -> _Weighted:
    weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(MOST_WORDS)]
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * (log_all - math.log(max(1, images[gram])))
    norms = [math.sqrt(sum(weight * weight for weight in one.values())) for one in weights]
    return _Weighted(weights, norms, sum(count for gram, count in grams.items() if len(gram) == 2))


def _cider(candidate: _Weighted, references: list[_Weighted]) -> float:
    total = 0.0
    for reference in references:
        likeness = 0.0
        for n in range(MOST_WORDS):
            norm = candidate.norms[n] * reference.norms[n]
            if norm:
                weights = reference.grams[n]
                shared = sum(
                    min(weight, weights.get(gram, 0.0)) * weights.get(gram, 0.0) for gram, weight in candidate.grams[n].items()
                )
                likeness += shared / norm
        total += likeness / MOST_WORDS * math.exp(-((candidate.pairs - reference.pairs) ** 2) / (2 * _SIGMA**2))
    return 10 * total / len(references)


def _longest_common(a: list[str], b: list[str]) -> int:
    places: dict[str, int] = {}
    for i, word in enumerate(b):
        places[word] = places.get(word, 0) | 1 << i
    left = (1 << len(b)) - 1
    for word in a:  # all columns at once (Hyyrö 2004)
        common = left & places.get(word, 0)
        left = ((left + common) | (left - common)) & ((1 << len(b)) - 1)
    return len(b) - left.bit_count()
