"""The equations of MC-ViT and LongViViT written out token by token, with the weights of a small encoder."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from tapetum.systems import longvideo
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.memory import draw_order

SMALL = {"width": 12, "depth": 2, "heads": 2, "mlp_width": 16, "size": (16, 16), "tubelet": (2, 8, 8), "frames": 16}
SMALL |= {"segment_frames": 4, "memories": 3, "stem": "patch", "stem_blocks": 0, "kmeans_iterations": 5, "activation": "gelu"}
Vector = np.ndarray


def small(**changes: Any) -> VideoEncoder:
    encoder = longvideo.build("mcvit-nano", **{**SMALL, **changes}).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in encoder.parameters():  # norms, biases and gates too are far from where they begin
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return encoder


def clip(frames: int) -> torch.Tensor:
    return torch.rand(1, frames, 16, 16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().numpy()


def affine(layer: Any, x: Vector) -> Vector:
    return array(layer.weight) @ x + array(layer.bias)


def layer_norm(layer: Any, x: Vector) -> Vector:
    centred = x - x.mean()
    return centred / math.sqrt((centred**2).mean() + layer.eps) * array(layer.weight) + array(layer.bias)


def mlp(layer: Any, x: Vector) -> Vector:
    hidden = affine(layer.hidden, x)
    return affine(layer.out, np.array([0.5 * h * (1 + math.erf(h / math.sqrt(2))) for h in hidden]))


def attention(layer: Any, query_token: Vector, looked_at: list[Vector]) -> Vector:
    """What one normalised token finds among others: for each head one softmax over all of them."""
    q, keys = affine(layer.query, query_token), [affine(layer.key, x) for x in looked_at]
    values, found = [affine(layer.value, x) for x in looked_at], []
    for part in np.split(np.arange(len(q)), layer.heads):
        odds = np.array([math.exp(q[part] @ key[part] / math.sqrt(len(part))) for key in keys])
        found.append(sum(share * value[part] for share, value in zip(odds / odds.sum(), values, strict=True)))
    return affine(layer.out, np.concatenate(found))


def k_means(tokens: list[Vector], start: list[int], rounds: int) -> list[Vector]:
    """Lloyd's rounds in plain distances from some of the tokens; a centre without tokens stays."""
    centres = [tokens[k] for k in start]
    for _ in range(rounds):
        nearest = [min(range(len(centres)), key=lambda k: ((x - centres[k]) ** 2).sum()) for x in tokens]
        for k in range(len(centres)):
            members = [x for x, own in zip(tokens, nearest, strict=True) if own == k]
            centres[k] = sum(members) / len(members) if members else centres[k]
    return centres


def tubelets_of(encoder: VideoEncoder, video: torch.Tensor, segment: int) -> list[Vector]:
    """Each box of 2 x 8 x 8 pixels by a linear layer, with the position of its slot and place."""
    pixels, layer, table = array(video[0]), encoder.tubelets.video, array(encoder.tubelets.positions)
    weight, made = array(layer.weight), []
    for slot in range(2 * segment, 2 * segment + 2):
        for row in range(2):
            for column in range(2):
                box = pixels[2 * slot : 2 * slot + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                token = np.array([(filter_ * box.transpose(3, 0, 1, 2)).sum() for filter_ in weight])
                made.append(token + array(layer.bias) + table[slot, row, column])
    return made


def mc_vit(encoder: VideoEncoder, video: torch.Tensor, norm: str, source: str) -> np.ndarray:
    """Equation 4: y = attention(q = LN(z), kv = [LN(z); LN(m)]) + z, then MLP(LN(y)) + y; m grows by k centres a segment."""
    memories: list[list[Vector]] = [[] for _ in encoder.blocks]
    out = []
    for segment in range(video.shape[1] // 4):
        z = tubelets_of(encoder, video, segment)
        for number, block in enumerate(encoder.blocks):
            normed = [layer_norm(block.attention_norm, x) for x in z]
            remembered = memories[number]
            if norm == "read":
                remembered = [layer_norm(block.attention_norm, m) for m in remembered]
            after = []
            for x, own in zip(z, normed, strict=True):
                y = attention(block.attention, own, normed + remembered) + x
                after.append(mlp(block.mlp, layer_norm(block.mlp_norm, y)) + y)
            kept = z if source == "input" else after
            if norm == "write":
                kept = [layer_norm(block.attention_norm, x) for x in kept]
            start = draw_order(encoder.config.seed, (0,), number, segment, len(z))[0, :3].tolist()
            memories[number] = memories[number] + k_means(kept, start, 5)
            z = after
        out.append([layer_norm(encoder.norm, x) for x in z])
    return np.array(out)


@pytest.mark.parametrize(("norm", "source"), [("read", "input"), ("write", "output")])
def test_memory_consolidation_is_equation_4(norm: str, source: str) -> None:
    """As the equation has it, and as the paper's pseudo-code has it."""
    encoder, video = small(memory_norm=norm, memory_source=source), clip(12)
    with torch.no_grad():
        found = encoder(video)
    wanted = mc_vit(encoder, video, norm, source)
    np.testing.assert_allclose(found.tokens[0], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.pooled[0], wanted.reshape(-1, 12).mean(0), rtol=1e-9, atol=1e-9)
    other = mc_vit(encoder, video, "write" if norm == "read" else "read", source)
    assert np.abs(wanted - other).max() > 1e-3  # where the norm stands makes a difference here


def test_factorised_attention_is_space_then_time_through_tanh_of_the_gate() -> None:
    """h + space(LN(h)), h + tanh(gate) time(LN(h)), h + MLP(LN(h)): within a moment, within a place, for each token."""
    encoder, video = small(memory="streaming", attention="factorised"), clip(4)
    with torch.no_grad():
        for gate, block in zip((1.3, -0.6), encoder.blocks, strict=True):
            block.gate.fill_(gate)
        found = encoder(video).tokens[0, 0]
    z = tubelets_of(encoder, video, 0)  # two moments of four places
    for block in encoder.blocks:
        space = block.space
        normed = [layer_norm(space.attention_norm, x) for x in z]
        z = [x + attention(space.attention, normed[n], normed[n // 4 * 4 : n // 4 * 4 + 4]) for n, x in enumerate(z)]
        normed, gate = [layer_norm(block.time_norm, x) for x in z], float(block.gate.detach())
        z = [x + math.tanh(gate) * attention(block.time, normed[n], normed[n % 4 :: 4]) for n, x in enumerate(z)]
        z = [x + mlp(space.mlp, layer_norm(space.mlp_norm, x)) for x in z]
    np.testing.assert_allclose(found, [layer_norm(encoder.norm, x) for x in z], rtol=1e-9, atol=1e-9)
