"""Verbs of the command line as typed functions, which combine the systems. A module holds one verb: options, work, printing.

A module here is named as its verb: `tapetum.app.track`, `tapetum.app.data`. A verb that does one thing has a function of
that name, which is `tapetum.track` too; one whose name is that of a room, or that does several things, is reached through its
module: `tapetum.app.data.write`, `tapetum.app.weights.fetch`. Importing this package imports none of them.

One pattern holds everywhere, so that no option is typed twice:

    app/show.py      @dataclass(frozen=True) class ShowOptions     fields, types, defaults and help of options; its docstring is
                                                                  the help of the command
                     class Shown(Result)                           as_json() for other programs, as_text() for people
                     @verb(ShowOptions)
                     def show(options, listener) -> Shown          the work
    python           tapetum.show("tracks.npz", "clip.mp4")        takes the fields of ShowOptions, and so knows their types
                     tapetum.show.run(ShowOptions(...), listener)  the same, with a listener that hears of its progress
    command line     tapetum show tracks.npz clip.mp4 --json       `tapetum.app.commands` makes the command of the verb;
                                                                  --json, progress and exit codes are the same for all

Verbs that train (`train`, `pretrain`, `bootstrap`, `adapt`) differ: their options are whole configs already (a recipe, and a
`Launch` for where and with what it runs), which the function takes and the command line opens up (`tapetum.app.recipes`).

Annotations such as `tyro.conf.arg(metavar="FILE")` say how the command line writes an option; they mean nothing elsewhere. A
function raises `BadInput` for all that the user can mend, whose message names options as the command line does (--grid). It
prints nothing: remarks and progress go to its listener (`tapetum.app.verb.Listener`), and those of a plain call are Python
warnings. Nothing here imports torch before the work begins.
"""

from tapetum.core.lazy import lazy_attributes

_VERBS = (
    *("account", "adapt", "answer", "ask", "bootstrap", "caption", "classify", "convert", "data", "demos", "detect"),
    *("discover", "doctor", "embed", "evaluate", "export", "fetch_perception_test", "hip"),
    *("ledger", "live", "many", "pretrain", "probe", "scenes", "search", "segment", "serve", "show", "show_perception_test"),
    *("study", "submit_perception_test", "tapvid3d", "track", "track_things", "train", "train_status", "weights"),
)

__getattr__ = lazy_attributes(__name__, modules=_VERBS)
