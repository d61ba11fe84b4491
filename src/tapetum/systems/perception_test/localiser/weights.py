"""Files of a localiser: a safetensors file whose header says config, classes and features as JSON under the key "localiser"."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.hub.headed import blueprint, check_fit, read_headed, save_headed
from tapetum.systems.perception_test.localiser.config import LocaliserConfig, LocaliserRun
from tapetum.systems.perception_test.localiser.model import Localiser

LOCALISER_FILE = "localiser.safetensors"
"""Name of the network in the folder of a run."""


@dataclass(frozen=True)
class TrainedLocaliser:
    """A network, and what it is for."""

    model: Localiser
    task: str
    classes: tuple[int, ...]
    """Ids of the data set, in the order of the logits."""
    features: str
    """As `LocaliserRun.features`."""
    grid: int
    frame_rate: float


def save(model: Localiser, run: LocaliserRun, classes: tuple[int, ...], path: str | os.PathLike[str]) -> None:
    """Write weights and what they are for, or nothing."""
    about = {name: getattr(run, name) for name in ("task", "features", "grid", "frame_rate")}
    save_headed(
        model, path, "localiser", {**about, "config": asdict(run.network), "classes": classes, "channels": len(model.mean)}
    )


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> TrainedLocaliser:
    """Load a file that `save` wrote, or the folder of a run, in evaluation mode. Raises BadInput for anything else."""
    path = Path(name_or_path)
    path = path / LOCALISER_FILE if path.is_dir() else path
    about, tensors = read_headed(path, "localiser", "network of tapetum train localiser")
    try:
        config, classes = LocaliserConfig(**about["config"]), tuple(int(k) for k in about["classes"])
        channels = int(about["channels"])
        with blueprint({**about, "classes": len(classes)}, len(tensors), path):
            expected = Localiser(config, channels, len(classes)).state_dict()
        about_run = str(about["task"]), classes, str(about["features"]), int(about["grid"]), float(about["frame_rate"])
    except (BadInput, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); train it again") from error
    check_fit(expected, tensors, path)
    model = Localiser(config, channels, len(classes))
    model.load_state_dict(tensors)
    return TrainedLocaliser(model.to(device=device, dtype=dtype).eval(), *about_run)
