"""`tapetum probe`: how good the features of an encoder are."""

from dataclasses import dataclass

from tapetum.app.probe import ProbeOptions, probe
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Probe(ProbeOptions):
    """Say how good an encoder's features are: nearest neighbours and a linear probe on labelled images.

    The encoder stays as it is. The probe tries the same settings for every encoder, chooses on a held-out tenth of what it
    learns from, and is scored once.
    """

    json: bool = False
    """Print all of it as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = probe.run(self, listener)
        if self.json:
            print_json(found.as_json())
            return
        learned, scored = found.images
        print(f"images    {learned:,} to learn from, {scored:,} scored, {found.classes} classes")
        print(f"neighbours  {found.neighbours:.4f}")
        print(f"linear      {found.linear:.4f}  (decay {found.decay:g}, the best of {len(found.tried)} on a held-out tenth)")
