"""All transfer tasks of PaliGemma and PaliGemma 2, as data.

Source: PaliGemma (arXiv 2407.07726, table 1, appendices B and J) and PaliGemma 2 (2412.03555, section 4), with the public
transfer configs, whose sweeps have the numbers that were best at each size. Published scores are in `transfer.results`.

    tapetum train paligemma-transfer --task vqav2 --data DIR --image-size 448
    tapetum eval paligemma --task vqav2 --data DIR --model MODEL

Unusual: the defaults written in the public configs are not the best ones (COCO 1e-4, RefCOCO 5 epochs); these are the best.
DocVQA, ChartQA, ScienceQA and RefCOCO are asked without any word of ours. MSVD-QA shows 8 frames. xGQA and MaRVL say `en`,
since their answers are English. What PaliGemma 2 adds is published in part alone: see `remark`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.recipes import TRANSFER, PaliGemmaTransfer
from tapetum.systems.paligemma.transfer.form import FrameSampling, Recipe, Transfer, at, tried
from tapetum.systems.paligemma.transfer.question_tasks import ALL, NO_PROMPT, QUESTIONS, SMALL

_VIDEO = (224,)


# fmt: off
_CAPTIONS = (
    Transfer(
        name="coco-captions", title="COCO captions", prompt="caption", metric="cider", length=32, beams=2, examples=113_000,
        recipes=at(SMALL, 5, 256, 1e-5, 1e-6), reader="coco-karpathy", train=("train", "restval"), evaluate=("val",),
        by_image=True,
    ),
    tried(
        "nocaps", "NoCaps", "coco-captions", "cider", "caption", reader="coco", evaluate=("val",), beams=2,
        remark="Put its validation file at annotations/captions_val.json, its images into val.",
    ),
    Transfer(
        name="coco-35l", title="COCO-35L", prompt="caption-language", metric="cider", length=32, examples=113_000,
        recipes=at(SMALL, 25, 256, 1e-5, 1e-6), reader="coco-35l", train=("train",), evaluate=("dev",), by_image=True,
        mean_of_kinds=True,
        remark="35 languages, each drawn as often; 25 epochs are of images (5 x 566,435 visits).",
    ),
    tried("xm3600", "Crossmodal-3600", "coco-35l", "cider", "caption-language", reader="xm3600", mean_of_kinds=True),
    Transfer(
        name="screen2words", title="Screen2Words", prompt="caption", metric="cider", length=24, examples=18_100,
        recipes=at(SMALL, 10, 256, 1e-5, 0, 0.3, 0.2), reader="screen2words", train=("train", "dev"),
    ),
    Transfer(
        name="textcaps", title="TextCaps", prompt="caption", metric="cider", length=32, beams=3, lower=True, examples=22_000,
        recipes=at(SMALL, 5, 256, 1e-5, 1e-6), reader="textcaps", train=("train",), evaluate=("val",), by_image=True,
        remark="The paper calls the evaluated split test, the public code val.",
    ),
    Transfer(
        name="scicap", title="SciCap", prompt="caption", metric="cider", length=96, examples=120_000,
        recipes=at(SMALL, 80, 256, 3e-5, 0, 0.1, 0.1), reader="scicap", train=("train", "val"),
        remark="First sentences, figures without parts.",
    ),
    Transfer(
        name="widgetcap", title="WidgetCap", prompt="caption", metric="cider", length=32, examples=44_700,
        recipes=at(SMALL, 4, 64, 3e-6, 3e-7, 0.1, 0.1), train=("train", "dev"), resize="reference",
        remark="A red box around the widget is drawn into the image beforehand, of a width not known here; 5 references.",
    ),
    Transfer(
        name="docci", title="DOCCI", prompt="caption", metric="none", recipes={448: Recipe()}, reader="docci", train=("train",),
        remark="Its prompt is not known here; that of captions stands in. Scored by the sentences that a model finds not "
        "entailed; how it is learned is not known here.",
    ),
)
_PLACES = (
    Transfer(
        name="refcoco", title="RefCOCO, RefCOCO+, RefCOCOg", prompt="expression", metric="referred", length=48,
        examples=24_400, reader="refcoco", by_image=True, train=("train",),
        recipes={
            **at((224,), 100, 256, 3e-5, 0, 0.1, 0.3), **at((448,), 100, 256, 1e-5, 0, 0, 0.3),
            **at((896,), 100, 64, 1e-5, 0, 0, 0.3),
        },
        evaluate=(
            "refcoco/val", "refcoco/testA", "refcoco/testB", "refcoco+/val", "refcoco+/testA", "refcoco+/testB",
            "refcocog/val", "refcocog/test",
        ),
        remark="Learned on all three together, without any image of a val or test split; examples are images.",
    ),
    Transfer(
        name="coco-detection", title="COCO detection", prompt="detect-all", metric="detection",
        recipes=dict.fromkeys(ALL, Recipe()), reader="coco-instances", train=("train2017",), evaluate=("val2017",),
        remark="Lists are filled up with noise (--noise-boxes); the recipe is not known here.",
    ),
    Transfer(
        name="doclaynet", title="DocLayNet", prompt="detect-all", metric="detection",
        recipes=dict.fromkeys(ALL, Recipe(epochs=50)), reader="doclaynet", train=("train",),
        remark="Lists are filled up with noise (--noise-boxes).",
    ),
    *(
        Transfer(
            name=name, title=title, prompt="bare", metric="spotting", length=2048, train=("train",),
            recipes={896: Recipe(steps=15_000, batch_size=256, lr=1e-5, smoothing=0.1)}, remark=NO_PROMPT.strip(),
        )
        for name, title in (("icdar15", "ICDAR 2015"), ("total-text", "Total-Text"))
    ),
)
_WRITTEN = (
    *(
        Transfer(
            name=name, title=title, prompt="bare", metric="tables", length=4096, recipes={896: Recipe(lr=1e-4)},
            train=("train",), white_square=True, remark=NO_PROMPT + "Steps and size of images are not known here.",
        )
        for name, title in (("fintabnet", "FinTabNet"), ("pubtabnet", "PubTabNet"))
    ),
    Transfer(
        name="molecules", title="Molecules (SMILES)", prompt="bare", metric="exact", length=256, train=("train",),
        white_square=True, recipes={448: Recipe(steps=30_000, lr=1e-4, smoothing=0.1)}, remark=NO_PROMPT.strip(),
    ),
    Transfer(
        name="grandstaff", title="GrandStaff", prompt="bare", metric="music", length=1024, recipes={896: Recipe()},
        train=("train",), remark=NO_PROMPT + "Nor is the recipe.",
    ),
    Transfer(
        name="mimic-cxr", title="MIMIC-CXR", prompt="bare", metric="none", recipes={896: Recipe()}, train=("train",),
        remark=NO_PROMPT + "Nor is the recipe. Scored by RadGraph F1, which needs a model of its own.",
    ),
)
_VIDEOS = (
    Transfer(
        name="msrvtt-cap", title="MSR-VTT captions", prompt="caption", metric="cider", length=32, examples=5_000,
        reader="msrvtt-cap",
        recipes=at(_VIDEO, 20, 128, 1e-5, freeze=True), train=("train", "val"), frames=FrameSampling(count=16, stride=9),
        resize="reference-video",
    ),
    Transfer(
        name="msrvtt-qa", title="MSRVTT-QA", prompt="answer", metric="exact", length=64, examples=122_000, reader="msrvtt-qa",
        recipes=at(_VIDEO, 1, 128, 1e-5, freeze=True), train=("train", "val"), frames=FrameSampling(count=16, stride=9),
        resize="reference-video",
    ),
    Transfer(
        name="activitynet-cap", title="ActivityNet captions", prompt="caption", metric="cider", length=64, examples=44_800,
        reader="activitynet-cap", recipes=at(_VIDEO, 1, 128, 1e-5, 1e-6, freeze=True), train=("train",), evaluate=("val_1",),
        frames=FrameSampling(count=16, stride=30), resize="reference-video",
        remark="An example is a part of a video. 44,800 are more than train has, so val was learned too; what was scored is not"
        " known here.",
    ),
    Transfer(
        name="activitynet-qa", title="ActivityNet-QA", prompt="answer", metric="exact", length=64, examples=43_100,
        reader="activitynet-qa", recipes=at(_VIDEO, 1, 128, 1e-5, 1e-6), train=("train", "val"),
        frames=FrameSampling(count=16, stride=70), resize="reference-video",
        remark="43,100 examples are more than the 32,000 of train, so val is learned too.",
    ),
    Transfer(
        name="vatex", title="VATEX", prompt="caption", metric="cider", length=64, examples=24_900,
        reader="vatex", recipes=at(_VIDEO, 10, 128, 3e-6, 3e-7), train=("train",), frames=FrameSampling(count=16, stride=7),
        resize="reference-video",
    ),
    Transfer(
        name="msvd-qa", title="MSVD-QA", prompt="answer", metric="exact", length=64, examples=29_700,
        recipes=at(_VIDEO, 1, 128, 3e-6, 3e-7), train=("train",), frames=FrameSampling(count=8, stride=26),
        resize="reference-video",
    ),
)
# fmt: on
TASKS: Mapping[str, Transfer] = {task.name: task for task in (*_CAPTIONS, *QUESTIONS, *_PLACES, *_WRITTEN, *_VIDEOS)}
"""By name."""


def task_named(name: str) -> Transfer:
    """Look up a task of `TASKS`. Raises BadInput for another name.

    >>> task_named("docvqa").metric
    'anls'
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        raise BadInput(
            f"there is no task {name!r}; " + (f"did you mean {near[0]}?" if near else f"it is one of {', '.join(TASKS)}")
        )
    return TASKS[name]


def task_run(name: str, image_size: int | None = None, **changes: Any) -> PaliGemmaTransfer:
    """Make the config of a run that teaches a task, with the numbers published for images of this size.

    Without a size, those for the smallest one, and images are as the weights have them. `changes` are fields of the config.

    >>> task_run("refcoco", 448).learning.smoothing, task_run("vqav2").weight_decay
    (0.3, 0.1)
    """
    task = task_named(name)
    recipe, length = task.recipe(image_size), task.length
    learning = replace(TRANSFER.learning, smoothing=recipe.smoothing, **({"length": length} if length else {}))
    made = {"task": name, "image_size": image_size, "learning": learning, **task.changes(image_size), **changes}
    return replace(TRANSFER, **made)
