"""`tapetum answer`: which of several answers fits a video."""

from dataclasses import dataclass

from tapetum.cli.output import print_json, terminal
from tapetum.verbs.answer import AnswerOptions, answer
from tapetum.verbs.plan import plan_watching


@dataclass(frozen=True, kw_only=True)
class Answer(AnswerOptions):
    """Choose among several answers the one that fits a video best, however long it is.

    By similarity it compares the video with question and answer; by likelihood a language model that looks at the video says
    how likely each answer is. Both are made by tapetum train longvideo; none is bundled yet.
    """

    plan: bool = False
    """Only say what it will cost: frames, tokens, memories, bytes, FLOPs."""
    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if self.plan:
            made = plan_watching((self.video,), self.model, self.rate)
            print_json(made.as_json()) if self.json else print("\n".join(made.lines()))
            return
        with terminal() as listener:
            made = answer.run(self, listener)
        if self.json:
            print_json(made.as_json())
            return
        print(made.answer)
