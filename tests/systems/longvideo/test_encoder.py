"""The forms of memory: what must be equal is, what must not be known is not."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems import longvideo
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.memory import StreamState

SMALL = {"width": 24, "depth": 3, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8), "frames": 32}
SMALL |= {"segment_frames": 8, "memories": 5, "stem": "patch", "stem_blocks": 0}
FORMS = ("joint", "streaming", "augmented", "consolidated", "compressed")


def small(**changes: Any) -> VideoEncoder:
    encoder = longvideo.build("mcvit-nano", **{**SMALL, **changes}).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():  # far from where weights begin, so that nothing is equal by smallness
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return encoder


def with_form(encoder: VideoEncoder, **changes: Any) -> VideoEncoder:
    """The same weights in another form."""
    other = longvideo.build("mcvit-nano", **{**SMALL, **changes}).double()
    other.load_state_dict(encoder.state_dict())
    return other


def clip(frames: int, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, frames, 16, 16, 3, dtype=torch.float64, generator=generator) * 2 - 1


def streamed(encoder: VideoEncoder, video: Tensor, frames: int | None = None) -> tuple[StreamState, list[Any]]:
    state, found = encoder.start(len(video), frames), []
    for first in range(0, video.shape[1], encoder.config.segment_frames):
        state, features = encoder.step(state, video[:, first : first + encoder.config.segment_frames])
        found.append(features)
    return state, found


def equal(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 7, 8, 29])
@pytest.mark.parametrize("form", FORMS[1:])
def test_a_stream_sees_what_one_call_sees(form: str, frames: int) -> None:
    for changes in ({}, {"memory_source": "output"}, {"memory_norm": "write"}, {"memory_cap": 7}, {"cache_projected": True}):
        encoder = small(memory=form, **changes)
        video = clip(frames)
        whole = encoder(video)
        _, parts = streamed(encoder, video, frames)
        equal(torch.cat([part.tokens for part in parts], 1)[:, :, : whole.tokens.shape[2]], whole.tokens)
        assert torch.equal(torch.cat([part.valid for part in parts], 1)[:, :, : whole.valid.shape[2]], whole.valid)
        equal(parts[-1].pooled, whole.pooled)
        assert all(part.tokens.shape == (2, 1, 16, 24) for part in parts)
        equal(encoder(video).tokens, whole.tokens)  # a repeated call agrees


@torch.no_grad()
def test_of_one_segment_all_forms_are_the_same() -> None:
    encoder, video = small(memory="joint"), clip(8)
    for form in ("streaming", "augmented", "consolidated"):
        equal(with_form(encoder, memory=form)(video).tokens, encoder(video).tokens)


@torch.no_grad()
@pytest.mark.parametrize("how", ["random", "coreset", "kmeans"])
def test_all_tokens_kept_is_the_augmented_form_and_none_the_streaming_one(how: str) -> None:
    encoder, video = small(memory="consolidated", consolidation=how, memories=16), clip(29)
    equal(encoder(video).tokens, with_form(encoder, memory="augmented")(video).tokens)
    nothing = with_form(encoder, memory="consolidated", consolidation=how, memories=0)
    equal(nothing(video).tokens, with_form(encoder, memory="streaming")(video).tokens)
    assert (encoder(video).tokens[:, 1] - nothing(video).tokens[:, 1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS[1:])
def test_the_past_does_not_know_the_future_and_the_future_knows_the_past(form: str) -> None:
    encoder, video = small(memory=form), clip(32)
    changed = video.clone()
    changed[:, 8:16] = clip(8, seed=5)
    before, after = encoder(video).tokens, encoder(changed).tokens
    assert torch.equal(before[:, 0], after[:, 0])
    knows = (before[:, 2:] - after[:, 2:]).abs().amax((0, 2, 3))
    assert (knows > 1e-6).all() if form != "streaming" else (knows == 0).all()


@torch.no_grad()
def test_kept_keys_and_values_are_those_computed_anew() -> None:
    for changes in ({}, {"memory_norm": "write"}, {"memory_cap": 7}):
        encoder, video = small(**changes), clip(32)
        equal(with_form(encoder, cache_projected=True, **changes)(video).tokens, encoder(video).tokens)


def gradient_at_frames(encoder: VideoEncoder, video: Tensor) -> Tensor:
    video = video.clone().requires_grad_()
    encoder(video).tokens[:, -1].sin().sum().backward()
    return video.grad.abs().amax((0, 2, 3, 4))


@pytest.mark.parametrize("form", ["augmented", "consolidated"])
def test_gradients_reach_earlier_segments_only_where_they_may(form: str) -> None:
    video = clip(24)
    stopped = gradient_at_frames(small(memory=form), video)
    assert (stopped[:16] == 0).all()
    assert (stopped[16:] > 0).all()
    for how in ("random", "coreset", "kmeans"):
        through = gradient_at_frames(small(memory=form, memory_grad="through", consolidation=how), video)
        assert (through[16:] > 0).all()
        assert (through[:16] > 0).any()


@pytest.mark.parametrize("grad", ["stop", "through"])
def test_segments_computed_again_give_the_same_gradients(grad: str) -> None:
    plain = small(memory_grad=grad, mask_ratio=0.25).train()
    again = with_form(plain, memory_grad=grad, mask_ratio=0.25, checkpoint_segments=True).train()
    video = clip(29)
    for encoder in (plain, again):
        encoder(video).pooled.sin().sum().backward()
    for name, parameter in plain.named_parameters():
        other = dict(again.named_parameters())[name].grad
        if parameter.grad is None:
            assert other is None
        else:
            equal(other, parameter.grad)


def test_segments_that_are_computed_again_are(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, runs = small(checkpoint_segments=True).train(), []
    segment = encoder._segment
    monkeypatch.setattr(encoder, "_segment", lambda *given: runs.append(1) or segment(*given))
    pooled = encoder(clip(24)).pooled
    forward = len(runs)
    pooled.sum().backward()
    assert len(runs) == 2 * forward
    encoder.eval()(clip(24)).pooled.sum().backward()
    assert len(runs) == 3 * forward


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_shorter_videos_of_a_batch_are_as_alone(form: str) -> None:
    encoder, video = small(memory=form), clip(29)
    features = encoder(video, torch.tensor([29, 11]))
    alone = encoder(video[1:, :11], samples=(1,))
    mine = features.tokens[1][features.valid[1]]
    equal(mine, alone.tokens[0][alone.valid[0]])
    equal(features.pooled[1:], alone.pooled)
    equal(features.pooled[:1], encoder(video[:1]).pooled)
    assert int(features.valid[1].sum()) == 6 * 4
    assert (features.tokens[1][~features.valid[1]] == 0).all()
    for pooling in ("attention", "late"):
        other = small(memory=form, pooling=pooling)
        equal(other(video, torch.tensor([29, 11])).pooled[1:], other(video[1:, :11], samples=(1,)).pooled)


@torch.no_grad()
@pytest.mark.parametrize("evict", ["fifo", "uniform"])
def test_a_cap_holds_memories_and_bytes(evict: str) -> None:
    encoder = small(memory_cap=12, evict=evict, cache_projected=True)
    state, sizes = encoder.start(2), []
    for segment in range(9):
        state, _ = encoder.step(state, clip(8, seed=segment))
        sizes.append((state.memories, state.bytes))
    assert [memories for memories, _ in sizes] == [5, 10, *[12] * 7]
    assert len({held for _, held in sizes[2:]}) == 1
    if evict == "fifo":
        assert set(state.origins) == {6, 7, 8}
    else:
        assert set(state.origins) == set(range(9))


@torch.no_grad()
def test_positions_of_longer_videos_are_stretched_and_of_endless_ones_stay() -> None:
    encoder = small(memory="streaming")  # a table of 16 moments
    longer = with_form(encoder, memory="streaming")
    table = encoder.tubelets.positions
    wanted = torch.nn.functional.interpolate(table.flatten(1).T[None], size=24, mode="linear")[0].T.view(24, 2, 2, 24)
    longer.tubelets.positions = torch.nn.Parameter(wanted)
    video = clip(48)
    equal(encoder(video).tokens, longer(video).tokens)
    equal(encoder(video[:, :20]).tokens[:, 0], streamed(encoder, video)[1][0].tokens[:, 0])  # the table's first slots
    late = streamed(encoder, torch.cat([clip(32), clip(8, seed=3)], 1))[1][-1]
    frozen = with_form(encoder, memory="streaming")
    frozen.tubelets.positions = torch.nn.Parameter(table[-1:].expand(16, -1, -1, -1).clone())
    equal(late.tokens, frozen(clip(8, seed=3)).tokens[:, :1])
    with pytest.warns(UserWarning, match="more than twice"):
        encoder(clip(66))


@torch.no_grad()
def test_dropped_tokens_are_as_many_in_each_sample_and_other_in_each() -> None:
    encoder = small(mask_ratio=0.75, memory="streaming").train()
    features = encoder(clip(16))
    assert features.tokens.shape == (2, 2, 4, 24)
    plain = with_form(encoder, memory="streaming")
    equal(with_form(encoder, mask_ratio=0.75, memory="streaming")(clip(16)).tokens, plain(clip(16)).tokens)  # not in evaluation
    same = torch.cat([clip(8, 1), clip(8, 1)])
    first = encoder(same)
    assert not torch.equal(first.tokens[0], first.tokens[1])
    equal(encoder(same, samples=(0, 0)).tokens[1], first.tokens[0])
    assert not torch.equal(encoder(same, samples=(9, 9)).tokens[0], first.tokens[0])
    whole = with_form(encoder, memory="streaming", mask_ratio=1e-9).train()
    equal(whole(same).tokens, plain(same).tokens)
    short = encoder(clip(16), torch.tensor([16, 3]))
    assert int(short.valid[1, 0].sum()) == 4  # of the 8 tokens that are there, before any that is not


def test_every_weight_learns_in_every_form_and_kind_of_attention() -> None:
    settings = [{"memory": form} for form in FORMS]
    settings += [{"memory": "streaming", "attention": kind} for kind in ("factorised", "frame")]
    settings += [{"memory": "joint", "attention": kind, "mask_ratio": 0.5} for kind in ("factorised", "frame")]
    settings += [{"pooling": kind} for kind in ("attention", "late")]
    settings += [{"memory": "streaming", "kernels": (((4, 8, 8), (4, 8, 8)), ((8, 4, 4), (8, 8, 8)))}]
    for changes in settings:
        encoder = small(**changes).train()
        (encoder(clip(24)).pooled.sin().sum() + encoder.encode_images(clip(1)[:, 0]).pooled.sin().sum()).backward()
        dead = {name for name, parameter in encoder.named_parameters() if parameter.grad is None or not parameter.grad.any()}
        allowed = {"tubelets.video.weight", "tubelets.video.bias"} if "kernels" in changes else set()
        if changes.get("memory") == "compressed":
            allowed = {f"memory_bank.compression.{part}.1.weight" for part in ("keys", "values")}  # odd layers do not remember
        assert dead == allowed, (changes, dead)


def test_what_cannot_be_seen_is_said_in_a_line() -> None:
    encoder = small()
    for video, words in (
        (clip(8)[..., :2], "give floats in -1..1"),
        (clip(8).round().long(), "give floats in -1..1"),
        (clip(8)[:, :, :8], "give floats in -1..1"),
        (torch.full_like(clip(8), torch.nan), "not finite"),
    ):
        with pytest.raises(BadInput, match=words):
            encoder(video)
    joint = small(memory="joint")
    with pytest.raises(BadInput, match="is joint, which has one segment"):
        joint.step(joint.start(2), clip(8))
    with pytest.raises(BadInput, match="1 to 8 frames"):
        encoder.step(encoder.start(2), clip(9))
    with pytest.raises(BadInput, match="12 frames"):
        streamed(encoder, clip(24), frames=12)
    for lengths in ([0, 3], [3, 99], [3]):
        with pytest.raises(BadInput, match="lengths are"):
            encoder(clip(8), torch.tensor(lengths))
    for changes, words in (
        ({"memory": "infinite"}, "it must be joint"),
        ({"memmory": "joint"}, "did you mean memory"),
        ({"tubelet": (3, 8, 8)}, "do not divide"),
        ({"mask_ratio": 1.0}, "at least 0 and below 1"),
        ({"attention": "frame"}, "wants joint attention"),
    ):
        with pytest.raises(BadInput, match=words):
            small(**changes)
    with pytest.raises(BadInput, match="did you mean mcvit-b"):
        longvideo.build("mcvit_b")


def test_named_ones_have_the_papers_sizes() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in VideoEncoder(replace(config)).parameters()) / 1e6
            for name, config in longvideo.NAMED.items()
        }
    assert counts["mcvit-b"] == pytest.approx(99, abs=1.5)  # "99M" with a label embedding of Diving48
    assert counts["longvivit-l"] > 300
    assert counts["mcvit-nano"] < 5  # 4.8, and a text tower of 0.8: 12 MB in float16
    assert counts["mcvit-l"] == pytest.approx(320, abs=4)
