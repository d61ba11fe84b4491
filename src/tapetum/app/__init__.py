"""Verbs of the command line as typed functions that combine the systems. A module holds one verb: options, work, printing.

The folders are the groups of `tapetum --help`: track, see, learn, score, make. A module is named after its verb, such as
`app.track.track`. A verb that does one thing has a function of that name, also exported as `tapetum.track`; a verb that does
several is reached through its module: `tapetum.app.make.data.write`. `shell` parses and runs the command line; it finds verbs,
including those of `tapetum.desk`, through one table.

All verbs follow one pattern, so that no option is written twice:

    app/track/show.py @dataclass(frozen=True) class ShowOptions    fields, types, defaults and help of options; its docstring is
                                                                  the help of the command
                     class Shown(Result)                           as_json() for other programs, as_text() for people
                     @verb(ShowOptions)
                     def show(options, listener) -> Shown          the work
    python           tapetum.show("tracks.npz", "clip.mp4")        takes the fields of ShowOptions, and so knows their types
                     tapetum.show.run(ShowOptions(...), listener)  the same, with a listener that hears of its progress
    command line     tapetum show tracks.npz clip.mp4 --json       `tapetum.app.commands` makes the command of the verb;
                                                                  --json, progress and exit codes are the same for all

Verbs that train (`train`, `pretrain`, `bootstrap`, `adapt`) differ: their options are already whole configs (a recipe, and a
`Launch` for where and with what it runs), which the command line expands into options (`tapetum.app.learn.recipes`).

Annotations such as `tyro.conf.arg(metavar="FILE")` control how the command line shows an option and have no other effect. A
function raises `BadInput` for every error the user can fix; the message names options as the command line does (--grid). It
prints nothing: remarks and progress go to its listener (`tapetum.app.verb.Listener`); in a plain call, remarks become Python
warnings. Nothing here imports torch before the work begins.
"""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
