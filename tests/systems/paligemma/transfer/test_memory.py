"""The memory that a transfer says a step takes, before it begins, beside that of a real step."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from support.paligemma import TINY
from tapetum.account.plan import Memory, measure_step, process_memory
from tapetum.systems.paligemma.losses import suffix_loss
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import Learning, PaliGemmaTransfer
from tapetum.systems.paligemma.transfer.run import low_rank, predicted_memory
from tapetum.train.optim import freeze_by_rules

RUN = PaliGemmaTransfer(micro_batch=3, learning=Learning(length=32))


def real(run: PaliGemmaTransfer) -> tuple[Memory, int]:
    """Of a step with texts of the full length, and how many numbers learn."""
    model = PaliGemma(TINY)
    if run.lora_rank:
        low_rank(model, run)
    freeze_by_rules(model, run.rules())
    ids = torch.full((run.micro_batch, 16), 7)
    pixels = torch.zeros(run.micro_batch, 1, 3, 28, 28)
    step = measure_step(lambda: suffix_loss(model.logits(pixels, ids, ids), ids), {"model": model}, run.micro_batch)
    memory = process_memory(step, run.micro_batch)
    return memory, sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "run", [RUN, replace(RUN, freeze="vision-encoder"), replace(RUN, lora_rank=2)], ids=["all", "frozen vision encoder", "lora"]
)
def test_a_prediction_is_near_a_real_step(run: PaliGemmaTransfer) -> None:
    """Gradients and what the optimiser keeps to the byte; what the forward keeps nearly, since texts are cut otherwise."""
    task = SimpleNamespace(config=TINY, samples=None)
    found = predicted_memory(task, run, TINY)  # type: ignore[arg-type]
    measured, learns = real(run)
    assert (found.gradients, found.optimizer) == (4 * learns, 8 * learns)
    assert found.weights == measured.weights
    assert found.activations == pytest.approx(measured.activations, rel=0.25)


def test_what_saves_memory() -> None:
    whole, vision_encoder, lora = (
        real(run)[0].total for run in (RUN, replace(RUN, freeze="vision-encoder"), replace(RUN, lora_rank=2))
    )
    assert lora < vision_encoder < whole
