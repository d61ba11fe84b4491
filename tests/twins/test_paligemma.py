"""PaliGemma beside its twin: training on uneven texts, cut after a step, and by two processes; answers token for token."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch

from support.forks import Forks
from tapetum.encoders.config import DecoderConfig
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.data import ImageTexts, TextPair
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import Learning
from tapetum.systems.paligemma.task import PaliGemmaTask, Start
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import TrainConfig, fit
from tapetum.train.process_group import join_process_group
from twins.loop import Settings
from twins.paligemma import Loss, Model, Network, Training, row_of
from twins.test_loop import compare

STEPS, MICRO, PIECES = 4, 3, 300
TEXTS = ("detect cat ; dog", "a noise", "<loc0000><loc1023><loc0512><loc0007> cat ; <loc0001><loc0002><loc0003><loc0004> noise")
TEXTS += (
    "",
    "<seg000><seg127> café 日 12",
    "<loc0009><loc0010><loc0011><loc0012> noise ; <loc0001><loc0002><loc0003><loc0005>",
)
SIGHT = siglip(12, width=6, depth=2, heads=2, mlp_width=10, patch=3)
GEMMA = DecoderConfig(width=10, depth=3, heads=4, key_value_heads=1, head_width=6, mlp_width=14, vocabulary=PIECES + 1152 + 8)
GEMMA_2 = replace(GEMMA, key_value_heads=2, query_scale=0.3, post_norms=True, attention_soft_cap=2.0, logit_soft_cap=3.0)
CASES: dict[str, tuple[dict[str, Any], Learning, Network, Loss]] = {
    "full": (
        {"language": replace(GEMMA, window=4)},
        Learning(smoothing=0.2, length=23),
        Network(2, 2, 4, 1, 6**-0.5, window=4),
        Loss(smoothing=0.2),
    ),
    "blocks": (
        {"language": GEMMA_2, "prefix_mask": "blocks", "emitted": PIECES + 1152},
        Learning(mean="roots", location_std=4.0, smoothing=0.1),
        Network(2, 2, 4, 2, 0.3, 2.0, 3.0, mask="blocks", emitted=PIECES + 1152),
        Loss(0.5, by_text=False, deviation=4.0, smoothing=0.1, first_location=PIECES),
    ),
    "images": (
        {"language": GEMMA_2, "prefix_mask": "images", "soft_cap": "big_vision"},
        Learning(length=9),
        Network(2, 2, 4, 2, 0.3, 2.0, 3.0, cap_later=True, mask="images"),
        Loss(),
    ),
    "causal": (
        {"language": replace(GEMMA_2, window=5), "prefix_mask": "causal"},
        Learning(mean="tokens"),
        Network(2, 2, 4, 2, 0.3, 2.0, 3.0, window=5, mask="causal"),
        Loss(0.0, by_text=False),
    ),
}
RUN = TrainConfig(
    steps=STEPS, batch_size=2 * MICRO, optimizer="sgd", lr=0.02, weight_decay=0.3, clip_norm=5.0, warmup_steps=2, ema_decay=0.4
)
RUN = replace(RUN, checkpoint_every=1, keep_last=STEPS, tensorboard=False, threads=1, seed=3)


class Filled(Start):
    """Random weights in 64 bits, of which none is a neutral 0 or 1."""

    def __call__(self, model: PaliGemma) -> None:
        draw = torch.Generator().manual_seed(5)
        for tensor in model.double().state_dict().values():
            tensor.copy_(0.4 * torch.randn(tensor.shape, generator=draw, dtype=torch.float64))
        model.language.token_embedding.weight.data[[1, *range(PIECES, PIECES + 13)]] *= 5  # which are then often the likeliest


class Uneven:
    """Two images a sample, with one to three texts."""

    def draw(self, seed: int, number: int) -> ImageTexts:
        pixels = np.random.default_rng((seed, number)).uniform(-1, 1, (2, 3, 12, 12)).astype(np.float32)
        names = [TEXTS[(number + 2 * k) % len(TEXTS)] for k in range(1 + number * 7 % 3)]
        more: dict[str, Any] = {"unlearned": ("noise",), "long": bool(number % 2)}
        pairs = [TextPair(prefix=TEXTS[(number + k) % 3], suffix=name, **more) for k, name in enumerate(names)]
        return ImageTexts(pixels=pixels, pairs=tuple(pairs))

    def __len__(self) -> int:
        return 100


def task(case: str, folder: Path) -> PaliGemmaTask:
    tokens = Tokens.load(folder / "tokenizer.model")
    changes, learning, *_ = CASES[case]
    config = PaliGemmaConfig(vision_encoder=SIGHT, token_merge=2, newline=tokens.newline[0], **changes)
    return PaliGemmaTask(config, tokens, Uneven(), 7, learning, start=Filled())


def twin(case: str, task: PaliGemmaTask, folder: Path) -> Training:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    start = {name: tensor.numpy() for name, tensor in task.model().state_dict().items()}
    decayed = [n for n, x in start.items() if not n.startswith("language") and n.endswith("weight") and x.ndim > 1]
    settings = Settings(STEPS, "sgd", lr=0.02, warmup=2, clip=5.0, averages={"ema": ("rising", 0.4)})
    settings.own_decay = {name: 0.3 if name in decayed else 0.0 for name in start}
    run = Training(start, settings, *CASES[case][2:])
    for step in range(STEPS):
        batches = []
        for first in range(2 * MICRO * step, 2 * MICRO * (step + 1), MICRO):
            items = [Uneven().draw(7, number) for number in range(first, first + MICRO)]
            texts = [(k, pair.prefix, pair.suffix) for k, item in enumerate(items) for pair in item.pairs]
            rows = [row_of(pieces, *each, CASES[case][1].length, "noise") for each in texts]
            batches.append(([torch.from_numpy(item.pixels) for item in items], rows))
        run.step(batches)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokens")
    Tokens.train([*TEXTS, "a noise ; cat ; dog"] * 30, PIECES, place / "tokenizer.model")
    return place


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_its_twins_and_so_are_the_answers(case: str, folder: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    expected = twin(case, task(case, folder), folder)
    made = fit(task(case, folder), replace(RUN, accumulation=2), tmp_path / "whole")
    cuts = [fit(task(case, folder), replace(RUN, accumulation=2, max_minutes=m), tmp_path / "cut").state for m in (0, None)]
    torch.set_num_threads(before)
    assert cuts == ["stopped", "finished"]
    for out in ("whole", "cut"):
        compare(tmp_path / out, expected)
        lines = map(json.loads, (tmp_path / out / "log.jsonl").read_text().splitlines())
        values = [line["metrics"]["tokens"] for line in lines]
        np.testing.assert_allclose(values, np.reshape(expected.right, (STEPS, 2)).mean(1), rtol=1e-5)
        assert case not in ("full", "blocks") or max(values) > 0
    answers(made.model.eval(), Model({n: torch.from_numpy(x) for n, x in expected.p.items()}, CASES[case][2]))


@torch.no_grad()
def answers(model: Any, twin: Model) -> None:
    pixels = torch.from_numpy(np.stack([Uneven().draw(1, k).pixels for k in range(3)]))
    prefix = torch.tensor([[2, 9, 17, 30, 5], [2, 11, 5, 0, 0], [2, 40, 41, 5, 0]])
    plain = [twin.write(pixels[k], [i for i in prefix[k].tolist() if i], 7) for k in range(3)]
    limits: dict[str, Any] = {"forbidden": plain[0][0][:2]}
    for settings in ({}, limits, {"forced": [[8, 9], [], [40]]}):
        made = model.generate(pixels, prefix, 7, **settings)
        for k, text in enumerate(made):
            more = {"forbidden": settings.get("forbidden", ()), "forced": settings["forced"][k] if "forced" in settings else ()}
            ids, odds = twin.write(pixels[k], [i for i in prefix[k].tolist() if i], 7, **more)
            assert [*text.ids, *[1] * text.ended] == ids
            np.testing.assert_allclose(text.log_probabilities, odds, atol=2e-5)
    longest = torch.tensor([[[8, 50, 33, 1], [21, 1, 0, 0]]] * 3)
    scored = model.score(pixels, prefix, longest)
    beams = model.generate(pixels, prefix, 5, SamplingConfig(beams=3))
    for k in range(3):
        own, images = [i for i in prefix[k].tolist() if i], twin.see(pixels[k])
        for j, answer in enumerate(([8, 50, 33, 1], [21, 1])):
            values, _ = twin.losses(images, (0, own, answer, []), Loss())
            np.testing.assert_allclose(scored[k, j, : len(answer)], -values, atol=2e-5)
            assert not scored[k, j, len(answer) :].any()
        ids = [*beams[k].ids, *[1] * beams[k].ended]
        np.testing.assert_allclose(beams[k].log_probabilities, twin.write(pixels[k], own, len(ids), ids)[1], atol=2e-5)


@pytest.mark.slow
def test_two_processes_are_the_twin_too(folder: Path, tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path / "out", folder, errors=errors) == [0, 0], errors.read_text()
    compare(tmp_path / "out", twin("blocks", task("blocks", folder), folder))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_process_group("cpu"):
        fit(task("blocks", Path(sys.argv[2])), RUN, Path(sys.argv[1]))
