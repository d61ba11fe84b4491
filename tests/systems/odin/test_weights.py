"""Checkpoints of DetCon: what the public JAX network sees with the same weights, read without running code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.golden.make_detcon_golden import GOLDEN, checkpoint, images

import tapetum
from tapetum.core.errors import BadInput
from tapetum.encoders.factory import build, from_state
from tapetum.encoders.tables import detcon
from tapetum.encoders.tables.rows import to_official
from tapetum.hub.registry import find
from tapetum.hub.unpickle import load_npy
from tapetum.systems.odin.published import PUBLISHED
from tapetum.systems.odin.weights import convert_detcon, haiku_state, read_detcon

GOLD = np.load(GOLDEN)


def written(path: Path, content: Any) -> Path:
    np.save(path, content, allow_pickle=True)
    return path


def content_of(name: str) -> dict[str, Any]:
    return checkpoint(json.loads(str(GOLD[f"{name}/shapes"])))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet-50", "resnet-200"])
def test_features_are_those_of_the_public_network(name: str, tmp_path: Path) -> None:
    source, target = written(tmp_path / "published.npy", content_of(name)), tmp_path / "ours.safetensors"
    convert_detcon(source, target, name)
    encoder = tapetum.load(target)
    with torch.inference_mode():
        maps = encoder(torch.from_numpy(images()).movedim(-1, 1)).maps
    for i, found in enumerate(maps):
        mean, own = GOLD[f"{name}/map{i}/mean"], found.movedim(1, -1).numpy()
        scale = np.abs(mean).max()
        assert mean.std() > 0.05 * scale
        np.testing.assert_allclose(own.mean((1, 2)) / scale, mean / scale, atol=1e-4)
        np.testing.assert_allclose(own[:, ::2, ::2, ::32] / scale, GOLD[f"{name}/map{i}"] / scale, atol=1e-4)


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    """A checkpoint of a small ResNet, as DetCon's code would write it."""
    encoder = build("resnet-50", depths=(1, 1, 1, 1), stem_width=2, padding="same")
    params: dict[str, Any] = {}
    for name, tensor in to_official(encoder, detcon.rows(encoder)).items():
        module, _, leaf = name.rpartition("/")
        array = tensor.numpy()
        array = array.transpose(2, 3, 1, 0) if leaf == "w" else array.reshape(1, 1, 1, -1) if array.ndim else array
        params.setdefault(f"res_net50/~/{module}", {})[leaf] = array
    state = {module: params.pop(module) for module in [*params] if module.endswith("_ema")}
    return {"params": params, "state": state}


def test_a_checkpoint_may_be_nested_and_hold_more(small: dict[str, Any], tmp_path: Path) -> None:
    wrong = {module: {leaf: array + 1 for leaf, array in leaves.items()} for module, leaves in small["params"].items()}
    nested = {
        "exp_state": {"target_params": wrong, "online_params": small["params"], "online_state": small["state"]},
        "step": 3,
    }
    nested["exp_state"]["online_params"]["projector/linear"] = {"w": np.ones((4, 4), np.float32)}
    changes = {"depths": (1, 1, 1, 1), "stem_width": 2}
    path = written(tmp_path / "nested.npy", {**nested, "exp_state": [nested["exp_state"]]})
    encoder = from_state(haiku_state(load_npy(path), path), "detcon", "resnet-50", **changes)
    conv = small["params"]["res_net50/~/block_group_1/~/block_0/~/conv_1"]["w"]
    torch.testing.assert_close(encoder.get_parameter("stages.1.0.convs.1.weight")[3, 2], torch.tensor(conv[:, :, 2, 3]))


def test_bad_files_say_what_is_wrong(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"size.npy: the weights lack block_group_0/\S+ and 47 more"):
        read_detcon(written(tmp_path / "size.npy", small), "resnet-18")
    with pytest.raises(BadInput, match="no ResNet of DetCon"):
        read_detcon(written(tmp_path / "other.npy", {"params": {"linear": {"w": np.ones(3)}}}))
    with pytest.raises(BadInput, match="no ResNet of DetCon"):
        read_detcon(written(tmp_path / "plain.npy", np.ones(3)))
    bad = {"a": {"net/~/initial_conv": {"w": "text"}}}
    with pytest.raises(BadInput, match="no array of numbers"):
        read_detcon(written(tmp_path / "text.npy", bad))
    hostile = written(tmp_path / "hostile.npy", {"params": Path("x")})
    with pytest.raises(BadInput, match="only numpy arrays"):
        read_detcon(hostile)
    with pytest.raises(BadInput, match=r"size.npy: the weights lack block_group_0/\S+ and 47 more"):
        convert_detcon(tmp_path / "size.npy", tmp_path / "ours.safetensors", "resnet-18")
    assert not (tmp_path / "ours.safetensors").exists()


def test_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    for weights in PUBLISHED:
        assert find(weights.name).url == f"https://storage.googleapis.com/dm-detcon/{weights.file}"
        with pytest.raises(BadInput, match=f"weights fetch {weights.name}"):
            tapetum.load(weights.name)
