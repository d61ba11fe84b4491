"""Memory of a training step of tapnext-nano on one clip of 64x64, whose frames several processes share.

    python evidence/tapnext-nano/time_shards.py evidence/tapnext-nano/time-shards.json

Peak resident memory of each process in forward and backward, above what it had before the first frame.
"""

import argparse
import json
import os
import resource
import socket
from pathlib import Path

from torch.multiprocessing import get_context

from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.recipes import NANO
from tapetum.systems.tapnext.task import compute_clip_loss
from tapetum.systems.tapnext.time_shards import TimeShards
from tapetum.tracks.training.data import empty_clips
from tapetum.train.process_group import join_process_group


def step(rank: int, size: int, frames: int, port: int, results) -> None:
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{size}", "LOCAL_WORLD_SIZE": f"{size}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    with join_process_group("cpu"):
        network, clip = TapNext(NANO).train(), empty_clips(1, frames, 64, 32)
        compute_clip_loss(network, empty_clips(1, 1, 64, 32))[0].backward()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        compute_clip_loss(network, clip, shards=TimeShards.of_process(size))[0].backward()
        results.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main(out: Path, frames: int) -> None:
    context, found = get_context("spawn"), {}
    for size in (1, 2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        results = context.Queue()
        ranks = [context.Process(target=step, args=(rank, size, frames, port, results)) for rank in range(size)]
        for rank in ranks:
            rank.start()
        found[size] = max(results.get() for _ in ranks) / 2**10
        for rank in ranks:
            rank.join()
        out.write_text(json.dumps({"frames": frames, "most_mib_by_processes": found}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=64)
    main(**vars(parser.parse_args()))
