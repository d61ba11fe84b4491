"""Could the runs behind HiP's claims C2 and C4 decide them, and what would the same with a larger network cost?

    python evidence/hip-claims/power.py [evidence/hip-claims/results.json]

Of each difference of accuracies on which a rule of `claims.py` rests: the mean over seeds and its sample deviation, the line
of the rule, the smallest distance from the line that the seeds decide with a power of 80 %, and how many seeds the measured
distance takes (`benchmarks/plus_minus.py`). The test images leave a deviation of their own. Which of them
each run was right about is not recorded, so that of two independent runs stands for it, which is rather too large.
"""

import json
import statistics
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import detectable_difference, run_of, seeds_needed, seeds_of

TEST_IMAGES = {"digits": 497, "cifar10": 2000}
COMPARISONS = (
    ("C2 learned, gain", "learned-mae", "learned-none", 5.0),
    ("C2 Fourier, gain", "fourier-mae", "fourier-none", 0.0),
    ("C4 permuted - in order", "permuted-mae", "learned-mae", 0.0),
    ("C4 permuted - in order", "permuted-mae", "learned-mae", -10.0),
)
"""What is compared, two arms, and the line of the rule, in points."""


def compare(runs, first, second, line, images):
    """Count the seeds, compute mean, deviation between seeds and power of a difference of two arms, in points."""
    seeds = seeds_of(runs, first, second)
    pairs = [tuple(100 * run_of(runs, arm, seed)["accuracy"] for arm in (first, second)) for seed in seeds]
    differences = [a - b for a, b in pairs]
    mean, deviation = statistics.fmean(differences), statistics.stdev(differences)
    shares = [statistics.fmean(column) / 100 for column in zip(*pairs, strict=True)]
    of_images = 100 * sum(p * (1 - p) / images for p in shares) ** 0.5
    decided = detectable_difference(deviation, of_images, len(seeds))
    return len(seeds), mean, deviation, of_images, decided, seeds_needed(abs(mean - line), deviation, of_images)


def table(results):
    """Write in Markdown what the seeds decide of each comparison."""
    header = "data", "", "line", "difference", "seeds deviate by", "images", "seeds", "they decide", "seeds wanted"
    lines = [header, ["---"] * len(header)]
    for data, images in TEST_IMAGES.items():
        for name, first, second, line in COMPARISONS:
            count, mean, deviation, of_images, decided, wanted = compare(results[data], first, second, line, images)
            numbers = f"{mean:+.1f}", f"{deviation:.1f}", f"{of_images:.1f}", str(count), f"{decided:.1f}"
            lines.append([data, name, f"{line:g}", *numbers, "no number" if wanted is None else str(wanted)])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def main(path):
    results = json.loads(path.read_text())
    print(table(results))
    runs = results["cifar10"]
    small = next(run["gmacs"] for name, run in runs.items() if name.startswith("learned-none"))
    large = next(run["gmacs"] for name, run in runs.items() if name.startswith("c1-hip"))
    seconds = sum(run["cpu_seconds"] for name, run in runs.items() if "@" in name and not name.startswith("c1"))
    seconds += sum(run["cpu_seconds"] for name, run in runs.items() if name.startswith("mae-"))
    print(f"\nC2 and C4 on cifar10: {seconds / 60:.0f} CPU minutes; hip-nano has {large / small:.1f} times the multiplications")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "evidence/hip-claims/results.json"))
