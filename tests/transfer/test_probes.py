"""Neighbours and probes, against scikit-learn and by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.transfer.config import NeighboursConfig, ProbeConfig
from tapetum.transfer.probes import knn_accuracy, knn_votes, linear_probe, logistic_regression
from tapetum.transfer.probing import Labelled, features_of, split


def clouds(count: int, seed: int, classes: int = 3, width: int = 6) -> Labelled:
    """Points around a centre for each class, which overlap a little."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 1.2
    labels = rng.integers(0, classes, count)
    return Labelled(torch.from_numpy(centres[labels] + rng.normal(size=(count, width))).float(), torch.from_numpy(labels))


@pytest.mark.parametrize("temperature", [None, 0.07])
def test_neighbours_vote_as_scikit_learns(temperature: float | None) -> None:
    known, asked = clouds(120, 0), clouds(50, 1)
    weights = "uniform" if temperature is None else lambda d: np.exp((1 - d) / temperature)
    theirs = KNeighborsClassifier(9, weights=weights, metric="cosine").fit(known.features, known.labels)
    ours = knn_votes(known.features, known.labels, asked.features, 3, NeighboursConfig(neighbours=9, temperature=temperature))
    np.testing.assert_allclose(ours, theirs.predict_proba(asked.features), atol=1e-5)
    few = knn_votes(
        known.features[:9], known.labels[:9], asked.features, 3, NeighboursConfig(neighbours=9, temperature=temperature)
    )
    assert few.shape == (50, 3)  # all there are may vote
    config = NeighboursConfig(neighbours=9, temperature=temperature)
    found = knn_accuracy(known.features, known.labels, asked.features, asked.labels, config)
    right = int((ours.argmax(1) == asked.labels).sum())
    assert found == right / 50 > 0.5
    assert knn_accuracy(known.features, known.labels, asked.features[:1], torch.tensor([0]), config) == (ours[0].argmax() == 0)


@pytest.mark.parametrize("decay", [1e-3, 1e-1])
def test_logistic_regression_is_scikit_learns(decay: float) -> None:
    known = clouds(90, 2)
    theirs = LogisticRegression(C=1 / (decay * 90), tol=1e-10, max_iter=5000).fit(known.features.double(), known.labels)
    ours = logistic_regression(known.features.double(), known.labels, 3, decay)
    np.testing.assert_allclose(ours.weight, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.bias - ours.bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4)


@pytest.mark.parametrize("optimizer", ["lbfgs", "sgd"])
def test_the_sweep_is_equal_and_chooses_without_the_test_part(optimizer: str) -> None:
    train, test = clouds(200, 3), clouds(100, 4)
    config = ProbeConfig(optimizer=optimizer, epochs=10, batch_size=32)  # type: ignore[arg-type]
    found = linear_probe(train, test, 3, config)
    assert [setting for setting, _ in found.tried] == list(config.tried)
    assert found.chosen == max(found.tried, key=lambda entry: entry[1])[0]
    best = LogisticRegression(max_iter=1000).fit(train.features, train.labels).score(test.features, test.labels)
    assert found.accuracy == pytest.approx(best, abs=0.06)
    wrong = Labelled(test.features, (test.labels + 1) % 3)  # other truths of the test part change no choice
    assert linear_probe(train, wrong, 3, config).chosen == found.chosen
    assert linear_probe(train, test, 3, config).accuracy == found.accuracy


def test_what_is_held_out_is_not_learned_from() -> None:
    own, held = split(50, 0.1, 0)
    assert sorted([*own.tolist(), *held.tolist()]) == list(range(50))
    assert len(held) == 5
    assert [len(part) for part in split(2, 0.9, 0)] == [1, 1]
    with pytest.raises(BadInput, match="give 2 or more"):
        split(1, 0.1, 0)


def test_features_are_made_once(tmp_path: Path) -> None:
    encoder = build("vit-nano", image_size=(16, 16), patch=4, width=16, depth=1, heads=2, mlp_width=32)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 24, 3)).astype(np.uint8) for _ in range(5)]
    made = features_of(encoder, images, kept=tmp_path)
    (file,) = tmp_path.iterdir()
    begun = file.stat().st_mtime_ns
    assert torch.equal(features_of(encoder, images, kept=tmp_path), made)
    assert file.stat().st_mtime_ns == begun
    with torch.no_grad():
        torch.testing.assert_close(made, encoder(encoder.prepare(np.stack(images))).pooled)
    many = [rng.integers(0, 255, (8, 8, 3)).astype(np.uint8) for _ in range(70)]
    before = features_of(encoder, many, kept=tmp_path)
    many[1] = 255 - many[1]  # one of many, too
    assert not torch.equal(features_of(encoder, many, kept=tmp_path)[1], before[1])
    with torch.no_grad():
        encoder.norm.bias.add_(1.0)
    assert not torch.equal(features_of(encoder, images, kept=tmp_path), made)


def test_bad_input() -> None:
    known = clouds(10, 0)
    with pytest.raises(BadInput, match="20 neighbours vote"):
        knn_votes(known.features, known.labels, known.features, 3)
    with pytest.raises(BadInput, match="of 2 classes"):
        knn_votes(known.features, known.labels, known.features, 2, NeighboursConfig(neighbours=2))
    with pytest.raises(BadInput, match="give one for each"):
        Labelled(known.features, known.labels[:3])
    with pytest.raises(BadInput, match="validation_share is 1"):
        ProbeConfig(validation_share=1)
