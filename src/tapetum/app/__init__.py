"""Verbs of the command line as typed functions, which combine the systems. A module holds one verb: options, work, printing.

The folders are the groups of `tapetum --help`: track, see, learn, score, make. A module is named after its verb, as
`app.track.track` is. A verb that does one thing has a function of that name, which is `tapetum.track` too; a verb that does
several is reached through its module: `tapetum.app.make.data.write`. `shell` parses and runs
the command line; it finds verbs, those of `tapetum.desk` too, by one table.

One pattern holds everywhere, so that no option is typed twice:

    app/track/show.py @dataclass(frozen=True) class ShowOptions    fields, types, defaults and help of options; its docstring is
                                                                  the help of the command
                     class Shown(Result)                           as_json() for other programs, as_text() for people
                     @verb(ShowOptions)
                     def show(options, listener) -> Shown          the work
    python           tapetum.show("tracks.npz", "clip.mp4")        takes the fields of ShowOptions, and so knows their types
                     tapetum.show.run(ShowOptions(...), listener)  the same, with a listener that hears of its progress
    command line     tapetum show tracks.npz clip.mp4 --json       `tapetum.app.commands` makes the command of the verb;
                                                                  --json, progress and exit codes are the same for all

Verbs that train (`train`, `pretrain`, `bootstrap`, `adapt`) differ: their options are whole configs already (a recipe, and a
`Launch` for where and with what it runs), which the function takes and the command line opens up (`tapetum.app.learn.recipes`).

Annotations such as `tyro.conf.arg(metavar="FILE")` say how the command line writes an option; they mean nothing elsewhere. A
function raises `BadInput` for all that the user can mend, whose message names options as the command line does (--grid). It
prints nothing: remarks and progress go to its listener (`tapetum.app.verb.Listener`), and those of a plain call are Python
warnings. Nothing here imports torch before the work begins.
"""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
