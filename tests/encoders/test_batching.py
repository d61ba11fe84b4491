"""Batches that suit the processor: the vectors do not depend on them beyond rounding, and their size on no clock."""

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum import encoders
from tapetum.core import devices
from tapetum.core.errors import BadInput
from tapetum.encoders import batching, embed
from tapetum.encoders.batching import batch_size, look_by_size, room_for_outputs, run_in_batches
from tapetum.encoders.embed import EmbeddedPiece, set_precision
from tapetum.layers.cpu import speed_up


@pytest.fixture
def network() -> encoders.Encoder:
    torch.manual_seed(0)
    return speed_up(encoders.build("resnet-18", stem_width=32).eval())


def test_as_many_images_as_the_cache_holds_the_largest_map_of(
    network: encoders.Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "cache_bytes", lambda: 10 * (32 * 32 * 32 * 4))  # the stem makes 32 channels of 32x32
    with torch.inference_mode():
        assert batch_size(torch.zeros(1, 3, 64, 64), network.image_vectors, network) == 10
        assert batch_size(torch.zeros(1, 3, 128, 128), network.image_vectors, network) == 2
        assert batch_size(torch.zeros(1, 3, 512, 512), network.image_vectors, network) == 1


def test_vectors_do_not_depend_on_the_batch(network: encoders.Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(7, 3, 64, 64)
    sizes = list[int]()

    def look(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return network.image_vectors(part)

    with torch.inference_mode():
        expected = torch.cat([network.image_vectors(image[None]) for image in images])
        monkeypatch.setattr(batching, "cache_bytes", lambda: 3 * (32 * 32 * 32 * 4))
        actual = run_in_batches(images, look, network)
        again = run_in_batches(images, look, network)
    assert sizes == [1, 1, 3, 3, 1, 3, 3, 1]  # one to measure, and not again
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(actual, again)


def test_images_of_several_sizes_keep_their_order(network: encoders.Encoder) -> None:
    torch.manual_seed(1)
    images = [torch.randn(1, 3, side, 64) for side in (64, 32, 64, 32, 96)]
    with torch.inference_mode():
        expected = np.concatenate([network.image_vectors(image).numpy() for image in images])
        actual = look_by_size(images, network.image_vectors, network).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_on_a_gpu_free_memory_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8000, 9000))
    assert room_for_outputs(torch.device("cuda")) == (1000, 1024)
    monkeypatch.setattr(batching, "cache_bytes", lambda: 5)
    assert room_for_outputs(torch.device("cpu")) == (5, 64)


@pytest.mark.parametrize(
    ("dtype", "known", "bears", "chosen"),
    [
        ("auto", True, True, torch.bfloat16),
        ("auto", False, True, torch.float32),
        ("auto", True, False, torch.float32),
        ("float32", True, True, torch.float32),
        ("bfloat16", False, False, torch.bfloat16),
    ],
)
def test_bfloat16_is_chosen_where_the_device_knows_it_and_the_network_bears_it(
    network: encoders.Encoder, dtype: str, known: bool, bears: bool, chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "knows_bfloat16", lambda processor: known)
    network.takes_bfloat16 = bears
    embedder = network.embedder()
    image = embedder.prepare(np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8))
    piece = EmbeddedPiece("", None, None, {"image": image})
    expected = embedder.embed([piece])
    set_precision(network, dtype)
    actual = embedder.embed([piece])
    assert (next(network.parameters()).dtype, actual.dtype) == (chosen, np.float32)
    assert (actual * expected).sum() / np.linalg.norm(actual) / np.linalg.norm(expected) > 0.999
    assert np.array_equal(actual, expected) == (chosen == torch.float32)


@pytest.mark.skipif(not devices.knows_int8(devices.processor()), reason="a processor that multiplies bytes")
@pytest.mark.parametrize("name", ["resnet-18", "efficientnet-lite0"])
def test_int8_hardly_changes_vectors_and_no_batch_does(name: str) -> None:
    torch.manual_seed(0)
    network = encoders.build(name, classes=0).eval()
    images = network.prepare(np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8))
    with torch.inference_mode():
        expected = network.image_vectors(images)
        set_precision(network, "int8")
        actual = network.image_vectors(images)
        alone = torch.cat([network.image_vectors(image[None]) for image in images])
    copied = pickle.loads(pickle.dumps(network))
    with torch.inference_mode():
        again = copied.image_vectors(images)
    assert torch.equal(actual, alone)
    assert torch.equal(actual, again)
    assert not torch.equal(actual, expected)
    assert torch.nn.functional.cosine_similarity(actual, expected).min() > 0.98


def test_int8_is_refused_where_it_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "knows_int8", lambda processor: True)
    with pytest.raises(BadInput, match="int8 is for convolutions with batch norms, and ViT has none"):
        set_precision(encoders.build("vit-nano").eval(), "int8")
    monkeypatch.setattr(embed, "knows_int8", lambda processor: False)
    with pytest.raises(BadInput, match="int8 needs a CPU that multiplies bytes"):
        set_precision(encoders.build("resnet-18", stem_width=8).eval(), "int8")
