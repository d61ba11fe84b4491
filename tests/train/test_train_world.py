"""What processes tell each other, and that they part in peace."""

import threading
import time

import pytest
import torch

from tapetum.train.world import World


def test_settle_waits_until_another_thread_has_let_go_of_the_tensors():
    world = World(0, 2, torch.device("cpu"))
    held = [world.lend(torch.zeros(3))]  # as a work that gloo's thread has not freed yet
    thread = threading.Thread(target=lambda: (time.sleep(0.2), held.clear()))
    began = time.monotonic()
    thread.start()
    world.settle()
    assert not held
    assert 0.15 < time.monotonic() - began < 5
    thread.join()


def test_settle_gives_up_on_a_tensor_that_is_kept():
    world = World(0, 2, torch.device("cpu"))
    kept = world.lend(torch.zeros(3))
    began = time.monotonic()
    world.settle(patience=0.1)
    assert 0.1 <= time.monotonic() - began < 2
    assert kept.sum() == 0


@pytest.mark.parametrize("value", [None, {"a": [1, "b"]}])
def test_a_world_of_one_says_what_it_knows(value):
    world = World(0, 1, torch.device("cpu"))
    assert world.share(value) == value
    assert world.mean({"x": 2.0}) == {"x": 2.0}
