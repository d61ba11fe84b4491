"""Runs the official evaluation of DAVIS 2017 on a small folder, for `tests/app/shell/eval/test_davis.py`.

    python tests/golden/make_davis_golden.py CHECKOUT        # with tests on PYTHONPATH

CHECKOUT is davisvideochallenge/davis2017-evaluation at ac7c43f; it wants scipy, scikit-image, opencv, tqdm and numpy 2.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from support.davis_folder import write_davis, write_guesses

GOLDEN = Path(__file__).with_name("davis.json")
VIDEOS = {"one": (7, 1), "two": (12, 2), "three": (6, 3)}
"""Frames and objects of each video."""


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from davis2017.evaluation import DAVISEvaluation  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        data, said = write_davis(Path(folder) / "davis", VIDEOS), write_guesses(Path(folder) / "said", VIDEOS)
        found = DAVISEvaluation(davis_root=str(data), task="semi-supervised", gt_set="val").evaluate(str(said))
    out = {
        name: {**{key: float(np.mean(found[name][key])) for key in "MRD"}, "objects": found[name]["M_per_object"]}
        for name in "JF"
    }
    GOLDEN.write_text(json.dumps(out, indent=1, default=float) + "\n")
    print(out)


if __name__ == "__main__":
    main()
