"""Training of video encoders, of a language model, and of the layers between the two, up to a file of weights.

Source: LongViViT (arXiv 2312.07395), section 3.4, of the layers between a frozen video encoder and a frozen language model.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.plugins import find_class
from tapetum.core.reading import check_length
from tapetum.encoders import byte_text
from tapetum.encoders.config import DecoderConfig
from tapetum.hub.registry import VIDEO_FILE
from tapetum.metrics.captions import caption_scores
from tapetum.systems.longvideo.captioner import Captioner, next_token_loss, padded
from tapetum.systems.longvideo.data import CaptionedClip, open_clips
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.language import ByteLanguage, make_language
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.task import ShuffledClips, VideoTextTask, describe, pad_clips, padded_lengths, scale_pixels
from tapetum.systems.longvideo.video_text_config import BYTE_DECODER, CaptionerConfig
from tapetum.systems.longvideo.weights import Model, continue_from, inflate_from, load, save
from tapetum.train import StepContext, Task, TrainConfig, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config

_LENGTH = CaptionerConfig.__dataclass_fields__["length"].default


class LanguageTask(Task):
    """Next-byte prediction on texts, without videos."""

    def __init__(self, run: VideoTextRun):
        self.run, self.clips = run, open_clips(run)

    def model(self) -> ByteLanguage:
        """Make a new decoder, or that of an earlier run."""
        if not self.run.start:
            return ByteLanguage(BYTE_DECODER)
        model = load(self.run.start)
        if not isinstance(model, ByteLanguage):
            raise BadInput(f"{self.run.start} is no language model over bytes; give a run of the stage language, or no --start")
        return model.train()

    def dataset(self) -> ShuffledClips:
        return ShuffledClips(self.clips, self.run.seed)

    def collate(self, items: Sequence[tuple[int, CaptionedClip]]) -> dict[str, Tensor]:
        ids, lengths = _bytes([clip.text for _, clip in items])
        return {"ids": ids, "length": lengths}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        return next_token_loss(model(batch["ids"][:, :-1]), batch["ids"], batch["length"]), {}

    @torch.no_grad()
    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        device = next(model.parameters()).device
        ids, lengths = _bytes([self.clips.validation_clip(k).text for k in range(self.clips.validation_count)])
        ids, lengths = ids.to(device), lengths.to(device)
        return {"held_out_loss": float(next_token_loss(model(ids[:, :-1]), ids, lengths))}

    def describe(self) -> Mapping[str, Any]:
        return describe(self.run)


class CaptionerTask(Task):
    """Next-token prediction on the text of a video."""

    def __init__(self, run: VideoTextRun):
        if not (run.start or run.encoder):
            raise BadInput("video-to-text wants --encoder, or --start with a video encoder of an earlier stage or run")
        self.run, self.clips = run, open_clips(run)

    def model(self) -> Captioner:
        """Build new layers between the run's encoder and language model, or continue a captioner."""
        run = self.run
        start = inflate_from(run.encoder, run.model, **run.video_changes) if run.encoder else load(run.start)
        if isinstance(start, Captioner):
            return start.train()
        if not self.run.language:
            raise BadInput("video-to-text wants --language, a run of the stage language or a causal model of transformers")
        encoder = start if isinstance(start, VideoEncoder) else getattr(start, "video", None)
        if not isinstance(encoder, VideoEncoder):
            raise BadInput(f"{self.run.start} holds no video encoder; give weights of an earlier stage of train longvideo")
        changes = {**self.run.video_changes, "mask_always": self.run.mask_ratio > 0, "tune": encoder.config.tune}
        encoder = continue_from(encoder, **changes)
        language = load_language(self.run.language)
        language_config: DecoderConfig | str = language.config if isinstance(language, ByteLanguage) else self.run.language
        model = Captioner(CaptionerConfig(video=encoder.config, language=language_config), language)
        model.video.load_state_dict(encoder.state_dict())
        return model.train()

    def dataset(self) -> ShuffledClips:
        return ShuffledClips(self.clips, self.run.seed)

    def collate(self, items: Sequence[tuple[int, CaptionedClip]]) -> dict[str, Any]:
        video, lengths = pad_clips([clip.frames for _, clip in items])
        numbers = tuple(number for number, _ in items)
        return {"number": numbers, "video": video, "length": lengths, "text": [clip.text for _, clip in items]}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the mean cross entropy of tokens."""
        assert isinstance(model, Captioner)
        lengths = padded_lengths(batch["video"], batch["length"])
        latents = model.encode(scale_pixels(batch["video"]), lengths, batch["number"])
        gates = torch.stack([layer.gate.detach().abs() for layer in model.cross_attention])  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        return model.loss(latents, batch["text"]), {"gate": gates.mean()}

    @torch.no_grad()
    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score held-out clips: the loss, with and without the video, and generated texts."""
        assert isinstance(model, Captioner)
        model.eval()
        clips = [self.clips.validation_clip(k) for k in range(self.clips.validation_count)]
        device, losses, blind, texts = model.resampler.latents.device, [], [], {}
        for k, each in enumerate(clips):
            latents = model.encode(scale_pixels(torch.from_numpy(each.frames[None]).to(device)))
            ids, lengths = model.tokens([each.text])
            losses.append(float(model.token_loss(latents, ids, lengths)))
            blind.append(float(model.token_loss(None, ids, lengths)))
            texts[k] = model.generate(latents)[0]
        scores, count = caption_scores(texts, {k: [each.text] for k, each in enumerate(clips)}), len(clips)
        lost = {"held_out_loss": sum(losses) / count, "blind_loss": sum(blind) / count}
        return {**lost, "rouge_l": scores.rouge_l, "cider": scores.cider}

    def describe(self) -> Mapping[str, Any]:
        return describe(self.run)


def load_language(place: str) -> Any:
    """Load a language model: from a run of the stage language, or else from transformers."""
    path = Path(place)
    if path.suffix != ".safetensors" and not (path / VIDEO_FILE).is_file():
        return make_language(place)
    model = load(place)
    if not isinstance(model, ByteLanguage):
        raise BadInput(f"{place} is no language model; give the folder of a run of the stage language")
    return model


def _bytes(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    for text in texts:
        check_length(text, "a text for the model")
    rows = [[byte_text.BEGIN, *text.encode(errors="replace")[: _LENGTH - 2], byte_text.END] for text in texts]
    return padded(rows, torch.device("cpu"))


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
    path = launch.out / VIDEO_FILE
    if is_main():
        save(cast(Model, result.model.eval()), path)
    return path, result.scores


def make_task(run: VideoTextRun) -> VideoTextTask | LanguageTask | CaptionerTask:
    if run.stage == "language":
        return LanguageTask(run)
    if run.stage == "video-to-text":
        return CaptionerTask(run)
    return (find_class(run.stage, "video_task") or VideoTextTask)(run)


def longvideo_config(run: VideoTextRun, launch: Launch) -> TrainConfig:
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
