"""Write tests/golden/tapir.npz: outputs of the public PyTorch TAPIR for weights and videos that a formula makes.

    python tests/golden/make_tapir_golden.py PATH_OF_TAPNET_CHECKOUT

The checkout is github.com/google-deepmind/tapnet (made with commit c2cbab8); it needs the packages einshape and dm-tree. Only
outputs are stored: weights and videos are made again by `recipe_weights` and `recipe_video`. All cases are square, since the
reference samples non-square maps wrongly.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    name: str
    pyramid_level: int
    extra: bool
    causal: bool
    base: int
    """Initial resolution, pixels."""
    size: int
    """Height and width of the video."""
    frames: int
    refine: tuple[int, ...] | None = None
    """Refinement resolutions where they are not the default ones."""
    stepwise: bool = False
    """Frames are fed one by one with the causal state."""


CASES = (
    Case("tapir", 0, False, False, 256, 256, 3),
    Case("tapir-512", 0, False, False, 256, 512, 1),
    Case("tapir-level1", 1, False, False, 64, 64, 4),
    Case("tapir-two-resolutions", 0, False, False, 64, 128, 4),
    Case("causal-tapir", 1, False, True, 64, 64, 5),
    Case("causal-tapir-level0", 0, False, True, 64, 64, 5),
    Case("causal-stepwise", 1, False, True, 64, 128, 4, stepwise=True),
    Case("bootstapir", 1, True, False, 64, 64, 4),
    Case("bootstapir-refine-96", 1, True, False, 64, 128, 2, refine=(96,)),
    Case("causal-bootstapir", 1, True, True, 64, 64, 4, stepwise=True),
)


def recipe_weights(shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Weights for tensors of the published names: hashed sines, scaled to keep activations in range."""
    weights = {}
    for k, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        sine = np.sin(12.9898 * np.arange(shape.numel(), dtype=np.float64) + 78.233 * (k + 1)) * 43758.5453
        u = 2 * (sine - np.floor(sine)) - 1
        if len(shape) > 1:
            u *= np.sqrt(3 / np.prod(shape[1:]))
        else:
            u = 0.1 * u + (1 if name.endswith("weight") else 0)
        weights[name] = torch.tensor(u.reshape(shape), dtype=torch.float32)
    return weights


def recipe_video(frames: int, size: int) -> torch.Tensor:
    """Sine waves that move by (2, 1) pixels (of 256) a frame; [1, t, size, size, 3] in -1..1."""
    t, y, x, c = np.meshgrid(np.arange(frames), np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    scale = 256 / size
    x, y = (x + 0.5) * scale - 2 * t, (y + 0.5) * scale - t
    video = 0.4 * np.sin(0.11 * x + 0.3 * c) + 0.3 * np.sin(0.07 * y * (1 + 0.2 * c) + 0.02 * x)
    return torch.tensor(video + 0.3 * np.sin(0.0009 * x * y), dtype=torch.float32)[None]


def recipe_queries(case: Case) -> torch.Tensor:
    """Three queries (t, x, y), one between frames; all on frame 0 where frames are fed one by one."""
    last = 0 if case.stepwise else case.frames - 1
    queries = torch.tensor([[[0, 80, 64], [0.6, 30.5, 200.25], [3, 128.75, 128]]])
    return torch.cat([queries[..., :1].clamp(max=last), queries[..., 1:] * (case.size / 256)], -1)


def run_reference(case: Case) -> dict[str, np.ndarray]:
    from tapnet.torch import tapir_model

    model = tapir_model.TAPIR(
        pyramid_level=case.pyramid_level,
        extra_convs=case.extra,
        use_casual_conv=case.causal,
        initial_resolution=(case.base, case.base),
    ).eval()
    model.load_state_dict(recipe_weights({name: tensor.shape for name, tensor in model.state_dict().items()}))
    video, queries = recipe_video(case.frames, case.size), recipe_queries(case)[..., [0, 2, 1]]
    refine = None if case.refine is None else [(side, side) for side in case.refine]
    if not case.stepwise:
        out = model(video, queries, refinement_resolutions=refine)
        first = {"stage1_tracks": out["unrefined_tracks"][0], "stage1_occlusion": out["unrefined_occlusion"][0]}
        final = {name: out[name] for name in ("tracks", "occlusion", "expected_dist")}
        return {name: tensor[0].numpy() for name, tensor in (first | final).items()}

    points = model.get_query_features(video[:, :1], False, queries.clone())
    levels = len(points.lowres) - 1
    state = model.construct_initial_causal_state(queries.shape[1], levels)
    # The reference's state shares one dict between all iterations; give each its own, as nothing may be shared.
    state = [dict(step) for step in state]
    steps = []
    for t in range(case.frames):
        grids = model.get_feature_grids(video[:, t : t + 1], False)
        out = model.estimate_trajectories(
            (case.size, case.size), False, grids, points, None, 64, state, get_causal_context=True
        )
        state = out["causal_context"]
        ends = range(model.num_pips_iter, levels * model.num_pips_iter + 1, model.num_pips_iter)
        steps.append([torch.stack([out[k][i] for i in ends]).mean(0)[0] for k in ("tracks", "occlusion", "expected_dist")])
    tracks, occlusion, expected_dist = (torch.cat(part, 1).numpy() for part in zip(*steps, strict=True))
    return {"tracks": tracks, "occlusion": occlusion, "expected_dist": expected_dist}


def our_model(case: Case):
    """Ours with the recipe's weights, for the tests that hold ours against these outputs."""
    from support.networks import to_official
    from tapetum.systems.tap import weights
    from tapetum.systems.tap.config import TapirConfig
    from tapetum.systems.tap.model import Tapir

    config = TapirConfig(
        pyramid_level=case.pyramid_level,
        extra_convs=5 * case.extra,
        causal=case.causal,
        initial_resolution=(case.base, case.base),
    )
    with torch.device("meta"):
        model = Tapir(config)
    official = recipe_weights({name: tensor.shape for name, tensor in to_official(model.state_dict()).items()})
    model.load_state_dict(weights.from_official(official), strict=True, assign=True)
    return model.eval()


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.path.insert(0, sys.argv[1])
    with torch.no_grad():
        outputs = {f"{case.name}/{k}": v for case in CASES for k, v in run_reference(case).items()}
    np.savez_compressed(HERE / "tapir.npz", **outputs)
    print(f"{len(outputs)} arrays of {len(CASES)} cases, {(HERE / 'tapir.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
