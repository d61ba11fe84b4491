"""`tapetum answer`: which of several answers fits a video."""

from dataclasses import dataclass

from tapetum.app.answer import AnswerOptions, answer
from tapetum.app.answer_live import LivePassage, answer_live, live_of
from tapetum.app.plan import plan_watching
from tapetum.app.shell.output import print_json, print_line, terminal


@dataclass(frozen=True, kw_only=True)
class Answer(AnswerOptions):
    """Choose among several answers the one that fits a video best, however long it is.

    By similarity it compares the video with question and answer; by likelihood a language model that looks at the video says
    how likely each answer is (of weights of tapetum train longvideo). The default model, mcvit-nano, compares, and knows the
    world of tapetum scenes: simple things on a table, and a hand that moves them.
    """

    online: bool = False
    """Answer for each passage of a camera, an address, a pipe or a file as it comes, in constant memory, until Ctrl-C: a line a
    passage, or of JSON (type passage)."""
    plan: bool = False
    """Only say what it will cost: frames, tokens, memories, bytes, FLOPs, time."""
    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if self.plan:
            made = plan_watching((self.video,), self.model, self.rate)
            print_json(made.as_json()) if self.json else print("\n".join(made.lines()))
            return
        if self.online:
            self._live()
            return
        with terminal() as listener:
            made = answer.run(self, listener)
        if self.json:
            print_json(made.as_json())
            return
        print(made.answer)

    def _live(self) -> None:
        def tell(each: LivePassage) -> None:
            if self.json:
                print_line(each.as_json())
                return
            scores = " ".join(f"{score:.3f}" for score in each.scores)
            print(f"{each.start_s:8.1f} - {each.stop_s:8.1f}  {each.answer}  ({scores})", flush=True)

        with terminal() as listener:
            made = answer_live.run(live_of(self, each=tell), listener)
        about = {"answer": made.answer, "passages": made.passages, "frames": made.frames, "dropped": made.dropped}
        if self.json:
            print_line({"type": "summary", **about})
        else:
            print(f"all in all: {made.answer}")
