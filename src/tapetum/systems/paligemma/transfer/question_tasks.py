"""Transfer tasks whose answers are words: questions about images. See `transfer.tasks`, which has all tasks."""

from tapetum.systems.paligemma.transfer.form import Recipe, Transfer, at, tried

NO_PROMPT = "Its prompt is not known here: a line's question is the whole prompt. "
SMALL, ALL = (224, 448), (224, 448, 896)
"""Sides of images that tasks are learned with."""


def _documents(smooth: float) -> dict[int, Recipe]:
    """InfoVQA and ST-VQA."""
    return {
        **at((224,), 3, 256, 1e-5, 1e-6, 0, smooth),
        **at((448,), 3, 128, 1e-5, 1e-6, 0, smooth),
        **at((896,), 3, 32, 3e-6, 3e-7, 0, smooth),
    }


# fmt: off
QUESTIONS = (
    Transfer(
        name="vqav2", title="VQAv2", prompt="answer", metric="vqa", length=32, examples=658_000, reader="vqav2",
        recipes={**at((224,), 10, 256, 1e-5, 1e-6), **at((448,), 10, 256, 1e-5)}, train=("train", "val"),
        evaluate=("test",), local=("val",), resize="reference",
    ),
    tried("mmvp", "MMVP", "vqav2", "pairs", reader="mmvp", resize="reference"),
    tried(
        "pope", "POPE", "vqav2", "yes-no", length=48, reader="pope", evaluate=("random", "popular", "adversarial"),
        remark="The public config says the bare question; the paper's numbers are those of answer en.",
    ),
    tried(
        "objaverse", "Objaverse, 8 views", "vqav2", "none", "bare", length=None, images=8,
        remark=NO_PROMPT + "4 prompts, 5 samples each, scored by cosines of the Universal Sentence Encoder.",
    ),
    Transfer(
        name="okvqa", title="OK-VQA", prompt="answer", metric="vqa-simple", length=32, examples=9_000, reader="okvqa",
        recipes=at(SMALL, 10, 128, 5e-6), train=("train",), evaluate=("val",), resize="reference",
    ),
    Transfer(
        name="aokvqa-mc", title="A-OKVQA, multiple choice", prompt="choose", metric="exact", length=128, examples=18_200,
        reader="aokvqa", recipes=at(SMALL, 15, 128, 5e-6), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="aokvqa-da", title="A-OKVQA, direct answer", prompt="answer", metric="vqa-simple", length=32, examples=18_200,
        reader="aokvqa", recipes=at(SMALL, 10, 128, 5e-6), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="gqa", title="GQA", prompt="answer", metric="exact", length=32, examples=1_080_000, reader="gqa",
        recipes={**at((224,), 1, 256, 1e-5), **at((448,), 1, 256, 1e-5, freeze=True)}, train=("train", "val"),
        evaluate=("testdev",),
    ),
    tried(
        "xgqa", "xGQA", "gqa", reader="xgqa", mean_of_kinds=True,
        remark="bn de id ko pt ru zh; questions in them, answers in English.",
    ),
    Transfer(
        name="nlvr2", title="NLVR2", prompt="answer", metric="exact", length=64, images=2, examples=93_400, reader="nlvr2",
        recipes={**at((224,), 3, 256, 1e-5, 1e-6), **at((448,), 10, 256, 3e-6, 3e-7)}, train=("train", "dev"),
        evaluate=("test1",),
    ),
    tried(
        "marvl", "MaRVL", "nlvr2", length=64, images=2, reader="marvl", mean_of_kinds=True,
        remark="id sw ta tr zh; left, then right.",
    ),
    Transfer(
        name="ai2d", title="AI2D", prompt="choose", metric="exact", length=128, examples=12_400,
        recipes=at(SMALL, 10, 256, 1e-5, 1e-6), train=("train",), resize="reference", evaluation_resize="reference-plain",
    ),
    Transfer(
        name="scienceqa", title="ScienceQA, with an image", prompt="letter", metric="letter", length=512, examples=8_300,
        reader="scienceqa", recipes=at(SMALL, 20, 128, 1e-5, freeze=True), train=("train", "val"), shuffle_options=True,
    ),
    Transfer(
        name="rsvqa-lr", title="RSVQA-LR, without numbers", prompt="answer", metric="rsvqa", length=32, lower=True,
        examples=47_200, reader="rsvqa-lr", recipes=at(SMALL, 3, 256, 3e-6, 0, 0, 0.2), train=("train", "val"),
        resize="reference", evaluation_resize="reference-plain", kinds=("comp", "presence", "rural_urban"),
        mean_of_kinds=True,
    ),
    Transfer(
        name="rsvqa-hr", title="RSVQA-HR, without numbers", prompt="answer", metric="rsvqa", length=32, lower=True,
        examples=432_000, reader="rsvqa-hr", recipes=at(SMALL, 1, 256, 1e-5), train=("train", "val"),
        evaluate=("test", "test_phili"), resize="reference", evaluation_resize="reference-plain", kinds=("comp", "presence"),
        mean_of_kinds=True,
    ),
    Transfer(
        name="chartqa", title="ChartQA", prompt="bare", metric="relaxed", length=48, examples=30_200, reader="chartqa",
        recipes=at(SMALL, 30, 256, 1e-5, 1e-6, 0.1, 0.2), train=("train", "val"), resize="reference", mean_of_kinds=True,
        remark="The reference draws people's and made questions as 7,398 to 20,901: as often as there are of each in train.",
    ),
    Transfer(
        name="vizwiz", title="VizWizVQA", prompt="answer", metric="vqa-simple", length=48, examples=24_800, reader="vizwiz",
        recipes=at(SMALL, 10, 256, 1e-5), train=("train", "val"), local=("val",), resize="reference",
        evaluation_resize="reference-plain",
    ),
    Transfer(
        name="tallyqa", title="TallyQA", prompt="answer", metric="count", length=32, examples=249_000, reader="tallyqa",
        recipes={**at((224,), 2, 256, 1e-5), **at((448,), 2, 256, 1e-5, 1e-6)}, train=("train",), resize="reference",
    ),
    tried("countbenchqa", "CountBenchQA", "tallyqa", "count", resize="reference", remark="540 questions; 490 are public."),
    Transfer(
        name="ocr-vqa", title="OCR-VQA", prompt="answer", metric="exact-lower", length=32, examples=902_000,
        reader="ocr-vqa", recipes={**at(SMALL, 3, 128, 3e-6), **at((896,), 3, 128, 1e-5)}, train=("train", "val"),
        resize="reference",
    ),
    Transfer(
        name="textvqa", title="TextVQA", prompt="answer", metric="vqa", length=32, examples=39_600, reader="textvqa",
        recipes={**at((224,), 5, 256, 3e-6), **at((448,), 10, 256, 3e-6, 3e-7), **at((896,), 10, 256, 3e-6)},
        train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="docvqa", title="DocVQA", prompt="bare", metric="anls", length=32, examples=44_800, reader="docvqa",
        recipes=at(ALL, 10, 256, 1e-5, 1e-6), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="infovqa", title="InfographicVQA", prompt="answer", metric="anls", length=48, lower=True, examples=26_700,
        reader="infovqa", recipes=_documents(0.4), train=("train", "val"), local=("val",), resize="reference",
    ),
    Transfer(
        name="st-vqa", title="ST-VQA", prompt="answer", metric="anls", length=48, lower=True, examples=26_100,
        reader="st-vqa", recipes=_documents(0.1), train=("train",), local=("val",), resize="reference",
        remark="The official train is all of train and val, which the reference parts by images; list them in val_images.txt.",
    ),
    Transfer(
        name="vsr", title="VSR", prompt="answer", metric="exact", length=18, reader="vsr",
        recipes={224: Recipe(batch_size=1024)}, train=("train",),
        remark="Epochs, rate and prompt are not known here; the prompt is that of NLVR2. Two splits are two folders.",
    ),
)
# fmt: on
