"""All transfer tasks of PaliGemma and PaliGemma 2, as data, and their published scores.

Source: PaliGemma (arXiv 2407.07726, table 1, appendices B and J) and PaliGemma 2 (2412.03555, section 4), with the public
transfer configs, whose sweeps give the best values at each size.

    tapetum train paligemma-transfer --task vqav2 --data DIR --image-size 448
    tapetum eval paligemma --task vqav2 --data DIR --model MODEL

Unusual: the defaults written in the public configs are not the best ones (COCO 1e-4, RefCOCO 5 epochs); these are the best.
xGQA and MaRVL say `en`, since their answers are English. PaliGemma 2's additions are only partly published: see `remark`.

None of the published scores was measured here. Sources: PaliGemma, table 1 (one run, answers of test servers), PaliGemma 2,
table 13 and section 4 (means of five runs, often on validation splits, "val"), and at 896 pixels Gemma 3 (2503.19786, table
12). A line of `results.txt` has a task, a model, and scores at 224, 448 and 896 pixels, in hundredths; parts and splits are in
order. PaliGemma 2 compares its VizWiz score on val with the first model's on a server, which on val has the same 76.4.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.systems.paligemma.recipes import TRANSFER, PaliGemmaTransfer
from tapetum.systems.paligemma.transfer.form import FrameSampling, Recipe, Transfer, at, tried

NO_PROMPT = "Its prompt is not known here: a line's question is the whole prompt. "
SMALL, ALL, _VIDEO = (224, 448), (224, 448, 896), (224,)
"""Sides of images that tasks are learned with."""


def _documents(smooth: float) -> dict[int, Recipe]:
    """InfoVQA and ST-VQA."""
    return {
        **at((224,), 3, 256, 1e-5, 1e-6, 0, smooth),
        **at((448,), 3, 128, 1e-5, 1e-6, 0, smooth),
        **at((896,), 3, 32, 3e-6, 3e-7, 0, smooth),
    }


# fmt: off
_QUESTIONS = (
    Transfer(
        name="vqav2", title="VQAv2", metric="vqa", length=32, examples=658_000, reader="vqav2",
        recipes={**at((224,), 10, 256, 1e-5, 1e-6), **at((448,), 10, 256, 1e-5)}, train=("train", "val"), evaluate=("test",),
        local=("val",), resize="reference",
    ),
    tried("mmvp", "MMVP", "vqav2", "pairs", resize="reference"),
    tried(
        "pope", "POPE", "vqav2", "yes-no", length=48, evaluate=("random", "popular", "adversarial"),
        remark="The public config says the bare question; the paper's numbers are those of answer en.",
    ),
    tried(
        "objaverse", "Objaverse, 8 views", "vqav2", "none", "bare", length=None, images=8,
        remark=NO_PROMPT + "4 prompts, 5 samples each, scored by cosines of the Universal Sentence Encoder.",
    ),
    Transfer(
        name="okvqa", title="OK-VQA", metric="vqa-simple", length=32, examples=9_000,
        recipes=at(SMALL, 10, 128, 5e-6), evaluate=("val",), resize="reference",
    ),
    Transfer(
        name="aokvqa-mc", title="A-OKVQA, multiple choice", prompt="choose", length=128, examples=18_200,
        recipes=at(SMALL, 15, 128, 5e-6), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="aokvqa-da", title="A-OKVQA, direct answer", metric="vqa-simple", length=32, examples=18_200,
        recipes=at(SMALL, 10, 128, 5e-6), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="gqa", title="GQA", length=32, examples=1_080_000, reader="gqa",
        recipes={**at((224,), 1, 256, 1e-5), **at((448,), 1, 256, 1e-5, freeze=True)}, train=("train", "val"),
        evaluate=("testdev",),
    ),
    tried(
        "xgqa", "xGQA", "gqa", mean_of_kinds=True,
        remark="bn de id ko pt ru zh; questions in them, answers in English.",
    ),
    Transfer(
        name="nlvr2", title="NLVR2", length=64, images=2, examples=93_400,
        recipes={**at((224,), 3, 256, 1e-5, 1e-6), **at((448,), 10, 256, 3e-6, 3e-7)}, train=("train", "dev"),
        evaluate=("test1",),
    ),
    tried(
        "marvl", "MaRVL", "nlvr2", length=64, images=2, mean_of_kinds=True,
        remark="id sw ta tr zh; left, then right.",
    ),
    Transfer(
        name="ai2d", title="AI2D", prompt="choose", length=128, examples=12_400, recipes=at(SMALL, 10, 256, 1e-5, 1e-6),
        resize="reference", evaluation_resize="reference-plain",
    ),
    Transfer(
        name="scienceqa", title="ScienceQA, with an image", prompt="letter", metric="letter", length=512, examples=8_300,
        reader="scienceqa", recipes=at(SMALL, 20, 128, 1e-5, freeze=True), train=("train", "val"), shuffle_options=True,
    ),
    Transfer(
        name="rsvqa-lr", title="RSVQA-LR, without numbers", metric="rsvqa", length=32, lower=True, examples=47_200,
        recipes=at(SMALL, 3, 256, 3e-6, 0, 0, 0.2), train=("train", "val"), resize="reference",
        evaluation_resize="reference-plain", kinds=("comp", "presence", "rural_urban"), mean_of_kinds=True,
    ),
    Transfer(
        name="rsvqa-hr", title="RSVQA-HR, without numbers", metric="rsvqa", length=32, lower=True, examples=432_000,
        recipes=at(SMALL, 1, 256, 1e-5), train=("train", "val"), evaluate=("test", "test_phili"),
        resize="reference", evaluation_resize="reference-plain", kinds=("comp", "presence"), mean_of_kinds=True,
    ),
    Transfer(
        name="chartqa", title="ChartQA", prompt="bare", metric="relaxed", length=48, examples=30_200, reader="chartqa",
        recipes=at(SMALL, 30, 256, 1e-5, 1e-6, 0.1, 0.2), train=("train", "val"), resize="reference", mean_of_kinds=True,
        remark="The reference draws people's and made questions as 7,398 to 20,901: as often as there are of each in train.",
    ),
    Transfer(
        name="vizwiz", title="VizWizVQA", metric="vqa-simple", length=48, examples=24_800,
        recipes=at(SMALL, 10, 256, 1e-5), train=("train", "val"), local=("val",), resize="reference",
        evaluation_resize="reference-plain",
    ),
    Transfer(
        name="tallyqa", title="TallyQA", metric="count", length=32, examples=249_000,
        recipes={**at((224,), 2, 256, 1e-5), **at((448,), 2, 256, 1e-5, 1e-6)}, resize="reference",
    ),
    tried("countbenchqa", "CountBenchQA", "tallyqa", "count", resize="reference", remark="540 questions; 490 are public."),
    Transfer(
        name="ocr-vqa", title="OCR-VQA", metric="exact-lower", length=32, examples=902_000,
        recipes={**at(SMALL, 3, 128, 3e-6), **at((896,), 3, 128, 1e-5)}, train=("train", "val"), resize="reference",
    ),
    Transfer(
        name="textvqa", title="TextVQA", metric="vqa", length=32, examples=39_600, reader="textvqa",
        recipes={**at((224,), 5, 256, 3e-6), **at((448,), 10, 256, 3e-6, 3e-7), **at((896,), 10, 256, 3e-6)},
        train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="docvqa", title="DocVQA", prompt="bare", metric="anls", length=32, examples=44_800, reader="docvqa",
        recipes=at(ALL, 10, 256, 1e-5, 1e-6), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="infovqa", title="InfographicVQA", metric="anls", length=48, lower=True, examples=26_700,
        recipes=_documents(0.4), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="st-vqa", title="ST-VQA", metric="anls", length=48, lower=True, examples=26_100,
        recipes=_documents(0.1), local=("val",), resize="reference",
        remark="The official train is all of train and val, which the reference parts by images.",
    ),
    Transfer(
        name="vsr", title="VSR", length=18, recipes={224: Recipe(batch_size=1024)},
        remark="Epochs, rate and prompt are not known here; the prompt is that of NLVR2. Two splits are two folders.",
    ),
)
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
        recipes=at(SMALL, 25, 256, 1e-5, 1e-6), reader="coco-35l", evaluate=("dev",), by_image=True, mean_of_kinds=True,
        remark="35 languages, each drawn as often; 25 epochs are of images (5 x 566,435 visits).",
    ),
    tried("xm3600", "Crossmodal-3600", "coco-35l", "cider", "caption-language", mean_of_kinds=True),
    Transfer(
        name="screen2words", title="Screen2Words", prompt="caption", metric="cider", length=24, examples=18_100,
        recipes=at(SMALL, 10, 256, 1e-5, 0, 0.3, 0.2), train=("train", "dev"),
    ),
    Transfer(
        name="textcaps", title="TextCaps", prompt="caption", metric="cider", length=32, beams=3, lower=True, examples=22_000,
        recipes=at(SMALL, 5, 256, 1e-5, 1e-6), reader="textcaps", evaluate=("val",), by_image=True,
        remark="The paper calls the evaluated split test, the public code val.",
    ),
    Transfer(
        name="scicap", title="SciCap", prompt="caption", metric="cider", length=96, examples=120_000,
        recipes=at(SMALL, 80, 256, 3e-5, 0, 0.1, 0.1), train=("train", "val"),
        remark="First sentences, figures without parts.",
    ),
    Transfer(
        name="widgetcap", title="WidgetCap", prompt="caption", metric="cider", length=32, examples=44_700,
        recipes=at(SMALL, 4, 64, 3e-6, 3e-7, 0.1, 0.1), train=("train", "dev"), resize="reference",
        remark="A red box around the widget is drawn into the image beforehand, of a width not known here; 5 references.",
    ),
    Transfer(
        name="docci", title="DOCCI", prompt="caption", metric="none", recipes={448: Recipe()},
        remark="Its prompt is not known here; that of captions stands in. Scored by the sentences that a model finds not "
        "entailed; how it is learned is not known here.",
    ),
)
_PLACES = (
    Transfer(
        name="refcoco", title="RefCOCO, RefCOCO+, RefCOCOg", prompt="expression", metric="referred", length=48, examples=24_400,
        reader="refcoco", by_image=True,
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
        recipes=dict.fromkeys(ALL, Recipe(epochs=50)), reader="doclaynet",
        remark="Lists are filled up with noise (--noise-boxes).",
    ),
    *(
        Transfer(
            name=name, title=title, prompt="bare", metric="spotting", length=2048,
            recipes={896: Recipe(steps=15_000, batch_size=256, lr=1e-5, smoothing=0.1)}, remark=NO_PROMPT.strip(),
        )
        for name, title in (("icdar15", "ICDAR 2015"), ("total-text", "Total-Text"))
    ),
)
_WRITTEN = (
    *(
        Transfer(
            name=name, title=title, prompt="bare", metric="tables", length=4096, recipes={896: Recipe(lr=1e-4)},
            white_square=True, remark=NO_PROMPT + "Steps and size of images are not known here.",
        )
        for name, title in (("fintabnet", "FinTabNet"), ("pubtabnet", "PubTabNet"))
    ),
    Transfer(
        name="molecules", title="Molecules (SMILES)", prompt="bare", length=256, white_square=True,
        recipes={448: Recipe(steps=30_000, lr=1e-4, smoothing=0.1)}, remark=NO_PROMPT.strip(),
    ),
    Transfer(
        name="grandstaff", title="GrandStaff", prompt="bare", metric="music", length=1024, recipes={896: Recipe()},
        remark=NO_PROMPT + "Nor is the recipe.",
    ),
    Transfer(
        name="mimic-cxr", title="MIMIC-CXR", prompt="bare", metric="none", recipes={896: Recipe()},
        remark=NO_PROMPT + "Nor is the recipe. Scored by RadGraph F1, which needs a model of its own.",
    ),
)
_VIDEOS = (
    Transfer(
        name="msrvtt-cap", title="MSR-VTT captions", prompt="caption", metric="cider", length=32, examples=5_000,
        reader="msrvtt-cap", recipes=at(_VIDEO, 20, 128, 1e-5, freeze=True), train=("train", "val"),
        frames=FrameSampling(stride=9), resize="reference-video",
    ),
    Transfer(
        name="msrvtt-qa", title="MSRVTT-QA", length=64, examples=122_000,
        recipes=at(_VIDEO, 1, 128, 1e-5, freeze=True), train=("train", "val"), frames=FrameSampling(stride=9),
        resize="reference-video",
    ),
    Transfer(
        name="activitynet-cap", title="ActivityNet captions", prompt="caption", metric="cider", length=64, examples=44_800,
        recipes=at(_VIDEO, 1, 128, 1e-5, 1e-6, freeze=True), evaluate=("val_1",),
        frames=FrameSampling(stride=30), resize="reference-video",
        remark="An example is a part of a video. 44,800 are more than train has, so val was learned too; what was scored is not"
        " known here.",
    ),
    Transfer(
        name="activitynet-qa", title="ActivityNet-QA", length=64, examples=43_100,
        recipes=at(_VIDEO, 1, 128, 1e-5, 1e-6), train=("train", "val"), frames=FrameSampling(stride=70),
        resize="reference-video", remark="43,100 examples are more than the 32,000 of train, so val is learned too.",
    ),
    Transfer(
        name="vatex", title="VATEX", prompt="caption", metric="cider", length=64, examples=24_900, reader="vatex",
        recipes=at(_VIDEO, 10, 128, 3e-6, 3e-7), frames=FrameSampling(stride=7), resize="reference-video",
    ),
    Transfer(
        name="msvd-qa", title="MSVD-QA", length=64, examples=29_700, recipes=at(_VIDEO, 1, 128, 3e-6, 3e-7),
        frames=FrameSampling(count=8, stride=26), resize="reference-video",
    ),
)
# fmt: on
TASKS: Mapping[str, Transfer] = {task.name: task for task in (*_CAPTIONS, *_QUESTIONS, *_PLACES, *_WRITTEN, *_VIDEOS)}


def task_named(name: str) -> Transfer:
    """Look up a task of `TASKS`. Raises BadInput for another name.

    >>> task_named("docvqa").metric
    'anls'
    """
    if name not in TASKS:
        raise BadInput(f"there is no task {name!r}; {did_you_mean(name, TASKS)}")
    return TASKS[name]


def task_run(name: str, image_size: int | None = None, **changes: Any) -> PaliGemmaTransfer:
    """Make the config of a run on a task, with the settings published for images of this size.

    Without a size, those for the smallest one are used, and images have the weights' size. `changes` are fields of the config.

    >>> task_run("refcoco", 448).learning.smoothing, task_run("vqav2").weight_decay
    (0.3, 0.1)
    """
    task = task_named(name)
    recipe, length = task.recipe(image_size), task.length
    learning = replace(TRANSFER.learning, smoothing=recipe.smoothing, **({"length": length} if length else {}))
    made = {"task": name, "image_size": image_size, "learning": learning, **task.changes(image_size), **changes}
    return replace(TRANSFER, **made)


def _read() -> dict[str, dict[str, str]]:
    results: dict[str, dict[str, str]] = {}
    for line in Path(__file__).with_name("results.txt").read_text(encoding="utf-8").splitlines()[1:]:
        task, model, text = line.split(" | ")
        results.setdefault(task, {})[model] = text
    return results


RESULTS: Mapping[str, Mapping[str, str]] = _read()
