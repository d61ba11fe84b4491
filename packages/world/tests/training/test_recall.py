"""Key-value recall as a task: what is read, and that a form without memory cannot know."""

from dataclasses import replace

import pytest
import torch

from tapetum.systems.longvideo.config import VideoConfig
from tapetum.train import StepContext
from tapetum_world.recall import RecallConfig, make_recall
from tapetum_world.training.recall import RecallModel, RecallRun, RecallTask, accuracy

WORLD = RecallConfig(segments=3, segment_frames=4, size=32, pairs=2)
VIDEO = VideoConfig(
    width=12, depth=2, heads=2, mlp_width=24, size=(32, 32), frames=12, segment_frames=4, memory="consolidated", memories=4
)
RUN = RecallRun(video=VIDEO, world=WORLD, checks=6)


@pytest.mark.parametrize("read_out", ["last", "all", "both"])
@pytest.mark.parametrize("memory", ["joint", "streaming", "consolidated"])
def test_the_head_reads_what_is_said(memory: str, read_out: str) -> None:
    run = replace(RUN, video=replace(VIDEO, memory=memory), read_out=read_out)
    torch.manual_seed(0)
    model = RecallModel(run).eval()
    video = torch.rand(2, 12, 32, 32, 3) * 2 - 1
    features = model.encoder(video)
    last = features.tokens.flatten(1, 2)[:, -8:].mean(1)
    seen = {"last": last, "all": features.pooled, "both": torch.cat([last, features.pooled], 1)}[read_out]
    torch.testing.assert_close(model(video, (0, 1)), model.head(model.norm(seen)))


def test_only_a_memory_sees_the_pairs_from_the_last_segment() -> None:
    video = torch.from_numpy(make_recall(0, 0, WORLD).video)[None].float() / 127.5 - 1
    for memory, sees in (("streaming", False), ("consolidated", True), ("joint", True)):
        torch.manual_seed(0)
        model = RecallModel(replace(RUN, video=replace(VIDEO, memory=memory, memory_grad="through"), read_out="last"))
        pixels = video.clone().requires_grad_()
        model(pixels, (0,))[0, 0].backward()
        assert pixels.grad is not None
        assert bool(pixels.grad[:, :8].any()) == sees


def test_a_step_learns_and_longer_videos_can_be_scored() -> None:
    task = RecallTask(RUN)
    torch.manual_seed(0)
    model = task.model()
    batch = task.collate([task.dataset()[k] for k in range(4)])
    assert sorted(batch["label"].tolist()) == [0, 1, 2, 3]
    loss, found = task.loss(model, batch, StepContext())
    loss.backward()
    assert 0 <= float(found["accuracy"]) <= 1
    still = {name for name, p in model.named_parameters() if p.grad is None}
    assert still == {"encoder.tubelets.images.weight", "encoder.tubelets.images.bias"}
    model.eval()
    assert accuracy(model, WORLD, 8, batch=3) == accuracy(model, WORLD, 8, batch=8)
    assert 0 <= accuracy(model, replace(WORLD, segments=5), 4) <= 1
    assert task.describe()["video"]["memories"] == 4


def test_the_first_weights_of_blocks_are_as_great_as_said() -> None:
    torch.manual_seed(0)
    plain = RecallTask(RUN).model()
    torch.manual_seed(0)
    wide = RecallTask(replace(RUN, start=0.3)).model()
    for (name, small), great in zip(plain.named_parameters(), wide.parameters(), strict=True):
        factor = 15.0 if "blocks" in name and small.ndim == 2 else 1.0
        torch.testing.assert_close(great, factor * small)
