"""The localiser: labels and losses beside ActionFormer's, segments by hand, a run that learns, files, features."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.scripts import GOLDEN, script
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.hub.loading import load as load_any
from tapetum.systems.perception_test.footage import SOUND_RATE, VideoContent
from tapetum.systems.perception_test.localiser import features
from tapetum.systems.perception_test.localiser.config import LocaliserConfig, LocaliserRun
from tapetum.systems.perception_test.localiser.model import (
    SHORTEST_S,
    Localiser,
    anchors,
    assign_targets,
    decode_segments,
    distance_iou,
    focal_loss,
    resample,
    soft_nms,
)
from tapetum.systems.perception_test.localiser.predict import LOCALISER_FILE, LocaliserPredictor, save
from tapetum.systems.perception_test.localiser.run import LocaliserExample, LocaliserTask, train_localiser
from tapetum.systems.perception_test.types import AnnotatedVideo, Metadata
from tapetum.train.launch_config import Launch

MADE = script("tests/golden/make_localiser_golden.py")
TINY = LocaliserConfig(length=32, width=16, heads=2, window=5, stem=1, levels=3)
META = Metadata(video_id="v", split="train", frame_rate=10.0, frames=40, size=(32, 32))


@pytest.mark.parametrize("seed", range(MADE.CASES))
def test_labels_and_losses_are_those_of_actionformer(seed: int) -> None:
    with np.load(GOLDEN / "localiser.npz") as golden:
        wanted, far = assign_targets(MADE.points(), *MADE.segments(seed), MADE.CLASSES, MADE.RADIUS)
        np.testing.assert_array_equal(wanted.numpy(), golden[f"wanted{seed}"])
        finding = wanted.sum(1) > 0  # theirs has distances, which nobody looks at, of moments that find nothing
        np.testing.assert_allclose(far[finding].numpy(), golden[f"far{seed}"][finding.numpy()], atol=1e-6)
        one, other, logits, classes = MADE.offsets(seed)
        # exponentials and logarithms are approximated otherwise for other vector instructions: 4e-6 is seen
        np.testing.assert_allclose(distance_iou(one, other).numpy(), golden[f"ends{seed}"], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(focal_loss(logits, classes).numpy(), golden[f"classes{seed}"], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("segment", "finding"),
    [
        ((0.5, 8.5), [4, 33, 34, 35]),  # 4 from the middle of step 4: as far as the first level goes, ends included
        ((1.0, 9.0), [33, 34, 35]),  # and where the second begins: steps of 2
        ((4.5, 7.5), [5, 6]),  # a moment at an end of the segment is not in it
    ],
)
def test_moments_at_the_bounds_are_those_of_actionformer(segment: tuple[float, float], finding: list[int]) -> None:
    wanted, _ = assign_targets(MADE.points(), torch.tensor([segment]), torch.tensor([2]), MADE.CLASSES, MADE.RADIUS)
    assert torch.nonzero(wanted).tolist() == [[moment, 2] for moment in finding]


def test_moments_lie_in_the_middle_of_their_steps() -> None:
    at = anchors(TINY)
    assert at[:2].tolist() == [[0.5, 0, 4, 1], [1.5, 0, 4, 1]]
    assert at[32].tolist() == [1.0, 4, 8, 2]
    assert at[-1].tolist() == [30.0, 8, np.inf, 4]


def test_moments_become_segments_and_overlapping_ones_lose() -> None:
    at = anchors(TINY)
    logits, distances = torch.full((len(at), 2), -20.0), torch.zeros(len(at), 2)
    for moment, label, score, ends in ((10, 0, 2.0, (2.5, 1.5)), (11, 0, 1.0, (3.5, 0.5)), (40, 1, 0.0, (1.0, 1.0))):
        logits[moment, label], distances[moment] = score, torch.tensor(ends)
    found = decode_segments(logits, distances, at, TINY, seconds=64.0)
    chances = torch.tensor([2.0, 1.0, 0.0]).sigmoid().tolist()
    assert [row[0] for row in found] == [0, 1, 0]
    assert found[0][1:] == pytest.approx((chances[0], 16.0, 24.0))  # 10.5 - 2.5 to 10.5 + 1.5 steps of 2 s
    assert found[1][1:] == pytest.approx((chances[2], 30.0, 38.0))  # moment 8 of stride 2, at step 17
    assert found[2][1:] == pytest.approx((chances[1] * np.exp(-1 / TINY.sigma), 16.0, 24.0))
    assert decode_segments(logits, distances, at, replace(TINY, least_score=0.6), 64.0) == [found[0]]


def test_what_is_as_short_as_the_shortest_is_no_segment() -> None:
    at = torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 2, dtype=torch.float64)
    reach = torch.tensor([[0.0, SHORTEST_S], [0.0, 2 * SHORTEST_S]], dtype=torch.float64)
    found = decode_segments(torch.zeros(2, 1), reach, at, TINY, seconds=float(TINY.length))
    assert [row[3] for row in found] == [2 * SHORTEST_S]


def test_soft_nms_lets_go_of_what_falls_below() -> None:
    kept, scores = soft_nms(np.array([[0.0, 2], [0, 2], [5, 6]]), np.array([0.5, 0.4, 0.1]), 0.1, 0.01)
    assert (kept.tolist(), scores.tolist()) == ([0, 2], [0.5, 0.1])


def test_an_example_alone_is_a_row_of_a_batch_and_all_weights_learn() -> None:
    torch.manual_seed(0)
    model = Localiser(TINY, 6, 3)
    x = torch.randn(2, 32, 6)
    model.eval()
    for whole, alone in zip(model(x), model(x[1:]), strict=True):
        torch.testing.assert_close(whole[1:], alone)
    model.standardise(x.flatten(0, 1))
    model.embed.register_forward_pre_hook(lambda _, given: standardised.append(given[0]))
    standardised, (deviation, mean) = [], torch.std_mean(x, (0, 1), correction=0)
    model(x)
    torch.testing.assert_close(standardised[0], (x - mean) / deviation)
    wanted, far = assign_targets(anchors(TINY), torch.tensor([[2.0, 9.0], [1.0, 30.0]]), torch.tensor([0, 2]), 3, 1.5)
    loss, _ = model.train().loss(x, wanted.expand(2, -1, -1), far.expand(2, -1, -1))
    loss.backward()
    lazy = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert not [name for name in lazy if not name.endswith("key.bias")]  # a bias of keys changes nothing in a softmax


def test_the_loss_is_that_of_each_moment_by_a_moving_count() -> None:
    torch.manual_seed(1)
    model = Localiser(replace(TINY, dropout=0.0), 6, 3).eval()
    x = torch.randn(2, 32, 6)
    wanted, far = assign_targets(anchors(TINY), torch.tensor([[2.0, 9.0], [1.0, 30.0]]), torch.tensor([0, 2]), 3, 1.5)
    wanted, far = torch.stack([wanted, torch.zeros_like(wanted)]), torch.stack([far, torch.zeros_like(far)])
    with torch.no_grad():
        logits, distances = model(x)
        parts = {"classes": 0.0, "ends": 0.0, "finding": 0}
        for b, p in np.ndindex(*logits.shape[:2]):
            for logit, right in zip(logits[b, p].tolist(), wanted[b, p].tolist(), strict=True):
                chance = 1 / (1 + np.exp(-logit))  # ActionFormer's sigmoid_focal_loss: alpha 0.25, gamma 2
                parts["classes"] -= (
                    0.25 * (1 - chance) ** 2 * np.log(chance) if right else 0.75 * chance**2 * np.log(1 - chance)
                )
            if wanted[b, p].any():
                (a1, b1), (a2, b2) = ((-float(ends[0]), float(ends[1])) for ends in (distances[b, p], far[b, p]))
                overlap = (min(b1, b2) - max(a1, a2)) / ((b1 - a1) + (b2 - a2) - (min(b1, b2) - max(a1, a2)))
                parts["ends"] += 1 - overlap + (((a1 + b1) - (a2 + b2)) / 2 / (max(b1, b2) - min(a1, a2))) ** 2
                parts["finding"] += 1
        assert parts["finding"] > 2
        count = 100.0  # before anything is learned
        for learning in (False, True, True):
            if learning:
                count = 0.9 * count + 0.1 * parts["finding"]
            loss, said = model.train(learning).loss(x, wanted, far)
            assert float(said["classes"]) == pytest.approx(parts["classes"] / count, rel=1e-4)
            assert float(said["ends"]) == pytest.approx(parts["ends"] / count, rel=1e-4)
            assert int(said["finding"]) == parts["finding"]
            assert float(loss) == pytest.approx((parts["classes"] + parts["ends"]) / count, rel=1e-4)
        model.loss(x, torch.zeros_like(wanted), torch.zeros_like(far))
        assert float(model.normaliser) == pytest.approx(0.9 * count + 0.1)  # where nothing is to be found, as if one were


def examples(count: int) -> list[LocaliserExample]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        start = rng.uniform(0, 0.6, 2)
        spans = np.stack([start, start + rng.uniform(0.15, 0.4, 2)], 1)
        rows = rng.normal(0, 0.2, (40, 4))
        for label, (a, b) in enumerate((spans * 40).astype(int)):
            rows[a:b, label] += 2
        found.append(LocaliserExample(rows.astype(np.float32), spans, np.array([0, 1])))
    return found


def test_a_cut_video_keeps_the_segments_that_are_in_it() -> None:
    run = LocaliserRun(network=TINY, crop=1.0)
    task = LocaliserTask(
        run, [LocaliserExample(np.arange(40, dtype=np.float32)[:, None], np.array([[0.0, 1.0]]), np.array([0]))], [5]
    )
    sample = task[3]
    shown = sample["features"]
    assert shown.shape == (32, 1)
    assert shown[-1] - shown[0] < 39
    assert sample["targets"].sum() > 0
    torch.testing.assert_close(task[3]["features"], shown)


def test_of_a_cut_video_segments_are_cut_too_and_stay_if_half_of_them_does() -> None:
    spans = np.array([[0.0, 0.3], [0.1, 0.5], [0.35, 0.9], [0.55, 1.0], [0.9, 1.0]])
    rows = np.arange(400, dtype=np.float32)[:, None]
    run = LocaliserRun(network=replace(TINY, length=64), crop=1.0)
    kept, lost = 0, 0
    for label, span in enumerate(spans):
        task = LocaliserTask(run, [LocaliserExample(rows, span[None], np.array([label]))], [*range(len(spans))])
        for number in range(8):
            sample = task[number]
            shown = sample["features"][:, 0]  # resampled: the first and last are half a step from the ends
            step = float(shown[-1] - shown[0]) / 63
            first, last = (float(shown[0]) + 0.5 - step / 2) / 400, (float(shown[-1]) + 0.5 + step / 2) / 400
            start, end = max(span[0], first), min(span[1], last)
            if end - start > 0.52 * (span[1] - span[0]):
                kept += 1
                moment = sample["targets"][:, label].argmax()
                assert sample["targets"][moment, label] == 1
                ends = task.at[moment, 0] + task.at[moment, 3] * sample["distances"][moment] * torch.tensor([-1, 1])
                expected = [(at - first) / (last - first) * 64 for at in (start, end)]
                assert ends.tolist() == pytest.approx(expected, abs=0.2)
            elif end - start < 0.48 * (span[1] - span[0]):
                lost += 1
                assert not sample["targets"].any()
    assert kept > 8
    assert lost > 8


@pytest.mark.slow
def test_it_learns_and_its_file_finds_the_segments(tmp_path: Path) -> None:
    made = examples(16)
    folder = tmp_path / "features"
    folder.mkdir()
    truth = {}
    for number, example in enumerate(made):
        np.save(folder / f"v{number}.npy", example.features)
        rows = [
            {"id": k, "label": "ab"[k], "label_id": 3 + 4 * k, "timestamps": (span * 4e6).round().tolist()}
            for k, span in enumerate(example.segments)
        ]
        meta = {"resolution": [32, 32], "frame_rate": 10.0, "num_frames": 40}
        truth[f"v{number}"] = {"metadata": meta, "action_localisation": rows}
    (tmp_path / "train.json").write_text(json.dumps(truth))
    run = LocaliserRun(
        data=str(tmp_path / "train.json"), features=str(folder), network=TINY, steps=100, batch_size=8, micro_batch=8, lr=5e-3
    )
    path = train_localiser(run, Launch(out=tmp_path / "run", threads=1, device="cpu"), lambda text: None)
    assert path == tmp_path / "run" / LOCALISER_FILE
    assert load_any(path).classes == (3, 7)
    finder = LocaliserPredictor.load(str(tmp_path / "run"))
    best = {}
    for row in finder.predict(AnnotatedVideo(metadata=replace(META, video_id="v0")), VideoContent(META), ["action"])["action"]:
        best.setdefault(row["label"], row["timestamps"])
    for label, span in zip(("3", "7"), made[0].segments * 4, strict=True):
        assert best[label] == pytest.approx(span.tolist(), abs=0.35)
    with pytest.raises(BadInput, match="finds actions"):
        finder.predict(AnnotatedVideo(metadata=META), VideoContent(META), ["sound"])
    np.save(folder / "v0.npy", np.zeros((5, 9)))
    with pytest.raises(BadInput, match="9 numbers a step"):
        finder.predict(AnnotatedVideo(metadata=replace(META, video_id="v0")), VideoContent(META), ["action"])


def test_bands_of_sound_are_where_a_tone_is() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(SOUND_RATE) / SOUND_RATE)
    found = features.log_mel(tone)
    assert found.shape == (SOUND_RATE // features.HOP + 1, features.BANDS)
    middle = 2595 * np.log10(1 + np.array([features.LOWEST, 1000, features.HIGHEST]) / 700)
    place = (middle[1] - middle[0]) / (middle[2] - middle[0]) * (features.BANDS + 1) - 1
    assert abs(found[20].argmax() - place) <= 1
    assert features.log_mel(np.zeros(0)).shape == (1, features.BANDS)


def test_filters_are_those_of_transformers() -> None:
    audio = pytest.importorskip("transformers.audio_utils")
    count = features.WINDOW // 2 + 1
    theirs = audio.mel_filter_bank(count, features.BANDS, features.LOWEST, features.HIGHEST, SOUND_RATE, mel_scale="htk")
    np.testing.assert_allclose(features.mel_filters(SOUND_RATE), theirs, atol=1e-9)


def test_kinds_of_features_are_put_side_by_side(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.arange(8.0).reshape(4, 2))
    source = features.load_source(f"{tmp_path},{tmp_path}", 0, 4.0)
    np.testing.assert_array_equal(source.read("v", VideoContent(META)), np.tile(np.arange(8.0).reshape(4, 2), 2))
    np.testing.assert_allclose(resample(np.array([[0.0], [2.0]]), 4)[:, 0].numpy(), [0, 0.5, 1.5, 2])


def test_a_folder_of_weights_is_an_encoder_and_not_features(tmp_path: Path) -> None:
    encoders.save(encoders.build("vit-nano"), tmp_path / "encoder.safetensors")
    assert isinstance(features.load_source(str(tmp_path), 0, 4.0), features.EncoderFeatures)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be halved"):
        LocaliserConfig(length=30, levels=3)
    with pytest.raises(BadInput, match="no features are named"):
        features.load_source(" ,", 0, 4.0)
    with pytest.raises(BadInput, match="no features"):
        features.load_source(str(tmp_path), 0, 4.0)
    (tmp_path / "v.npy").write_bytes(b"no array")
    with pytest.raises(BadInput, match="cannot be read as features"):
        features.load_source(str(tmp_path), 0, 4.0).read("v", VideoContent(META))
    np.save(tmp_path / "v.npy", np.array([[np.nan]]))
    with pytest.raises(BadInput, match="no finite numbers"):
        features.load_source(str(tmp_path), 0, 4.0).read("v", VideoContent(META))
    with pytest.raises(BadInput, match="no localiser"):
        LocaliserPredictor.load("nowhere")
    path = tmp_path / "a.safetensors"
    save(Localiser(TINY, 6, 1), LocaliserRun(network=TINY), (0,), path)
    path.write_bytes(path.read_bytes().replace(b'\\"length\\": 32', b'\\"length\\": 31'))
    with pytest.raises(BadInput, match="train it again"):
        load_any(path)
