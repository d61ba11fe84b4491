"""The mask of one object through a video, from clicks or boxes in some frames.

    prompts ──► mask of each prompted frame (`solve.outline`) ──► points inside and outside, tracked through all frames
                                                                              │
    each other frame:   the mask of the prompted frames before and after it, moved by the points, ── odds of place
                        their colours, ───────────────────────────────────────────────────────────── odds of colour
                        points inside and outside, where visible ─────────────────────────────────── seeds ──► solved again

Every frame depends on the prompted frames alone, not on its neighbours: nothing drifts, a correction changes only the frames up
to the next prompts, and frames pass in a stream. Where nearly all points of the object are hidden, its mask is empty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates

from tapetum.core.errors import BadInput
from tapetum.data.rle import decode_mask, encode_mask
from tapetum.tracks.masks.solve import (
    ColourModel,
    Crop,
    Prompt,
    PromptableModel,
    connected,
    edge_weights,
    outline,
    resized,
    signed_distance,
    solve,
    sow,
)
from tapetum.tracks.tracker import Tracker
from tapetum.types import Tracks
from tapetum.video import Video, open_video

INSIDE, OUTSIDE = 56, 32
"""Points that are tracked on the object and around it, for each prompted frame."""
COLOUR = 1.5
"""Weight of colours beside place."""
GONE = 0.08
"""Share of an object's points in the image that are visible, below which it counts as hidden."""


@dataclass(frozen=True, eq=False)
class Keyframe:
    """A prompted frame: the object's mask in it, and what carries that to other frames."""

    prompt: Prompt
    mask: Bool[np.ndarray, "h w"]
    distance: Float[np.ndarray, "h w"]
    """From its outline, in pixels, positive inside."""
    colours: ColourModel | None
    """None where the mask is empty."""
    tracks: Tracks | None
    """Points on the object, then `outside` points around it; None where the mask is empty, and in a video of one frame."""
    outside: int

    def of_object(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Look up the object's points: where they are in the prompted frame and in another, (n, 2), and which are visible."""
        assert self.tracks is not None
        n = self.tracks.points - self.outside
        xy = self.tracks.xy[:n].astype(float)
        return xy[:, self.prompt.frame], xy[:, frame], self.tracks.visible[:n, frame]

    def share(self, frame: int) -> float:
        """Compute the share of the object's points that are visible in a frame, of those that should lie in the image."""
        if self.tracks is None:
            return float(self.prompt.frame == frame and self.mask.any())
        here, there, visible = self.of_object(frame)
        if visible.sum() < 2:
            return 0.0
        there = np.where(visible[:, None], there, _moved(_inverse(fit_affine(there[visible], here[visible])), here))
        return float(visible.sum() / ((there >= 0) & (there <= self.mask.shape[::-1])).all(1).sum())


@dataclass(frozen=True, eq=False)
class ClipMasks:
    """The mask of one object in each frame of a video."""

    width: int
    height: int
    runs: tuple[dict[str, Any], ...]
    """COCO's run-length text of each frame (`data.rle`)."""
    keyframes: tuple[Keyframe, ...]
    """In the order of the prompts."""

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, frame: int) -> Bool[np.ndarray, "h w"]:
        return decode_mask(self.runs[frame])


def segment_clip(
    video: Any,
    prompts: Sequence[Prompt],
    tracker: Tracker | None = None,
    *,
    model: PromptableModel = outline,
    before: ClipMasks | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> ClipMasks:
    """Compute the mask of one object in every frame of a video, from prompts in one or more of its frames.

    The first prompt holds a box or a click inside. Each later one corrects the mask that those before it lead to in its frame:
    the mask there is its own, and frames on both sides follow it up to the next prompted frames.

    Args:
        tracker: of points, forward and back in time, such as `tapetum.load("tapir-nano")`; may be None for one frame.
        model: what makes the mask of a prompted frame.
        before: what fewer prompts gave. Prompts that it begins with cost nothing again, and frames that no new prompt changes
            keep their masks.
        progress: receives "tracking" or "segmenting", frames done, and all.

    Raises:
        BadInput: no prompt, none or two for a frame where one is wanted, places outside the image or the video.
    """
    opened = video if isinstance(video, Video) else open_video(video)
    check_prompts(prompts, len(opened), opened.width, opened.height)
    if tracker is None and len(opened) > 1:
        raise BadInput("a video of several frames needs a tracker; give one, such as tapetum.load('tapir-nano')")
    keys: list[Keyframe] = []
    for number, prompt in enumerate(prompts):
        if before is not None and [k.prompt for k in before.keyframes[: number + 1]] == list(prompts[: number + 1]):
            keys.append(before.keyframes[number])
            continue
        frame = opened[prompt.frame]
        mask = np.asarray(model(frame, prompt, _carried(frame, prompt.frame, keys) if keys else None), bool)
        if mask.shape != frame.shape[:2]:
            raise BadInput(f"the model's mask has shape {mask.shape}; return (h, w) of the frame, {frame.shape[:2]}")
        keys.append(_keyframe(opened, frame, prompt, mask, tracker, progress))
    kept = () if before is None else before.keyframes
    runs = []
    for number, frame in enumerate(opened):
        nearest = _nearest(number, keys)
        if before is not None and nearest == _nearest(number, kept):
            runs.append(before.runs[number])
        else:
            runs.append(encode_mask(_carried(frame, number, nearest)))
        progress("segmenting", number + 1, len(opened))
    return ClipMasks(opened.width, opened.height, tuple(runs), tuple(keys))


def check_prompts(prompts: Sequence[Prompt], frames: int, width: int, height: int) -> None:
    """Raise `BadInput` for prompts that no video of this many frames of this size takes."""
    if not prompts:
        raise BadInput("no click was given; click on the object in a frame, or draw a box around it")
    first = prompts[0]
    if first.box is None and not first.inside:
        raise BadInput(f"frame {first.frame} has clicks outside the object only; add one inside it, or a box around it")
    numbers = [prompt.frame for prompt in prompts]
    for prompt in prompts:
        where = f"frame {prompt.frame}"
        if not 0 <= prompt.frame < frames:
            raise BadInput(f"a click or box is in {where}; the video has frames 0..{frames - 1}")
        if numbers.count(prompt.frame) > 1:
            raise BadInput(f"{where} has two prompts; put all its clicks into one")
        for x, y in (*prompt.inside, *prompt.outside):
            if not (0 <= x <= width and 0 <= y <= height):
                raise BadInput(f"a click at {x:g},{y:g} in {where} is outside the image of {width}x{height} pixels")
        if prompt.box is not None:
            x1, y1, x2, y2 = prompt.box
            if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
                box = ",".join(f"{v:g}" for v in prompt.box)
                raise BadInput(
                    f"{box} in {where} is no box in an image of {width}x{height} pixels; give x1,y1,x2,y2, left before right "
                    "and upper before lower"
                )
        if prompt.box is None and not prompt.inside and not prompt.outside:
            raise BadInput(f"the prompt of {where} has neither a click nor a box")


def _keyframe(
    video: Video,
    frame: np.ndarray,
    prompt: Prompt,
    mask: np.ndarray,
    tracker: Tracker | None,
    progress: Callable[[str, int, int], None],
) -> Keyframe:
    distance = signed_distance(mask).astype(np.float32)
    if not mask.any():
        return Keyframe(prompt, mask, distance, None, None, 0)
    window = Crop.around(_bounds(mask, 0.3), mask.shape)
    there = window.crop(mask)
    colours = ColourModel(window.crop(frame), there, 1 - there)
    if tracker is None or len(video) == 1:
        return Keyframe(prompt, mask, distance, colours, None, 0)
    inside, outside = sample_points(distance)
    points = np.concatenate([inside, outside])
    queries = np.concatenate([np.full((len(points), 1), prompt.frame), points], 1).astype(np.float32)
    tracks = tracker.track(video, queries, progress=lambda done, total: progress("tracking", done, total))
    return Keyframe(prompt, mask, distance, colours, tracks, len(outside))


def _bounds(mask: np.ndarray, pad: float) -> np.ndarray:
    """The box around a mask, larger by a share of its longer side."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    more = pad * max(box[2] - box[0], box[3] - box[1]) + 4
    return box + np.array([-more, -more, more, more])


def sample_points(
    distance: Float[np.ndarray, "h w"], inside: int = INSIDE, outside: int = OUTSIDE
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "m 2"]]:
    """Choose points (x, y) on an object and around it, half of them near its outline, from the signed distance to that."""
    size = np.sqrt((distance > 0).sum())
    least = min(2.5, 0.5 * float(distance.max()))
    near = max(3 * least, 0.08 * size)
    on = [(distance >= least) & (distance < near), distance >= least]
    off = [(distance <= -2.5) & (distance > -near - 2.5), (distance <= -2.5) & (distance > -0.5 * size - 2.5)]
    return _spread(on, inside), _spread(off, outside)


def _spread(areas: list[np.ndarray], count: int) -> np.ndarray:
    """Pixel centres far from each other (farthest-point sampling), an equal number in each area."""
    chosen = np.zeros((0, 2))
    for k, area in enumerate(areas, 1):
        places = np.argwhere(area)[:, ::-1] + 0.5
        places = places[:: max(1, len(places) // 4000)]
        if not len(places):
            continue
        away = np.full(len(places), np.inf)
        for old in chosen if len(chosen) else places[:1]:
            away = np.minimum(away, np.square(places - old).sum(1))
        while len(chosen) < count * k // len(areas) and away.max() > 2:
            new = places[away.argmax()]
            chosen = np.concatenate([chosen, new[None]])
            away = np.minimum(away, np.square(places - new).sum(1))
    return chosen


def _nearest(number: int, keys: Sequence[Keyframe]) -> list[Keyframe]:
    """The prompted frames before and after a frame, the nearer one first; only itself if it is one."""
    same = [key for key in keys if key.prompt.frame == number]
    if same:
        return same
    earlier = [key for key in keys if key.prompt.frame < number]
    later = [key for key in keys if key.prompt.frame > number]
    both = [max(earlier, key=lambda k: k.prompt.frame)] if earlier else []
    both += [min(later, key=lambda k: k.prompt.frame)] if later else []
    return sorted(both, key=lambda k: abs(k.prompt.frame - number))


def _carried(frame: np.ndarray, number: int, keys: Sequence[Keyframe]) -> Bool[np.ndarray, "h w"]:
    """Carry the mask of the nearest prompted frames to a frame, and solve it there."""
    near = _nearest(number, keys)
    image = frame.shape[:2]
    if near[0].prompt.frame == number:
        return near[0].mask
    shares = [key.share(number) for key in near]
    if not near[0].mask.any() or max(shares) < GONE:
        return np.zeros(image, bool)
    pairs = [(key, Motion.of(key, number), share) for key, share in zip(near, shares, strict=True) if share >= GONE]
    corners = np.concatenate([motion.corners(key) for key, motion, _ in pairs])
    low, high = corners.min(0), corners.max(0)
    pad = 0.2 * (high - low).max() + 4
    if (low - pad >= image[::-1]).any() or (high + pad <= 0).any():
        return np.zeros(image, bool)
    window = Crop.around(np.concatenate([low - pad, high + pad]), image)
    crop = window.crop(frame)
    trust = np.array([share / abs(key.prompt.frame - number) for key, _, share in pairs])
    odds, seeds = np.zeros(crop.shape[:2]), np.zeros(crop.shape[:2])
    places = []
    for (key, motion, _), part in zip(pairs, trust / trust.sum(), strict=True):
        assert key.colours is not None
        assert key.tracks is not None
        odds += part * (motion.place(key, window) + COLOUR * key.colours.worth * key.colours(crop))
        n = key.tracks.points - key.outside
        outer = key.tracks.xy[n:, number][key.tracks.visible[n:, number]]
        sow(seeds, window.inner(outer), -1)
        inner = window.inner(motion.there[motion.good])
        sow(seeds, inner, 1)
        places.append(inner)
    chances = solve(edge_weights(crop), odds, seeds)
    mask = connected(chances > 0.5, np.concatenate(places))
    return window.paste(np.where(mask, np.maximum(chances, 0.5), np.minimum(chances, 0.4)), image)


@dataclass(frozen=True)
class Motion:
    """How an object moved between its prompted frame and another, by its points."""

    back: Float[np.ndarray, "2 3"]
    """The affine map from the other frame to the prompted one."""
    here: Float[np.ndarray, "n 2"]
    """The points in the prompted frame."""
    there: Float[np.ndarray, "n 2"]
    """The points in the other frame; hidden ones where the affine map has them."""
    visible: Bool[np.ndarray, " n"]
    good: Bool[np.ndarray, " n"]
    """Visible, and moving as their neighbours do."""

    @classmethod
    def of(cls, key: Keyframe, frame: int) -> "Motion":
        """Fit the motion to the points of a prompted frame; points that move unlike their neighbours are left out."""
        here, there, visible = key.of_object(frame)
        back = fit_affine(there[visible], here[visible])
        there = np.where(visible[:, None], there, _moved(_inverse(back), here))
        off = here - _moved(back, there)
        good = visible.copy()
        shown = np.flatnonzero(visible)
        if len(shown) > 5:
            away = np.square(here[shown][:, None] - here[shown]).sum(-1)
            beside = np.argsort(away, 1)[:, 1:6]
            unlike = np.linalg.norm(off[shown] - np.median(off[shown][beside], axis=1), axis=1)
            good[shown] = unlike <= 3 * np.median(unlike) + 1.5
        return cls(back, here, there, visible, good)

    def corners(self, key: Keyframe) -> Float[np.ndarray, "n 2"]:
        """Compute shown around which the object lies in the other frame."""
        x1, y1, x2, y2 = _bounds(key.mask, 0)
        moved = _moved(_inverse(self.back), np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]]))
        return np.concatenate([moved, self.there[self.good]])

    def place(self, key: Keyframe, window: Crop) -> Float[np.ndarray, "r c"]:
        """Compute the log-odds that pixels belong to the object, by where they come from and which points are hidden."""
        size = float(np.sqrt(key.mask.sum()))
        reach = 0.15 * size + 2
        off = self.here - _moved(self.back, self.there)

        def smooth(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Means over the points nearby: of what the affine map lacks (k, 2), and of whether they are visible (k,)."""
            near = np.exp(-np.square(places[:, None] - self.there).sum(-1) / (2 * reach**2))
            local = (near * self.good) @ off / ((near @ self.good)[:, None] + 0.1)
            return local, (near @ self.visible + 0.1) / (near.sum(1) + 0.1)

        rows, columns = (max(2, n // 4) for n in window.size)
        coarse = Crop(window.x, window.y, window.width, window.height, (rows, columns))
        both = np.concatenate([np.reshape(v, (rows, columns, -1)) for v in smooth(coarse.places().reshape(-1, 2))], -1)
        fine = resized(both.astype(np.float32), window.size)
        source = _moved(self.back, window.places().reshape(-1, 2)).reshape(*window.size, 2) + fine[..., :2]
        distance = map_coordinates(key.distance, (source[..., 1] - 0.5, source[..., 0] - 0.5), order=1, mode="nearest")
        left = np.linalg.norm(off - smooth(self.there)[0], axis=1)[self.good]
        blur = 1.0 + 0.015 * size + (float(np.median(left)) if len(left) else 0.02 * size)
        return np.clip(distance / blur, -4, 4) - 16 * np.clip(0.5 - fine[..., 2], 0, 0.5)


def fit_affine(a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "2 3"]:
    """Fit the affine map from `a` to `b` robustly (Cauchy weights); few points give one that only shifts."""
    if not len(a):
        return np.eye(2, 3)
    weight, fitted = np.ones(len(a)), np.eye(2, 3)
    for _ in range(8):
        total = weight.sum()
        ma, mb = weight @ a / total, weight @ b / total
        da, db = a - ma, b - mb
        spread = da.T @ (weight[:, None] * da)
        rest = (0.01 * np.trace(spread) + 1.0) * np.eye(2) * (3 / total)
        linear = np.linalg.solve(spread + rest, da.T @ (weight[:, None] * db) + rest).T
        fitted = np.concatenate([linear, (mb - linear @ ma)[:, None]], 1)
        away = np.linalg.norm(_moved(fitted, a) - b, axis=1)
        weight = 1 / (1 + np.square(away / max(2 * float(np.median(away)), 1.0)))
    return fitted


def _moved(affine: np.ndarray, xy: np.ndarray) -> np.ndarray:
    return xy @ affine[:, :2].T + affine[:, 2]


def _inverse(affine: np.ndarray) -> np.ndarray:
    linear = np.linalg.pinv(affine[:, :2])
    return np.concatenate([linear, -(linear @ affine[:, 2])[:, None]], 1)
