"""Whole runs on small real files, and the vectors that their networks make of files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import average_precision_score

from support.files import film, make_image, sound, stripes
from support.networks import HIP
from support.storage import web_server
from tapetum.app.learn.train import train
from tapetum.core.errors import BadInput
from tapetum.systems.hip import weights
from tapetum.systems.hip.config import Masked, Modality, Preparation, Sizes, variant
from tapetum.systems.hip.embed import HipEmbedder
from tapetum.systems.hip.model import Hip
from tapetum.systems.hip.recipes import RECIPES, HipRun
from tapetum.systems.hip.run import train_hip
from tapetum.systems.hip.task import mean_average_precision
from tapetum.train.launch_config import Launch


def run(file: Path, **more) -> HipRun:
    small = HipRun(
        layout="parquet",
        data=str(file),
        variant="hip-nano",
        sizes=Sizes(image=(8, 8)),
        masked=Masked(ratio=0.5),
        mae_steps=4,
        steps=60,
        batch_size=16,
        micro_batch=8,
        lr=2e-3,
        weight_decay=0.05,
        bf16=False,
    )
    return replace(small, **more)


@pytest.mark.slow
def test_both_phases_end_with_a_file_that_embeds(tmp_path: Path) -> None:
    said: list[str] = []
    file = stripes(tmp_path / "stripes.parquet")
    finished = train_hip(run(file), Launch(out=tmp_path / "run", workers=0, threads=1), said.append)
    assert finished is not None
    assert said == ["train: 57 examples of image 8x8x3", "check: 7 examples of image 8x8x3"]
    assert set(finished.scores) == {"masked_image", "accuracy"}
    assert finished.scores["accuracy"] > 0.8
    model = weights.load(finished.weights)
    assert model.config == variant("hip-nano")
    assert model.preparations["image"].mean == pytest.approx((123.7, 116.3, 103.5))
    again = train_hip(run(file), Launch(out=tmp_path / "run", workers=0, threads=1), said.append)
    assert again is not None
    assert again.scores == finished.scores


@pytest.mark.slow
def test_checkpointing_and_micro_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run has its data from an address."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = stripes(tmp_path / "stripes.parquet", 20)
    ends = []
    with web_server(tmp_path, ranges=True) as (base, _):
        for name, data, more in (("plain", file, {}), ("saving", f"{base}/stripes.parquet", {"checkpointing": True})):
            made = replace(run(file, mae_steps=2, steps=2, **more), data=str(data))
            finished = train(made, Launch(out=tmp_path / name, workers=0, threads=1))
            assert finished is not None
            ends.append(weights.load(finished.weights).state_dict())
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-6) for name in ends[0])


def test_recipes_are_of_the_paper_s_sizes() -> None:
    sizes = RECIPES["audioset"].sizes
    assert sizes.frames * 224 * 224 + sizes.samples == 524_288
    assert sizes.samples == 2.56 * sizes.sound_rate
    assert sizes.frames == pytest.approx(2.56 * sizes.video_rate)
    assert RECIPES["modelnet40"].sizes.points == 2_048


def test_refusals(tmp_path: Path) -> None:
    file = stripes(tmp_path / "stripes.parquet", 20)
    with pytest.raises(BadInput, match="no steps of either kind"):
        train_hip(run(file, mae_steps=0, steps=0), Launch(out=tmp_path / "run"))
    for more, message in (
        ({"variant": "hip-99"}, "no variant 'hip-99'"),
        ({"lr": -1.0}, "lr is -1"),
        ({"data": str(tmp_path / "none")}, "there is no"),
    ):
        with pytest.raises(BadInput, match=message):
            train_hip(run(file, **more), Launch(out=tmp_path / "run"))
    with pytest.raises(BadInput, match=r"mask ratio is 1\.5"):
        Masked(ratio=1.5)
    with pytest.raises(BadInput, match="sizes of inputs must be above 0"):
        Sizes(samples=0)
    bare = tmp_path / "bare.parquet"
    pq.write_table(pq.read_table(file).drop(["label"]), bare)
    with pytest.raises(BadInput, match="has no labels; give --steps 0"):
        train_hip(run(bare), Launch(out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_average_precision_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 5)) < 0.2).astype(np.float32)
    scores = np.round(rng.normal(size=(200, 5)) + truth, 1).astype(np.float32)  # with ties
    truth[:, 4] = 0
    expected = np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in range(4)])
    assert mean_average_precision(torch.from_numpy(scores), torch.from_numpy(truth)) == pytest.approx(expected, abs=1e-7)


def embedder(**modalities: Modality) -> HipEmbedder:
    torch.manual_seed(0)
    model = Hip(HIP, modalities)
    sample_rates = {"audio": 4000.0, "video": 5.0}
    model.preparations = {name: Preparation((0.0,), (255.0,), sample_rates.get(name)) for name in modalities}
    return HipEmbedder(model)


def test_files_become_pieces(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png", (255, 0, 0))
    sound(tmp_path / "a.wav", 1000, seconds=0.25)
    film(tmp_path / "a.mkv")
    both = embedder(image=Modality((4, 4), 3), audio=Modality((400,), 1))
    (still,) = both.pieces(tmp_path / "a.png")
    assert still.start is None
    assert torch.equal(still.inputs["image"], torch.tensor([1.0, 0, 0]).expand(16, 3))
    heard = list(both.pieces(tmp_path / "a.wav"))
    assert [(p.start, p.stop) for p in heard] == [(0.0, 0.1), (0.1, 0.2), (0.2, 0.25)]
    assert heard[2].inputs["audio"][200:].eq(0).all()
    assert both.embed(heard).shape == (3, 32)
    moving = embedder(video=Modality((2, 4, 4), 3), audio=Modality((1600,), 1))
    pieces = list(moving.pieces(tmp_path / "a.mkv"))
    assert [(p.start, p.stop) for p in pieces] == [(0.0, 0.4), (0.4, 0.5)]
    assert pieces[0].inputs["video"].shape == (32, 3)
    assert set(pieces[0].inputs) == {"video", "audio"}
    stills = list(embedder(image=Modality((4, 4), 3)).pieces(tmp_path / "a.mkv"))
    assert [(p.start, p.stop) for p in stills] == [(0.0, 1.0)]


def test_vectors_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    for k, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        make_image(tmp_path / f"{k}.png", colour)
    maker = embedder(image=Modality((4, 4), 3))
    pieces = [piece for k in range(3) for piece in maker.pieces(tmp_path / f"{k}.png")]
    together, alone = maker.embed(pieces), np.concatenate([maker.embed([piece]) for piece in pieces])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-4


def test_files_that_the_network_does_not_know(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png", (255, 0, 0))
    with pytest.raises(BadInput, match="is an image, and the network knows audio only"):
        list(embedder(audio=Modality((400,), 1)).pieces(tmp_path / "a.png"))
    with pytest.raises(BadInput, match="does not say how files become"):
        HipEmbedder(Hip(HIP, {"image": Modality((4, 4), 3)}))
    with pytest.raises(BadInput, match="there is no file"):
        list(embedder(image=Modality((4, 4), 3)).pieces(tmp_path / "none.png"))
