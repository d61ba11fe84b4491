"""How far the places that a PaliGemma writes miss, when all that was before is right; and whether it looks at the thing.

    python evidence/paligemma-nano/places.py heldout --model paligemma-nano --limit 100 \\
        --out evidence/paligemma-nano/places.json

`all`: after `detect all classes`; `one`: after `detect NOUN`, where there is one such thing. For each of y1, x1, y2 and x2 the
mean distance in pixels between the likeliest place and the right one, beside that of a guess, the median of all edges.
`looking` is the share of the attention of the heads of `world.training.paligemma.attention_supervision` that is on the thing's
tokens.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.paligemma.data import TextPair, collate
from tapetum.systems.paligemma.losses import pack_texts, packed_loss
from tapetum_world.training.paligemma.scene_images import (
    SceneFolder,
    SceneSample,
    format_objects,
    normalize_pixels,
    visible_objects,
)
from tapetum_world.training.paligemma.task import attention_loss, attention_targets, record_inputs, supervised_attention

NAMES = "y1", "x1", "y2", "x2"


def samples_of(folder: SceneFolder) -> dict[str, list[SceneSample]]:
    """Ask each image for all things, and for those that are the only ones of their kind."""
    samples: dict[str, list[SceneSample]] = {"all": [], "one": []}
    for index in range(len(folder)):
        image = folder.read(index)
        things = visible_objects(image)
        nouns = Counter(thing.noun for thing in things)
        question = {
            "all": [(prompts.DETECT_ALL, things)],
            "one": [(prompts.detect([t.noun]), [t]) for t in things if nouns[t.noun] == 1],
        }
        for kind, texts in question.items():
            pairs = tuple(
                TextPair(prefix=prefix, suffix=format_objects(image, some), long=True, about=tuple(t.id for t in some))
                for prefix, some in texts
                if some
            )
            if pairs:
                samples[kind].append(SceneSample(pixels=normalize_pixels(image.rgb)[None], pairs=pairs, image=image))
    return samples


@torch.no_grad()
def misses(answerer: Answerer, samples: list[SceneSample]) -> dict[str, Any]:
    """Measure one kind."""
    model, tokens = answerer.model, answerer.tokens
    first, side = tokens.location_ids[0], model.config.image_size
    missed, edges = defaultdict(list), defaultdict(list)
    looked: list[float] = []
    for start in range(0, len(samples), 8):
        some = samples[start : start + 8]
        batch = collate(some, tokens)
        images = model.embed_images(batch.pixels)
        packed = pack_texts(batch.groups, len(some), "tokens", "blocks")
        targets = attention_targets(
            [s.pairs for s in some],
            [s.image.ids for s in some],
            packed,
            tokens,
            model.config.token_side,
            model.config.image_tokens,
        )
        attention = supervised_attention(model.language)
        with record_inputs(attention) as given:
            packed_loss(model, images, packed)
        looked.append(float(attention_loss(attention, **given, targets=targets)[1]))
        for rows in batch.groups:
            logits = model.language.logits(model.read(images[rows.of], rows.prefix, rows.suffix))
            likeliest = logits[..., first : first + 1024].argmax(-1)
            for row in range(len(rows.of)):
                places = [k for k, token in enumerate(rows.suffix[row].tolist()) if tokens.is_location(token)]
                for number, k in enumerate(places):
                    right = int(rows.suffix[row, k]) - first
                    missed[NAMES[number % 4]].append(abs(int(likeliest[row, k]) - right) / 1023 * side)
                    edges[NAMES[number % 4]].append(right / 1023 * side)
    guess = {name: float(np.abs(np.array(e) - np.median(e)).mean()) for name, e in edges.items()}
    return {
        "boxes": len(missed["y1"]),
        "pixels": {name: round(float(np.mean(missed[name])), 2) for name in NAMES},
        "guess": {name: round(guess[name], 2) for name in NAMES},
        "looking": round(float(np.mean(looked)), 3),
    }


def main() -> None:
    """Measure both kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heldout", type=Path)
    parser.add_argument("--model", default="paligemma-nano-2")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    answerer = Answerer.load(options.model)
    errors = {kind: misses(answerer, every) for kind, every in samples_of(SceneFolder(options.heldout, options.limit)).items()}
    print(json.dumps(errors, indent=1))
    if options.out:
        options.out.write_text(
            json.dumps({"command": f"evidence/paligemma-nano/places.py heldout --limit {options.limit}"} | errors) + "\n"
        )


if __name__ == "__main__":
    main()
