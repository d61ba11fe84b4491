"""`tapetum.evaluate_retrieval`: evaluates an encoder's image-text retrieval in both directions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.bench.zero_shot import ImageTextRecall


@dataclass(frozen=True, kw_only=True)
class RetrievalOptions:
    """Score an encoder of images and words on captioned images: recall of captions by images and of images by captions."""

    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """COCO with dataset_coco.json (the split of Karpathy) or annotations/captions_SPLIT.json; Flickr30k
    with dataset_flickr30k.json."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FOLDER")] = None
    """An encoder of images and words, such as siglip2-base-32; by default the first that is on this machine."""
    split: str = "test"
    """Which part: test, val or train of Karpathy's split; of COCO's own files such as val2017."""
    captions: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Captions of an image, at most; published numbers are of 5."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The first so many images only."""
    device: str = "auto"
    """Where to look: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if self.captions < 1 or (self.most is not None and self.most < 1):
            raise BadInput(f"--captions is {self.captions} and --most {self.most}; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class RetrievalResult(Result):
    """Recall both ways."""

    model: str
    scores: "ImageTextRecall"

    def as_json(self) -> dict[str, Any]:
        scores = self.scores
        return {
            "benchmark": "retrieval",
            "model": self.model,
            "text_of_image": {f"recall@{k}": value for k, value in scores.text_of_image.items()},
            "image_of_text": {f"recall@{k}": value for k, value in scores.image_of_text.items()},
            "images": scores.images,
            "texts": scores.texts,
        }

    def as_text(self) -> str:
        scores = self.scores
        lines = [f"{self.model}: {scores.images:,} images, {scores.texts:,} captions", f"{'':16}{'@1':>8}{'@5':>8}{'@10':>8}"]
        for name, recalls in (("text of image", scores.text_of_image), ("image of text", scores.image_of_text)):
            lines.append(f"{name:16}" + "".join(f"{value:8.4f}" for value in recalls.values()))
        return "\n".join(lines)


@verb(RetrievalOptions, data=("data",))
def evaluate_retrieval(options: RetrievalOptions, listener: Listener) -> RetrievalResult:
    """Score an image-text encoder on captioned images, in both directions.

    Raises BadInput for data of another layout, files that cannot be read, and a model that reads no words.
    """
    options.check()
    from tapetum.app.see.classify_labels import load_word_model
    from tapetum.bench import zero_shot
    from tapetum.data.vision_language.captions import read_captions

    samples = read_captions(Path(options.data), options.split)[: options.most]
    name, model = load_word_model(options.model, options.device)
    progress = listener.counting("looking at images")
    return RetrievalResult(model=name, scores=zero_shot.evaluate_retrieval(model, samples, options.captions, progress))
