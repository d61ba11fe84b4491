"""Settings shared by presets of several methods: fields of `PretrainRun` by name. Each method's own are in its file.

`resnet` and `vit` are the published runs (for ResNet-50 and ViT-B on ImageNet, batches of thousands: accelerators); `small` is
ours: one or a few cores, images of 32 to 64 pixels. Fields that a preset omits keep the defaults of `PretrainRun`.

"Where Should I Spend My FLOPs?" (arXiv 2209.15589) does not print its settings. Differences from the named sources are listed
in the methods' modules and in docs/guides/published-recipes.md.
"""

from collections.abc import Mapping
from typing import Any, Literal

Preset = Literal["small", "resnet", "vit"]
Presets = Mapping[Preset, Mapping[str, Any]]
"""Fields of `PretrainRun` by preset."""

RESNET: Mapping[str, Any] = {"encoder": "resnet-50", "size": 224, "micro_batch": 256, "bf16": True}
VIT: Mapping[str, Any] = {**RESNET, "encoder": "vit-base-16", "batch_size": 4096}
LARS: Mapping[str, Any] = {"optimizer": "lars", "warmup_epochs": 10.0, "batch_size": 4096}
"""LARS and batches of SimCLR (2.1) and BYOL (3.3)."""
MOCO_V3: Mapping[str, Any] = {
    "change": ("positions=sine",),
    "frozen_patches": True,
    "base_lr": 1.5e-4,
    "weight_decay": 0.1,
    "epochs": 300,
    "warmup_epochs": 40,
}
"""SimCLR and BYOL of a ViT: MoCo v3 (arXiv 2104.02057), section 4, and the public command for its ViT-B."""
_MOCO_V3_ITSELF = "of MoCo v3 itself; what it has for this method could not be read"
FOR_MOCO_V3 = {"base_lr": _MOCO_V3_ITSELF, "weight_decay": _MOCO_V3_ITSELF}
"""What `MOCO_V3` has that no paper gives for these methods."""
