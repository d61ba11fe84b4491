"""Settings of the presets of every method, method by method, each with its source. Imports no torch.

`resnet` and `vit` are the published runs (for ResNet-50 and ViT-B on ImageNet, batches of thousands: accelerators); `small` is
ours: a core or a few, images of 32 to 64 pixels. What a preset leaves out is as `PretrainRun` has it.

"Where Should I Spend My FLOPs?" (arXiv 2209.15589) does not print its settings. What differs from the sources that are named
stands in the modules of the methods, and in docs/guides/published-recipes.md.
"""

from collections.abc import Mapping
from typing import Any, Literal

from tapetum.systems.pretraining.config import Byol, Clip, Dino, Mae, Method, SigLip, SimClr, Supervised

Preset = Literal["small", "resnet", "vit"]
Settings = Mapping[str, Any]

_RESNET: Settings = {"encoder": "resnet-50", "size": 224, "micro_batch": 256, "bf16": True}
_VIT: Settings = {**_RESNET, "encoder": "vit-base-16", "batch_size": 4096}

_SUPERVISED: Mapping[Preset, Settings] = {
    "small": {"weight_decay": 0.05},
    # Goyal et al. (arXiv 1706.02677), section 5.1
    "resnet": {
        **_RESNET,
        "optimizer": "sgd",
        "nesterov": True,
        "base_lr": 0.1,
        "schedule": "milestones",
        "milestones": (30 / 90, 60 / 90, 80 / 90),
        "batch_size": 1024,
        "epochs": 90,
        "weight_decay": 1e-4,
        "supervised": Supervised(smoothing=0.0),
    },
    # the decay of ViT's own run (arXiv 2010.11929); rate, length and warm-up of DeiT's (arXiv 2012.12877, table 9)
    "vit": {**_VIT, "base_lr": 2.5e-4, "weight_decay": 0.3, "epochs": 300, "warmup_epochs": 5},
}

# CLIP (arXiv 2103.00020), 2.5 and tables 18 to 20
_CLIP_PUBLISHED: Settings = {
    "base_lr": 5e-4 * 256 / 32768,  # 5e-4 for ResNet-50 and ViT-B/16
    "batch_size": 32768,
    "epochs": 32,
    "weight_decay": 0.2,
    "warmup_epochs": 2000 * 32768 / 400e6,  # 2,000 steps
}
_CLIP: Mapping[Preset, Settings] = {
    "small": {
        "batch_size": 256,
        "micro_batch": 256,
        "weight_decay": 0.1,
        "clip": Clip(width=128, depth=4, heads=4, projection=128),
    },
    "resnet": {**_RESNET, **_CLIP_PUBLISHED, "betas": (0.9, 0.999), "clip": Clip(projection=1024)},
    "vit": {**_VIT, **_CLIP_PUBLISHED, "encoder": "clip-base-16", "betas": (0.9, 0.98), "eps": 1e-6},
}

_SIGLIP: Mapping[Preset, Settings] = {
    "small": {
        "batch_size": 256,
        "micro_batch": 256,
        "weight_decay": 0.1,
        "betas": (0.9, 0.95),
        "siglip": SigLip(width=128, depth=4, heads=4, projection=128),
    },
    # SigLIP (arXiv 2303.15343): ViT-B/16 with attention pooling and a text tower of the same size
    "vit": {
        **_VIT,
        "encoder": "siglip-base-16",
        "batch_size": 32768,
        "base_lr": 1e-3 * 256 / 32768,
        "steps": 9_000_000_000 // 32768,  # 9 billion pairs
        "weight_decay": 0.1,  # 1e-4 there, not multiplied by the rate of 1e-3
        "betas": (0.9, 0.95),
        "clip_norm": 1.0,  # of public configs of the same code
    },
}

# LARS and batches: SimCLR, 2.1; BYOL, 3.3
_LARS: Settings = {"optimizer": "lars", "warmup_epochs": 10.0, "batch_size": 4096}
# SimCLR and BYOL of a ViT: MoCo v3 (arXiv 2104.02057), section 4, and the public command for its ViT-B
_MOCO_V3: Settings = {
    "change": ("positions=sine",),
    "frozen_patches": True,
    "base_lr": 1.5e-4,
    "weight_decay": 0.1,
    "epochs": 300,
    "warmup_epochs": 40,
}

_SIMCLR: Mapping[Preset, Settings] = {
    "small": {"batch_size": 256, "micro_batch": 256, "simclr": SimClr(temperature=0.2, hidden=512, strength=0.5)},
    # SimCLR (arXiv 2002.05709), 2.1 and its longest runs
    "resnet": {**_RESNET, **_LARS, "base_lr": 0.3, "weight_decay": 1e-6, "epochs": 1000},
    "vit": {**_VIT, **_MOCO_V3, "simclr": SimClr(temperature=0.2, layers=3, hidden=4096, projection=256)},
}

_BYOL: Mapping[Preset, Settings] = {
    "small": {"byol": Byol(hidden=1024)},
    # BYOL (arXiv 2006.07733), 3.3 and its public code for 1,000 epochs
    "resnet": {**_RESNET, **_LARS, "base_lr": 0.2, "weight_decay": 1.5e-6, "epochs": 1000, "byol": Byol(decay=0.996)},
    "vit": {**_VIT, **_MOCO_V3, "byol": Byol(decay=0.99, layers=3)},
}

_DINO: Mapping[Preset, Settings] = {
    "small": {
        "base_lr": 5e-4,
        "clip_norm": 3.0,
        "dino": Dino(local_views=6, prototypes=4096, hidden=1024, decay=0.99),
    },
    # the command for a ResNet-50 in the public code of DINO (arXiv 2104.14294): 8 GPUs of 64 images, 100 epochs
    "resnet": {
        **_RESNET,
        "optimizer": "sgd",
        "base_lr": 0.03,
        "batch_size": 512,
        "weight_decay": 1e-4,
        "warmup_epochs": 10,
        "clip_norm": 3.0,
        "clip_each": True,
        "dino": Dino(global_area=(0.14, 1.0), local_area=(0.05, 0.14)),
    },
    # DINO, section 3.2
    "vit": {
        **_VIT,
        "batch_size": 1024,
        "change": ("drop_path=0.1",),
        "base_lr": 5e-4,
        "warmup_epochs": 10,
        "weight_decay": 0.04,
        "final_weight_decay": 0.4,
        "clip_norm": 3.0,
        "clip_each": True,
        "dino": Dino(final_teacher_temperature=0.07),
    },
}

_MAE: Mapping[Preset, Settings] = {
    "small": {
        "encoder": "vit-tiny-16",
        "change": ("patch=8",),
        "weight_decay": 0.05,
        "base_lr": 5e-4,
        "betas": (0.9, 0.95),
        "mae": Mae(width=128, depth=4, heads=4),
    },
    # MAE (arXiv 2111.06377), A.1
    "vit": {
        **_VIT,
        "change": ("positions=sine",),
        "base_lr": 1.5e-4,
        "epochs": 800,
        "warmup_epochs": 40,
        "weight_decay": 0.05,
        "betas": (0.9, 0.95),
    },
}

SETTINGS: Mapping[Method, Mapping[Preset, Settings]] = {
    "supervised": _SUPERVISED,
    "clip": _CLIP,
    "siglip": _SIGLIP,
    "simclr": _SIMCLR,
    "byol": _BYOL,
    "dino": _DINO,
    "mae": _MAE,
}
"""By method and preset: fields of `PretrainRun`. MAE is for ViTs alone."""

DATA_SETS: Mapping[tuple[Preset, bool], tuple[str, int]] = {
    **{(preset, False): ("ImageNet's", 1_281_167) for preset in ("resnet", "vit")},
    **{(preset, True): ("WebImageText's (CLIP, section 2.2)", 400_000_000) for preset in ("resnet", "vit")},
    **{("small", captions): ("as many as CIFAR-10's", 50_000) for captions in (False, True)},
}
"""By preset, and whether its method learns from captions: a data set and its images, from which epochs become steps where no
data are looked at."""
_TEXTS = {"clip": "the text tower reads bytes, CLIP's 49,152 pieces"}
_MOCO_V3_ITSELF = "of MoCo v3 itself; what it has for this method could not be read"
_FOR_MOCO_V3 = {"base_lr": _MOCO_V3_ITSELF, "weight_decay": _MOCO_V3_ITSELF}
UNPUBLISHED: Mapping[tuple[str, Preset], Mapping[str, str]] = {
    ("supervised", "resnet"): {"batch_size": "any up to 8,192, by the linear rule"},
    ("supervised", "vit"): {"base_lr": "DeiT's (arXiv 2012.12877), beside the decay of ViT's own run (arXiv 2010.11929)"},
    ("clip", "resnet"): _TEXTS,
    ("clip", "vit"): _TEXTS,
    ("siglip", "vit"): {
        "warmup_epochs": "ours",
        "clip_norm": "of public configs of the same code",
        "siglip": "the text tower reads bytes, SigLIP's 32,000 pieces, 16 of a text",
    },
    ("simclr", "vit"): _FOR_MOCO_V3,
    ("byol", "vit"): _FOR_MOCO_V3,
    ("dino", "vit"): {"epochs": "of its ablations; the longer run of its public weights could not be read"},
}
"""By method and preset: settings that its paper does not give, and what theirs lean on."""
