"""`tapetum tapvid3d scenes`: synthetic clips with exact truth."""

from dataclasses import dataclass

from tapetum.app.shell.output import terminal
from tapetum.app.tapvid3d import ScenesOptions, scenes


@dataclass(frozen=True, kw_only=True)
class ClipsOfScenes(ScenesOptions):
    """Write synthetic videos with exact truth in the format of the benchmark: a moving camera, moving objects."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = scenes.run(self, listener)
        print(f"wrote {made.clips} clips of {made.frames} frames and {made.points} tracks into {made.folder}")
