"""Training: masked auto-encoding and classes on tiny examples; data, scores and images by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.networks import HIP
from support.sharding import check_shards
from tapetum.core.errors import BadInput
from tapetum.systems.hip.config import Masked, Modality
from tapetum.systems.hip.data import TARGET, HipExamples, ModalityField
from tapetum.systems.hip.task import ClassTask, HipClassifier, MaskedTask, Standardize, masked_losses
from tapetum.train import TrainConfig, fit


def stripes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images 8x8 of lying (0) or standing (1) stripes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    wave = (np.arange(8)[None] + rng.integers(4, size=(count, 1))) // 2 % 2 * 200
    images = np.where(labels[:, None, None], wave[:, None, :], wave[:, :, None])
    return np.repeat(images[..., None], 3, -1).astype(np.uint8), labels


def examples(count: int = 64, seed: int = 0, **more) -> HipExamples:
    images, labels = stripes(count, seed)
    return HipExamples({"image": ModalityField(images, 100.0, 100.0, **more)}, labels, seed=1)


def config(steps: int, **more) -> TrainConfig:
    return TrainConfig(steps=steps, batch_size=16, lr=3e-3, threads=1, tensorboard=False, **more)


def test_examples_are_functions_of_their_number() -> None:
    data = examples(shift=2, mirror=True)
    first, again = data[5], examples(shift=2, mirror=True)[5]
    assert torch.equal(first["image"], again["image"])
    assert first["image"].shape == (64, 3)
    assert data.modalities() == {"image": Modality((8, 8), 3)}
    shown = {int(data.order(k)) for k in range(64)}
    assert shown == set(range(64))
    plain = data.plain(60, 99)
    assert plain["image"].shape == (4, 64, 3)
    assert torch.equal(plain[TARGET], torch.as_tensor(data.targets[60:]))


def test_shifts_bring_zeros_and_orders_only_order() -> None:
    ones = np.ones((1, 4, 4, 1), np.uint8)
    moved = HipExamples({"image": ModalityField(ones, shift=3)})
    sums = {float(moved[k]["image"].sum()) for k in range(40)}
    assert max(sums) <= 16
    assert len(sums) > 3
    numbers = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    order = np.random.default_rng(0).permutation(16)
    assert HipExamples({"image": ModalityField(numbers, order=order)})[0]["image"][:, 0].tolist() == order.tolist()


def test_fields_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadInput, match="numbers of examples differ"):
        HipExamples({"image": ModalityField(np.zeros((3, 2, 1)))}, np.zeros(2))
    with pytest.raises(BadInput, match="or are 0"):
        HipExamples({"image": ModalityField(np.zeros((0, 2, 1)))})


def test_the_checks_are_scored_with_the_same_places_hidden_every_time() -> None:
    settings, model = Masked(ratio=0.5), MaskedTask(HIP, examples(), examples(), Masked()).model().eval()
    checks = examples(12, 5)
    batch = {"image": checks.plain(0, 12)["image"]}
    with torch.no_grad():
        found = MaskedTask(HIP, examples(), checks, settings).evaluate(model, 0)
        expected = masked_losses(model, batch, settings, torch.Generator().manual_seed(0))
    assert found == {"image": pytest.approx(float(expected["image"]))}


@pytest.mark.slow
def test_classes_are_learned_from_the_start_that_is_given(tmp_path: Path) -> None:
    mae = fit(MaskedTask(HIP, examples(), examples(), Masked()), config(3), tmp_path / "mae")
    start = mae.checkpoint / "model.safetensors"
    task = ClassTask(HIP, examples(), examples(48, 9), 2, start=start)
    model = task.model()
    assert torch.equal(model.hip.blocks[0].latents, mae.model.blocks[0].latents)
    assert all(not p.requires_grad for p in model.hip.blocks[2].parameters())  # the decoder has no say
    result = fit(task, config(250), tmp_path / "run")
    assert task.evaluate(result.model.eval(), 250)["accuracy"] > 0.8
    shuffled = examples(48, 9)
    shuffled.targets = np.random.default_rng(0).permutation(shuffled.targets)
    assert 0.3 < ClassTask(HIP, examples(), shuffled, 2).evaluate(result.model.eval(), 0)["accuracy"] < 0.7


@pytest.mark.slow
def test_any_number_of_labels_may_hold(tmp_path: Path) -> None:
    """Label 0: lying stripes; label 1: standing ones; label 2: always, which nothing can be wrong about; label 3: never."""
    images, labels = stripes(64)
    truth = np.stack([labels == 0, labels == 1, labels >= 0, labels < 0], 1).astype(np.float32)
    data = HipExamples({"image": ModalityField(images, 100.0, 100.0)}, truth, seed=1)
    task = ClassTask(HIP, data, data, 4)
    before = task.evaluate(task.model().eval(), 0)["mean_average_precision"]
    assert before == pytest.approx((0.5 + 0.5 + 1) / 3, abs=0.1)  # all the same: the share of those that are true
    result = fit(task, config(250), tmp_path)
    assert task.evaluate(result.model.eval(), 0)["mean_average_precision"] > 0.85


def test_scores_by_hand() -> None:
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = torch.nn.Parameter(torch.zeros(1))

        def forward(self, inputs: dict) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.tensor([[0, 1, 1, 2]]), 3).float()

    data = HipExamples({"image": ModalityField(np.zeros((1, 4, 3)))}, np.array([[0, 0, 1, -1]]))
    scores = ClassTask(HIP, data, data, 3, elements_of="image").evaluate(Fixed(), 0)
    # class 0: 1 of 2; class 1: 1 of 2; class 2 does not occur where anything is counted
    assert scores == pytest.approx({"accuracy": 2 / 3, "mean_iou": 0.5})


def test_a_read_out_needs_a_modality_with_a_decoder() -> None:
    model = MaskedTask(HIP, examples(), examples(), Masked()).model()
    with pytest.raises(BadInput, match="'label' is no modality"):
        HipClassifier(model, 2, elements_of="label")


@pytest.mark.parametrize("elements_of", [None, "image"])
def test_a_new_read_out_sees_features_that_differ(elements_of: str | None) -> None:
    torch.manual_seed(0)
    data = examples(shift=2)
    model = ClassTask(HIP, data, data, 2, elements_of=elements_of).model()
    inputs = {"image": torch.stack([data[k]["image"] for k in range(64)])}
    with torch.no_grad():
        features = model.features(inputs)
        seen = model.norm(features).flatten(0, -2)
        out = model(inputs)
    if elements_of is None:  # nearly the same, whatever the input
        assert (features.std(0) / features.mean(0).abs()).median() < 0.5
    assert seen.mean(0).abs().max() < 0.2
    assert (seen.std(0) - 1).abs().max() < 0.2
    assert torch.equal(out, torch.zeros_like(out))


def test_a_feature_that_never_changes_is_not_blown_up() -> None:
    norm = Standardize(2)
    norm.measure(torch.tensor([[5.0, 1.0], [5.0, 3.0]]))
    assert norm(torch.tensor([[6.0, 2.0]])).tolist() == [[1.0, 0.0]]


def test_other_settings_do_not_go_on(tmp_path: Path) -> None:
    fit(MaskedTask(HIP, examples(), examples(), Masked()), config(2), tmp_path)
    with pytest.raises(BadInput):
        fit(MaskedTask(replace(HIP, embedding=16), examples(), examples(), Masked()), config(4), tmp_path)


def test_in_shards_it_is_the_same() -> None:
    data = examples(16)
    check_shards(MaskedTask(HIP, data, data, Masked()), data.plain(0, 4), dtype=torch.float32)
    check_shards(ClassTask(HIP, data, data, 2), data.plain(0, 4), dtype=torch.float32)
