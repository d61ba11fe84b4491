"""BootsTAP: self-training of a tracker on unlabelled video.

Source: BootsTAP (arXiv 2402.00847, section 3). The teacher is an average of the student's own weights over time:

    clip, clean    --teacher--> p_T(t), hidden_T(t)   of a point q1 asked for on frame t1
      |                              |
      | every n-th frame, JPEG,      | any frame t2 of the student's in which the teacher sees the point
      | shrunk into a moving window  v
      v                          (t2, p_T(t2)) through the same map
    clip, spoilt   --student--> p_S(t), hidden_S(t), how sure  -->  losses against p_T, hidden_T

So any query on a track must give the whole track. Two masks keep out what the teacher got wrong: the student, from (t2,
p_T(t2)), must find its way back to q1 on t1 (the cycle); and a frame counts only if it is nearer to the teacher's query than to
the student's (proximity). Synthetic clips with exact tracks are learned in every step beside it.

What differs from the paper is a setting each (`config.Ingredients`). A track whose query is on t2 = t1 keeps all its frames.
Networks and losses are those of a `TrackerFamily`: TAPIR's are in `family`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.bootstrap.labels import invert_maps, keep_mask, pseudo_labels, teach, warp_queries, warp_tracks
from tapetum.systems.tap.bootstrap.showings import FootageSample, FootageSamples, PairedSamples, collate_footage
from tapetum.tracks.training.data import TapSample, collate
from tapetum.tracks.training.self_training import FootageTargets, TrackerFamily
from tapetum.train import StepContext, Task


class BootstrapTask(Task):
    """Footage and synthetic clips of `size` x `size` pixels, learned together by a network of some family of trackers."""

    def __init__(self, size: int, settings: Ingredients, family: TrackerFamily):
        self.size, self.settings, self.family = size, settings, family
        self.teachers = ("ema",) if settings.teacher == "average" else ()
        both = settings.synthetic and settings.separate_moments
        self.parts = ("synthetic", "footage") if both else ()
        self._start: nn.Module | None = None

    def model(self) -> nn.Module:
        """Make the network that learns, with the weights from which all starts."""
        return self.family.learner()

    def samples(self) -> tuple[FootageSamples, torch.utils.data.Dataset[TapSample] | None]:
        """Open samples of footage, and of synthetic clips if these are learned too."""
        raise NotImplementedError

    def dataset(self) -> PairedSamples:
        """Pair samples of either kind, by name."""
        return PairedSamples(*self.samples())

    def collate(self, items: Sequence[Mapping[str, TapSample | FootageSample]]) -> dict[str, TapSample | FootageSample]:  # type: ignore[override]
        """Collate samples of either kind to a batch of either kind."""
        batch: dict[str, TapSample | FootageSample] = {}
        for name in items[0]:
            samples = [item[name] for item in items]
            footage = [sample for sample in samples if isinstance(sample, FootageSample)]
            batch[name] = collate_footage(footage) if footage else collate(samples)  # type: ignore[arg-type]
        return batch

    def loss(
        self, model: nn.Module, batch: TapSample | FootageSample | Mapping[str, TapSample | FootageSample], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of one kind of sample; or of both, added up, where they share one optimiser."""
        if isinstance(batch, TapSample):
            return self.family.clip_loss(model, batch)
        if isinstance(batch, FootageSample):
            return self.footage_loss(model, batch, context.teachers.get("ema") or self._started(model))
        total, logs = torch.zeros(()), {}
        for name, part in batch.items():
            if name == "footage" and self.settings.weight == 0:
                continue
            loss, part_logs = self.loss(model, part, context)
            total = total + loss * (self.settings.weight if name == "footage" else 1.0)
            logs |= {f"{name}/{key}": value for key, value in part_logs.items()} | {f"{name}/loss": loss.detach()}
        return total, logs

    def footage_loss(
        self, model: nn.Module, batch: FootageSample, teacher: nn.Module
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the losses of the student against the teacher's pseudo-labels, through which no gradient passes."""
        settings, family = self.settings, self.family
        with torch.no_grad():
            labels = pseudo_labels(teach(family, teacher, batch), batch.queries, batch.draw, self.size, settings)
        place = warp_queries(batch.maps, labels.frame, labels.place)
        queries = torch.cat([labels.frame[..., None].float(), place.clamp(0, self.size)], -1)
        predictions = family.predict(model, batch.spoilt, queries)
        with torch.no_grad():
            final = family.final(predictions)
            student = final._replace(tracks=warp_tracks(invert_maps(batch.maps), final.tracks))
            mask = keep_mask(labels, student, batch.queries, self.size, settings, causal=family.causal)
            counted = mask * ~labels.occluded
            error = (student.tracks - labels.xy).norm(dim=-1)
        targets = FootageTargets(
            self.size, queries, labels.xy, warp_tracks(batch.maps, labels.xy), labels.occluded, mask, batch.maps
        )
        loss, logs = family.footage_loss(model, predictions, targets)
        return loss, {
            **logs,
            "tracks_kept": mask.any(-1).float().mean(),
            "frames_kept": mask.mean(),
            "teacher_sees": (~labels.occluded).float().mean(),
            "within_2px": ((error < 2) * counted).sum() / counted.sum().clamp(min=1),
        }

    def _started(self, model: nn.Module) -> nn.Module:
        """The network as it was before the first step, which learns nothing."""
        if self._start is None:
            self._start = self.model().to(next(model.parameters()).device).requires_grad_(False).eval()
        return self._start
