"""`tapetum search`: moments of videos that words describe."""

from dataclasses import dataclass

from tapetum.app.search import SearchOptions, search
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Search(SearchOptions):
    """Find the moments of videos that words describe, in a table that tapetum embed made of them.

    A line a moment: from and to in seconds, how alike it is, the file.
    """

    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = search.run(self, listener)
        if self.json:
            print_json(found.as_json())
            return
        for each in found.moments:
            span = "        image    " if each.start_s is None else f"{each.start_s:8.1f} - {each.stop_s:8.1f}"
            print(f"{span}  {each.cosine:6.3f}  {each.path}")
        if found.sheet is not None:
            print(f"{found.sheet}: images of them")
