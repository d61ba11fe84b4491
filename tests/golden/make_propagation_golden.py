"""Runs DINO's propagation of labels on small random features, for `tests/transfer/test_propagation.py`.

    python tests/golden/make_propagation_golden.py CHECKOUT

CHECKOUT is facebookresearch/dino at 7c446df; of eval_video_segmentation.py the functions are taken that need no GPU once
`.cuda()` is left out. Writes propagation.npz: the shares of four frames after the first.
"""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

GOLDEN = Path(__file__).with_name("propagation.npz")
CASES = {
    "near": {"radius": 2, "neighbours": 3, "context": 2},
    "far": {"radius": 12, "neighbours": 5, "context": 7},
    "all": {"radius": 0, "neighbours": 4, "context": 1},  # 0 means everywhere in the script
}
FRAMES, CHANNELS, ROWS, COLUMNS, OBJECTS = 5, 6, 7, 9, 3


def features() -> np.ndarray:
    """Give maps of all frames (t, d, h, w): a smooth change of one random map."""
    rng = np.random.default_rng(0)
    first, moved = rng.standard_normal((2, CHANNELS, ROWS, COLUMNS))
    return np.stack([first + 0.3 * k * moved for k in range(FRAMES)]).astype(np.float32)


def shares() -> np.ndarray:
    """Give what is known of the first frame (c, h, w)."""
    numbers = np.random.default_rng(1).integers(0, OBJECTS, (ROWS, COLUMNS))
    return np.stack([numbers == k for k in range(OBJECTS)]).astype(np.float32)


def functions(source: str) -> dict[str, Any]:
    wanted = "restrict_neighborhood", "norm_mask", "label_propagation"
    text = source.replace(".cuda(non_blocking=True)", "").replace(".cuda()", "")
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    scope: dict[str, Any] = {"torch": torch, "F": F, "np": np}
    exec(compile(ast.Module(nodes, []), "dino", "exec"), scope)
    return scope


def main() -> None:
    scope = functions((Path(sys.argv[1]) / "eval_video_segmentation.py").read_text())
    maps = torch.from_numpy(features()).flatten(2)
    scope["extract_feature"] = lambda model, frame, return_h_w=False: (maps[frame].T, ROWS, COLUMNS)
    out = {}
    for name, how in CASES.items():
        scope["args"] = args = SimpleNamespace(size_mask_neighborhood=how["radius"], topk=how["neighbours"])
        known = [(maps[0], torch.from_numpy(shares())[None])]
        for k in range(1, FRAMES):
            used = [known[0], *known[1:][-how["context"] :]]
            found, _, _ = scope["label_propagation"](args, None, k, [m for m, _ in used], [s for _, s in used])
            known.append((maps[k], found))
        out[name] = torch.cat([s for _, s in known[1:]]).numpy()
    out["decided"] = scope["norm_mask"](torch.from_numpy(out["near"][-1].copy())).argmax(0).numpy()
    np.savez_compressed(GOLDEN, **out)
    print({name: value.shape for name, value in out.items()})


if __name__ == "__main__":
    main()
