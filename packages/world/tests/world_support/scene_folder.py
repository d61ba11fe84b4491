"""A folder as `tapetum scenes images` writes it, of coloured squares on grey: it needs no simulator."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (205, 35, 38), "green": (40, 145, 62), "blue": (38, 84, 200)}
NOUNS = ("block", "box", "ball")


def write_scene_folder(folder: Path, count: int = 6, size: int = 112, seed: int = 0) -> Path:
    """Write `count` images with two squares each: an upper one and a lower one."""
    for part in ("images", "masks", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        rows.append(_write_one(folder, number, size, rng))
    (folder / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _write_one(folder: Path, number: int, size: int, rng: np.random.Generator) -> dict:
    rgb, ids = np.full((size, size, 3), 128, np.uint8), np.zeros((size, size), np.uint8)
    nouns, colours = ([names[i] for i in rng.permutation(len(names))[:2]] for names in (NOUNS, list(COLOURS)))
    objects = []
    for k in range(2):
        x1, y1 = int(rng.integers(10, size - 40)), 10 + k * size // 2
        box = [x1, y1, x1 + 24, y1 + 20]
        rgb[y1 : y1 + 20, x1 : x1 + 24], ids[y1 : y1 + 20, x1 : x1 + 24] = COLOURS[colours[k]], k + 3
        caption = f"a {colours[k]} wooden {nouns[k]}"
        objects.append(
            {"id": k + 3, "noun": nouns[k], "colour": colours[k], "material": "wood", "box": box, "seen_share": 1.0}
            | {"caption": caption}
        )
    sides = ["to the left of it", "to the right of it"]
    side = sides[objects[0]["box"][0] >= objects[1]["box"][0]]
    asked = [
        ("colour", f"What colour is the {nouns[0]}?", colours[0], list(COLOURS)),
        ("count", "How many things can be seen?", "two", ["one", "two", "three"]),
        ("relation", f"Where is the {nouns[0]}?", side, sides),
        ("read", "What is written?", "TEA", ["TEA", "MILK"]),
    ]
    name = f"{number:06d}"
    Image.fromarray(rgb).save(folder / "images" / f"{name}.jpg", quality=95)
    Image.fromarray(ids).save(folder / "masks" / f"{name}.png")
    truth = {
        "id": number,
        "file": f"images/{name}.jpg",
        "masks": f"masks/{name}.png",
        "captions": {"short": f"A {nouns[0]} and a {nouns[1]}.", "long": f"There is {objects[0]['caption']} to the left."},
        "objects": objects,
    }
    candidates = [{"template": t, "text": q, "answer": a} for t, q, a, _ in asked]
    (folder / "truth" / f"{name}.json").write_text(json.dumps(truth | {"candidates": candidates}))
    questions = [
        {"template": t, "question": q, "answer": a, "answer_id": o.index(a), "options": o, "area": t} for t, q, a, o in asked
    ]
    return truth | {"questions": questions}
