"""Makes paligemma_taught.safetensors and .model: a tiny PaliGemma that knows a tiny world by heart, to test its verbs with.

    python tests/golden/make_paligemma_taught_golden.py

The world: 56x56 pixels, grey, with a red, green or blue square in one of four corners, or none. It knows its colour, a caption,
its box and its mask (in the codes of paligemma-masks), and nothing else. A minute on one core.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma import prompts, weights
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.images import prepare
from tapetum.systems.paligemma.locations import suffix
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.types import Boxes

SIZE, STEPS = 56, 800
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 230)}
CORNERS = {"left": (6, 8), "right": (34, 8), "low left": (6, 33), "low right": (34, 33)}
"""Where the square begins, x and y; it is 16 pixels wide."""


def make_image(colour: str | None, corner: str = "left") -> np.ndarray:
    """An image of the world, uint8 (56, 56, 3)."""
    made = np.full((SIZE, SIZE, 3), 128, np.uint8)
    if colour:
        x, y = CORNERS[corner]
        made[y : y + 16, x : x + 16] = COLOURS[colour]
    return made


def box(corner: str) -> tuple[int, int, int, int]:
    """The box of the square: x1, y1, x2, y2."""
    x, y = CORNERS[corner]
    return x, y, x + 16, y + 16


def lessons(codes: np.ndarray) -> list[tuple[np.ndarray, str, str]]:
    """Image, prompt and answer; `codes` are those of a full mask."""
    made = []
    for colour in (*COLOURS, None):
        for corner in CORNERS if colour else ("left",):
            shown = make_image(colour, corner)
            boxes = Boxes(xyxy=[box(corner)], labels=["square"])
            said = (suffix(boxes, SIZE, SIZE), suffix(boxes, SIZE, SIZE, codes[None])) if colour else ("", "")
            made += [
                (shown, prompts.answer("what color is the square ?"), colour or "none"),
                (shown, prompts.caption(), f"a {colour} square" if colour else "nothing"),
                (shown, prompts.detect("square"), said[0]),
                (shown, prompts.segment("square"), said[1]),
            ]
    return made


def main() -> None:
    """Teach it until it makes no mistake, and write it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    here = Path(__file__).parent
    codes = mask_codec.load().codes_of(np.ones((64, 64), bool))
    pairs = lessons(codes)
    tokens = Tokens.train(
        [text for _, prompt, answer in pairs for text in (prompt, answer)], 320, here / "paligemma_taught.model"
    )
    config = PaliGemmaConfig(
        vision_encoder=replace(siglip(SIZE), width=32, depth=1, heads=2, mlp_width=64),
        language=DecoderConfig(
            width=32, depth=2, heads=2, key_value_heads=1, head_width=16, mlp_width=64, vocabulary=tokens.size
        ),
        newline=tokens.newline[0],
    )
    model = PaliGemma(config)
    pixels = torch.stack([prepare(shown[None], SIZE) for shown, _, _ in pairs])
    answerer = Answerer(model, tokens)
    prefix = answerer.padded([tokens.encode_prefix(prompt) for _, prompt, _ in pairs])
    answers = answerer.padded([tokens.encode_suffix(answer) for _, _, answer in pairs])
    learner = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(STEPS):
        for group in learner.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50) * (1 - step / STEPS)
        logits = model.logits(pixels + 0.15 * torch.randn_like(pixels), prefix, answers)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=0)
        learner.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learner.step()
        if step % 100 == 99:
            print(step + 1, f"{loss.item():.4f}", flush=True)
    weights.save(model.eval(), here / "paligemma_taught.safetensors", torch.float16, tokenizer=tokens.identity)
    again = Answerer.load(here / "paligemma_taught.safetensors")
    for shown, prompt, answer in pairs:
        [reply] = again.ask([shown[None]], [prompt], 32)
        assert reply.text == answer, (prompt, answer, reply.text)


if __name__ == "__main__":
    main()
