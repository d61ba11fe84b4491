"""`tapetum discover`: objects in images, with no labels and no names."""

from dataclasses import dataclass

from tapetum.app.discover import DiscoverOptions, discover
from tapetum.app.shell.output import print_json, terminal
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Discover(DiscoverOptions):
    """Find objects in images without labels.

    Nobody says what they are: parts of an image that are alike and stand apart from their ground. By default k-means of
    colours and positions, which needs no network; an encoder sees more.
    """

    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = discover.run(self, listener)
        if self.json:
            print_json(found.as_json())
        else:
            print(f"{sum(found.objects)} objects in {len(found.images)} images")
            print(f"page      {found.page}\nmasks     {found.instances}\nhow good  {found.measured}")
        if found.failed:
            count = len(found.failed) + len(found.images)
            raise BadInput(f"{len(found.failed)} of {count} images could not be read; the others are in {self.out}")
