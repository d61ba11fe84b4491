"""Records the words and scores of COCO's public evaluation of captions, for `tapetum.metrics.captions`.

    python tests/golden/make_caption_golden.py [--compare TEXT ...]

Needs pycocoevalcap and Java. Writes captions.json here: several hundred sentences with their words, and sets of captions
with CIDEr, BLEU and ROUGE-L. Between two sentences stands a line of one plain word, since that tokenizer looks at what begins
the next line. With --compare, counts on how many lines of these text files the words differ, and prints the first ones.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent

HARD = """A man's dog isn't here; it can't swim, won't run and doesn't bark!
Mr. Smith and Dr. Jones went to Washington D.C. on Jan. 5th, 2014.
The U.S. flag costs $5.50 (or £4.20, €5) -- about 10% off...
He said "hello there" and 'goodbye'.
“Curly quotes” and ‘single ones’ aren’t the same.
I cannot, gonna, wanna, gotta, lemme, gimme, dunno, whatcha do it.
It's 10:30 a.m. at the o'clock tower in the '70s.
e.g. cats, dogs, etc. and i.e. others vs. me.
1,000,000 people & 3.14 pies, 1 1/2 cups, 10/12/2014, 555-1234, +44 20 7946 0958, (555) 123-4567
See http://www.example.com/foo?bar=1 and foo@bar.com #hashtag @user
a t-shirt, a well-known man, a black-and-white photo - nice
She'll they've I'm you're we'd y'all's he'd've
AT&T and rock 'n' roll, R&B/soul
:) :-) <br> &amp; <b>bold</b> ;-) :D <3 ^_^
dogs' tails and James' book, the boys' room
[square] {curly} (round) <angle>
two/three and/or w/o 24/7 a\\b c*d e_f ^ ~ ` | = +
end.of sentence. No space.After it
Prof. J. R. R. Tolkien Jr. of Inc. Co.
café naïve über 日本 Москва
wait... what?! yes!! no?? , , . .
5'10" tall, 6ft., 3' 4''
don't didnt do n't ain't shan't can not
#1 team, No. 1 fan, 1st 2nd 3rd 100th
3-year-old, 20-30 people, 2x4, 4k, 1080p
US$5, 50¢, 30°, ½ cup ¼ 2½
-5 degrees, +5 --- ---- ----- – —
'tis the season, 'twas so, d'ye know? more'n that 'em 'til 'cause
O'Brien's l'eau ma'am Hawai'i c'mon s'mores ol' Dunkin'
vitamin C. The man eats. Plan B is off. Grade A. It is.
No.5 is alive; Fig. 3 and p. 12, approx. 5 lb. of Dept. 7
non-U.S. U.S.-based D.C.-area e-mail's
‘sup ’twas l’eau d’or
the sign reads "STOP" ; the other: 'GO'
**bold** __init__ snake_case_name C++ C# F-16 Node.js
''double'' ``ticks`` 'it's'
Ltd. Corp. Bros. Sgt. Pepper St. Louis Mt. Fuji Ave. Rd. Blvd.
1990s 1990's 70's '05 the '50s'
a.b.c. U.N.'s Ph.D. A.M. p.m. a.k.a. w.r.t.
x:3 3;4 a:b 1:2 12:30:45 5:30pm 5pm
$1,000,000.00 $.50 100$ A$5 £1,000 ¥5
(555)123-4567 10 20 30 100 200 300 400
""".strip().split("\n")

PARTS = [
    part.split("|")
    for part in (
        "A man|Two women|A group of people|a dog's owner|The boy|An old, grey cat|3 kids|Someone|A skier (in red)|"
        "A close-up of a sandwich|The U.S. flag|A 5-year-old girl|a woman in a t-shirt|Mr. Bean|One of the players",
        "is riding|are standing next to|sits on|isn't looking at|holds|walks by|can't reach|'s about to eat|jumps over|"
        "has just thrown|is laying on|doesn't see|- or rather was -  eating",
        "a wave|an elephant|the street corner|a half-eaten pizza|two black/white zebras|a stop sign|her brother's board|"
        "the clock at 10:30 a.m.|a \"no parking\" sign|a bus (number 12)|'fresh' fruit|a $5 bill|an iPhone 4|a TV.",
        "in the park.|near St. Louis.|on top of a surfboard|with his mother's umbrella!|during the day...|"
        "at night; it's raining.|while others watch|, and smiles.|in black and white.|– what a view!|for the 2nd time.|"
        "at approx. 20 m.p.h.",
    )
]


def sentences() -> list[str]:
    rng = np.random.default_rng(0)
    made = [" ".join(str(rng.choice(part)) for part in PARTS) for _ in range(400)]
    words = [w for line in HARD for w in line.split(" ") if w]
    mixed = [" ".join(rng.choice(words, 9).tolist()) for _ in range(150)]
    return HARD + list(dict.fromkeys(made)) + mixed


def words(lines: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    asked = {k: [{"caption": line}, {"caption": "end"}] for k, line in enumerate(lines)}
    found = PTBTokenizer().tokenize(asked)
    assert all(found[k][1] == "end" for k in found)
    return [found[k][0] for k in range(len(lines))]


def scored(seed: int) -> dict[str, Any]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    rng = np.random.default_rng(seed)
    pool = sentences()
    references, said = {}, {}
    for k in range(int(rng.integers(1, 25)) if seed else 1):
        several = rng.choice(pool, rng.integers(1, 6)).tolist()
        kept = [w for w in several[0].split(" ") if rng.random() < 0.8]
        references[k], said[k] = several, " ".join(kept) if rng.random() < 0.8 else str(rng.choice([*pool, "", "end"]))
    cut = PTBTokenizer().tokenize
    gts = cut({k: [{"caption": r} for s in several for r in (s, "end")] for k, several in references.items()})
    res = cut({k: [{"caption": s}, {"caption": "end"}] for k, s in said.items()})
    gts, res = {k: v[::2] for k, v in gts.items()}, {k: v[:1] for k, v in res.items()}
    cider, each = Cider().compute_score(gts, res)
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    rouge, _ = Rouge().compute_score(gts, res)
    return {
        "said": list(said.values()), "references": list(references.values()), "cider": float(cider),
        "cider_each": [float(c) for c in each], "bleu": [float(b) for b in bleu], "rouge_l": float(rouge),
    }  # fmt: skip


def compare(files: list[Path]) -> None:
    from tapetum.metrics.captions import ptb_words

    lines = sorted({line.strip() for file in files for line in file.read_text(errors="ignore").splitlines()} - {""})
    both = [(line, ptb_words(line), theirs) for line, theirs in zip(lines, words(lines), strict=True)]
    differ = [row for row in both if row[1] != row[2]]
    for line, own, theirs in differ[:20]:
        print(f"{line}\n  own   {own}\n  java  {theirs}")
    print(f"{len(differ)} of {len(lines)} lines differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--compare", nargs="+", type=Path)
    args = parser.parse_args()
    if args.compare:
        return compare(args.compare)
    lines = sentences()
    found = {"words": list(zip(lines, words(lines), strict=True)), "sets": [scored(seed) for seed in range(6)]}
    (FOLDER / "captions.json").write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(lines)} sentences, {len(found['sets'])} sets; Java: ", end="", flush=True)
    subprocess.run(["java", "--version"], check=True)


if __name__ == "__main__":
    main()
