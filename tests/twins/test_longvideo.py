"""Video encoders beside their twin: a call and streams in every form, towers and a captioner in training, texts by byte."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.forks import Forks
from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems import longvideo
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.data import CaptionedClip
from tapetum.systems.longvideo.memory import StreamState, consolidate
from tapetum.systems.longvideo.recipes import recipe
from tapetum.systems.longvideo.task import VideoTextTask
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.video_text_config import CaptionerConfig, VideoTextConfig
from tapetum.train import TrainConfig, fit
from tapetum.train.process_group import join_process_group
from twins.longvideo import Encoder, Example, Form, Stream, Teller, Training, consolidated
from twins.loop import Settings
from twins.paligemma import Network
from twins.test_loop import compare

SIZES: dict[str, Any] = {"width": 12, "depth": 3, "heads": 2, "mlp_width": 18, "size": (16, 24), "tubelet": (2, 8, 8)}
SIZES |= {"frames": 10, "segment_frames": 4, "memories": 3, "stem": "patch", "stem_blocks": 0, "activation": "gelu", "seed": 5}
MC = Form(2, segment=4, memory="consolidated")
FORMS: dict[str, tuple[dict[str, Any], Form]] = {
    "joint": ({"memory": "joint", "pooling": "late"}, Form(2)),
    "streaming": ({"memory": "streaming", "pooling": "attention"}, Form(2, segment=4)),
    "augmented": ({"memory": "augmented", "memory_grad": "through"}, replace(MC, memory="augmented", through=True)),
    "compressed": ({"memory": "compressed"}, replace(MC, memory="compressed")),
    "k-means": ({"cache_projected": True, "kmeans_iterations": 2}, replace(MC, rounds=2)),
    "pseudo-code": ({"memory_norm": "write", "memory_source": "output"}, replace(MC, norm_first=True, output=True)),
    "coreset": (
        {"consolidation": "coreset", "memory_grad": "through", "memory_norm": "write", "memory_cap": 7},
        replace(MC, consolidation="coreset", through=True, norm_first=True, cap=7),
    ),
    "random": (
        {"consolidation": "random", "memory_cap": 4, "evict": "fifo", "cache_projected": True, "tune": "adapters"},
        replace(MC, consolidation="random", cap=4, oldest_first=True),
    ),
    "one-each": ({"memories": 1, "memory_cap": 3, "memory_grad": "through"}, replace(MC, memories=1, cap=3, through=True)),
    "dropped": ({"mask_ratio": 0.4, "memory_grad": "through"}, replace(MC, dropped=0.4, through=True)),
    "factorised": ({"memory": "streaming", "attention": "factorised"}, Form(2, segment=4)),
    "factorised-dropped": ({"memory": "joint", "attention": "factorised", "mask_ratio": 0.4}, Form(2, dropped=0.4)),
    "frame": ({"memory": "streaming", "attention": "frame", "pooling": "late"}, Form(2, segment=4, frame=True)),
    "frame-dropped": ({"memory": "joint", "attention": "frame", "mask_ratio": 0.4}, Form(2, dropped=0.4, frame=True)),
}


def shaken(model: Any, seed: int = 1) -> Any:
    """The model in 64 bits, with weights far from where they begin."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return model


def clip(frames: int, batch: int = 3) -> Tensor:
    return torch.rand(batch, frames, 16, 24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def drawing(sample: int, layer: int, segment: int, count: int) -> list[int]:
    return np.random.default_rng([5, sample, layer, segment]).permutation(count).tolist()


def watched(twin: Encoder, video: Tensor, sample: int, *more: Any) -> Stream:
    return twin.watch(video, lambda *a: drawing(sample, *a), *more)


def parameters(model: Any) -> dict[str, Tensor]:
    return {name: x.detach().clone().requires_grad_() for name, x in model.named_parameters()}


def near(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.parametrize("frames", [1, 11, 27])
def test_a_call_and_its_gradients_are_the_twins(case: str, frames: int) -> None:
    """Three videos of other lengths, of which the longest is longer than the table of positions."""
    changes, form = FORMS[case]
    model = shaken(longvideo.build("mcvit-nano", **{**SIZES, **changes})).train()
    video, lengths = clip(frames), [frames, -(-frames // 3), max(frames - 1, 1)]
    with pytest.warns(UserWarning, match="more than twice") if frames > 20 else nullcontext():
        features = model(video, torch.tensor(lengths), (4, 0, 9))
    twin = Encoder(parameters(model), form)
    stream = [watched(twin, video[k, :n], (4, 0, 9)[k], frames, frames) for k, n in enumerate(lengths)]
    for k, own in enumerate(stream):
        near(features.tokens[k][features.valid[k]], torch.cat(own.tokens))
        assert features.cells[k][features.valid[k]].tolist() == [c for part in own.cells for c in part]
        assert features.slots[k][features.valid[k]].tolist() == [s for part in own.slots for s in part]
        assert not features.tokens[k][~features.valid[k]].any()
        near(features.pooled[k], twin.pool(own))
    image = model.encode_images(video[:, 0])
    near(image.pooled, torch.stack([twin.image(video[k, 0]) for k in range(3)]))
    (features.pooled.sin().sum() + features.tokens[:, -1].cos().sum() + image.pooled.sum()).backward()
    mine = sum((twin.pool(own).sin().sum() for own in stream), image.pooled.new_zeros(()))
    size = form.segment or frames
    for k, own in enumerate(stream):
        last, rows = -(-lengths[k] // size) == -(-frames // size), features.tokens.shape[2]
        mine = mine + (own.tokens[-1].cos().sum() - len(own.tokens[-1]) * 12 if last else 0) + 12 * rows
        mine = mine + twin.image(video[k, 0]).sum()
    mine.backward()
    for name, parameter in model.named_parameters():
        theirs = twin.p[name].grad
        if parameter.requires_grad and theirs is not None:
            near(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad, theirs)
        else:
            assert parameter.grad is None or not parameter.grad.any()


@torch.no_grad()
@pytest.mark.parametrize("case", [case for case in FORMS if not case.startswith("joint") and "dropped" not in case])
@pytest.mark.parametrize("known", [True, False])
def test_a_stream_keeps_what_the_twin_keeps(case: str, known: bool) -> None:
    """After each of seven segments, the last of three frames; what is computed again from a kept state is the same."""
    changes, form = FORMS[case]
    model = shaken(longvideo.build("mcvit-nano", **{**SIZES, **changes})).eval()
    video, twin = clip(27, 2), Encoder({name: x.detach() for name, x in model.named_parameters()}, form)
    state = model.start(2, 27 if known else None, (3, 8))
    for first in range(0, 27, 4):
        before = state
        state, features = model.step(state, video[:, first : first + 4])
        assert torch.equal(model.step(before, video[:, first : first + 4])[1].pooled, features.pooled)
        for k in range(2):
            stream = watched(twin, video[k, : first + 4], (3, 8)[k], 27 if known else None, 27, True)
            near(features.tokens[k, 0][features.valid[k, 0]], stream.tokens[-1])
            assert features.tokens.shape == (2, 1, 12, 12)
            near(features.pooled[k], twin.pool(stream))
            compare_state(model, state, twin, stream, k)
    with pytest.raises(BadInput, match="which it has passed") if known else nullcontext():
        model.step(state, video[:, :4])


@pytest.mark.parametrize("how", ["random", "coreset", "kmeans"])
@pytest.mark.parametrize("kinds", [1, 2, 4])
def test_equal_tokens_are_consolidated_as_by_the_twin(how: str, kinds: int) -> None:
    """Fewer different tokens than memories: none is chosen twice, and a centre without members stays."""
    rows = torch.randint(0, kinds, (2, 9, 1), generator=torch.Generator().manual_seed(kinds)).double().expand(2, 9, 3)
    order = torch.tensor([drawing(k, 0, 0, 9) for k in range(2)])
    for count in (0, 1, 5, 9, 10):
        memories, stand = consolidate(rows, count, how, order, 3)
        for k in range(2):
            mine, sizes = consolidated(rows[k], count, how, order[k].tolist(), 3) if 0 < count < 9 else (rows[k], [1.0] * 9)
            assert memories[k].tolist() == torch.stack([*mine]).tolist()[:count]
            assert stand[k].tolist() == sizes[:count]


def compare_state(model: Any, state: StreamState, twin: Encoder, stream: Stream, k: int) -> None:
    """Compare what is remembered of a video in each layer."""
    for layer, (rows, stand, origins) in enumerate(stream.memories):
        near(state.layers[layer].rows[k], torch.stack(rows))
        assert state.layers[layer].weights[k].tolist() == stand
        assert list(state.origins) == origins
        if model.config.cache_projected:
            projected = state.layers[layer].projected
            assert projected is not None
            normed = twin.norm(f"blocks.{layer}.attention_norm", torch.stack(rows))
            for name, value in zip(("key", "value"), projected, strict=True):
                near(value[k].transpose(0, 1).flatten(1), twin.linear(f"blocks.{layer}.attention.{name}", normed))
    for layer, (rows, *earlier) in enumerate(stream.compressed):
        near(state.layers[layer].rows[k], rows)
        for value, own in zip(state.layers[layer].projected or (), earlier, strict=True):
            near(value[k, 0], own)


TEXT = TextConfig(
    width=8, depth=2, heads=2, mlp_width=10, vocabulary=258, length=20, causal=False, pooling="mean", activation="gelu"
)
TEXT = replace(TEXT, norm_eps=1e-6)
TOWERS = {**SIZES, "mask_ratio": 0.3, "memory_grad": "through", "memory_norm": "write"}
TRAINED = replace(MC, dropped=0.3, through=True, norm_first=True)
WORDS = ("a cube falls", "é", "a red ball", "a cube falls", "nothing")
RUN = TrainConfig(steps=4, batch_size=6, optimizer="sgd", lr=0.1, clip_norm=None, checkpoint_every=1, keep_last=4, threads=1)
RUN = replace(RUN, tensorboard=False, find_unused_parameters=True, ema_decay=0.3)


class Clips:
    """Clips of one to nine frames, some of whose texts are equal, with up to two wrong answers."""

    count, validation_count = None, 1

    def training_clip(self, k: int, rng: np.random.Generator) -> CaptionedClip:
        pixels = np.random.default_rng(k).integers(0, 256, (1 + k * 5 % 9, 16, 24, 3)).astype(np.uint8)
        wrong = tuple(f"no {i}" for i in range(k % 3))
        return CaptionedClip(pixels, WORDS[k % 5], pixels[0], WORDS[k * 2 % 5], wrong)

    def validation_clip(self, k: int) -> CaptionedClip:
        return self.training_clip(k, np.random.default_rng(0))


class Towers(VideoTextTask):
    def model(self) -> VideoText:
        model = VideoText(VideoTextConfig(video=named("mcvit-nano", **TOWERS), text=TEXT, projection=5))
        shaken(model, 2)
        with torch.no_grad():
            model.log_scale.fill_(5.0)  # above what it may be
        return model.train()


def towers() -> Towers:
    return Towers(recipe("questions", "x", beside="y", size=112, batch_size=6), Clips())  # pyright: ignore[reportArgumentType]


def twin_run() -> Training:
    settings = Settings(4, "sgd", lr=0.1, averages={"ema": ("rising", 0.3)})
    start = {name: x.detach().numpy() for name, x in towers().model().named_parameters()}
    run, task = Training(start, settings, TRAINED, drawing), towers()
    for step in range(4):
        items = [task.dataset()[number] for number in range(6 * step, 6 * step + 6)]
        parts = [items[:3], items[3:]]
        examples = []
        for part in parts:
            longest = max(len(each.frames) for _, each in part)
            for number, each in part:
                video, image = (torch.from_numpy(x.astype(np.float64)) / 127.5 - 1 for x in (each.frames, each.image))
                examples.append(Example(number, video, longest, each.text, image, each.image_text, each.wrong))
        run.step([(examples,)])
    return run


@pytest.mark.slow
def test_towers_are_trained_as_the_twin_is_cut_after_a_step_and_by_two_processes(tmp_path: Path, forks: Forks) -> None:
    errors = tmp_path / "errors"
    assert forks.pair(__file__, tmp_path / "two", errors=errors) == [0, 0], errors.read_text()
    before = torch.get_num_threads()
    settings = replace(RUN, accumulation=2)
    assert [fit(towers(), replace(settings, max_minutes=m), tmp_path / "one").state for m in (0, None)] == [
        "stopped",
        "finished",
    ]
    torch.set_num_threads(before)
    expected = twin_run()
    for out in ("one", "two"):
        compare(tmp_path / out, expected)


BYTES = DecoderConfig(width=10, depth=3, heads=2, key_value_heads=1, head_width=6, mlp_width=14, vocabulary=258)


def test_a_captioner_learns_and_speaks_as_the_twin_does() -> None:
    config = CaptionerConfig(video=named("mcvit-nano", **{**SIZES, "mask_ratio": 0.3, "mask_always": True}), language=BYTES)
    model = shaken(Captioner(replace(config, latents=3, heads=3, every=2, length=24)), 3).train()
    form, network = replace(MC, dropped=0.3), Network(1, 1, 2, 1, 6**-0.5, mask="causal")
    video, texts = clip(11), ["a cube falls", "", "é"]
    lengths, p = [11, 4, 7], {name: x.detach().clone() for name, x in model.named_parameters()}
    ids = [[256, *text.encode(), 257] for text in texts]

    def look(twin: Teller) -> list[Tensor]:
        return [twin.look(watched(twin.encoder, video[k, :n], k, 11, 11), 6) for k, n in enumerate(lengths)]

    for _ in range(3):
        model.zero_grad()
        loss = model.loss(model.encode(video, torch.tensor(lengths)), texts)
        loss.backward()
        for name in p:
            p[name] = p[name].detach().requires_grad_(name.startswith(("resampler", "cross_attention")))
        twin, mine, count = Teller(p, form, network, 3), torch.zeros(()), 0
        for latents, row in zip(look(twin), ids, strict=True):
            odds = twin.odds(latents, row[:-1], 2)
            mine, count = mine - odds[range(len(row) - 1), row[1:]].sum(), count + len(row) - 1
        (mine / count).backward()
        assert float(loss.detach()) == pytest.approx(float(mine.detach()) / count, rel=1e-6)
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad == p[name].requires_grad
            if parameter.requires_grad:
                torch.testing.assert_close(parameter.grad, p[name].grad, rtol=1e-4, atol=1e-7)
                parameter.data -= 0.1 * parameter.grad
                p[name] = p[name].detach() - 0.1 * p[name].grad
    twin = Teller({name: x.detach() for name, x in p.items()}, form, network, 3)
    latents = model.encode(video, torch.tensor(lengths)).detach()
    for k, (own, text) in enumerate(zip(look(twin), model.generate(latents, "ab", max_new_tokens=9), strict=True)):
        ids_so_far = [256, *b"ab"]
        while len(ids_so_far) < 12 and ids_so_far[-1] != 257:
            ids_so_far.append(int(twin.odds(own, ids_so_far, 2)[-1].argmax()))
        assert bytes(i for i in ids_so_far[3:] if i < 256).decode(errors="replace").strip() == text
        scores = model.score_options(latents[k : k + 1], "what?", ["a", "bc"])
        for option, score in zip((b" a", b" bc"), scores, strict=True):
            odds = twin.odds(own, [256, *b"what?", *option][:-1], 2)[-len(option) :]
            assert score == pytest.approx(float(odds[range(len(option)), [*option]].mean()), abs=1e-5)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_process_group("cpu"):
        fit(towers(), RUN, Path(sys.argv[1]))
