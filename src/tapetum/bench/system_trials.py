"""Trials of every system on a device: a tiny network with random weights must compute the same there as on the CPU."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BUDGET_S = 2.0
"""Seconds within which a system's forward passes on a device are begun."""
_TIMES = 20
"""Passes are timed so often at most."""
_OFF = 0.01
"""Share of the largest number by which results may differ from the CPU's; a GPU multiplies in TF32, whose share is 0.001."""

Work = Callable[["torch.device"], "torch.Tensor"]
"""Computes something on a device."""


def _tapir() -> Work:
    import torch

    from tapetum.systems.tap.config import NANO
    from tapetum.systems.tap.model import Tapir
    from tapetum.systems.tap.second_pass import track_passes

    small = replace(NANO, initial_resolution=(64, 64), refine_at_least=(96, 96), channels=(16, 32, 32, 32), stem_channels=16)
    network = Tapir(replace(small, mixer_width=32, mixer_blocks=2)).eval()
    video, queries = torch.rand(1, 3, 64, 64, 3) * 2 - 1, torch.tensor([[[0.0, 20.5, 30.5], [1.0, 40.5, 10.5]]])
    return lambda device: track_passes(network.to(device), video.to(device), queries.to(device))[-1].occlusion


def _tapnext() -> Work:
    import torch

    from tapetum.systems.tapnext.config import TapNextConfig
    from tapetum.systems.tapnext.model import TapNext

    sizes: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2, "mlp_width": 64, "lru_width": 24, "gated_mlp_width": 64}
    network = TapNext(TapNextConfig(image_size=(32, 32), video_size=(32, 32), gate_blocks=2, **sizes)).eval()
    video, queries = torch.rand(1, 3, 32, 32, 3) * 2 - 1, torch.tensor([[[0.0, 10.5, 20.5]]])
    return lambda device: network.to(device)(video.to(device), queries.to(device)).visible_logits


def _hip() -> Work:
    import torch

    from tapetum.systems.hip.config import HipConfig, Modality
    from tapetum.systems.hip.model import Hip

    sizes: dict[str, Any] = {"self_layers": (1, 1, 1), "self_heads": (2, 2, 2), "embedding": 8}
    network = Hip(
        HipConfig(groups=(4, 1, 4), latents=(4, 8, 4), channels=(16, 32, 16), **sizes), {"image": Modality((8, 8), 3)}
    )
    image = torch.rand(1, 64, 3)
    return lambda device: network.eval().to(device)({"image": image.to(device)}).latents[1]


def _paligemma() -> Work:
    import torch

    from tapetum.encoders.config import DecoderConfig
    from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
    from tapetum.systems.paligemma.model import PaliGemma

    vision = siglip(28, width=16, depth=1, heads=2, mlp_width=24, patch=7)
    words = DecoderConfig(width=16, depth=1, heads=2, key_value_heads=1, head_width=8, mlp_width=24, vocabulary=64)
    network = PaliGemma(PaliGemmaConfig(vision_encoder=vision, language=words, newline=5)).eval()
    pixels, prefix = torch.rand(1, 1, 3, 28, 28) * 2 - 1, torch.tensor([[2, 9, 5]])

    def generate(device: "torch.device") -> "torch.Tensor":
        network.to(device).generate_ids(pixels.to(device), prefix.to(device), 4)
        return network.start(pixels.to(device), prefix.to(device), 4).logits

    return generate


def _longvideo() -> Work:
    import torch

    from tapetum.systems import longvideo

    sizes: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
    sizes |= {"stem": "patch", "stem_blocks": 0, "frames": 8, "segment_frames": 4, "memories": 3, "memory": "consolidated"}
    network, video = longvideo.build("mcvit-nano", **sizes), torch.rand(1, 8, 16, 16, 3) * 2 - 1
    return lambda device: network.to(device)(video.to(device)).pooled


def _pretraining() -> Work:
    import torch

    from tapetum.encoders import build
    from tapetum.train.contrastive import nt_xent

    network, views = build("resnet-18", stem_width=4, depths=(1, 1, 1, 1)), torch.rand(4, 3, 32, 32)

    def learn(device: "torch.device") -> "torch.Tensor":
        """The gradient of SimCLR's loss."""
        network.to(device).zero_grad()
        with torch.enable_grad():
            first, second = network(views.to(device)).pooled.chunk(2)
            nt_xent(first, second, 5.0).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    return learn


def _adapters() -> Work:
    import torch

    from tapetum.encoders import build
    from tapetum.systems.adapters.adapted import attach

    network = attach(build("vit-nano", width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16)), "middle-top")
    images = torch.rand(1, 3, 16, 16)
    return lambda device: network.to(device)(images.to(device)).pooled


def _odin() -> Work:
    import torch

    from tapetum.encoders import build
    from tapetum.systems.odin.model import Odin
    from tapetum.systems.odin.recipes import OdinConfig

    config = OdinConfig(pyramid_width=8, hidden_width=16, projection_width=8)
    network = Odin(config, build("resnet-18", stem_width=4, depths=(1, 1, 1, 1))).eval()
    images = torch.rand(1, 3, 64, 64)
    return lambda device: network.to(device).projected_map(network(images.to(device)))


def _localiser() -> Work:
    import torch

    from tapetum.systems.perception_test.localiser.config import LocaliserConfig
    from tapetum.systems.perception_test.localiser.model import Localiser

    network = Localiser(LocaliserConfig(length=32, width=16, heads=2, window=5, stem=1, levels=3), 5, 2).eval()
    features = torch.rand(1, 32, 5)
    return lambda device: network.to(device)(features.to(device))[0]


SYSTEMS: dict[str, Callable[[], Work]] = {
    "tapir": _tapir,
    "tapnext": _tapnext,
    "hip": _hip,
    "paligemma": _paligemma,
    "longvideo": _longvideo,
    "pretraining": _pretraining,
    "adapters": _adapters,
    "odin": _odin,
    "perception-test localiser": _localiser,
}
"""By name. The system tapvid3d has no network of its own."""


def try_system(name: str, device: str) -> str:
    """Compute on the CPU and on a device; return the device's times of the first and a later pass, and the difference.

    Raises ArithmeticError if the results differ by more than a hundredth, or are not finite; and whatever the device raises.
    """
    import torch

    begun = time.perf_counter()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        work = SYSTEMS[name]()
        expected = work(torch.device("cpu")).clone()
        times: list[float] = []
        while len(times) <= _TIMES and (not times or time.perf_counter() - begun < BUDGET_S):
            started = time.perf_counter()
            result = work(torch.device(device)).cpu()  # waits for the device
            times.append(time.perf_counter() - started)
    if not result.isfinite().all():
        raise ArithmeticError("the result holds numbers that are not finite")
    off = float((result - expected).abs().max() / expected.abs().max().clamp(min=1e-9))
    if off > _OFF:
        raise ArithmeticError(f"the result differs from the CPU's by {off:.1%} of its largest number")
    return f"{1e3 * times[0]:.0f} ms the first time, then {1e3 * min(times[1:] or times):.1f} ms; off by {off:.0e} of the CPU's"
