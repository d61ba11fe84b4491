"""One process of a step of TAPNext in float64, whose frames the processes share: OUT gets the mean loss and gradients."""

import sys
from pathlib import Path

import torch

from tapetum.systems.tapnext import TapNext, TapNextConfig
from tapetum.systems.tapnext.task import compute_clip_loss
from tapetum.systems.tapnext.time_shards import TimeShards
from tapetum.tracks.training.data import TapSample
from tapetum.train.process_group import join_process_group

FRAMES = 10


def main(out: Path) -> None:
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # heads and losses, which round to float32 otherwise
    torch.manual_seed(3)
    sizes = {"width": 16, "depth": 3, "heads": 2, "mlp_width": 24, "lru_width": 16, "gate_blocks": 2, "gated_mlp_width": 24}
    network = TapNext(TapNextConfig(image_size=(32, 32), video_size=(16, 24), head_width=8, **sizes)).train()
    xy = torch.rand(2, 5, FRAMES, 2) * 20 - 1
    frames = torch.randint(FRAMES - 2, (2, 5))  # some queries come after the first process's frames
    queries = torch.cat([frames[..., None].double(), xy[:, :, 0]], -1)
    batch = TapSample(torch.rand(2, FRAMES, 16, 24, 3) * 2 - 1, queries, xy, torch.rand(2, 5, FRAMES) < 0.3)
    with join_process_group("cpu") as processes:
        shards = TimeShards.of_process(processes.size)
        loss, logs = compute_clip_loss(network, batch, occluded_weight=0.2, shards=shards)
        loss.backward()
        values = {"loss": loss, **logs} | {name: weight.grad for name, weight in network.named_parameters()}
        means = {name: processes.sum(torch.as_tensor(value)) / processes.size for name, value in values.items()}
        if processes.main:
            torch.save(means, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
