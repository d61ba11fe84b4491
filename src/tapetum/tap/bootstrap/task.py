"""BootsTAP: a tracker teaches itself from video of which nobody knows the tracks.

Source: BootsTAP (arXiv 2402.00847, section 3). The teacher is an average of the student's own weights over time:

    clip, clean    --teacher--> p_T(t), hidden_T(t)   of a point q1 asked for on frame t1
      |                              |
      | every n-th frame, JPEG,      | any frame t2 of the student's in which the teacher sees the point
      | shrunk into a moving window  v
      v                          (t2, p_T(t2)) through the same map
    clip, spoilt   --student--> p_S(t), occlusion, expected distance, mapped back  -->  losses against p_T, hidden_T

So any query on a track must give the whole track, whatever the picture went through. The paper keeps out what the teacher got
wrong by two masks: the student, from (t2, p_T(t2)), must find its way back to q1 on t1 (the cycle); and a frame counts only
if it is nearer to the teacher's query than to the student's (proximity), so that the teacher has the easier task. Synthetic
clips with exact tracks are learned in every step beside it, with optimiser moments of their own (`Task.parts`).

Differs from the paper, whose full text could not be read here: numbers marked [recalled] in `Bootstrap` are from memory of
it, or this project's choice, each a setting. Learning both in one optimiser, a frozen teacher, and leaving out each
ingredient are settings as well. A track whose query is on t2 = t1 keeps all its frames. So that the teacher of a small
network, with little footage, knows what the student does not, these are ours: `stride`, `second_look`, `polish` and `moving`;
and `confident`, by which labels of which the teacher itself is unsure do not count, neither as targets nor as the student's
queries. It stands in for the cycle, which is off; matching's loss is ours as in `tapetum.tap.training.losses`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from tapetum.data.samples import Shuffle
from tapetum.errors import BadInput
from tapetum.tap.bootstrap.footage import Footage
from tapetum.tap.network.second_look import looks
from tapetum.tap.network.types import Estimate, Trajectories, reduce_estimates
from tapetum.tap.tracking.polish import SURELY_SEEN, polished
from tapetum.tap.training.data import TapSample, Tracked, collate
from tapetum.tap.training.losses import matching_loss, mean_losses, mean_of_looks, tracking_losses
from tapetum.tap.training.task import PointTask
from tapetum.tap.training.warping import jpeg, shrinking, warp_frames

CELL = 8
"""Side in pixels of the squares in which change is measured."""
NOISE = 2.0
"""Levels of 255 by which a square changes where nothing moves."""
NO_DOUBT = 5.0
"""Size of the logits of what is beyond doubt."""


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """The recipe's ingredients, each of which can be left out, and its numbers."""

    teacher: Literal["average", "start"] = "average"
    """The average of the student's weights, or the weights from which it started (not in the paper)."""
    ema_decay: float = 0.99
    """Of the teacher. [recalled]"""
    stride: int = 3
    """The student sees every n-th frame of a clip, n drawn up to this, less where it is too short. Not in the paper: what moves
    little from frame to frame is easier to follow, so the teacher knows what the student has to learn."""
    between: bool = True
    """The teacher sees the frames between those of the student; else only the same."""
    shrink: bool = True
    """The student sees the clip in a smaller window that moves."""
    area: tuple[float, float] = (0.6, 1.0)
    """Least and largest share of the picture that the window covers. [recalled]"""
    aspect: tuple[float, float] = (0.75, 1.33)
    """Width by height of the window, for a square picture. [recalled]"""
    spoil: bool = True
    """The student's frames go through JPEG first."""
    quality: tuple[int, int] = (10, 70)
    """Lowest and highest JPEG quality, the same for all frames of a clip. [recalled]"""
    requery: bool = True
    """The student starts from another place on the teacher's track; else from the teacher's query."""
    cycle: bool = False
    """Tracks count only where the student finds the way back to the teacher's query, as published. That leaves out most of what
    the student has yet to learn: where truth is known, 20 % of the labels are right where the student is wrong, with this mask
    7 % (docs/evidence/bootstrap.md)."""
    within: float = 4.0
    """Pixels of a 256x256 picture by which it may miss there."""
    confident: float = 0.9
    """Frames count only where the teacher is as sure as this that the point is seen, and near where it says, or that it is
    hidden; 0 takes all. Not in the paper: for small teachers, whose labels are often wrong, and who often know it."""
    polish: bool = True
    """The teacher's tracks are made exact, and believed, where pictures agree (`tap.tracking.polish`). Not in the paper: it
    tells a small teacher what it does not know."""
    second_look: bool = True
    """Teacher and student look twice, if that is how the tracker is used (`tapetum.tap.network.second_look`), and both of the
    student's looks learn. Not in the paper."""
    matching: bool = True
    """Footage has the loss on matching's map too (`tap.training.losses.matching_loss`), where the synthetic clips have it."""
    proximity: bool = True
    """Frames count only where they are nearer to the teacher's query than to the student's. [recalled]"""
    rebalance: float = 1.0
    """How much more visible frames weigh in the occlusion loss of pseudo-labels, against sliding towards hidden."""
    synthetic: bool = True
    """Clips with exact tracks are learned beside the footage."""
    apart: bool = False
    """Both losses keep moments of their own, and their moves are added up, as published; else their sum is learned by one
    optimiser, which did better with little footage (docs/log)."""
    moving: float = 0.5
    """Share of the queries drawn where the picture changes. Not in the paper, whose videos were chosen to move: where a camera
    stands still, most points do, and nothing is to be learned from them."""
    weight: float = 1.0
    """Of the footage's loss beside the synthetic one's, where they are not apart; at 0 it is left out, as a control."""
    points: int = 64
    """Queries a clip."""

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise BadInput(f"area is {self.area} and aspect {self.aspect}; wanted least and largest, an area within 0..1")
        if not 1 <= self.quality[0] <= self.quality[1] <= 95:
            raise BadInput(f"quality is {self.quality}; wanted lowest and highest, within 1..95")
        if not 0 <= self.confident < 1 or not self.within > 0:
            raise BadInput(f"confident is {self.confident} and within {self.within}; wanted 0..1, below 1, and pixels above 0")
        if not 0 <= self.moving <= 1:
            raise BadInput(f"moving is {self.moving}; wanted a share, 0..1")
        if self.points < 1 or self.stride < 1:
            raise BadInput(f"points is {self.points} and stride {self.stride}; wanted 1 or more")

    def length(self, frames: int) -> int:
        """Most frames that a teacher sees where a student sees `frames`."""
        return self.stride * (frames - 1) + 1


@dataclass(frozen=True)
class FootageSample:
    """A clip twice, as the teacher and as the student see it; batches have a leading axis b."""

    video: Float[Tensor, "*b d h w 3"]
    """-1..1; what comes after the student's last frame does not count."""
    frames: Int[Tensor, "*b t"]
    """Those of `video` that the student sees, rising from 0."""
    spoilt: Float[Tensor, "*b t h w 3"]
    maps: Float[Tensor, "*b t 3 3"]
    """From raster pixels of the student's frames in `video` to those in `spoilt`."""
    queries: Float[Tensor, "*b n 3"]
    """Of the teacher: (t, x, y), t one of the student's frames by its number there, raster pixels of `video`."""
    draw: Float[Tensor, "*b n"]
    """0..1: which of the frames in which the teacher sees a point is the student's."""


class FootageSamples(torch.utils.data.Dataset[FootageSample]):
    """Endless showings of clips of footage: sample number `index` depends on (seed, index) alone."""

    def __init__(self, footage: Footage, numbers: Sequence[int], settings: Bootstrap, *, size: int, frames: int, seed: int):
        """`numbers` are the clips of `footage` that may be shown, `frames` of each."""
        self.footage, self.numbers, self.settings = footage, list(numbers), settings
        self.size, self.frames, self.seed = size, frames, seed
        self.order = Shuffle(len(self.numbers), seed)

    def __getitem__(self, index: int) -> FootageSample:
        rng = np.random.default_rng((self.seed, 2, index))
        clip = self.footage[self.numbers[self.order(index)]]
        return show(rng, clip, self.settings, self.size, self.frames, self.stride(index))

    def stride(self, index: int) -> int:
        """Every second sample makes up for the one before it, so that pairs cost a teacher the same."""
        drawn = int(np.random.default_rng((self.seed, 3, index // 2)).integers(self.settings.stride))
        return self.settings.stride - drawn if index % 2 else drawn + 1


def show(rng: np.random.Generator, clip: np.ndarray, settings: Bootstrap, size: int, frames: int, stride: int) -> FootageSample:
    """One showing of a clip, uint8 (t, size, size, 3), forwards or backwards, maybe mirrored: every `stride`-th frame, `frames`
    of them, for the student, and those between for the teacher."""
    stride = max(1, min(stride, (len(clip) - 1) // max(frames - 1, 1)))
    count = stride * (frames - 1) + 1
    begin = int(rng.integers(len(clip) - count + 1))
    clip = clip[begin : begin + count]
    clip = clip[::-1] if rng.random() < 0.5 else clip
    whole = np.ascontiguousarray(clip[:, :, ::-1] if rng.random() < 0.5 else clip)
    clip = np.ascontiguousarray(whole[::stride])
    if not settings.between:
        whole, stride = clip, 1
    taught = np.zeros((settings.length(frames), *whole.shape[1:]), np.uint8)  # of the same length in all samples
    taught[: len(whole)] = whole
    spoilt = jpeg(clip, int(rng.integers(settings.quality[0], settings.quality[1] + 1))) if settings.spoil else clip
    pictures = torch.from_numpy(spoilt).permute(0, 3, 1, 2).float() / 255
    maps = np.tile(np.eye(3), (frames, 1, 1))
    if settings.shrink:
        maps = shrinking(rng, frames, size, settings.area, settings.aspect)
        pictures = warp_frames(pictures, torch.from_numpy(maps), (size, size))
    queries = np.column_stack([rng.integers(frames, size=settings.points), rng.uniform(0, size, (settings.points, 2))])
    moving = round(settings.moving * settings.points)
    queries[:moving] = where_it_changes(rng, clip, moving)
    return FootageSample(
        torch.from_numpy(taught).float() / 127.5 - 1,
        torch.arange(frames) * stride,
        pictures.permute(0, 2, 3, 1).contiguous() * 2 - 1,
        torch.from_numpy(maps.astype(np.float32)),
        torch.from_numpy(queries.astype(np.float32)),
        torch.from_numpy(rng.random(settings.points, np.float32)),
    )


def where_it_changes(rng: np.random.Generator, clip: UInt8[np.ndarray, "t s s 3"], count: int) -> Float[np.ndarray, "n 3"]:
    """Queries (t, x, y), likelier the more a cell of the picture changes from its frame to the next or the one before."""
    steps = np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(-1) if len(clip) > 1 else np.zeros((1, *clip.shape[1:3]))
    change = np.maximum(np.concatenate([steps, steps[-1:]]), np.concatenate([steps[:1], steps]))[-len(clip) :]
    cells = F.avg_pool2d(torch.from_numpy(change), CELL).numpy()
    weight = np.maximum(cells - NOISE, 1e-3).ravel()
    frame, row, column = np.unravel_index(rng.choice(weight.size, count, p=weight / weight.sum()), cells.shape)
    return np.stack([frame, *((np.stack([column, row]) + rng.random((2, count))) * CELL)], 1)


@dataclass(frozen=True)
class Labels:
    """What a teacher says of a clip, and where the student starts."""

    xy: Float[Tensor, "b n t 2"]
    """Raster pixels of the clean clip."""
    occluded: Bool[Tensor, "b n t"]
    sure: Bool[Tensor, "b n t"]
    """The teacher is confident, of seeing it there or of its being hidden."""
    usable: Bool[Tensor, "b n"]
    """The teacher surely sees the point somewhere, inside the picture."""
    frame: Int[Tensor, "b n"]
    """t2, of the student's query."""
    place: Float[Tensor, "b n 2"]
    """The student's query in the clean clip."""


def polished_estimate(taught: Estimate, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> Estimate:
    """A teacher's estimate with its tracks made exact by the pictures, and no doubt left where they agree well."""
    frames = ((video.float() + 1) * 127.5).round().byte().cpu().numpy()
    hidden, far = taught.occlusion.float().cpu(), taught.expected_dist.float().cpu()
    confidence = (-hidden).sigmoid() * (-far).sigmoid()
    tracks, agree = [], []
    for clip, asked, xy, sure in zip(frames, queries.cpu(), taught.tracks.float().cpu(), confidence, strict=True):
        exact, raised = polished(lambda begin, end, clip=clip: clip[begin:end], asked, xy, sure)
        tracks.append(exact)
        agree.append(raised > SURELY_SEEN)
    seen, place = torch.stack(agree), torch.stack(tracks).to(taught.tracks)
    hidden, far = (torch.where(seen, logit.clamp(max=-NO_DOUBT), logit).to(place) for logit in (hidden, far))
    return Estimate(place, hidden, far)


def teach(teacher: nn.Module, batch: FootageSample, settings: Bootstrap) -> Estimate:
    """What the teacher says of the student's frames, clip by clip, since their lengths differ."""
    clips = []
    for video, frames, queries in zip(batch.video, batch.frames, batch.queries, strict=True):
        video = video[None, : int(frames[-1]) + 1]
        asked = torch.cat([frames[queries[:, :1].long()].to(queries), queries[:, 1:]], 1)[None]
        seen: Estimate = looks(teacher, video, asked)[-1]
        if settings.polish:
            seen = polished_estimate(seen, video, asked)
        clips.append(Estimate(seen.tracks[:, :, frames], seen.occlusion[:, :, frames], seen.expected_dist[:, :, frames]))
    return reduce_estimates(torch.cat, clips)


def pseudo_labels(taught: Estimate, queries: Tensor, draw: Tensor, size: int, settings: Bootstrap) -> Labels:
    """Labels from the teacher's final estimate; the student's frame is drawn evenly from those in which the point is seen."""
    xy, occluded = taught.tracks.float(), taught.occlusion > 0
    hidden, far = taught.occlusion.float().sigmoid(), taught.expected_dist.float().sigmoid()
    sure = torch.maximum((1 - hidden) * (1 - far), hidden) >= settings.confident
    inside = ((xy >= 0) & (xy < size)).all(-1)
    seen = ~occluded & inside & sure
    if not settings.requery:
        return Labels(xy, occluded, sure, seen.any(-1), queries[..., 0].long(), queries[..., 1:])
    rank = (draw * seen.sum(-1)).long()  # among the seen frames, from 0 on
    frame = (seen & (seen.cumsum(-1) == rank[..., None] + 1)).float().argmax(-1)
    place = xy.gather(2, frame[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
    return Labels(xy, occluded, sure, seen.any(-1), frame, place)


def keep(labels: Labels, student: Estimate, queries: Tensor, size: int, settings: Bootstrap) -> Float[Tensor, "b n t"]:
    """1 for what counts in the loss, by the masks that `settings` ask for; `student` in pixels of the clean clip."""
    first = queries[..., 0].long()
    kept = labels.usable[..., None] & labels.sure
    if settings.cycle:
        back = student.tracks.gather(2, first[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
        near = (back - queries[..., 1:]).norm(dim=-1) * (256 / size) < settings.within
        seen = student.occlusion.gather(2, first[..., None])[..., 0] <= 0
        kept = kept & (near & seen)[..., None]
    if settings.proximity:
        frames = torch.arange(kept.shape[-1], device=kept.device)
        nearer = (frames - first[..., None]).abs() < (frames - labels.frame[..., None]).abs()
        kept = kept & (nearer | (labels.frame == first)[..., None])
    return kept.float()


def through(maps: Float[Tensor, "b t 3 3"], frame: Int[Tensor, "b n"], place: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2"]:
    """Places, each through the map of its frame."""
    return _apply(maps.gather(1, frame[..., None, None].expand(-1, -1, 3, 3)), place)


def mapped(maps: Float[Tensor, "b t 3 3"], tracks: Float[Tensor, "b n t 2"]) -> Float[Tensor, "b n t 2"]:
    """Tracks, each frame through its map."""
    return _apply(maps[:, None], tracks.float())


def _apply(maps: Tensor, places: Tensor) -> Tensor:
    """Written out: as a matrix product, autocast would round places to bfloat16."""
    x, y = places.unbind(-1)
    return torch.stack([maps[..., i, 0] * x + maps[..., i, 1] * y + maps[..., i, 2] for i in range(2)], -1)


class BootstrapTask(PointTask):
    """Footage and synthetic clips, learned together. `model` makes the network, with the weights from which all starts."""

    def __init__(self, size: int, settings: Bootstrap, *, matching_weight: float):
        super().__init__(size, settings.points, matching_weight=matching_weight)
        self.settings = settings
        self.taught = settings.teacher == "average"
        both = settings.synthetic and settings.apart
        self.parts = ("synthetic", "footage") if both else ()
        self._start: nn.Module | None = None

    def samples(self) -> tuple[FootageSamples, torch.utils.data.Dataset[TapSample] | None]:
        """Of footage, and of synthetic clips if these are learned too."""
        raise NotImplementedError

    def dataset(self) -> "Beside":
        """A sample of either kind, by name."""
        return Beside(*self.samples())

    def collate(self, items: Sequence[Mapping[str, TapSample | FootageSample]]) -> dict[str, TapSample | FootageSample]:  # type: ignore[override]
        """Samples of either kind to a batch of either kind."""
        batch: dict[str, TapSample | FootageSample] = {}
        for name in items[0]:
            one = [item[name] for item in items]
            if isinstance(one[0], TapSample):
                batch[name] = collate(one)  # type: ignore[arg-type]
            else:
                batch[name] = FootageSample(*(torch.stack([getattr(s, f.name) for s in one]) for f in fields(FootageSample)))
        return batch

    def loss(
        self,
        model: nn.Module,
        batch: TapSample | FootageSample | Mapping[str, TapSample | FootageSample],
        generator: torch.Generator,
        teacher: nn.Module | None = None,
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Of one kind of sample; or of both, added up, where they are not learned apart."""
        if isinstance(batch, TapSample):
            return super().loss(model, batch, generator)
        if isinstance(batch, FootageSample):
            return self.footage_loss(model, batch, teacher or self._started(model))
        total, logs = torch.zeros(()), {}
        for name, part in batch.items():
            if name == "footage" and self.settings.weight == 0:
                continue
            loss, told = self.loss(model, part, generator, teacher)
            total = total + loss * (self.settings.weight if name == "footage" else 1.0)
            logs |= {f"{name}/{key}": value for key, value in told.items()} | {f"{name}/loss": loss.detach()}
        return total, logs

    def footage_loss(
        self, model: nn.Module, batch: FootageSample, teacher: nn.Module
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Losses of all the student's iterates against the teacher's final estimate."""
        settings, size = self.settings, self.size
        with torch.no_grad():
            labels = pseudo_labels(teach(teacher, batch, settings), batch.queries, batch.draw, size, settings)
        place = through(batch.maps, labels.frame, labels.place)
        asked = torch.cat([labels.frame[..., None].float(), place.clamp(0, size)], -1)
        back = torch.linalg.inv(batch.maps)

        def clean(estimate: Estimate) -> Estimate:
            return Estimate(mapped(back, estimate.tracks), estimate.occlusion, estimate.expected_dist)

        every, students = looks(model, batch.spoilt, asked), []
        for look in every:
            final = clean(look)
            unrefined = tuple(clean(estimate) for estimate in look.unrefined)
            students.append(Trajectories(final.tracks, final.occlusion, final.expected_dist, unrefined))
        with torch.no_grad():
            mask = keep(labels, final, batch.queries, size, settings)
            seen = mask * ~labels.occluded
            off = (final.tracks - labels.xy).norm(dim=-1)
        losses = mean_losses(
            [
                tracking_losses(look, labels.xy, labels.occluded, (size, size), mask=mask, rebalance=settings.rebalance)
                for look in students
            ]
        )
        logs = {
            "position": losses.position.detach(),
            "occlusion": losses.occlusion.detach(),
            "expected_dist": losses.expected_dist.detach(),
            "tracks_kept": mask.any(-1).float().mean(),
            "frames_kept": mask.mean(),
            "teacher_sees": (~labels.occluded).float().mean(),
            "within_2px": ((off < 2) * seen).sum() / seen.sum().clamp(min=1),
        }
        total, heats = losses.total, [look.heat for look in every if look.heat is not None]
        if settings.matching and self.matching_weight and heats:
            there, ignored = mapped(batch.maps, labels.xy), seen == 0
            matching = mean_of_looks([matching_loss(heat, there, ignored, (size, size)) for heat in heats])
            total = total + self.matching_weight * matching
            logs["matching"] = matching.detach()
        return total, logs

    def _started(self, model: nn.Module) -> nn.Module:
        """The network as it was before the first step, which learns nothing."""
        if self._start is None:
            self._start = self.model().to(next(model.parameters()).device).requires_grad_(False).eval()
        return self._start

    def checks(self) -> list[Tracked]:
        """Clips with known tracks, never trained on."""
        raise NotImplementedError


class Beside(torch.utils.data.Dataset[dict[str, TapSample | FootageSample]]):
    """Samples of the same number, side by side."""

    def __init__(self, footage: FootageSamples, synthetic: torch.utils.data.Dataset[TapSample] | None):
        self.footage, self.synthetic = footage, synthetic

    def __getitem__(self, index: int) -> dict[str, TapSample | FootageSample]:
        footage = self.footage[index]
        return {"footage": footage} if self.synthetic is None else {"synthetic": self.synthetic[index], "footage": footage}
