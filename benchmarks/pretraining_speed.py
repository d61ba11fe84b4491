"""Time steps of pre-training against lightly's, on nine configurations: CPU seconds of one thread, both in one run, in turns.

    python benchmarks/pretraining_speed.py [--repeats 6] [--only rn18/byol] [--json evidence/pretraining-speed/results.json]

A step is forward, backward, AdamW and the move of the average, for 64 images of 64x64 pixels that are there already: of a
ResNet-18 and a ViT-Tiny of patches of 8, with heads of equal sizes. lightly's is as in its examples, with torchvision's
ResNet and timm's ViT. The views are timed too, from images of 96x96, against lightly's transforms with their defaults.

Needs lightly, timm and torchvision beside tapetum. CPU seconds are those of the process: the machine may be busy.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from lightly import transforms
from lightly.loss import DINOLoss, NegativeCosineSimilarity, NTXentLoss
from lightly.models import modules
from lightly.models.utils import get_at_index, patchify, random_token_mask, update_momentum
from PIL import Image
from torch import Tensor, nn

from tapetum.account.flops import count_flops
from tapetum.data.views import Views
from tapetum.systems.pretraining.data import ImageSource, TrainingImage
from tapetum.systems.pretraining.methods import Byol, Dino, Mae, Method, SimClr, task_of
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.sources import RawImages
from tapetum.train import StepContext
from tapetum.train.state import MovingAverage

BATCH, SIZE, LOCAL, IMAGE = 64, 64, 6, 96
METHODS: tuple[Method, ...] = ("supervised", "simclr", "byol", "dino", "mae")
NINE = [(network, method) for network in ("rn18", "vit") for method in METHODS if (network, method) != ("rn18", "mae")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--only", nargs="*", help="such as rn18/byol")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    print(
        f"{'':16} {'GFLOP/img':>9}  CPU s a step: {'ours':>7} {'lightly':>8} {'ratio':>6}   "
        f"{'bf16':>7} {'lightly':>8} {'ratio':>6}"
    )
    for network, method in NINE:
        name = f"{network}/{method}"
        if options.only and name not in options.only:
            continue
        row = {"name": name, **compare(network, method, options.repeats)}
        rows.append(row)
        print(
            f"{name:16} {row['gflop_per_image']:9.3f} {row['ours_s']:22.3f} {row['lightly_s']:8.3f} {row['ratio']:6.2f}   "
            f"{row['ours_bf16_s']:7.3f} {row['lightly_bf16_s']:8.3f} {row['ratio_bf16']:6.2f}",
            flush=True,
        )
    views = (
        {method: compare_views(method, options.repeats) for method in ("simclr", "byol", "dino", "mae")}
        if not options.only
        else {}
    )
    for method, row in views.items():
        steps = [r["ours_s"] for r in rows if r["name"].endswith(method)]
        print(
            f"views of {method:8} ours {row['ours_ms']:.3f} ms an image, lightly {row['lightly_ms']:.3f}, "
            f"ratio {row['ratio']:.2f}; "
            f"{100 * row['ours_ms'] * BATCH / 1000 / min(steps):.1f} % of the shortest step"
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps({"steps": rows, "views": views, "batch": BATCH, "torch": torch.__version__}, indent=1)
        )


def compare(network: str, method: Method, repeats: int) -> dict[str, Any]:
    """Best CPU seconds of both, in float32 and bfloat16, taken in turns."""
    ours, flops = our_step(network, method)
    steps = {"ours": ours, "lightly": lightly_step(network, method)}
    best = {(who, bf16): float("inf") for who in steps for bf16 in (False, True)}
    for turn in range(repeats + 1):  # the first warms up
        for (who, bf16), before in best.items():
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                began = time.process_time()
                steps[who]()
                if turn:
                    best[who, bf16] = min(before, time.process_time() - began)
    return {
        "gflop_per_image": flops / BATCH / 1e9,
        "ours_s": best["ours", False],
        "lightly_s": best["lightly", False],
        "ratio": best["ours", False] / best["lightly", False],
        "ours_bf16_s": best["ours", True],
        "lightly_bf16_s": best["lightly", True],
        "ratio_bf16": best["ours", True] / best["lightly", True],
    }


def stepping(task: Any, batch: Any) -> tuple[Callable[[], None], Any, StepContext]:
    """Make a step of a task on one batch, with AdamW and the moves of its averages; and the model and moment it uses."""
    model = task.model()
    averages, teachers = [], {}
    for average in task.averages:
        averages.append(MovingAverage(model, replace(average, schedule="constant"), 1000))
        teachers[average.name] = task.model().requires_grad_(False).eval()
        teachers[average.name].load_state_dict(averages[-1].average, assign=True)
    optimizer = torch.optim.AdamW(task.parameter_groups(model), lr=1e-4, fused=True)
    context = StepContext(step=1, steps=1000, teachers=teachers)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        task.loss(model, batch, context)[0].backward()
        optimizer.step()
        with torch.autocast("cpu", enabled=False):
            for average in averages:
                average.update(model)

    return step, model, context


def our_step(network: str, method: Method) -> tuple[Callable[[], None], int]:
    """A step of ours, and its FLOPs."""
    changes: dict[str, Any] = (
        {"encoder": "resnet-18"} if network == "rn18" else {"encoder": "vit-tiny-16", "change": ("patch=8",)}
    )
    if method == "simclr":
        changes["simclr"] = SimClr(temperature=0.5, hidden=512, projection=128)
    elif method == "byol":
        changes["byol"] = Byol(hidden=1024, projection=256)
    elif method == "dino":
        changes["dino"] = Dino(local_views=LOCAL, local_size=SIZE // 2, prototypes=4096, frozen_epochs=0)
    elif method == "mae":
        changes["mae"] = Mae(width=128, depth=4, heads=4, normalise=False)
    run = recipe(method, "x", size=SIZE, batch_size=BATCH, **changes)
    pixels = np.zeros((BATCH, 3073), np.uint8)
    labels = np.arange(BATCH) % 100
    task = task_of(method)(run, ImageSource(RawImages(pixels, 1), labels, tuple(map(str, range(100)))))
    batch = task.collate([TrainingImage(np.zeros((SIZE, SIZE, 3), np.uint8), k, k, ()) for k in range(BATCH)])
    batch["views"] = [torch.empty_like(view).normal_() for view in batch["views"]]
    step, model, context = stepping(task, batch)
    flops = count_flops(lambda: task.loss(model, batch, context)[0]).total
    return step, flops


def lightly_step(network: str, method: Method) -> Callable[[], None]:
    """A step as lightly's examples have it."""
    if network == "rn18":
        backbone: nn.Module = torchvision.models.resnet18()
        backbone.fc = nn.Identity()
        width = 512
    else:
        backbone = timm.create_model(
            "vit_tiny_patch16_224", img_size=SIZE, patch_size=8, num_classes=0, dynamic_img_size=method == "dino"
        )
        width = 192
    views = [torch.randn(BATCH, 3, SIZE, SIZE) for _ in range(2)]
    loss, learned, move = {
        "supervised": lightly_supervised,
        "simclr": lightly_simclr,
        "byol": lightly_byol,
        "dino": lightly_dino,
        "mae": lightly_mae,
    }[method](backbone, width, views)
    optimizer = torch.optim.AdamW(learned, lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()
        with torch.autocast("cpu", enabled=False):
            move()

    return step


Parts = tuple[Callable[[], Tensor], list[nn.Parameter], Callable[[], None]]


def learned_of(*parts: nn.Module) -> list[nn.Parameter]:
    return [parameter for part in parts for parameter in part.parameters() if parameter.requires_grad]


def lightly_supervised(backbone: nn.Module, width: int, views: list[Tensor]) -> Parts:
    head, labels = nn.Linear(width, 100), torch.arange(BATCH) % 100
    return lambda: nn.functional.cross_entropy(head(backbone(views[0])), labels), learned_of(backbone, head), lambda: None


def lightly_simclr(backbone: nn.Module, width: int, views: list[Tensor]) -> Parts:
    head, criterion = modules.SimCLRProjectionHead(width, 512, 128), NTXentLoss(temperature=0.5)
    return lambda: criterion(*(head(backbone(view)) for view in views)), learned_of(backbone, head), lambda: None


def lightly_byol(backbone: nn.Module, width: int, views: list[Tensor]) -> Parts:
    head, predictor = modules.BYOLProjectionHead(width, 1024, 256), modules.BYOLPredictionHead(256, 1024, 256)
    slow, slow_head = (copy.deepcopy(part).requires_grad_(False) for part in (backbone, head))
    criterion = NegativeCosineSimilarity()

    def loss() -> Tensor:
        said = [predictor(head(backbone(view))) for view in views]
        with torch.no_grad():
            wanted = [slow_head(slow(view)) for view in views]
        return 0.5 * (criterion(said[0], wanted[1]) + criterion(said[1], wanted[0]))

    def move() -> None:
        update_momentum(backbone, slow, 0.99)
        update_momentum(head, slow_head, 0.99)

    return loss, learned_of(backbone, head, predictor), move


def lightly_dino(backbone: nn.Module, width: int, views: list[Tensor]) -> Parts:
    head, slow_head = (modules.DINOProjectionHead(width, 2048, 256, 4096) for _ in range(2))
    slow = copy.deepcopy(backbone).requires_grad_(False)
    slow_head.load_state_dict(head.state_dict())
    slow_head.requires_grad_(False)
    criterion = DINOLoss(output_dim=4096, warmup_teacher_temp_epochs=5)
    every = [*views, *(torch.randn(BATCH, 3, SIZE // 2, SIZE // 2) for _ in range(LOCAL))]

    def loss() -> Tensor:
        with torch.no_grad():
            wanted = [slow_head(slow(view)) for view in views]
        return criterion(wanted, [head(backbone(view)) for view in every], epoch=1)

    def move() -> None:
        update_momentum(backbone, slow, 0.996)
        update_momentum(head, slow_head, 0.996)

    return loss, learned_of(backbone, head), move


def lightly_mae(backbone: nn.Module, width: int, views: list[Tensor]) -> Parts:
    encoder = modules.MaskedVisionTransformerTIMM(vit=backbone)  # pyright: ignore[reportArgumentType]
    decoder = modules.MAEDecoderTIMM(
        num_patches=64,
        patch_size=8,
        embed_dim=width,
        decoder_embed_dim=128,
        decoder_depth=4,
        decoder_num_heads=4,
        mlp_ratio=4.0,
    )

    def loss() -> Tensor:
        kept, masked = random_token_mask((BATCH, 65), mask_ratio=0.75)
        seen = decoder.embed(encoder.encode(views[0], idx_keep=kept))
        places = torch.cat([decoder.mask_token.expand(BATCH, 65, -1)], 1).clone()
        places = places.to(seen.dtype).scatter(1, kept[..., None].expand_as(seen), seen)
        found = decoder.predict(get_at_index(decoder.decode(places), masked))
        wanted = get_at_index(patchify(views[0], 8), masked - 1)
        return nn.functional.mse_loss(found, wanted)

    return loss, learned_of(encoder, decoder), lambda: None


def compare_views(method: Method, repeats: int) -> dict[str, float]:
    """Best CPU milliseconds an image of the views of both."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (IMAGE, IMAGE, 3), dtype=np.uint8) for _ in range(BATCH)]
    run = recipe(method, "x", size=SIZE, dino=Dino(local_views=LOCAL, local_size=SIZE // 2))
    source = ImageSource(RawImages(np.zeros((4, 3073), np.uint8), 1))
    views = Views(task_of(method)(replace(run, encoder="vit-tiny-16", change=("patch=8",)), source).views(), seed=0)
    theirs = {
        "simclr": lambda: transforms.SimCLRTransform(input_size=SIZE),
        "byol": lambda: transforms.BYOLTransform(
            transforms.BYOLView1Transform(input_size=SIZE), transforms.BYOLView2Transform(input_size=SIZE)
        ),
        "dino": lambda: transforms.DINOTransform(global_crop_size=SIZE, local_crop_size=SIZE // 2, n_local_views=LOCAL),
        "mae": lambda: transforms.MAETransform(input_size=SIZE),
    }[method]()
    pillow_images = [Image.fromarray(image) for image in images]
    best = {"ours": float("inf"), "lightly": float("inf")}
    for turn in range(repeats):
        for who, work in (
            ("ours", lambda at=turn: views(images, range(at * BATCH, (at + 1) * BATCH))),
            ("lightly", lambda: [theirs(image) for image in pillow_images]),
        ):
            began = time.process_time()
            work()
            best[who] = min(best[who], (time.process_time() - began) / BATCH * 1000)
    return {"ours_ms": best["ours"], "lightly_ms": best["lightly"], "ratio": best["ours"] / best["lightly"]}


if __name__ == "__main__":
    main()
