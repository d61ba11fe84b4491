"""Words of captions as COCO's evaluation counts them: those of the Penn Treebank, lower-case, without punctuation. No Java.

    "A man's dog isn't here (it can't swim)."  ─►  a man 's dog is n't here -lrb- it ca n't swim -rrb-

The public evaluation of captions (Chen et al., arXiv 1504.00325) runs PTBTokenizer of Stanford CoreNLP 3.4.1 and drops some
marks; scores depend on it. This is an independent lexer of English with the same results on typical captions: contractions,
abbreviations, initials, numbers, fractions, times, prices, hyphens and slashes, quotes, dashes, tags, addresses, smileys.

At each position the longest match wins, and among equal ones the first rule; a rule may look beyond the word that it returns.

Unusual, kept: brackets become -lrb- and so on, and since the marks to drop are named in capitals they stay; of several marks,
such as "!!", only single ones are dropped; a space inside a fraction, a telephone number or a tag becomes U+00A0, so that it
stays one word; ½ becomes 1/2, £ becomes #, € becomes $, ¢ becomes cents.

Differs from it: rare rules are left out; how often the results differ is in docs/systems/metrics.md. There the words of a
caption that ends in a letter with a full stop ("plan B.") depend on how the next caption in the file begins; here they don't.
"""

import re
from functools import lru_cache

_LETTER = r"[^\W\d_²³¹¼-¾⁰-₟⅐-↋]"
_SIGN = r"[^\W_²³¹¼-¾⁰-₟⅐-↋]"
"""A letter or digit."""
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


def ptb_words(text: str) -> str:
    """Split a text into words, lower-case, with a space between them.

    >>> ptb_words("A man's dog isn't here (it can't swim).")
    "a man 's dog is n't here -lrb- it ca n't swim -rrb-"
    """
    return _words(text)


@lru_cache(maxsize=1 << 16)
def _words(text: str) -> str:
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
