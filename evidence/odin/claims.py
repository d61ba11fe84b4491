"""Do Odin's claims hold at the size of a laptop? T1 to T6, each on hard scenes, over seeds, with all controls side by side.

    python evidence/odin/claims.py OUT [--seeds 3] [--steps 800] [--claims T1 T2 T3 T4 T5 T6]
    python evidence/odin/claims.py OUT --camvid camvid/ --photos photos.parquet          # real images too
    python evidence/odin/claims.py OUT --encoder weights:resnet-nano --arms odin oracle   # begun with known weights
    python evidence/odin/claims.py OUT --steps 4 --seeds 1 --images 16 --tests 4 --clips 1   # to see that it runs

T1  Best overlap rises in training by 0.10 or more over the untrained network.
T2  Masks that are discovered are as good as those of a grid and of Felzenszwalb, and within 0.03 of the true ones: best
    overlap, and mean IoU of a linear layer that names the texture of each cell of the frozen map.
T3  It needs a discovery network that follows: more than with one that stays as it was at the start, by each score.
T4  It minds K little: over 4, 8, 16, 32 clusters best overlaps differ by 0.05 at most, and less than those of Felzenszwalb's
    over scales of 10, 100, 1000.
T5  It beats k-means of colours, of positions, and of both.
T6  Masks carried through clips by its features have a J 0.10 above those of the untrained network.

Best overlap (ABO) is that of objects without the ground, with 1 + 2 + ... + 16 proposals; OR is the share above 0.5. Claims are
judged by the means over the finished seeds and their intervals (`plus_minus.py`). Scenes are of `odin_data.py`: their parts
have colours of their own (`--colours apart`), or all the same two. Where `--encoder` has learned before, "untrained" is Odin's
network as it begins, with those weights and a random pyramid; "encoder" is what the weights see by themselves, in the last two
maps, and "start" asks whether Odin has a best overlap above theirs too. On real images, runs on `--photos` are scored on the
cars, pedestrians and bicyclists of `--camvid` beside colours, positions and an untrained network. Every run is `tapetum train
odin`'s loop in a folder of OUT and goes on where it was stopped; OUT/results.json keeps what is finished. `--minutes` stops
after so long; 0.001 only prints.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odin_data import FAMILIES, Kept, Scenes, clip, rows_of, street_things
from tapetum.metrics.masks import Confusion, mask_iou
from tapetum.systems.odin.metrics import best_in_cells, discovery_scores, proposals
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.objects import PLAIN, cluster_metric, network_map
from tapetum.systems.odin.recipes import RECIPES, OdinConfig, OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.odin.weights import ODIN_FILE, load, save
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.run import run_task
from tapetum.train.launch_config import Launch
from tapetum.transfer.config import PropagationConfig
from tapetum.transfer.propagation import Look, carry

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import Part, verdict

ARMS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "odin": ({}, ("T1", "T2", "T3", "T4", "T5", "T6")),
    "frozen": ({"discovery": "fixed"}, ("T3",)),
    "grid": ({"source": "grid", "clusters": 9}, ("T2",)),
    "oracle": ({"source": "given", "clusters": 6}, ("T2",)),
    "segments 1000": ({"source": "segments", "segment_scale": 1000.0, "sampled": 16}, ("T2", "T4")),
    "K 4": ({"clusters": 4}, ("T4",)),
    "K 16": ({"clusters": 16}, ("T4",)),
    "K 32": ({"clusters": 32}, ("T4",)),
    "segments 100": ({"source": "segments", "segment_scale": 100.0, "sampled": 16}, ("T4",)),
    "segments 10": ({"source": "segments", "segment_scale": 10.0, "sampled": 16}, ("T4",)),
    "places 0.5": ({"place_weight": 0.5}, ()),
    "places 1": ({"place_weight": 1.0}, ()),
}
"""What each run changes, and for which claims it is; those for none run where `--arms` names them."""
PROPOSALS = 16
NAMES = {"abo": "ABO", "object_recovery": "OR", "j": "J", "mean_iou": "linear mean IoU"}
SCORES = tuple(NAMES)
"""By which T3 is judged: each by itself."""


class Study:
    """The runs and their scores, kept in a folder."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.out = options, Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.ends = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
        self.file = self.out / "results.json"
        self.found: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.tests = Scenes(1_000_003, options.tests, options.size, options.colours)
        self.clips = [clip(2_000_003, k, options.size, 16, options.colours) for k in range(options.clips)]

    def keep(self, name: str, make_scores: Callable[[], dict[str, float] | None]) -> dict[str, float] | None:
        """Give the scores of a name, made now if they are not there."""
        if name not in self.found and time.monotonic() < self.ends:
            scores = make_scores()
            if scores is not None:
                self.found[name] = scores
                self.file.write_text(json.dumps(self.found, indent=1) + "\n")
                print(name, {key: round(value, 3) for key, value in scores.items()}, flush=True)
        return self.found.get(name)

    def run_of(self, seed: int, **changes: Any) -> OdinRun:
        """Give the config of a run."""
        how, o = RECIPES["small"], self.options
        return replace(
            how,
            data="scenes",
            size=o.size,
            steps=o.steps,
            batch_size=o.batch,
            micro_batch=o.batch,
            base_lr=o.rate * 256 / o.batch,
            seed=seed,
            encoder=o.encoder or how.encoder,
            change=() if o.encoder else how.change,
            odin=replace(how.odin, **changes),
        )

    def trained(self, name: str, run: OdinRun, source: ImageSource, masks: np.ndarray | None = None) -> Odin | None:
        """Train, or load what was trained; None where time is up."""
        folder = self.out / name.replace(" ", "-")
        if not (folder / ODIN_FILE).exists():
            minutes = None if self.ends == float("inf") else max((self.ends - time.monotonic()) / 60, 0.01)
            launch = Launch(out=folder, device="cpu", workers=0, threads=1, minutes=minutes)
            kept: list[Any] = []
            if run_task(OdinTask(run, source, masks), launch, lambda text: None, kept.append) is None:
                return None
            save(kept[0], folder / ODIN_FILE)
        return load(folder / ODIN_FILE)

    def untrained(self, run: OdinRun) -> Odin:
        """Make the network as a run begins with it."""
        torch.manual_seed(run.seed)
        return Odin(run.odin, run.new_encoder(run.seed)).eval()

    def scores(self, look: Look, probe: bool = True) -> dict[str, float]:
        """Score features on the test scenes and clips: abo, object_recovery, mean_iou of a linear layer, and j."""
        best, tests = [], self.tests
        for k in range(len(tests)):
            best.append(best_in_cells(tests.objects(k), proposals(look(tests[k]), PROPOSALS, cluster_metric(look))))
        found = discovery_scores(best)
        if probe:
            found["mean_iou"] = linear_iou(look, tests)
        found["j"] = float(np.mean([followed(look, images, ids) for images, ids, _ in self.clips]))
        return found

    def plain(self) -> None:
        """Score what needs no training."""
        for name, look in PLAIN.items():
            self.keep(f"{name}", lambda look=look: self.scores(look))

    def seed(self, seed: int) -> None:
        """Score the runs of one seed."""
        o = self.options
        run = self.run_of(seed)
        untrained = self.untrained(run)
        self.keep(f"untrained {seed}", lambda: self.scores(network_map(untrained, o.size)))
        if o.encoder:
            self.keep("encoder", lambda: self.scores(network_map(untrained.encoder, o.size)))
        scenes = None
        for arm in o.arms or [each for each in ARMS if set(ARMS[each][1]) & set(o.claims)]:
            name, changes = f"{arm} {seed}", ARMS[arm][0]
            if name in self.found or time.monotonic() > self.ends:
                continue
            scenes = scenes or Scenes(seed, o.images, o.size, o.colours)
            source = ImageSource(scenes, about={"data": f"scenes {seed} {len(scenes)} {o.size} {o.colours}"})
            masks = scenes.masks if arm == "oracle" else None
            model = self.trained(name, self.run_of(seed, **changes), source, masks)
            if model is not None:
                self.keep(name, lambda model=model: self.scores(network_map(model, o.size)))

    def real(self) -> None:
        """Score a run on photographs on the things of streets, beside what needs none."""
        o = self.options
        streets = [(np.asarray(p.convert("RGB")), street_things(m)) for p, m in rows_of(o.camvid / "test.parquet", o.tests)]  # pyright: ignore[reportArgumentType]
        streets = [(image, things) for image, things in streets if len(things)]

        def scores(look: Look) -> dict[str, float]:
            return discovery_scores(
                [best_in_cells(things, proposals(look(p), 2 * PROPOSALS, cluster_metric(look))) for p, things in streets]
            )

        for name, look in PLAIN.items():
            self.keep(f"real {name}", lambda look=look: scores(look))
        for seed in range(o.seeds):
            run = self.run_of(seed, clusters=16)
            untrained = self.untrained(run)
            self.keep(f"real untrained {seed}", lambda model=untrained: scores(network_map(model, o.real_size)))
            if not o.photos or f"real odin {seed}" in self.found or time.monotonic() > self.ends:
                continue
            images = Kept([o.photos], max(o.size, 96), o.images)
            model = self.trained(f"photos {seed}", run, ImageSource(images, about={"data": f"photos {len(images)}"}))
            if model is not None:
                self.keep(f"real odin {seed}", lambda model=model: scores(network_map(model, o.real_size)))


@torch.no_grad()
def linear_iou(look: Look, scenes: Scenes) -> float:
    """Learn the family of texture of each cell by ridge regression on half of the scenes; the mean IoU of the other half."""
    rows, truth = [], []
    for k in range(len(scenes)):
        found = look(scenes[k])
        places = [
            ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(found.shape[1:], scenes.families[k].shape, strict=True)
        ]
        rows.append(torch.nn.functional.normalize(found.flatten(1).T, dim=1).double())
        truth.append(torch.from_numpy(scenes.families[k][places[0]][:, places[1]].reshape(-1)))
    half = len(rows) // 2
    x = torch.cat([torch.cat(rows), torch.ones(sum(map(len, rows)), 1, dtype=torch.float64)], 1)
    cells = sum(map(len, rows[:half]))
    wanted = torch.nn.functional.one_hot(torch.cat(truth[:half]).long(), len(FAMILIES)).double()
    weights = torch.linalg.solve(x[:cells].T @ x[:cells] + 1e-3 * cells * torch.eye(x.shape[1]).double(), x[:cells].T @ wanted)
    counted = Confusion(len(FAMILIES), 255)
    counted.add((x[cells:] @ weights).argmax(1).numpy()[None], torch.cat(truth[half:]).numpy()[None])
    return counted.mean_iou


def followed(look: Look, images: np.ndarray, ids: np.ndarray) -> float:
    """Carry the first mask of a clip and give the mean J of its objects."""
    how = PropagationConfig(short_side=images.shape[1], radius=4, context=4)
    said = np.stack(list(carry(images, ids[0].astype(np.uint8), look, how)))
    numbers = [n for n in np.unique(ids[0]) if n and (ids[0] == n).mean() >= 0.02]
    return float(np.mean([mask_iou(said[1:] == n, ids[1:] == n).mean() for n in numbers])) if numbers else 1.0


def parts_of(found: Mapping[str, Any], seeds: int) -> dict[str, list[Part]]:
    """What each claim rests on, of those whose runs are there: differences of scores on the seeds that are finished."""

    def values(arm: str, score: str) -> list[float]:
        """The scores of all seeds; what needs no training has one for all of them."""
        if arm in PLAIN or arm == "encoder" or arm.removeprefix("real ") in PLAIN:
            return [found[arm][score]] * seeds
        return [found[f"{arm} {seed}"][score] for seed in range(seeds) if f"{arm} {seed}" in found or seed == 0]

    def ahead(other: str, score: str = "abo", bound: float = 0.0, one: str = "odin") -> Part:
        gains = [a - b for a, b in zip(values(one, score), values(other, score), strict=False)]
        return Part(f"{NAMES[score]} less {other}'s", gains, bound, digits=3)

    def spreads(arms: Sequence[str]) -> list[float]:
        return [max(scores) - min(scores) for scores in zip(*(values(arm, "abo") for arm in arms), strict=False)]

    def minds_k() -> list[Part]:
        own, other = spreads(("odin", "K 4", "K 16", "K 32")), spreads(("segments 10", "segments 100", "segments 1000"))
        less = [b - a for a, b in zip(own, other, strict=False)]
        return [
            Part("ABO differs over K by", own, 0.05, below=True, digits=3),
            Part("more over scales of segments by", less, digits=3),
        ]

    made: dict[str, Callable[[], list[Part]]] = {
        "T1": lambda: [ahead("untrained", bound=0.10)],
        "T2": lambda: [
            ahead(other, score, bound)
            for score in ("abo", "mean_iou")
            for other, bound in (("grid", 0.0), ("segments 1000", 0.0), ("oracle", -0.03))
        ],
        **{f"T3 by {NAMES[score]}": lambda score=score: [ahead("frozen", score)] for score in SCORES},
        "T4": minds_k,
        "T5": lambda: [ahead(name) for name in PLAIN],
        "T6": lambda: [ahead("untrained", "j", 0.10)],
        "start": lambda: [ahead("encoder")],
        "real": lambda: [ahead(f"real {name}", one="real odin") for name in PLAIN],
    }
    claims: dict[str, list[Part]] = {}
    for name, parts in made.items():
        with suppress(KeyError):  # runs that were not asked for
            claims[name] = parts()
    return claims


def mean_scores(found: Mapping[str, Any]) -> dict[str, str]:
    """Write the means over the seeds of each arm's scores: ABO, OR, linear mean IoU, J."""
    runs: dict[str, list[dict[str, float]]] = {}
    for name, scores in found.items():
        if set(NAMES) <= set(scores):
            runs.setdefault(re.sub(r" \d$", "", name), []).append(scores)
    names = "abo", "object_recovery", "mean_iou", "j"
    return {arm: ", ".join(f"{np.mean([seed[name] for seed in seeds]):.3f}" for name in names) for arm, seeds in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--claims", nargs="+", default=["T1", "T2", "T3", "T4", "T5", "T6"])
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="these runs, whatever the claims want")
    parser.add_argument("--colours", choices=["apart", "shared"], default="shared", help="of the parts of scenes")
    parser.add_argument("--encoder", help="as tapetum train odin takes it, such as weights:resnet-nano; else a small ResNet-18")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--images", type=int, default=1500, help="scenes, or photographs, to learn from")
    parser.add_argument("--tests", type=int, default=128, help="scenes, and images of streets, to score with")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--size", type=int, default=64, help="side of the scenes in pixels")
    parser.add_argument("--camvid", type=Path, help="folder with test.parquet")
    parser.add_argument("--photos", type=Path, help="parquet file of photographs to learn from")
    parser.add_argument("--real-size", type=int, default=192, help="shorter side of streets as a network sees them")
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(options)
    given = {name: value for name, value in vars(options).items() if isinstance(value, (int, float, str))}
    study.found["settings"] = given | flat(RECIPES["small"].odin)
    study.plain()
    for seed in range(options.seeds):
        study.seed(seed)
    if options.camvid:
        study.real()
    study.file.write_text(json.dumps(study.found, indent=1) + "\n")
    table(study.found)


def flat(config: OdinConfig) -> dict[str, float]:
    """Give the numbers of a config."""
    return {key: value for key, value in asdict(config).items() if isinstance(value, (int, float))}


def table(found: dict[str, Any]) -> None:
    """Print all scores, then the claims."""
    names = "abo", "object_recovery", "mean_iou", "j"
    print(f"{'':20}" + "".join(f"{name:>17}" for name in names))
    for name, scores in found.items():
        if name != "settings":
            print(f"{name:20}" + "".join(f"{scores[key]:17.3f}" if key in scores else " " * 17 for key in names))
    for name, parts in parts_of(found, int(found["settings"]["seeds"])).items():
        print(name, verdict(parts), "; ".join(map(str, parts)))


if __name__ == "__main__":
    main()
