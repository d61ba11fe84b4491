"""Bytes that a step exchanges and keeps, counted in 2 and 4 processes, equal what `tapetum.account.cluster` computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support.pretraining_task import BATCH, MICRO_BATCH, dino
from tapetum.account.cluster import Layout, count_memory, count_traffic, decoder_block_bytes, encoder_block_bytes
from tapetum.encoders.architectures import architecture
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.decoder import DecoderBlock
from tapetum.encoders.factory import make
from tapetum.layers.patches import rotary_angles
from tapetum.systems.pretraining.run_plan import step_on_meta
from tapetum.train.measure_step import record_units


def counted(jobs: Any, out: Path, processes: int, **options: Any) -> dict[str, int]:
    codes = jobs.run("traffic", out, processes, **options)
    assert codes == [0] * processes, (out / "stderr").read_text()
    return json.loads((out / "traffic-0.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "parallel", "replicas"), [(2, "ddp", 1), (2, "fsdp", 1), (4, "fsdp", 2)])
def test_a_step_exchanges_what_the_formula_says(
    jobs: Any, tmp_path: Path, processes: int, parallel: str, replicas: int
) -> None:
    half = replicas > 1  # as every option, it is tried once
    found = counted(jobs, tmp_path, processes, parallel=parallel, replicas=replicas, reduce_bf16=half, offload=half)
    shards = processes // replicas if parallel == "fsdp" else 1
    layout = Layout(
        shards=shards,
        replicas=processes // shards,
        micro_batches=BATCH // MICRO_BATCH // processes,
        gradient_bytes=2 if half else 4,
    )
    task = dino()
    loss, parts = step_on_meta(task.run, MICRO_BATCH)
    networks = list(parts.values())
    units = record_units(networks, [part for network in networks for part in task.shards(network)], loss)
    traffic = count_traffic(units, layout)
    expected = {"gathered": traffic.gathered, "scattered": traffic.scattered, "replicated": traffic.replicated}
    assert {name: found.get(name, 0) for name in expected} == expected
    assert sum(expected.values()) > 0
    if parallel == "fsdp":
        memory = count_memory(units, layout, 0)
        assert (found["weights"], found["moments"]) == (memory.weights, memory.moments)


def count_saved(loss: Callable[[], Tensor]) -> int:
    """Count the bytes that a forward pass keeps for its backward pass under bfloat16 autocast, weights not counted."""
    kept: dict[int, torch.UntypedStorage] = {}  # they live until all are counted, so that no other has their address

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        result = loss()
    del result
    return sum(storage.nbytes() for storage in kept.values())


def halved(block: nn.Module) -> nn.Module:
    """Make the weights of layers bfloat16, as they are gathered."""
    for layer in block.modules():
        if isinstance(layer, nn.Linear):
            layer.to(torch.bfloat16)
    return block.train()


@pytest.mark.parametrize(("name", "width", "heads"), [("vit-tiny-16", 192, 3), ("vit-small-16", 384, 6)])
def test_a_block_of_a_vit_keeps_what_the_formula_says(name: str, width: int, heads: int) -> None:
    encoder: Any = make(architecture(name))
    block, x = halved(encoder.blocks[0]), torch.randn(2, 10, width, requires_grad=True)
    assert count_saved(lambda: block(x).sum()) == 20 * encoder_block_bytes(width, 4 * width, heads)


def test_a_block_of_gemma_keeps_what_the_formula_says() -> None:
    config = DecoderConfig(width=64, depth=1, heads=8, key_value_heads=2, head_width=16, mlp_width=512, vocabulary=100)
    block, x = halved(DecoderBlock(config)), torch.randn(2, 10, 64, requires_grad=True)
    angles, mask = rotary_angles(torch.arange(10)[None], 16), torch.ones(2, 1, 10, 10, dtype=torch.bool)
    shared = 2 * 10 * 16 * 4 + 2 * 10 * 10 * 2 + 2 * 64 * 4  # angles, mask, and 1 + weight of the two norms: not of tokens
    kept = count_saved(lambda: block(x, angles, mask, None).sum())
    assert kept - shared == 20 * decoder_block_bytes(64, 512, 8, 2, 16)
