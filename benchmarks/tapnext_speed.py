"""CPU seconds of one frame of TAPNext at the published size, beside the public PyTorch class on the same random weights.

    python benchmarks/tapnext_speed.py PUBLIC [--points 64] [--frames 3] [--threads 1] [--size 256] [--depth 12]

PUBLIC is a checkout of google-deepmind/tapnet (it needs torchvision and einops). Frames come one by one and both keep their
states; rounds alternate, after a warm-up of each. `ours` is the tracker's network, with the products that suit the processor
(`tapetum.layers.cpu.speed_up`), `plain` the same without. The share of each part of `ours` is printed below.
"""

import argparse
import copy
import sys
import time

import torch

from tapetum.layers.cpu import speed_up
from tapetum.systems.tapnext import from_official


def ours(network, queries, frames):
    """A generator that tracks one more frame at each step."""
    state = network.start(queries, frames.shape[2:4])
    while True:
        for frame in frames.split(1, 1):
            state, predictions = network.step(state, frame)
            yield predictions.xy


def public(model, queries, frames):
    """The same by the public class."""
    tyx, state = queries[..., [0, 2, 1]], None
    while True:
        for frame in frames.split(1, 1):
            tracks, _, _, state = model(frame, tyx) if state is None else model(frame, state=state)
            yield tracks.transpose(1, 2).flip(-1)


def parts(network, queries, frames):
    """CPU seconds of a frame by kind of module, the time of inner ones not counted twice."""
    seconds, open_since = {}, []
    hooks = []

    def before(module, inputs):
        open_since.append([time.process_time(), 0.0])

    def after(name):
        def hook(module, inputs, output):
            start, inner = open_since.pop()
            took = time.process_time() - start
            seconds[name] = seconds.get(name, 0.0) + took - inner
            if open_since:
                open_since[-1][1] += took

        return hook

    names = {
        "patches": "patches",
        "temporal.lru": "gates and recurrence",
        "temporal.mlp": "gated MLP",
        "temporal": "other temporal",
    }
    names |= {"spatial.attention": "attention", "spatial.mlp": "MLP after attention"}
    for name, module in network.named_modules():
        short = name.split(".", 2)[-1] if name.startswith("blocks.") else name
        kind = names.get(short) or ("heads" if name in ("coordinate_head", "visible_head") else None)
        if kind:
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after(kind))]
    stream = ours(network, queries, frames)
    next(stream)
    seconds.clear()
    start = time.process_time()
    next(stream)
    whole = time.process_time() - start
    for hook in hooks:
        hook.remove()
    return seconds, whole


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("public")
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--depth", type=int, default=12)
    args = parser.parse_args()
    sys.path.insert(0, args.public)
    from tapnet.tapnext.tapnext_torch import TAPNext

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    size = (args.size, args.size)
    theirs = TAPNext(image_size=size, depth=args.depth).eval()
    plain = from_official(theirs.state_dict(), image_size=size)
    fast = speed_up(copy.deepcopy(plain))
    queries = torch.rand(1, args.points, 3) * torch.tensor([0.0, size[1], size[0]])
    frames = torch.rand(1, args.frames + 1, *size, 3) * 2 - 1
    streams = {
        "ours": ours(fast, queries, frames),
        "plain": ours(plain, queries, frames),
        "public": public(theirs, queries, frames),
    }
    first = {name: next(stream) for name, stream in streams.items()}  # the warm-up
    for name in ("ours", "plain"):
        print(f"{name}: at most {float((first[name] - first['public']).abs().max()):.1e} pixels from the public class")
    seconds = {name: [] for name in streams}
    for _ in range(args.frames):
        for name, stream in streams.items():
            start = time.process_time()
            next(stream)
            seconds[name].append(time.process_time() - start)
    print(f"{args.points} points, {size[1]}x{size[0]}, {args.depth} blocks, {args.threads} threads, torch {torch.__version__}")
    for name, each in seconds.items():
        ratio = sorted(a / b for a, b in zip(each, seconds["public"], strict=True))[len(each) // 2]
        print(f"{name:<8}{min(each):8.2f} s a frame, best of {len(each)}{ratio:8.2f} of public, median of pairs")
    shares, whole = parts(fast, queries, frames)
    for name, took in sorted(shares.items(), key=lambda pair: -pair[1]):
        print(f"  {name:<22}{took / whole:6.1%}")


if __name__ == "__main__":
    main()
