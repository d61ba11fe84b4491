"""Records the answers of public evaluation code beside random questions, for `tapetum.metrics`.

    python tests/golden/make_benchmark_metrics_golden.py CHECKOUTS

CHECKOUTS is a folder with git repositories (bare ones too) called as on GitHub with a + for the slash:

    GT-Vision-Lab+VQA                          vqaEval.py                  accuracy of VQA
    google-research+big_vision                 evaluators of PaliGemma     VQA accuracy, ANLS, relaxed match, number words
    davisvideochallenge+davis2017-evaluation   metrics.py, utils.py        J and F
    ibm-aur-nlp+PubTabNet                      src/metric.py               TEDS
    antoniorv6+SMT                             eval_functions.py           CER, SER, LER of music
    ptchallenge-workshop+actionformer_release_PT   libs/utils/metrics.py   mAP and recall of segments

Packages beside them: opencv, scikit-image, apted, distance, lxml, Levenshtein, pandas, joblib, trackeval. Single functions are
taken from these files, so that nothing else of theirs is needed. Writes benchmark_metrics.json here.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
import textwrap
import types
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


def source(checkouts: Path, repository: str, file: str) -> str:
    place = checkouts / repository
    place = place / "repo" if (place / "repo").is_dir() else place
    return subprocess.run(["git", "-C", str(place), "show", f"HEAD:{file}"], capture_output=True, text=True, check=True).stdout


def functions(text: str, names: tuple[str, ...], **scope: Any) -> dict[str, Any]:
    """Functions, classes and constants of a file, compiled alone."""
    tree = ast.parse(text)

    def wanted(node: ast.stmt) -> bool:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return node.name in names
        return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in names

    tree.body = [node for node in tree.body if wanted(node)]
    exec(compile(tree, "public", "exec"), scope)
    return scope


WORDS = (
    "a an the two Two none ten cat cat's cats dont Im somebody'd 1,000 10,5 3.14 U.S. end. e.g. red/blue t-shirt (no) what? "
    "yes! yes no 'tis \"quoted\" left-right @home a_b #1 50% 5% -3 , . ; : < > = + \\ ` [x] {y} yall'll it's its o'clock oclock"
)


def phrase(rng: np.random.Generator, most: int = 5) -> str:
    parts = rng.choice(WORDS.split(), rng.integers(1, most + 1)).tolist()
    return "".join(word + str(rng.choice([" ", " ", " ", "", "  ", "\n", "\t"])) for word in parts)


def official_vqa(text: str) -> type:
    """The class of the official evaluation, whose only lines that Python 3 refuses are two prints."""
    text = re.sub(r"^(\s*)print .*$", r"\1pass", text, flags=re.M)
    scope: dict[str, Any] = {}
    exec(compile(text, "vqaEval", "exec"), scope)
    return scope["VQAEval"]


def vqa(checkouts: Path) -> list[dict[str, Any]]:
    official = official_vqa(source(checkouts, "GT-Vision-Lab+VQA", "PythonEvaluationTools/vqaEvaluation/vqaEval.py"))
    folder = "big_vision/evaluators/proj/paligemma/transfers/"
    other = functions(
        source(checkouts, "google-research+big_vision", folder + "vqav2.py"),
        ("stripspace_vqav2", "postprocess_vqav2_text", "REPLACEMENTS", "PUNCT", "ARTICLES"), re=re,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(300):
        pool = [phrase(rng) for _ in range(rng.integers(1, 4))]
        references = [str(rng.choice(pool)) for _ in range(10)]
        answer = str(rng.choice([*pool, pool[0].lower(), " " + pool[0].rstrip() + ".", phrase(rng)]))
        asked = {"answers": [{"answer": r, "answer_id": k} for k, r in enumerate(references)]}
        asked |= {"question_type": "what", "answer_type": "other"}
        theirs = official(
            types.SimpleNamespace(qa={1: asked}, getQuesIds=lambda: [1]),
            types.SimpleNamespace(qa={1: {"answer": answer}}),
            n=12,
        )
        theirs.updateProgress = lambda _: None
        theirs.evaluate()
        normalised = theirs.processDigitArticle(theirs.processPunctuation(answer))
        assert normalised == other["postprocess_vqav2_text"](answer), answer
        cases.append({"answer": answer, "references": references, "accuracy": theirs.evalQA[1] / 100, "normalised": normalised})
    dots = "no. " * 40
    cases.append({"answer": dots, "normalised": theirs.processDigitArticle(theirs.processPunctuation(dots))})
    return cases


def single_answers(checkouts: Path) -> dict[str, Any]:
    import Levenshtein

    folder = "big_vision/evaluators/proj/paligemma/transfers/"
    edits = types.SimpleNamespace(eval=Levenshtein.distance)
    text = {
        name: source(checkouts, "google-research+big_vision", f"{folder}{name}.py") for name in ("rsvqa", "chartqa", "tallyqa")
    }
    anls = functions(text["rsvqa"], ("anls_metric",), editdistance=edits)["anls_metric"]
    relaxed = functions(text["chartqa"], ("_to_float", "_relaxed_match"))["_relaxed_match"]
    number = functions(text["tallyqa"], ("_number_word_to_numeral", "REPLACEMENTS"))["_number_word_to_numeral"]
    rng = np.random.default_rng(1)
    letters = list("abcde ")
    near = []
    for _ in range(80):
        target = "".join(rng.choice(letters, rng.integers(0, 9)))
        said = "".join(c for c in target if rng.random() < 0.7) + "".join(rng.choice(letters, rng.integers(0, 4)))
        near.append([said, target, float(anls(target, said))])
    numbers = ["", *("0 0.0 5 5% 0.05 100 104.9 105 105.1 -100 -96 1e2 abc abd % nan inf 1,000".split())]  # noqa: SIM905
    charts = [[said, right, float(relaxed(right, said))] for said in numbers for right in numbers if "nan" not in (said, right)]
    words = ["none", "Zero", "ELEVEN", "twenty", "twenty one", "3", ""]
    return {"anls": near, "relaxed": charts, "counts": [[word, number(word)] for word in words]}


def davis(checkouts: Path) -> list[dict[str, Any]]:
    import cv2
    from skimage import morphology

    sys.modules.setdefault("skimage.morphology", morphology)
    repository = "davisvideochallenge+davis2017-evaluation"
    scope = functions(
        source(checkouts, repository, "davis2017/metrics.py"),
        ("db_eval_iou", "db_eval_boundary", "f_measure", "_seg2bmap"), np=np, cv2=cv2,
    )  # fmt: skip
    statistics = functions(source(checkouts, repository, "davis2017/utils.py"), ("db_statistics",), np=np, warnings=warnings)
    cases = []
    for seed, (t, h, w) in enumerate([(5, 20, 30), (8, 64, 48), (4, 150, 200), (11, 33, 17), (6, 7, 9)]):
        truth, said = blobs(seed, t, h, w)
        j, f = scope["db_eval_iou"](truth, said), scope["db_eval_boundary"](truth, said)
        numbers = {name: [float(v) for v in statistics["db_statistics"](values)] for name, values in (("j", j), ("f", f))}
        cases.append({"seed": seed, "shape": [t, h, w], "per_frame": {"j": j.tolist(), "f": f.tolist()}, **numbers})
    return cases


def blobs(seed: int, t: int, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Discs that move, with holes, empty frames and noise; bool (t, h, w) twice."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    masks = []
    for _ in range(2):
        frames = []
        for k in range(t):
            disc = (y - h * (0.4 + 0.02 * k)) ** 2 + (x - w * 0.5 - rng.normal()) ** 2 < (
                min(h, w) * rng.uniform(0.2, 0.45)
            ) ** 2
            frames.append(disc ^ (rng.random((h, w)) < rng.choice([0, 0.02])))
        frames[rng.integers(0, t)][:] = False
        masks.append(np.stack(frames))
    masks[0][-1], masks[1][-1] = False, False
    masks[1][1] = masks[0][1]
    return masks[0], masks[1]


def table(rng: np.random.Generator) -> str:
    """A well-formed table with spans, marked-up contents and sometimes a head."""

    def cell() -> str:
        content = str(rng.choice(["", "12", "total", "a & b", "<b>x</b> y", "n<sup>2</sup>", "<i>it</i>"])).replace(
            "&", "&amp;"
        )
        span = str(rng.choice(["", "", ' colspan="2"', ' rowspan="3"', ' colspan="2" rowspan="2"']))
        return f"<td{span}>{content}</td>"

    rows = ["<tr>" + "".join(cell() for _ in range(rng.integers(0, 5))) + "</tr>" for _ in range(rng.integers(1, 7))]
    head = f"<thead>{rows[0]}</thead>" if rng.random() < 0.5 else rows[0]
    return f"<html><body><table>{head}<tbody>{''.join(rows[1:])}</tbody></table></body></html>"


def changed(rng: np.random.Generator, html: str) -> str:
    """The table with some cells and rows out, or other words."""
    cells = re.findall(r"<td.*?</td>", html)
    for cell in cells:
        if rng.random() < 0.2:
            html = html.replace(cell, str(rng.choice(["", "<td>new</td>", cell + cell])), 1)
    return html.replace("<tr></tr>", "", 1) if rng.random() < 0.5 else html


def teds(checkouts: Path) -> list[list[Any]]:
    import apted
    import distance
    from apted.helpers import Tree
    from lxml import etree, html

    names = ("TableTree", "CustomConfig", "TEDS")
    text = source(checkouts, "ibm-aur-nlp+PubTabNet", "src/metric.py")
    scope = functions(
        text, names, distance=distance, APTED=apted.APTED, Config=apted.Config, Tree=Tree, etree=etree, html=html, deque=deque
    )
    whole, structure = scope["TEDS"](), scope["TEDS"](structure_only=True)
    rng = np.random.default_rng(3)
    cases = []
    for k in range(60):
        true = table(rng)
        said = changed(rng, true) if k % 3 else table(rng)
        cases.append([said, true, float(whole.evaluate(said, true)), float(structure.evaluate(said, true))])
    return cases


def music(checkouts: Path) -> list[list[Any]]:
    repository = "antoniorv6+SMT"
    text = source(checkouts, repository, "eval_functions.py")
    edits = functions(source(checkouts, repository, "utils.py"), ("levenshtein",))["levenshtein"]
    rates = functions(text, ("parse_krn_content", "compute_metric", "compute_poliphony_metrics"), levenshtein=edits)
    rng = np.random.default_rng(4)
    cases = []
    for _ in range(20):
        true = ["".join(rng.choice(["4c", "8d", "\t", "\n", " ", ".", "16e-"], rng.integers(1, 25))) for _ in range(3)]
        said = ["".join(c for c in t if rng.random() < 0.85) + str(rng.choice(["", "\t4c", "x"])) for t in true]
        cases.append([said, true, [r / 100 for r in rates["compute_poliphony_metrics"](said, true)]])
    return cases


def localisation(checkouts: Path) -> list[dict[str, Any]]:
    import pandas as pd

    text = source(checkouts, "ptchallenge-workshop+actionformer_release_PT", "libs/utils/metrics.py")
    names = tuple(node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    scope = functions(text, names, np=np, pd=pd, List=list, Tuple=tuple, Dict=dict)
    at = np.linspace(0.1, 0.5, 5)
    cases = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth, said = {}, {}
        for v in range(int(rng.integers(1, 6))):
            rows = [
                [float(s), float(s + d), str(rng.choice(["a", "b", "c"]))]
                for s, d in rng.uniform(0.1, 9, (rng.integers(1, 7), 2))
            ]
            moved = [r for r in rows for _ in range(rng.integers(0, 4))]
            truth[f"v{v}"] = rows
            said[f"v{v}"] = [
                [s + rng.uniform(-1, 0), e + rng.uniform(0, 3), label if rng.random() < 0.8 else "a", rng.random()]
                for s, e, label in moved
            ]  # fmt: skip
        label = lambda rows: sorted({r[2] for video in rows.values() for r in video})  # noqa: E731
        ap, recall = [], []
        for name in label(truth):
            true, found = (
                pd.DataFrame(
                    [(video, *r[:2], *r[3:]) for video, rows in side.items() for r in rows if r[2] == name],
                    columns=["video-id", "t-start", "t-end", "score"][: 4 if side is said else 3],
                )
                for side in (truth, said)
            )
            ap.append(scope["compute_average_precision_detection"](true, found, at))
            recall.append(scope["compute_topkx_recall_detection"](true, found, at, (1, 5)))
        cases.append({"truth": truth, "said": said, "map": np.mean(ap, 0).tolist(), "recall": np.mean(recall, 0).T.tolist()})
    return cases


def tracking() -> list[dict[str, Any]]:
    from trackeval.metrics import HOTA

    cases = []
    for seed in range(8):
        frames = tracks(seed)
        true, said = ({key: k for k, key in enumerate(sorted({i for f in frames for i in f[side]}))} for side in (0, 1))
        data = {
            "gt_ids": [np.array([true[i] for i in f[0]], int) for f in frames],
            "tracker_ids": [np.array([said[i] for i in f[1]], int) for f in frames],
            "similarity_scores": [np.array(f[2], float).reshape(len(f[0]), len(f[1])) for f in frames],
            "num_gt_dets": sum(len(f[0]) for f in frames),
            "num_tracker_dets": sum(len(f[1]) for f in frames),
            "num_gt_ids": len(true),
            "num_tracker_ids": len(said),
        }
        found = HOTA().eval_sequence(data)
        names = {"hota": "HOTA", "det_a": "DetA", "ass_a": "AssA", "loc_a": "LocA"}
        more = {"det_recall": "DetRe", "det_precision": "DetPr", "ass_recall": "AssRe", "ass_precision": "AssPr"}
        cases.append({name: found[theirs].tolist() for name, theirs in (names | more).items()})
    return cases


def tracks(seed: int) -> list[tuple[list[int], list[int], list[list[float]]]]:
    """Frames with ids that come and go; none are predicted for seed 6, and none true for seed 7."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(int(rng.integers(3, 30))):
        true = [int(i) for i in rng.permutation(4) if rng.random() < 0.7 and seed != 7]
        said = [int(i) for i in rng.permutation(5) if rng.random() < 0.6 and seed != 6]
        near = [[float(rng.uniform(0.3, 1) if i == j else rng.choice([0, 0.05, 0.2, 0.5])) for j in said] for i in true]
        frames.append((true, said, near))
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""), formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkouts", type=Path)
    checkouts = parser.parse_args().checkouts
    found = {
        "vqa": vqa(checkouts),
        **single_answers(checkouts),
        "davis": davis(checkouts),
        "teds": teds(checkouts),
        "music": music(checkouts),
        "localisation": localisation(checkouts),
        "hota": tracking(),
    }
    (FOLDER / "benchmark_metrics.json").write_text(
        json.dumps(found, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n"
    )
    print({name: len(cases) for name, cases in found.items()})


if __name__ == "__main__":
    main()
