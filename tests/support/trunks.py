"""Trunks of milliseconds with random weights, of every family that adapters know."""

from collections.abc import Callable

import timm
import torch
import torchvision
from torch import nn

from tapetum.encoders import build
from tapetum.systems.adapters import Adapted, AdapterConfig, attach


def _shaken(trunk: nn.Module) -> nn.Module:
    """The trunk in evaluation mode, with statistics, gains and biases other than those that it was born with."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in trunk.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(5)
            elif name.endswith("running_mean"):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            elif tensor.ndim == 2 and not tensor.any():  # torchvision's classifier
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            elif name.endswith("gain") or (tensor.ndim < 2 and not name.endswith("bias")):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return trunk.eval()


_SMALL_NFNET = {"depths": (1, 2, 1, 1), "channels": (32, 64, 96, 96)}
TRUNKS: dict[str, Callable[[], nn.Module]] = {
    "vit": lambda: build("vit-nano", width=32, depth=3, heads=2, mlp_width=64, classes=5),
    "vit-drop": lambda: build(
        "vit-nano", width=32, depth=3, heads=2, mlp_width=64, pooling="mean", norm="pooled", drop_path=0.5
    ),
    "resnet": lambda: build("resnet-18", stem_width=8, classes=5),
    "resnet-bottleneck": lambda: build("resnet-50", stem_width=8, depths=(1, 2, 1, 1)),
    "nfnet": lambda: build("nfnet-f0", **_SMALL_NFNET, stem_width=16, group_width=8, final_width=40, classes=5),
    "efficientnet-lite": lambda: build("efficientnet-lite0", width_multiplier=0.3, classes=5),
    "timm-vit": lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=5, drop_rate=0.5
    ),
    "timm-resnet": lambda: timm.create_model("resnet18", num_classes=5),
    "timm-nfnet": lambda: timm.create_model(
        "dm_nfnet_f0", num_classes=5, **_SMALL_NFNET, stem_chs=16, group_size=8, num_features=40
    ),
    "timm-lite": lambda: timm.create_model("tf_efficientnet_lite0", num_classes=5, drop_rate=0.5),
    "torchvision-vit": lambda: torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5, dropout=0.5
    ),
    "torchvision-resnet": lambda: torchvision.models.resnet18(num_classes=5),
}


def trunk(kind: str) -> nn.Module:
    """Build one of `TRUNKS`, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _shaken(TRUNKS[kind]())


def images(count: int = 3, seed: int = 3) -> torch.Tensor:
    """Prepared images that each of `TRUNKS` takes."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def shake(adapted: Adapted, name: str, seed: int) -> None:
    """Give an adapter weights as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapted.adapter_parameters(name):
            p.add_(0.2 * torch.randn(p.shape, generator=generator))


def bank(kind: str = "vit", names: str = "abc", config: AdapterConfig | None = None) -> Adapted:
    """A trunk with an adapter for each letter of `names`, the first in use, as if they had been trained."""
    adapted = attach(trunk(kind), config or AdapterConfig(), name=names[0])
    for name in names[1:]:
        adapted.add(name, config or AdapterConfig())
    for seed, name in enumerate(names):
        shake(adapted, name, seed)
    return adapted
