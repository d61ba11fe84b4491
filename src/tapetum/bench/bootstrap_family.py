"""The family of trackers that `tapetum bootstrap` trains: TAPIR's, or TAPNext's if the weights are of such a network."""

from typing import TYPE_CHECKING

from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.config import RECIPES, BootstrapRun

if TYPE_CHECKING:
    from tapetum.tracks.training.self_training import TrackerFamily

_OF_TAPIR = ("polish", "second_pass", "matching", "mixer_lr", "extra_convs", "iterations")
"""Settings of what a TAPNext does not have."""


def is_tapnext(model: str) -> bool:
    """Check whether weights, a name or a file, are of a TAPNext. Raises BadInput for a file that is not there."""
    from tapetum.hub.loading import find_loader
    from tapetum.hub.registry import entry_of

    entry = entry_of(model)
    loader = entry.loader if entry is not None and entry.loader else find_loader(model, "track")
    return loader.startswith("tapetum.systems.tapnext.")


def check_tapnext(run: BootstrapRun) -> None:
    """Raise BadInput if settings of TAPIR's parts differ from the preset: they have no effect on a TAPNext."""
    usual = RECIPES[run.preset]
    given, preset = ({**vars(each), **vars(each.settings)} for each in (run, usual))
    changed = [name.replace("_", "-") for name in _OF_TAPIR if given[name] != preset[name]]
    if changed:
        raise BadInput(f"{', '.join(changed)} is of TAPIR, and {run.model} is a TAPNext, which has no such part; leave it out")


def choose_family(run: BootstrapRun) -> "TrackerFamily | None":
    """Build the family of the run's tracker; None is TAPIR's. Raises BadInput as `is_tapnext` and `check_tapnext` do."""
    if not is_tapnext(run.model):
        return None
    from tapetum.systems.tapnext.family import TapNextFamily

    check_tapnext(run)
    return TapNextFamily(run.model, rebalance=run.settings.rebalance)
