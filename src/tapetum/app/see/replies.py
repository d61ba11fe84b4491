"""Replies of a vision-language model about an image: text, boxes, masks; as JSON and back, and drawn."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.verb import Result

if TYPE_CHECKING:
    import numpy as np

    from tapetum.types import Answer, Boxes, Masks


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageReply:
    """Reply of a model about one image, or about some frames of a video together."""

    path: str
    prompt: str
    width: int
    height: int
    frames: int
    frame: int | None
    answer: "Answer"
    """Its words, location tokens among them, with the probability of the whole."""
    ended: bool
    """It ended by itself."""
    boxes: "Boxes"
    """In pixels; the score of each is the geometric mean of the probabilities of its tokens."""
    masks: "Masks"
    malformed: int
    """Number of boxes and masks that followed no grammar and were left out."""
    unasked: tuple[str, ...] = ()
    """Labels of boxes of things nobody asked for, which were left out."""
    drawn: Path | None = None

    def as_json(self) -> dict[str, Any]:
        from tapetum.data.rle import encode_mask

        content: dict[str, Any] = {
            **{name: getattr(self, name) for name in _ABOUT},
            "answer": self.answer.text,
            "score": self.answer.score,
            "ended": self.ended,
            "boxes": _rows(self.boxes, "box", self.boxes.xyxy.tolist()),
            "masks": _rows(self.masks, "segmentation", [encode_mask(mask) for mask in self.masks.masks]),
            "malformed": self.malformed,
            "unasked": list(self.unasked),
        }
        if self.frame is not None:
            content["frame"] = self.frame
        return content if self.drawn is None else {**content, "drawn": str(self.drawn)}


_ABOUT = "path", "prompt", "width", "height", "frames"


def _rows(regions: "Boxes | Masks", key: str, values: list[Any]) -> list[dict[str, Any]]:
    assert regions.scores is not None
    triples = zip(regions.labels, regions.scores.tolist(), values, strict=True)
    return [{"label": label, "score": round(score, 6), key: value} for label, score, value in triples]


def from_json(row: dict[str, Any]) -> ImageReply:
    """Read the output of `ImageReply.as_json`."""
    import numpy as np

    from tapetum.data.rle import decode_mask
    from tapetum.types import Answer, Boxes, Masks

    def labelled(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"labels": [each["label"] for each in rows], "scores": np.array([each["score"] for each in rows])}

    corners = np.array([each["box"] for each in row["boxes"]], np.float32).reshape(-1, 4)
    masks = np.array([decode_mask(each["segmentation"]) for each in row["masks"]], bool)
    return ImageReply(
        **{name: row[name] for name in (*_ABOUT, "ended", "malformed")},
        frame=row.get("frame"),
        answer=Answer(text=row["answer"], score=row["score"]),
        boxes=Boxes(xyxy=corners, **labelled(row["boxes"])),
        masks=Masks(masks=masks.reshape(-1, row["height"], row["width"]), **labelled(row["masks"])),
        unasked=tuple(row["unasked"]),
        drawn=Path(row["drawn"]) if "drawn" in row else None,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageResults(Result):
    """Results of images, some of which may not have been read."""

    images: tuple[Any, ...]
    failed: tuple[Any, ...] = ()
    report: Path | None = None

    def with_report(self, content: dict[str, Any]) -> dict[str, Any]:
        """Add the page that was written, if any, to JSON."""
        return content if self.report is None else {**content, "report": str(self.report)}

    def failure(self) -> str | None:
        count = len(self.failed) + len(self.images)
        return f"{len(self.failed)} of {count} images could not be read; see above" if self.failed else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageReplies(ImageResults):
    """Replies of a model about images and videos."""

    images: tuple[ImageReply, ...]
    """In the order of the images; of boxes and masks in a video, one per frame."""
    failed: tuple[dict[str, Any], ...] = ()
    """Images that could not be read: path and trouble."""
    out: Path | None = None
    regions: bool = False
    model: str = ""

    @property
    def text(self) -> str:
        """Get the text about the first image."""
        return self.images[0].answer.text

    def as_json(self) -> dict[str, Any]:
        images = [each.as_json() for each in self.images]
        return self.with_report({"model": self.model, "images": images, "failed": list(self.failed)})

    def as_text(self) -> str:
        lines = []
        several = len(self.images) + len(self.failed) > 1
        for each in self.images:
            if several:
                lines.append(each.path if each.frame is None else f"{each.path}  frame {each.frame}")
            content = _region_lines(each) if self.regions else [each.answer.text or "(nothing)"]
            lines += [f"  {line}" if several else line for line in content]
        lines += [f"drawn    {drawn}" for drawn in dict.fromkeys(each.drawn for each in self.images if each.drawn)]
        lines += [f"report   {self.report}"] if self.report is not None else []
        return "\n".join(lines)


def draw(path: Path, frames: "np.ndarray", replies: list[ImageReply]) -> None:
    """Draw replies on an image, or on frames side by side; text is written below."""
    import numpy as np
    from PIL import Image

    from tapetum.core.files import whole_file
    from tapetum.video.draw_regions import contact_sheet, draw_words, enlarged

    if len(replies) == len(frames):
        drawn = [draw_reply(frame, each) for frame, each in zip(frames, replies, strict=True)]
    else:
        drawn = [enlarged(frame)[0] for frame in frames]
    sheet = drawn[0] if len(drawn) == 1 else contact_sheet(np.stack(drawn))
    if not any(len(each.boxes) for each in replies):
        sheet = draw_words(sheet, [replies[0].prompt, *dict.fromkeys(each.answer.text or "(nothing)" for each in replies)])
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    with whole_file(path) as temporary:
        Image.fromarray(sheet).save(temporary, kind)


def draw_reply(frame: "np.ndarray", each: ImageReply) -> "np.ndarray":
    """Draw the boxes and masks of a reply on its image; small images are enlarged."""
    from tapetum.video.draw_regions import draw_regions, enlarged

    frame, times = enlarged(frame)
    boxes = replace(each.boxes, xyxy=each.boxes.xyxy * times)
    masks = replace(each.masks, masks=each.masks.masks.repeat(times, 1).repeat(times, 2))
    return draw_regions(frame, boxes, masks)


def _region_lines(reply: ImageReply) -> list[str]:
    pixels = [int(mask.sum()) for mask in reply.masks.masks]
    lines = []
    for k, (corners, label) in enumerate(zip(reply.boxes.xyxy.tolist(), reply.boxes.labels, strict=True)):
        assert reply.boxes.scores is not None
        box = " ".join(f"{v:7.1f}" for v in corners)
        area = f"  {pixels[k]:7d} pixels" if len(pixels) == len(reply.boxes) else ""
        lines.append(f"{box}  {reply.boxes.scores[k]:5.2f}{area}  {label}")
    return lines or ["(nothing)"]


def region_text(reply: ImageReply) -> str:
    """Name what was found, and what was left out."""
    left_out = [f"{reply.malformed} malformed"] if reply.malformed else []
    left_out += [f"not asked for: {', '.join(dict.fromkeys(reply.unasked))}"] if reply.unasked else []
    labels = ", ".join(dict.fromkeys(filter(None, reply.boxes.labels)))
    return (labels or "(nothing)") + (f" ({'; '.join(left_out)})" if left_out else "")
