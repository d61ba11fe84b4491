"""`tapetum.evaluate_longvideo`: evaluates a long-video encoder on benchmarks of questions, retrieval and texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.see.answer import load_watcher
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options

if TYPE_CHECKING:
    from tapetum.data.questions import Question


@dataclass(frozen=True, kw_only=True)
class LongVideoEvalOptions:
    """Score a long-video encoder: questions with options (EgoSchema, NExT-QA, the Perception Test, Video-MME,
    LVBench, LongVideoBench, episodes), retrieval and captions (MSR-VTT, VATEX).

    Numbers are shares from 0 to 1, with intervals of 95%; CIDEr is 0 to 10, a hundredth of what papers print. blind: the same
    model on grey frames; visual: by how much it is better with the video.
    """

    task: Annotated[str, tyro.conf.arg(metavar="TASK")]
    """egoschema, nextqa, nextqa-open, perception-test, video-mme, lvbench, longvideobench, episodes, msrvtt or
    vatex."""
    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder of its official files, and of its videos."""
    model: Annotated[File, tyro.conf.arg(metavar="FILE")]
    """Weights with a text tower or a language model, or the folder of a run of `tapetum train longvideo`."""
    measure: Literal["options", "free", "retrieval", "captions"] | None = None
    """What is measured, where a task has several: retrieval, captions of clips."""
    by: Literal["similarity", "likelihood"] | None = None
    """How options are chosen; by default what the weights can do."""
    protocol: Literal["papers", "egoschema", "perception-test", "letters", "video-mme", "lvbench", "longvideobench"] = "papers"
    """How options are asked: as the papers here do; as EgoSchema's own code; by likelihood at 4 frames a second (the Perception
    Test); or by letter, as common toolkits do, or in the words of Video-MME, LVBench or LongVideoBench."""
    frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Spread so many frames over the video, where options are chosen; by default as the protocol has it."""
    split: str = ""
    """Part of the data; by default the one that papers report (egoschema: subset; full writes the server's file)."""
    frame_rate: float | None = None
    """Frames looked at in a second; by default as the task has it."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Look at the first so many questions, clips or videos."""
    blind: bool = True
    """Also score the same model on grey frames, where options are chosen."""
    wordnet: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of WordNet's index, data and exc files, such as /usr/share/wordnet: free answers get WUPS, too."""
    save: Annotated[File | None, tyro.conf.arg(metavar="FILE.jsonl")] = None
    """Keep what is made; what is there of the same weights, settings, videos and questions is not made again."""
    save_predictions: Annotated[File | None, tyro.conf.arg(metavar="FILE.json")] = None
    """Write the numbers of the chosen options as the benchmark's own programs take them."""

    def check(self) -> None:
        from tapetum.bench.longvideo_tasks import find_benchmark

        _, measure = find_benchmark(self.task, self.measure)
        check_options(self, limit="[1, inf)", frames="[1, inf)", frame_rate="(0, inf)")
        if measure != "options" and (self.protocol != "papers" or self.frames is not None):
            raise BadInput(f"--protocol and --frames are for questions with options, which {measure} has not; leave them out")
        if self.save_predictions is not None and measure != "options":
            raise BadInput(f"--save-predictions writes numbers of options, which {measure} has not; --save keeps what is made")
        if self.wordnet is not None and measure != "free":
            raise BadInput(f"--wordnet is for the words of free answers, which {measure} has not; leave it out")


@dataclass(frozen=True, kw_only=True)
class LongVideoScores(Result):
    """Scores; shares are from 0 to 1, CIDEr from 0 to 10."""

    task: str
    measure: str
    split: str
    by: str
    """similarity or likelihood, where options are chosen; else empty."""
    table: dict[str, Any]
    missing: int
    """Questions or clips whose videos are not there."""

    def as_json(self) -> dict[str, Any]:
        about = {"task": self.task, "measure": self.measure, "split": self.split, "by": self.by, "missing": self.missing}
        return {"benchmark": "longvideo", **about, **self.table}

    def as_text(self) -> str:
        lines = [f"{self.task} {self.split}, {self.measure}" + (f" by {self.by}" if self.by else "")]
        width, table = max(map(len, self.table), default=0), self.table.items()
        lines += [f"{name:{width}}  {_number({name: one}, name)}" for name, one in table if not isinstance(one, Mapping | list)]
        for name, row in table:
            if isinstance(row, Mapping):
                cells = [f"{key} {_number(row, key)}" for key in row if not key.endswith("_interval")]
                lines.append(f"{name:{width}}  {'  '.join(cells)}")
        return "\n".join([*lines, *([f"{self.missing} without a video"] if self.missing else [])])


@verb(LongVideoEvalOptions, data=("data",))
def evaluate_longvideo(options: LongVideoEvalOptions, listener: Listener) -> LongVideoScores:
    """Score a long-video encoder on a benchmark, by the protocol of LongViViT and MC-ViT (`tapetum.bench.longvideo_tasks`).

    Items without a video are skipped and reported to the listener. Raises BadInput for files that are not official ones,
    weights that cannot do what is asked, and if no video is present.
    """
    options.check()
    folder = Path(options.data)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give that of the official files of {options.task}")
    from tapetum.bench import longvideo as bench
    from tapetum.bench.longvideo_tasks import PROTOCOLS, find_benchmark
    from tapetum.core.finished import Rows
    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.video_text import identity_of

    benchmark, measure = find_benchmark(options.task, options.measure)
    ways = {"free": "likelihood", "captions": "likelihood", "retrieval": "similarity"}
    model: Any = load_watcher(options.model, ways.get(measure, options.by))
    by = ("likelihood" if isinstance(model, Captioner) else "similarity") if measure == "options" else ""
    split = options.split or benchmark.split
    protocol = replace(PROTOCOLS[options.protocol], **({} if options.frames is None else {"frames": options.frames}))
    frame_rate = options.frame_rate or protocol.frame_rate or benchmark.frame_rate
    settings = {"task": options.task, "measure": measure, "split": split, "by": by, "rate": frame_rate, "blind": options.blind}
    settings["weights"] = identity_of(model)
    if protocol != PROTOCOLS["papers"]:  # rows of the papers' protocol were written before there were others
        settings |= {"protocol": options.protocol, "frames": protocol.frames}
    how: Any = {"frame_rate": frame_rate, "progress": listener.counting("looking")}
    with Rows(None if options.save is None else Path(options.save), settings, listener.note) as rows:
        every = benchmark.read(folder, split)
        lost = [each.video for each in every if not each.video.is_file()]
        if len(lost) == len(every):
            raise BadInput(f"none of the videos is there, such as {lost[0]}; put them into {folder / 'videos'}")
        if lost:
            listener.note(f"{len(lost)} of {len(every)} have no video, such as {lost[0]}; they are left out")
        items = [each for each in every if each.video.is_file()][: options.limit]
        if options.task == "perception-test" and not any(each.context for each in items):
            listener.note(
                f"no question has a cut: {folder} has no cut_frame_mapping_{split}.json, so some videos show their answer"
            )
        if measure == "options":
            scores = bench.answer_questions(model, items, rows, protocol=protocol, blind=options.blind, **how)
            if options.save_predictions is not None:
                _write_predictions(options.save_predictions, options.task, items, scores)
            table = bench.option_scores(items, scores)
        elif measure == "free":
            table = bench.answer_freely(model, items, rows, **_words(options, listener), **how)
        else:
            score: Any = bench.retrieve if measure == "retrieval" else bench.describe
            table = score(model, items, rows, **how)
    return LongVideoScores(task=options.task, measure=measure, split=split, by=by, table=table, missing=len(lost))


def _write_predictions(file: File, task: str, questions: "Sequence[Question]", scores: Mapping[Any, Any]) -> None:
    from tapetum.data.entries import write_items, write_mapping
    from tapetum.data.long_video import official_predictions

    chosen = {each.key: max(range(len(each.options)), key=scores[each.key]["scores"].__getitem__) for each in questions}
    made = official_predictions(task, questions, chosen)
    if isinstance(made, dict):
        write_mapping(file, made.items())
    else:
        write_items(file, made)


def _words(options: LongVideoEvalOptions, listener: Listener) -> dict[str, Any]:
    """Read WordNet and the stop words of NExT-OE; missing ones are reported to the listener."""
    from tapetum.core.reading import read_text
    from tapetum.metrics.wordnet import WordNet

    if options.wordnet is None:
        listener.note("without --wordnet DIR there is no WUPS; Debian's wordnet-base has the files, in /usr/share/wordnet")
        return {}
    file = Path(options.data) / "stopwords.txt"
    try:
        stop_words = frozenset(read_text(file).split())
    except FileNotFoundError:
        listener.note(f"there is no {file}, so all words count; put NExT-OE's own there for its WUPS")
        stop_words = frozenset()
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {file}: {error}; put NExT-OE's own file there") from error
    return {"wordnet": WordNet(options.wordnet), "stop_words": stop_words}


def _number(row: Mapping[str, Any], key: str) -> str:
    ends = row.get(f"{key}_interval")
    interval = "" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})"
    return (f"{row[key]:.3f}" if isinstance(row[key], float) else str(row[key])) + interval
