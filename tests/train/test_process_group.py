"""What processes tell each other, and that they part in peace."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from tapetum.core.errors import TapetumError
from tapetum.train import Task, TrainConfig, fit
from tapetum.train.process_group import ProcessGroup, _explain_lost_peers, clip_gradients


def test_settle_waits_until_another_thread_has_let_go_of_the_tensors():
    processes = ProcessGroup(0, 2, torch.device("cpu"))
    held = [processes.register(torch.zeros(3))]  # as a work that gloo's thread has not freed yet
    thread = threading.Thread(target=lambda: (time.sleep(0.2), held.clear()))
    began = time.monotonic()
    thread.start()
    processes.wait_released(timeout=600)
    assert not held
    assert 0.15 < time.monotonic() - began < 300
    thread.join()


def test_settle_gives_up_on_a_tensor_that_is_kept():
    processes = ProcessGroup(0, 2, torch.device("cpu"))
    kept = processes.register(torch.zeros(3))
    began = time.monotonic()
    processes.wait_released(timeout=0.1)
    assert 0.1 <= time.monotonic() - began < 30
    assert kept.sum() == 0


@pytest.mark.parametrize("value", [None, {"a": [1, "b"]}])
def test_a_world_of_one_says_what_it_knows(value):
    processes = ProcessGroup(0, 1, torch.device("cpu"))
    assert processes.broadcast(value) == value
    assert processes.mean({"x": 2.0}) == {"x": 2.0}


def test_a_lost_peer_is_one_line_and_other_errors_stay():
    said = "[/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:1: Connection reset by peer. See\nlogs"
    told = r"^lost another process of this run \(Read error .* reset by peer\), so"
    with pytest.raises(TapetumError, match=told) as error, _explain_lost_peers():
        raise RuntimeError(said)
    assert "\n" not in str(error.value)
    with pytest.raises(TapetumError, match="lost another process"), _explain_lost_peers():
        raise torch.distributed.DistNetworkError("timed out after 600s waiting for clients")
    with pytest.raises(RuntimeError, match="shapes"), _explain_lost_peers():
        raise RuntimeError("shapes do not match")


def test_signals_are_wishes_while_the_world_parts_too(tmp_path, monkeypatch):
    heard = []

    @contextmanager
    def parting(_name):
        os.kill(os.getpid(), signal.SIGTERM)  # nothing to save yet: acts as usual
        yield ProcessGroup(0, 1, torch.device("cpu"))
        os.kill(os.getpid(), signal.SIGTERM)  # as torchrun does when another process has died

    class Constant(Task):
        def model(self):
            return torch.nn.Linear(1, 1)

        def dataset(self):
            return [torch.ones(1)]

        def loss(self, model, batch, moment):
            return model(batch).mean(), {}

    monkeypatch.setattr("tapetum.train.loop.join_process_group", parting)
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("usual"))
    try:
        result = fit(Constant(), TrainConfig(steps=1, batch_size=1, tensorboard=False), tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.state == "finished"
    assert heard == ["usual", "usual"]  # the second one once the run is over


@pytest.mark.parametrize(("each", "small", "large"), [(True, 1.0, 1 / 5), (False, 25.25**-0.5, 25.25**-0.5)])
def test_gradients_are_held_to_a_norm_each_or_together(each: bool, small: float, large: float) -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    gradients = torch.tensor([0.3, 0.4]), torch.tensor([3.0, 4.0])
    for parameter, gradient in zip(parameters, gradients, strict=False):
        parameter.grad = gradient.clone()
    norm = clip_gradients(parameters, 1.0, ProcessGroup(0, 1, torch.device("cpu")), each=each)
    assert norm == pytest.approx(25.25**0.5)  # 0.5 and 5
    for parameter, gradient, share in zip(parameters, gradients, (small, large), strict=False):
        torch.testing.assert_close(parameter.grad, gradient * share, rtol=1e-5, atol=0)
