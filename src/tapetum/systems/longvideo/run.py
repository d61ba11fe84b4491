"""Training of video encoders on clips and texts, up to a file of weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from tapetum.core.plugins import find_class
from tapetum.hub.registry import VIDEO_FILE
from tapetum.systems.longvideo.captioner_task import CaptionerTask, LanguageTask
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.task import VideoTextTask
from tapetum.systems.longvideo.weights import Model, save
from tapetum.train import TrainConfig, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config


def train_longvideo(
    run: VideoTextRun, launch: Launch, say: Callable[[str], None] = print
) -> tuple[Path, Mapping[str, float]] | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. None if there is more to do.

    Returns the file of weights and the scores on held-out clips. Raises BadInput for anything the user can fix.
    """
    task = make_task(run)
    if isinstance(task, VideoTextTask):
        task.prepare(say)
    many = "without end" if task.clips.count is None else f"{task.clips.count:,}"
    say(f"clips to learn from: {many}; to score with: {task.clips.validation_count}")
    result = fit(task, longvideo_config(run, launch), launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    path, model = launch.out / VIDEO_FILE, cast(Model, result.model)
    if not is_main():
        return path, {}
    save(model.eval(), path)
    return path, task.evaluate(model, run.steps)


def make_task(run: VideoTextRun) -> VideoTextTask | LanguageTask | CaptionerTask:
    """Make the task of a stage."""
    if run.stage == "language":
        return LanguageTask(run)
    if run.stage == "video-to-text":
        return CaptionerTask(run)
    return (find_class(run.stage, "video_task") or VideoTextTask)(run)


def longvideo_config(run: VideoTextRun, launch: Launch) -> TrainConfig:
    """Make the config of the training loop."""
    return train_config(
        run,
        launch,
        micro_batch=run.micro_batch,
        warmup_steps=run.steps // 20,
        betas=(0.9, 0.98),
        clip_norm=1.0,
        eval_every=max(1, run.steps // 4),
        find_unused_parameters=True,  # patches of the kind that a stage does not show
    )
