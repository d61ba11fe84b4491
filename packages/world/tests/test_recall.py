"""Key-value recall: what is drawn is what is said, and nobody who forgets or only counts knows the answer."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum_world.recall import KeyValuePair, Recall, RecallConfig, make_recall

FEW = RecallConfig(segments=4, segment_frames=4, pairs=4, size=32)
CONFIGS = (FEW, RecallConfig(segments=8), RecallConfig(segments=32, segment_frames=4), RecallConfig(recent=3, gap=2))


def patch_of(made: Recall, pair: KeyValuePair, config: RecallConfig) -> np.ndarray:
    """The pixels of a pair, in -1..1, averaged over its frames."""
    across = config.size // config.patch
    moment, cell = divmod(pair.place, across**2)
    row, column = (config.patch * k for k in divmod(cell, across))
    first = pair.segment * config.segment_frames + moment * config.tubelet
    frames = made.video[first : first + config.tubelet, row : row + config.patch, column : column + config.patch, 0]
    return frames.mean(0) / 127.5 - 1


@pytest.mark.parametrize("config", CONFIGS)
def test_labels_and_values_are_balanced_by_count(config: RecallConfig) -> None:
    bare = RecallConfig(**{**vars(config), "size": 16, "noise": 0.0, "pairs": min(config.pairs, 2)})
    made = [make_recall(5, number, bare) for number in range(16)]
    for first in range(0, 16, 4):
        assert Counter(one.label for one in made[first : first + 4]) == dict.fromkeys(range(4), 1)
    for one in made:
        assert set(Counter(pair.value for pair in one.pairs).values()) == {bare.count // 4}
        assert len({pair.key for pair in one.pairs}) == len(one.pairs) == bare.count
        assert one.pairs[one.target].value == one.label
        assert one.pairs[one.target].key == one.query.key
        assert max(Counter(pair.segment for pair in one.pairs).values()) <= bare.pairs
        assert len({(pair.segment, pair.place) for pair in one.pairs}) == bare.count
        if bare.gap is not None:
            assert one.pairs[one.target].segment == bare.segments - 1 - bare.gap
        if bare.recent is not None:
            assert min(pair.segment for pair in one.pairs) >= bare.segments - 1 - bare.recent


def test_guessers_that_have_no_memory_are_at_chance_by_count() -> None:
    """Of 400 samples: one that knows the question alone, and one that adds up a weight for each value and each key."""
    config = RecallConfig(segments=4, segment_frames=2, size=16, noise=0.0, pairs=1, values=3)
    made = [make_recall(1, number, config) for number in range(399)]
    rng = np.random.default_rng(0)
    key, bag = rng.integers(3, size=(2, 32))
    assert sum(key[one.query.key] == one.label for one in made) == pytest.approx(133, abs=40)
    always = [sum(one.label == value for one in made) for value in range(3)]
    assert always == [133, 133, 133]
    counts = {tuple(sorted(Counter(pair.value for pair in one.pairs).items())) for one in made}
    assert counts == {((0, 1), (1, 1), (2, 1))}  # so a guesser by the bag has the same to go by for every label
    assert len(set(bag)) > 1


def test_signs_are_where_they_are_said_to_be_and_the_question_has_no_value() -> None:
    config = RecallConfig(**{**vars(FEW), "noise": 0.0})
    keys: dict[int, bytes] = {}
    values: dict[int, bytes] = {}
    for number in range(8):
        made = make_recall(2, number, config)
        assert made.video.shape == (16, 32, 32, 3)
        assert made.video.dtype == np.uint8
        for pair in (*made.pairs, made.query):
            upper, lower = np.split(patch_of(made, pair, config), 2)
            assert keys.setdefault(pair.key, upper.tobytes()) == upper.tobytes()
            assert upper.mean() == pytest.approx(0, abs=0.01)  # half of it is light, whatever the key
            if pair.value is None:
                assert np.ptp(lower) == 0
            else:
                assert values.setdefault(pair.value, lower.tobytes()) == lower.tobytes()
    assert len(set(keys.values())) == len(keys) > 20
    assert len(set(values.values())) == 4


def test_all_else_is_a_still_texture_under_noise() -> None:
    made = make_recall(3, 0, FEW)
    free = np.ones((4, 2, 4), bool)
    for pair in (*made.pairs, made.query):
        moment, cell = divmod(pair.place, 4)
        free[pair.segment, moment, cell] = False
    assert (~free).sum() == 13
    patches = (made.video[..., 0] / 127.5 - 1).reshape(4, 2, 2, 2, 16, 2, 16).transpose(0, 1, 3, 5, 2, 4, 6)
    patches = patches.reshape(4, 2, 4, 2, 16, 16)
    difference = (patches[:, :, :, 0] - patches[:, :, :, 1])[free]
    assert difference.std() == pytest.approx(0.1 * 2**0.5, rel=0.05)
    assert np.abs(patches[free]).max() < 0.8


def test_a_sample_is_a_function_of_seed_and_number() -> None:
    once, again = make_recall(4, 7, FEW), make_recall(4, 7, FEW)
    assert np.array_equal(once.video, again.video)
    assert once.pairs == again.pairs
    for other in (make_recall(4, 8, FEW), make_recall(5, 7, FEW)):
        assert other.pairs != once.pairs


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"segments": 1}, "segments is 1; it must be 2 or more"),
        ({"gap": 8}, "give 1 to 7"),
        ({"gap": 3, "recent": 2}, "mend one"),
        ({"pairs": 1, "recent": 2}, "room for 0 pairs"),
        ({"pairs": 999}, "have no room"),
        ({"patch": 24}, "do not divide"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        RecallConfig(**changes)


@pytest.mark.slow
def test_torch_is_not_needed() -> None:
    code = "import sys, tapetum_world.recall, tapetum_world.ordered_events; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
