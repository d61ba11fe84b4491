"""What long-video training takes from the synthetic world by its registered names: ordered events, and films."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from tapetum.bench.longvideo_tasks import PROTOCOLS, score_options
from tapetum.core.errors import BadInput
from tapetum.data.entries import write_lines
from tapetum.encoders import byte_text
from tapetum.systems import longvideo
from tapetum.systems.longvideo.data import ScoredClips, open_clips
from tapetum.systems.longvideo.recipes import VideoTextRun, recipe
from tapetum.systems.longvideo.run import train_longvideo
from tapetum.systems.longvideo.streaming import (
    FrameSelection,
    Passage,
    VideoEmbedder,
    VideoOptionScorer,
    embed_answers,
    embed_for_answers,
    similarity_scores,
)
from tapetum.systems.longvideo.task import scale_pixels
from tapetum.systems.longvideo.video_text import VideoText, build_video_text
from tapetum.train import StepContext
from tapetum.train.launch_config import Launch
from tapetum.video import open_video, write_video
from tapetum_world.training.films import FilmClip, FilmClips, moments_of, read_stories, write_features
from tapetum_world.training.longvideo_sources import (
    FilmTask,
    OrderedEventClips,
    add_time_codes,
    moment_text_loss,
    near_moments,
    option_loss,
)
from tapetum_world.words import CaptionedEvent, join_films

RUN = recipe("short", "ordered-events", size=64, frames=8, event_frames=2, checks=3)


def test_ordered_events_are_found_by_name_and_are_functions_of_their_number() -> None:
    clips = open_clips(RUN)
    assert isinstance(clips, OrderedEventClips)
    assert isinstance(clips, ScoredClips)
    assert (clips.count, clips.validation_count) == (None, 3)
    one, again, other = (clips.training_clip(k, np.random.default_rng(0)) for k in (5, 5, 6))
    assert one.frames.shape == (8, 64, 64, 3)
    np.testing.assert_array_equal(one.frames, again.frames)
    assert (one.text, one.image_text) == (again.text, again.image_text)
    assert not np.array_equal(one.frames, other.frames)
    assert any(np.array_equal(one.image, frame) for frame in one.frames)


def test_scores_find_the_right_caption_among_all_and_among_orders() -> None:
    clips = OrderedEventClips(RUN)
    model = build_video_text("vivit-nano", width=12, depth=1, heads=2, mlp_width=12)
    with torch.no_grad():
        right = model.embed_texts(model.tokens([clips.validation_clip(k).text for k in range(3)]))
        scores = clips.score(model, right)
    assert (scores["recall"], scores["order"]) == (1.0, 1.0)
    assert 0 < scores["order_chance"] <= 0.5


def test_what_ordered_events_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="ordered-events ask no questions"):
        open_clips(replace(RUN, stage="questions"))
    with pytest.raises(BadInput, match="8 frames are no multiple of events of 3"):
        open_clips(replace(RUN, event_frames=3))


SIZES: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "segment_frames": 4, "memories": 3}
SMALL: dict[str, Any] = {"size": 32, "frames": 32, "steps": 2, "batch_size": 2, "micro_batch": 2, "checks": 2, "memories": 3}


def silent(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty stories of four seconds at two frames a second, with an event each."""
    place = tmp_path_factory.mktemp("films")
    (place / "stories").mkdir()
    rng, rows = np.random.default_rng(0), []
    for k in range(40):
        write_video(place / "stories" / f"story-{k}.mp4", rng.integers(0, 255, (8, 32, 32, 3), np.uint8), 2.0)
        event = {"start_s": 1.0, "stop_s": 2.6, "thing": f"the ball {k}", "caption": f"The hand pushes the ball {k}."}
        rows.append({"name": f"story-{k}", "seconds": 4.0, "events": [event]})
    write_lines(place / "stories.jsonl", rows)
    return place


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "towers.safetensors"
    longvideo.save(longvideo.build_video_text("mcvit-films", **SIZES, size=(32, 32), frames=8), path)
    return path


def films_run(place: Path, start: Path, **changes: Any) -> VideoTextRun:
    return recipe("films", str(place), **{**SMALL, "start": str(start), **changes})


def test_a_clip_holds_the_shots_and_the_events_of_a_film(place: Path, start: Path) -> None:
    clips = FilmClips(films_run(place, start))
    for k in range(5):
        clip = clips.training_clip(k, np.random.default_rng(k))
        assert len(clip.frames) % 2 == 0
        assert 16 * 2 <= 2 * len(clip.frames) <= 32 * 2
        things = [event.thing for event in clip.events]
        assert len(things) == len(set(things)) == 4
        assert not {f"the ball {number}" for number in range(9, 40, 10)} & set(things)  # every tenth story is for validation
        assert clip.questions
        for texts in clip.questions:
            assert len(set(texts)) == 3
            assert all(any(text.endswith(f"? {thing}") for thing in things) for text in texts)
        if clip.text.startswith("What is the first"):
            assert clip.text.endswith(things[0])
        assert [answer.caption for answer in clip.answers] == [texts[0] for texts in clip.questions]
        spans = {event.thing: (event.start_s, event.stop_s) for event in clip.events}
        assert all(spans[answer.thing] == (answer.start_s, answer.stop_s) for answer in clip.answers)
    validation = clips.validation_clip(0)
    assert {event.thing for event in validation.events} == {f"the ball {number}" for number in range(9, 40, 10)}
    assert np.array_equal(validation.frames, clips.validation_clip(0).frames)
    with pytest.raises(BadInput, match="give --frames 32 or more"):
        FilmClips(films_run(place, start, frames=31))


def test_answers_and_captions_have_their_moments_as_targets(place: Path, start: Path) -> None:
    task = FilmTask(films_run(place, start))
    clip = task.clips.training_clip(0, np.random.default_rng(0))
    assert isinstance(clip, FilmClip)
    batch = task.collate([(0, clip)])
    texts = [*(answer.caption for answer in clip.answers), *(event.caption for event in clip.events)]
    tokens = batch["moment_text"][0, : len(texts)]
    assert torch.equal(tokens, byte_text.tokens(texts, 160)[:, : tokens.shape[1]])
    [first, *_], inside = clip.answers, batch["inside"][0]
    assert inside[0].nonzero()[:, 0].tolist() == [k for k in range(16) if first.start_s <= k + 0.5 <= first.stop_s]
    assert inside.any(1).sum() == len(texts)


@torch.no_grad()
def test_features_encode_to_the_bit_as_their_frames() -> None:
    for stem in ({}, {"stem": "convolutions", "stem_blocks": 1}):
        model = longvideo.build("mcvit-films", **SIZES, size=(32, 32), frames=12, **stem)
        video = torch.rand(2, 10, 32, 32, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
        features = model.tubelets.compute_features(video)
        by_frames, by_features = model(video), model.encode_features(features)
        for one, other in zip(vars(by_frames).values(), vars(by_features).values(), strict=True):
            assert torch.equal(one, other)
        short = model(video, torch.tensor([10, 6])).pooled
        torch.testing.assert_close(model.encode_features(features, torch.tensor([5, 3])).pooled, short)
        torch.testing.assert_close(short[1], model(video[1:, :6], samples=(1,)).pooled[0], atol=1e-5, rtol=0)
    with pytest.raises(BadInput, match=r"give \(videos, time steps, 2, 2, 16\)"):
        model.encode_features(features[..., :3])


@pytest.mark.slow
def test_cached_features_are_those_of_the_frozen_path_and_teach_the_same(place: Path, start: Path, tmp_path: Path) -> None:
    plain, cached = (films_run(place, start, mask_ratio=0.0, cache=cache) for cache in ("", str(tmp_path / "cache")))
    tasks = FilmTask(plain), FilmTask(cached)
    model = tasks[1].model()
    write_features(cached, model.eval(), silent)
    items = [[task.dataset()[k] for k in range(2)] for task in tasks]
    for (_, by_frames), (_, by_features) in zip(*items, strict=True):
        assert by_frames.text == by_features.text
        with torch.no_grad():
            made = model.video.tubelets.compute_features(scale_pixels(torch.from_numpy(by_frames.frames))[None])[0]
        assert torch.equal(torch.from_numpy(by_features.features), made.half())
    losses = []
    for task, own in zip(tasks, items, strict=True):
        embeddings = task.embed(model, task.collate(own), StepContext())
        losses.append(float(task.joint_loss(model, embeddings, StepContext())[0].detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    with pytest.raises(BadInput, match="features of other weights"):
        write_features(cached, longvideo.build_video_text("mcvit-films", seed=7, **SIZES, size=(32, 32)), silent)
    with pytest.raises(BadInput, match="the tubelets learn with --tune all"):
        write_features(replace(cached, tune="all"), model, silent)


def test_moments_are_the_middles_of_events() -> None:
    events = [
        CaptionedEvent(start_s=s, stop_s=e, thing="", caption=t)
        for s, e, t in ((0.2, 0.4, "a"), (1.0, 2.0, "b"), (8.6, 9.0, "a"))
    ]
    assert moments_of(events, 10, 1.0).nonzero()[1].tolist() == [0, 1, 8]
    clip: Any = type("Clip", (), {"events": tuple(events)})
    near = near_moments(clip, 10, 1.0)
    assert near[1].nonzero()[0].tolist() == [0, 1, 2, 3]  # -1 to 4 s
    assert near[0].tolist() == near[2].tolist()  # the same words
    assert near[0].nonzero()[0].tolist() == [0, 1, 7, 8, 9]  # to 2.4 s, and from 6.6 s


def test_the_loss_of_options_is_that_of_a_choice() -> None:
    torch.manual_seed(0)
    moments, options = (torch.nn.functional.normalize(torch.randn(*n, 6), dim=-1) for n in ((2, 3), (2, 2, 3)))
    moments[1, 2] = 0.0  # the second film is shorter
    valid = torch.tensor([[True, True], [False, True]])
    questions = ((0, 0, 3), (0, 1, 3), (1, 1, 2))
    rows = [[sum(float((4.0 * m @ o).exp()) for m in moments[b, :n]) for o in options[b, q]] for b, q, n in questions]
    expected = -np.mean([np.log(row[0] / sum(row)) for row in rows])
    assert float(option_loss(moments, options, 4.0, valid)) == pytest.approx(expected, rel=1e-5)


def test_both_losses_are_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    moments, options, texts = (torch.randn(2, *n, 64).bfloat16() for n in ((5,), (2, 3), (3,)))
    valid, inside, names = torch.ones(2, 2, dtype=torch.bool), torch.rand(2, 3, 5) > 0.5, torch.arange(6).reshape(2, 3)

    def losses() -> tuple[torch.Tensor, torch.Tensor]:
        return option_loss(moments, options, 40.0, valid), moment_text_loss(moments, texts, inside, 40.0, names)

    moments, options, texts = (rows.float() for rows in (moments, options, texts))
    expected = losses()
    moments, options, texts = (rows.bfloat16() for rows in (moments, options, texts))
    with torch.autocast("cpu", torch.bfloat16):
        for loss, right in zip(losses(), expected, strict=True):
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, right, rtol=1e-5, atol=0)


def test_options_are_scored_passage_by_passage_as_all_at_once(start: Path) -> None:
    model = longvideo.load(start)
    assert isinstance(model, VideoText)
    options = "a cup", "a puck", "a ball"
    moments = torch.nn.functional.normalize(torch.randn(9, 128, generator=torch.Generator().manual_seed(0)), dim=-1).numpy()
    scorer = VideoOptionScorer(model, "what?", options)
    own, so_far = zip(*(scorer.add(Passage(0.0, 1.0, rows[0], rows[0], rows)) for rows in np.split(moments, 3)), strict=True)
    cosines = embed_answers(model, "what?", options) @ moments.T
    scale = float(model.scale().detach())
    expected = np.log(np.exp(scale * cosines).sum(1)) / scale
    np.testing.assert_allclose(so_far[-1], expected, atol=1e-5)
    np.testing.assert_allclose(own[2], similarity_scores(model, embed_answers(model, "what?", options), moments[6:]), atol=1e-5)


def test_time_codes_are_added_to_tables_without_time_alone() -> None:
    table = torch.randn(1, 2, 2, 16, generator=torch.Generator().manual_seed(0)).repeat(56, 1, 1, 1)
    before = table.clone()
    assert add_time_codes(table)
    codes = table - before
    assert float(codes.std()) == pytest.approx(0.2, rel=0.2)
    torch.testing.assert_close(codes[:, 0, 0], codes[:, 1, 1], atol=1e-5, rtol=0)
    distances = torch.cdist(codes[:, 0, 0], codes[:, 0, 0])
    assert float(distances[0, 1:].min()) > 0.1
    assert not add_time_codes(table)


def test_the_loss_of_moments_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    moments, texts = (torch.nn.functional.normalize(torch.randn(2, n, 6), dim=-1) for n in (5, 3))
    moments[1, 4] = 0.0  # the second film is shorter
    inside = torch.zeros(2, 3, 5, dtype=torch.bool)
    for film, text, moment in ((0, 0, 0), (0, 0, 1), (0, 1, 3), (1, 0, 2), (1, 1, 0)):
        inside[film, text, moment] = True
    names = torch.tensor([[1, 2, 0], [1, 3, 0]])  # the first texts of both films are equal; the last there is not
    loss = moment_text_loss(moments, texts, inside, 4.0, names)
    pairs = [(f, m) for f in range(2) for m in range(5) if (f, m) != (1, 4)]
    there = [(0, 0), (0, 1), (1, 0), (1, 1)]

    def right(text: tuple[int, int], moment: tuple[int, int]) -> bool:
        f, m = moment
        return any(names[text] == names[f, k] and inside[f, k, m] for k in range(2))

    def surprise(weights: list[tuple[float, bool]]) -> float:
        return -np.log(sum(w for w, good in weights if good) / sum(w for w, _ in weights))

    def weight(text: tuple[int, int], moment: tuple[int, int]) -> float:
        return float(np.exp(4.0 * float(texts[text] @ moments[moment])))

    by_text = [surprise([(weight(t, m), right(t, m)) for m in pairs]) for t in there]
    by_moment = [surprise([(weight(t, m), right(t, m)) for t in there]) for m in pairs if any(right(t, m) for t in there)]
    assert float(loss) == pytest.approx((np.mean(by_text) + np.mean(by_moment)) / 2, rel=1e-5)


@pytest.mark.slow
def test_a_run_learns_and_its_weights_embed_moments(place: Path, start: Path, tmp_path: Path) -> None:
    run = films_run(place, start, cache=str(tmp_path / "cache"))
    made = train_longvideo(run, Launch(out=tmp_path / "out", threads=1, workers=0, device="cpu"), silent)
    assert made is not None
    path, scores = made
    assert scores.keys() == {"chance", "accuracy", "blind", "moment_recall", "moment_chance"}
    before, model = tapetum.load(start), tapetum.load(path)
    assert isinstance(model, VideoText)
    assert model.config.moments == {"moment_slots": 1, "frame_rate": 2.0}
    weights, own = before.video.state_dict(), model.video.state_dict()
    table = FilmTask(run).model().video.tubelets.positions
    assert not torch.equal(own["tubelets.positions"], table.detach())
    learned = {name for name in own if own[name].shape == weights[name].shape and not torch.equal(own[name], weights[name])}
    assert {name.split(".")[0] for name in learned} == {"blocks", "norm"}
    pieces = list(VideoEmbedder(model).pieces(place / "stories" / "story-3.mp4"))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    vectors = torch.stack([piece.inputs["video"] for piece in pieces])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))

    question, options = "What does the hand push?", ("the red cup", "the puck")
    words = model.embed_texts(model.tokens([f"{question} {option}" for option in options]))
    expected = ((model.scale() * words @ vectors.T).exp().sum(1).log() / model.scale()).tolist()
    story = place / "stories" / "story-3.mp4"
    chosen = tapetum.answer(str(story), question, options=options, model=str(path), frame_rate=2)
    assert chosen.cosines == pytest.approx(expected, abs=1e-4)
    with open_video(story) as video:
        encoded = embed_for_answers(model, video, FrameSelection(frame_rate=2))
    assert encoded.shape == (4, 128)
    assert score_options(model, encoded, question, options, PROTOCOLS["papers"]) == pytest.approx(expected, abs=1e-4)


def test_stories_that_cannot_be_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no stories"):
        read_stories(tmp_path)
    assert len(read_stories(place)) == 40
    assert join_films(read_stories(place), 0, 0, 4)[0].seconds == 16
    (tmp_path / "stories").mkdir()
    (tmp_path / "stories" / "a.mp4").write_bytes(b"")
    row = {"name": "a", "seconds": 4.0, "events": [{"start_s": -1, "stop_s": 2, "thing": "", "caption": ""}]}
    write_lines(tmp_path / "stories.jsonl", [row])
    with pytest.raises(BadInput, match="an event from -1 to 2 in a story of 4"):
        read_stories(tmp_path)
