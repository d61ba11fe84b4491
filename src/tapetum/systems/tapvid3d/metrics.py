"""The metrics of TAPVid-3D (arXiv 2407.05921): 3D-AJ, APD and OA of one clip or a batch of clips.

Every frame of every track counts, the query's own and those before it too. With P the prediction after rescaling, G the
truth, both in metres in the camera of their frame, Z the depth of G and f = sqrt(fx fy):

    within_d                  |P - G| < d Z / f, for d = 1, 2, 4, 8, 16; or < 0.01, 0.04, 0.16, 0.64, 2.56 m (fixed)
    occlusion_accuracy        fraction of all points where the predicted visibility is the true one: OA
    pts_within_d              fraction of the visible points that are within d, whatever the predicted visibility
    jaccard_d                 hits / (visible + false alarms): a hit is visible, predicted visible and within d; a false
                              alarm is predicted visible and not a hit
    average_pts_within_thresh, average_jaccard       means over d: APD and 3D-AJ

Before anything is measured the prediction is multiplied by

    median, mean              median or mean |G| over median or mean |P|, over all points visible in both
    median_on_queries         the same at the queries' frames only
    per_trajectory            Z of G over Z of P at the track's query frame
    local_neighborhood        as per_trajectory, and each track's scale goes for every point that truly is within 0.05 m of it,
                              all weighted so that together they weigh as much as the track
    reproduce_2d              Z of G over Z of P at every point: only the error across the line of sight is left
    none                      1

Unusual: a distance of exactly the threshold is too far; a visible point that is predicted visible in the wrong place counts
twice against the Jaccard; the benchmark's intrinsics are those of the clip resized to 256 pixels on its shorter side.

A number is NaN where nothing can be counted: APD without a visible point; AJ if, besides, nothing is predicted visible. A
predicted position that is not finite is wrong, and takes no part in a scale. Where no point is visible in both, the scale is
taken over the points that are visible in truth; where that fails too, or a track's predicted depth at its query is not above 0,
every position is wrong.

Differs from the public function (google-deepmind/tapnet, tapvid3d/evaluation/metrics.py at c2cbab8), which
`compat="tapnet"` follows instead:
- It raises for per_trajectory with queries (n, 3), for local_neighborhood unless track-wise, and for several clips with
  median, mean and median_on_queries, or mixes them up where shapes happen to fit. compat refuses all of these.
- Where no point is visible in both, its APD is 0, although APD is said to ignore the predicted visibility.
- In median, mean and median_on_queries it leaves a NaN prediction out of |P| but not its point out of |G|, and lets an
  infinite one into |P|.
- Results for one clip have an axis of length 1; ours have none. It computes in the arrays' own types, ours in float64.
"""

from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Integer, Num

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.counts import count_neighbourhoods, count_tracks
from tapetum.tracks.metrics import THRESHOLDS
from tapetum.types.checks import unmasked

Scaling = Literal["none", "median", "mean", "median_on_queries", "per_trajectory", "local_neighborhood", "reproduce_2d"]
"""How predictions are rescaled; `median` is the benchmark's headline."""

FIXED_THRESHOLDS = (0.01, 0.04, 0.16, 0.64, 2.56)
"""Metres, in place of 1, 2, 4, 8 and 16 pixels."""

QUERY_SCALINGS = ("median_on_queries", "per_trajectory", "local_neighborhood")
"""Those that need `query_points`."""

COMMON_SCALINGS = ("median", "mean", "median_on_queries")
"""Those with one scale for the whole clip."""


def tapvid3d_metrics(
    gt_occluded: Bool[np.ndarray, "*order"],
    gt_tracks: Num[np.ndarray, "*order 3"],
    pred_occluded: Bool[np.ndarray, "*order"],
    pred_tracks: Num[np.ndarray, "*order 3"],
    intrinsics_params: Num[np.ndarray, "*b 4"],
    get_trackwise_metrics: bool = False,
    scaling: Scaling = "median",
    query_points: Num[np.ndarray, "*b n 3"] | None = None,
    use_fixed_metric_threshold: bool = False,
    local_neighborhood_thresh: float = 0.05,
    order: str = "n t",
    *,
    compat: Literal["tapnet"] | None = None,
) -> dict[str, Any]:
    """Compute the thirteen numbers of each clip or track, 0..1, or NaN where nothing can be counted. Names are the public
    function's.

    Args:
        gt_occluded: truth, True where the point cannot be seen; axes as `order` says.
        gt_tracks: truth, X, Y, Z in metres in each frame's camera; finite wherever visible.
        pred_occluded: prediction, True where the tracker says that the point cannot be seen.
        pred_tracks: prediction in the same axes, in any unit of length unless `scaling` is "none".
        intrinsics_params: fx, fy, cx, cy of the resized clip, the same for all clips or (b, 4); only fx and fy are used.
        get_trackwise_metrics: a number for each track rather than for each clip.
        scaling: how predictions are rescaled before they are measured.
        query_points: (n, 3) or (b, n, 3), the frame first and then two that are not used (y, x in the public code).
        use_fixed_metric_threshold: thresholds from 1 cm to 2.56 m, whatever the depth and the camera.
        local_neighborhood_thresh: radius of a neighbourhood, metres.
        order: the axes, "n t", "t n", "b n t" or any other order of these.
        compat: "tapnet" gives what the public function gives, wrong or not.

    Returns:
        `occlusion_accuracy`, `pts_within_1` ... `16`, `jaccard_1` ... `16`, `average_pts_within_thresh`, `average_jaccard`;
        floats for one clip, else arrays (b,), and with tracks (n,) or (b, n).

    Raises:
        BadInput: shapes that do not fit together, truth that is not finite, a query outside the clip, an unknown name;
            with compat, also what the public function fails at.

    >>> truth = np.array([[[0.0, 0.0, 2.0], [0.1, 0.0, 2.0]]])
    >>> seen = np.zeros((1, 2), bool)
    >>> camera = np.array([100, 100, 128, 128])
    >>> scores = tapvid3d_metrics(seen, truth, seen, truth + [0.03, 0, 0], camera, scaling="none")
    >>> float(scores["pts_within_1"]), float(scores["pts_within_2"]), float(scores["average_jaccard"])
    (0.0, 1.0, 0.8)
    >>> float(tapvid3d_metrics(seen, truth, seen, truth / 7, camera)["average_jaccard"])
    1.0
    """
    for what, value, known in (("scaling", scaling, get_args(Scaling)), ("compat", compat, (None, "tapnet"))):
        if value not in known:
            raise BadInput(f"{what} is {value!r}; it must be one of {', '.join(map(str, known))}")
    public = compat is not None
    gt_occluded, pred_occluded = _flags("gt_occluded", gt_occluded), _flags("pred_occluded", pred_occluded)
    gt_tracks, pred_tracks = _numbers("gt_tracks", gt_tracks, public), _numbers("pred_tracks", pred_tracks, public)
    axes = _axes(order, gt_occluded.shape, gt_tracks=gt_tracks, pred_occluded=pred_occluded, pred_tracks=pred_tracks)
    visible, gt, pred_visible, pred = (
        array.transpose(*axes, *range(len(axes), array.ndim))[(None,) * (3 - len(axes))]
        for array in (~gt_occluded, gt_tracks, ~pred_occluded, pred_tracks)
    )
    if not (public or np.isfinite(gt).all() or np.isfinite(gt[visible]).all()):
        raise BadInput("gt_tracks is not finite at a point that gt_occluded calls visible; such points must be occluded")
    focal = _focal_lengths(_numbers("intrinsics_params", intrinsics_params, public), len(visible))
    if scaling == "local_neighborhood" and not 0 < (local_neighborhood_thresh or 0) < np.inf:
        raise BadInput(f"local_neighborhood_thresh is {local_neighborhood_thresh}; give a radius in metres above 0")
    queries = _query_frames(query_points, scaling, visible.shape) if scaling in QUERY_SCALINGS else [None] * len(visible)
    if public:
        query_axes = 0 if query_points is None else np.ndim(query_points)
        _refuse(scaling, len(visible), len(axes) == 3, query_axes, get_trackwise_metrics)

    counts = []
    with np.errstate(all="ignore"):
        for clip in range(len(visible)):
            g, v, p, pv = gt[clip], visible[clip], pred[clip], pred_visible[clip]
            scale = _scale(scaling, g, v, p, pv, queries[clip], public)
            unit, steps = np.square(g[..., 2] / focal[clip]), THRESHOLDS
            if use_fixed_metric_threshold:
                unit, steps = np.ones((1, 1)), FIXED_THRESHOLDS
            squares = [step * step for step in steps]
            if scaling == "local_neighborhood":
                near = count_neighbourhoods(g, v, p, pv, scale, unit, squares, local_neighborhood_thresh)
                weight = v.sum(1) / np.maximum(1, near[:, 1].sum((1, 2)))
                counts.append(near * weight[:, None, None, None])
            else:
                counts.append(count_tracks(g, v, p, pv, scale, unit, squares))
        stacked = np.stack(counts) if counts else np.zeros((*visible.shape[:2], 2, 2, 6))
        scores = _scores(stacked if get_trackwise_metrics else stacked.sum(1))
    batch_axis = len(axes) == 3 or (public and scaling != "local_neighborhood")
    return scores if batch_axis else {name: value[0] for name, value in scores.items()}


def _scores(counts: Num[np.ndarray, "*k 2 2 6"]) -> dict[str, Any]:
    within = counts[..., 1, :, ::-1].cumsum(-1)[..., :5]  # visible points, by predicted visibility and threshold
    hits, visible, pred_visible = within[..., 1, :], counts[..., 1, :, :].sum((-1, -2)), counts[..., 1, :].sum((-1, -2))
    agreed = counts[..., 0, 0, :].sum(-1) + counts[..., 1, 1, :].sum(-1)
    near = within.sum(-2) / visible[..., None]
    jaccard = hits / ((visible + pred_visible)[..., None] - hits)
    scores = {"occlusion_accuracy": agreed / counts.sum((-1, -2, -3))}
    for level, threshold in enumerate(THRESHOLDS):
        scores[f"pts_within_{threshold}"], scores[f"jaccard_{threshold}"] = near[..., level], jaccard[..., level]
    return scores | {"average_jaccard": jaccard.mean(-1), "average_pts_within_thresh": near.mean(-1)}


def _scale(
    scaling: Scaling,
    gt: Float[np.ndarray, "n t 3"],
    visible: Bool[np.ndarray, "n t"],
    pred: Float[np.ndarray, "n t 3"],
    pred_visible: Bool[np.ndarray, "n t"],
    queries: Integer[np.ndarray, " n"] | None,
    public: bool,
) -> Any:
    """What the predictions of one clip are multiplied by: 1.0, or an array that broadcasts to (n, t)."""
    if scaling == "none":
        return 1.0
    if scaling == "reproduce_2d":
        return gt[..., 2] / pred[..., 2]
    at_query = (np.arange(len(gt)), queries)
    if scaling in ("per_trajectory", "local_neighborhood"):
        depth, pred_depth = (np.maximum(points[at_query][:, 2], 1e-12) for points in (gt, pred))
        return (depth / pred_depth)[:, None]
    if scaling == "median_on_queries":
        gt, visible, pred, pred_visible = (array[at_query] for array in (gt, visible, pred, pred_visible))
    norms, pred_norms = _norms(gt), _norms(pred)
    usable = visible & np.isfinite(pred_norms)
    if public:
        chosen, pred_chosen = (visible & pred_visible & ~np.isnan(of) for of in (norms, pred_norms))
    else:
        chosen = pred_chosen = usable & pred_visible if (usable & pred_visible).any() else usable
    if not (chosen.any() and pred_chosen.any()):
        return np.full((1, 1), np.nan)
    average = np.mean if scaling == "mean" else np.median
    return np.reshape(average(norms[chosen]) / average(pred_norms[pred_chosen]), (1, 1))


def _norms(points: Float[np.ndarray, "*k 3"]) -> Float[np.ndarray, "*k"]:
    squares = points[..., 0] ** 2 + points[..., 1] ** 2 + points[..., 2] ** 2
    return np.sqrt(np.maximum(1e-12, squares)).astype(np.float64)


def _flags(name: str, value: Any) -> Bool[np.ndarray, "..."]:
    array = np.asarray(unmasked(value, name))
    if array.dtype.kind not in "biuf" or (array.dtype.kind != "b" and not ((array == 0) | (array == 1)).all()):
        raise BadInput(f"{name} holds {array.dtype} that is not all 0 or 1; give True where the point cannot be seen")
    return array.astype(bool)


def _numbers(name: str, value: Any, own_type: bool) -> Float[np.ndarray, "..."]:
    array = np.asarray(unmasked(value, name))
    if array.dtype.kind not in "iuf":
        raise BadInput(f"{name} holds {array.dtype}; give an array of numbers")
    return array if own_type and array.dtype.kind == "f" else array.astype(np.float64, copy=False)


def _axes(order: str, shape: tuple[int, ...], **others: np.ndarray) -> list[int]:
    """Where b (if there are batches), n and t are in arrays of `shape`, which the others' shapes must fit."""
    names = order.split()
    if sorted(names) not in (["n", "t"], ["b", "n", "t"]):
        raise BadInput(f"order is {order!r}; name the axes with n, t and, for batches, b, such as 'n t', 't n' or 'b n t'")
    if len(shape) != len(names):
        raise BadInput(f"gt_occluded has shape {shape}; with order {order!r} it must be ({', '.join(names)})")
    for name, array in others.items():
        expected = (*shape, 3) if name.endswith("tracks") else shape
        if array.shape != expected:
            raise BadInput(f"{name} has shape {array.shape}; with gt_occluded of shape {shape} it must be {expected}")
    return [names.index(axis) for axis in "bnt" if axis in names]


def _focal_lengths(intrinsics: Float[np.ndarray, "..."], clips: int) -> Float[np.ndarray, "b 1 1"]:
    if intrinsics.shape not in ((4,), (clips, 4)):
        raise BadInput(f"intrinsics_params has shape {intrinsics.shape}; give fx, fy, cx, cy, or that for each of {clips}")
    fx, fy = intrinsics[..., 0], intrinsics[..., 1]
    if not ((fx > 0) & (fy > 0) & np.isfinite(fx * fy)).all():
        raise BadInput(f"fx, fy are {intrinsics[..., :2].tolist()} in intrinsics_params; give focal lengths in pixels above 0")
    return np.broadcast_to(np.sqrt(fx * fy), clips)[:, None, None]


def _query_frames(queries: Any, scaling: str, shape: tuple[int, int, int]) -> Integer[np.ndarray, "b n"]:
    b, n, t = shape
    if queries is None:
        raise BadInput(f"scaling {scaling!r} needs query_points, (n, 3) with the frame first")
    queries = _numbers("query_points", queries, False)
    if queries.shape not in ((n, 3), (1, n, 3), (b, n, 3)):
        raise BadInput(f"query_points has shape {queries.shape}; for {b} x {n} tracks it must be {(n, 3)} or {(b, n, 3)}")
    frames = np.round(queries[..., 0])
    outside = ~((frames >= 0) & (frames < t))
    if outside.any():
        raise BadInput(
            f"a query is at frame {queries[..., 0][outside][0]:g} of a clip of {t} frames (0..{t - 1}); "
            "the frame comes first in query_points, last in queries_xyt of the benchmark's files"
        )
    return np.broadcast_to(frames.astype(np.intp), (b, n))


def _refuse(scaling: Scaling, clips: int, batched: bool, query_axes: int, trackwise: bool) -> None:
    """What the public function raises at, or answers by mixing up clips."""
    what = None
    if scaling in COMMON_SCALINGS and clips > 1:
        what = "with several clips"
    elif scaling == "per_trajectory" and query_axes < 3:
        what = "with query_points without an axis for the batch"
    elif scaling == "local_neighborhood" and (batched or not trackwise):
        what = "with batches" if batched else "unless get_trackwise_metrics"
    if what:
        raise BadInput(f"the public function fails at scaling {scaling!r} {what}, where its driver records 0; leave compat out")
