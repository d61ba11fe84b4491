"""Published data sets of questions, captions and expressions about images: transfers of PaliGemma, and tests of encoders."""

from collections.abc import Mapping
from typing import Any

from tapetum.bench.data_sets.types import NOT_KNOWN, DataSet, Part

_COCO = "annotations CC BY 4.0; images under their Flickr terms"
_READERS = "tapetum.data.vision_language"
_TRANSFER: Mapping[str, Any] = {
    "layout": "as the reader of the task draws them; DIR/SPLIT.jsonl of docs/guides/teach-a-task.md where it takes lines",
    "reader": "tapetum.bench.data_sets.readers:read_transfer",
}


def _parts(of: str, **items: int | None) -> tuple[Part, ...]:
    """Splits by name; an underscore stands for a hyphen."""
    return tuple(Part(name=name.replace("_", "-"), of=of, items=count) for name, count in items.items())


# fmt: off
_QUESTIONS = (
    DataSet(
        name="vqav2", title="VQAv2", what="questions about photographs, ten answers each", address="https://visualqa.org",
        licence=_COCO, size="1,105,904 questions of 204,721 images, 25 GB",
        layout="DIR/v2_OpenEnded_mscoco_train2014_questions.json, v2_mscoco_train2014_annotations.json, DIR/train2014/*.jpg",
        reader=f"{_READERS}.photos:read_vqav2",
        parts=_parts("questions", train=443_757, val=214_354, test_dev=107_394, test=447_793), used_by=("PaliGemma",),
    ),
    DataSet(
        name="okvqa", title="OK-VQA", what="questions that ask for knowledge", address="https://okvqa.allenai.org",
        licence=_COCO, size="14,055 questions of COCO 2014",
        layout="DIR/OpenEnded_mscoco_train2014_questions.json, DIR/mscoco_train2014_annotations.json, DIR/train2014/*.jpg",
        reader=f"{_READERS}.photos:read_okvqa", parts=_parts("questions", train=9_009, val=5_046), used_by=("PaliGemma",),
    ),
    DataSet(
        name="aokvqa", title="A-OKVQA", what="questions with four options and free answers",
        address="https://allenai.org/project/a-okvqa/home", licence="Apache-2.0; images under their Flickr terms",
        size="24,903 questions of COCO 2017", layout="DIR/aokvqa_v1p0_train.json, DIR/train2017/*.jpg; val, test",
        reader=f"{_READERS}.photos:read_aokvqa", parts=_parts("questions", train=17_056, val=1_145, test=6_702),
        used_by=("PaliGemma",),
    ),
    DataSet(
        name="gqa", title="GQA, balanced", what="questions composed from scene graphs",
        address="https://cs.stanford.edu/people/dorarad/gqa/download.html", licence="CC BY 4.0",
        size="22,669,678 questions, 20 GB",
        layout="DIR/train_balanced_questions.json, DIR/images/2354786.jpg; val, testdev, test",
        reader=f"{_READERS}.photos:read_gqa",
        parts=_parts("questions", train=943_000, val=132_062, testdev=12_578, test=95_336),
        used_by=("PaliGemma",),
    ),
    DataSet(
        name="nlvr2", title="NLVR2", what="sentences that are true or false of two photographs",
        address="https://lil.nlp.cornell.edu/nlvr/",
        licence="sentences CC BY 4.0; images under their own terms", size="107,292 sentences",
        layout="DIR/train.json, DIR/images/train/87/*.png; dev, test1", reader=f"{_READERS}.photos:read_nlvr2",
        parts=_parts("sentences", train=86_373, dev=6_982, test1=6_967), used_by=("PaliGemma",),
    ),
    DataSet(
        name="tallyqa", title="TallyQA", what="questions that ask for a number",
        address="https://github.com/manoja328/TallyQA_dataset",
        licence=NOT_KNOWN, size="287,907 questions of COCO and Visual Genome",
        layout="DIR/train.json, DIR/test.json, DIR/VG_100K/*.jpg, DIR/train2014/*.jpg",
        reader=f"{_READERS}.photos:read_tallyqa",
        parts=_parts("questions", train=249_318, test=38_589), used_by=("PaliGemma",),
    ),
    DataSet(
        name="textvqa", title="TextVQA", what="questions about words in photographs", address="https://textvqa.org/dataset/",
        licence="annotations CC BY 4.0; images of Open Images", size="45,336 questions of 28,408 images, 8 GB",
        layout="DIR/TextVQA_0.5.1_train.json, DIR/train_images/*.jpg; val, test", reader=f"{_READERS}.documents:read_textvqa",
        parts=_parts("questions", train=34_602, val=5_000, test=5_734), used_by=("PaliGemma",),
    ),
    DataSet(
        name="docvqa", title="DocVQA", what="questions about scanned documents", address="https://www.docvqa.org/datasets",
        licence=NOT_KNOWN, size="50,000 questions of 12,767 images",
        layout="DIR/train_v1.0.json, DIR/documents/*.png; val, test",
        reader=f"{_READERS}.documents:read_docvqa", parts=_parts("questions", train=39_463, val=5_349, test=5_188),
        used_by=("PaliGemma",),
    ),
    DataSet(
        name="infovqa", title="InfographicVQA", what="questions about infographics", address="https://www.docvqa.org/datasets",
        licence=NOT_KNOWN, size="30,035 questions of 5,485 images",
        layout="DIR/infographicsVQA_train_v1.0.json, DIR/images/*.jpeg; val, test", reader=f"{_READERS}.documents:read_infovqa",
        parts=_parts("questions", train=23_946, val=2_801, test=3_288), used_by=("PaliGemma",),
    ),
    DataSet(
        name="chartqa", title="ChartQA", what="questions about charts", address="https://github.com/vis-nlp/ChartQA",
        licence="GPL-3.0", size="32,719 questions of 20,882 charts",
        layout="DIR/train/train_human.json, train_augmented.json, png/*.png; val, test",
        reader=f"{_READERS}.documents:read_chartqa", parts=_parts("questions", train=28_299, val=1_920, test=2_500),
        used_by=("PaliGemma",),
    ),
    DataSet(
        name="scienceqa", title="ScienceQA, with an image", what="questions of school with options",
        address="https://scienceqa.github.io", licence="CC BY-NC-SA 4.0", size="10,332 questions",
        layout="DIR/problems.json, DIR/pid_splits.json, DIR/images/train/1/image.png",
        reader=f"{_READERS}.photos:read_scienceqa",
        parts=_parts("questions", train=6_218, val=2_097, test=2_017), used_by=("PaliGemma",),
    ),
    DataSet(
        name="rsvqa-lr", title="RSVQA, low resolution", what="questions about images of Sentinel-2",
        address="https://rsvqa.sylvainlobry.com", licence="CC BY 4.0", size="77,232 questions of 772 images",
        layout="DIR/LR_split_train_questions.json, LR_split_train_answers.json, DIR/Images_LR/*.tif; val, test",
        reader=f"{_READERS}.photos:read_rsvqa_lr", parts=_parts("questions", train=57_223, val=10_005, test=10_004),
        used_by=("PaliGemma",),
    ),
    DataSet(
        name="rsvqa-hr", title="RSVQA, high resolution", what="questions about aerial images of USGS",
        address="https://rsvqa.sylvainlobry.com", licence="CC BY 4.0", size="1,066,316 questions of 10,659 images",
        layout="DIR/USGS_split_train_questions.json, USGS_split_train_answers.json, DIR/Data/*.tif; val, test, test_phili",
        reader=f"{_READERS}.photos:read_rsvqa_hr",
        parts=tuple(Part(name=name, of="questions") for name in ("train", "val", "test", "test_phili")), used_by=("PaliGemma",),
    ),
    DataSet(
        name="vizwiz", title="VizWizVQA", what="questions of blind people about their photographs",
        address="https://vizwiz.org/tasks-and-datasets/vqa/", licence="CC BY 4.0", size="32,842 questions, 17 GB",
        layout="DIR/Annotations/train.json, DIR/train/*.jpg; val, test", reader=f"{_READERS}.photos:read_vizwiz",
        parts=_parts("questions", train=20_523, val=4_319, test=8_000), used_by=("PaliGemma",),
    ),
    DataSet(
        name="pope", title="POPE", what="whether a thing is in a photograph of COCO",
        address="https://github.com/AoiDragon/POPE",
        licence="MIT; images under their Flickr terms", size="8,910 questions of 500 images",
        layout="DIR/coco_pope_random.json, DIR/val2014/*.jpg; popular, adversarial", reader=f"{_READERS}.photos:read_pope",
        parts=_parts("questions", random=2_910, popular=3_000, adversarial=3_000), used_by=("PaliGemma",),
    ),
    DataSet(
        name="mmvp", title="MMVP", what="pairs of photographs that CLIP confuses",
        address="https://huggingface.co/datasets/MMVP/MMVP",
        licence="MIT", size="300 questions", layout="DIR/Questions.csv, DIR/MMVP Images/1.jpg",
        reader=f"{_READERS}.photos:read_mmvp",
        parts=_parts("questions", test=300), used_by=("PaliGemma",),
    ),
    DataSet(
        name="vsr", title="VSR", what="sentences about places of things, true or false",
        address="https://github.com/cambridgeltl/visual-spatial-reasoning",
        licence="Apache-2.0; images under their Flickr terms",
        size="10,972 sentences at random, or 5,051 zero-shot", layout="DIR/train.jsonl, DIR/images/*.jpg; dev, test",
        reader=f"{_READERS}.photos:read_vsr", parts=_parts("sentences", train=None, dev=None, test=None),
        used_by=("PaliGemma 2",),
    ),
)
_CAPTIONS = (
    DataSet(
        name="coco-captions", title="COCO captions, Karpathy's split", what="five captions of each photograph",
        address="https://cs.stanford.edu/people/karpathy/deepimagesent/", licence=_COCO, size="123,287 images, 19 GB",
        layout="DIR/dataset_coco.json, DIR/train2014/*.jpg, DIR/val2014/*.jpg", reader=f"{_READERS}.captions:read_karpathy",
        parts=_parts("images", train=82_783, restval=30_504, val=5_000, test=5_000), used_by=("PaliGemma", "encoders"),
    ),
    DataSet(
        name="flickr30k", title="Flickr30k, Karpathy's split", what="five captions of each photograph",
        address="https://shannon.cs.illinois.edu/DenotationGraph/",
        licence="research without gain; images under their Flickr terms",
        size="31,014 images, 4 GB", layout="DIR/dataset_flickr30k.json, DIR/flickr30k-images/*.jpg",
        reader=f"{_READERS}.captions:read_karpathy", arguments={"name": "flickr30k"},
        parts=_parts("images", train=29_000, val=1_014, test=1_000), used_by=("encoders",),
    ),
    DataSet(
        name="nocaps", title="NoCaps", what="captions of things that COCO has not", address="https://nocaps.org",
        licence="annotations CC BY 2.0; images of Open Images", size="4,500 + 10,600 images",
        layout="DIR/annotations/captions_val.json, DIR/val/*.jpg", reader=f"{_READERS}.captions:read_coco_captions",
        parts=_parts("images", val=4_500), used_by=("PaliGemma",),
    ),
)
_EXPRESSIONS = tuple(
    DataSet(
        name=name, title=title, what="expressions that mean one thing in a photograph",
        address="https://github.com/lichengunc/refer",
        licence="Apache-2.0; images under their Flickr terms", size=size,
        layout=f"DIR/{name}/refs({by}).p, DIR/{name}/instances.json, DIR/train2014/*.jpg",
        reader=f"{_READERS}.referring:read_refcoco", arguments={"name": name}, parts=parts, used_by=("PaliGemma",),
    )
    for name, title, by, size, parts in (
        ("refcoco", "RefCOCO", "unc", "50,000 things in 19,994 images",
         (*_parts("things", train=42_404, val=3_811), Part(name="testA", of="things", items=1_975),
         Part(name="testB", of="things", items=1_810))),
        ("refcoco+", "RefCOCO+", "unc", "49,856 things in 19,992 images",
         (*_parts("things", train=42_278, val=3_805), Part(name="testA", of="things", items=1_975),
         Part(name="testB", of="things", items=1_798))),
        ("refcocog", "RefCOCOg", "umd",
        "49,822 things in 25,799 images", _parts("things", train=42_226, val=2_573, test=5_023)),
    )
)
_WRITTEN = tuple(
    DataSet(
        name=name, title=title, what=what, address=address, licence=licence, size=size,
        parts=tuple(Part(name=split, of="examples") for split in splits.split()), used_by=("PaliGemma",),
        arguments={"task": name}, **_TRANSFER,
    )
    for name, title, what, address, licence, size, splits in (
        ("ai2d", "AI2D", "questions about diagrams of school", "https://prior.allenai.org/projects/diagram-understanding",
         "CC BY-SA 4.0", "15,501 questions of 4,903 diagrams", "train test"),
        ("ocr-vqa", "OCR-VQA", "questions about covers of books", "https://ocr-vqa.github.io", NOT_KNOWN,
         "1,002,146 questions of 207,572 images", "train val test"),
        ("st-vqa", "ST-VQA", "questions about words in photographs", "https://rrc.cvc.uab.es/?ch=11", NOT_KNOWN,
         "31,791 questions of 23,038 images", "train test"),
        ("textcaps", "TextCaps", "captions that read the words", "https://textvqa.org/textcaps/",
         "annotations CC BY 4.0; images of Open Images", "145,329 captions of 28,408 images", "train val"),
        ("screen2words", "Screen2Words", "summaries of screens of phones",
        "https://github.com/google-research-datasets/screen2words",
         "CC BY 4.0", "112,085 summaries of 22,417 screens", "train dev test"),
        ("widgetcap", "WidgetCap", "captions of parts of screens", "https://github.com/google-research-datasets/widget-caption",
         "CC BY 4.0", "162,859 captions of 61,285 parts", "train dev test"),
        ("scicap", "SciCap", "captions of figures of articles", "https://github.com/tingyaohsu/SciCap", "CC BY-NC-SA 4.0",
         "416,804 figures, of which 133,543 without parts", "train val test"),
        ("coco-35l", "COCO-35L", "captions of COCO in 35 languages", "https://google.github.io/crossmodal-3600/", NOT_KNOWN,
         "113,287 + 5,000 images", "train dev"),
        ("xm3600", "Crossmodal-3600", "captions in 36 languages", "https://google.github.io/crossmodal-3600/",
         "annotations CC BY 4.0; images CC BY 2.0", "3,600 images", "test"),
        ("xgqa", "xGQA", "questions of GQA in seven languages", "https://github.com/adapter-hub/xGQA", "CC BY 4.0",
         "12,578 questions a language", "test"),
        ("marvl", "MaRVL", "sentences about two images in five languages", "https://marvl-challenge.github.io", NOT_KNOWN,
         "5,670 sentences", "test"),
        ("docci", "DOCCI", "long descriptions of photographs", "https://google.github.io/docci/", "CC BY 4.0",
         "14,847 images, of which 9,647 to train on", "train test"),
        ("countbenchqa", "CountBenchQA", "how many things an image shows",
        "https://huggingface.co/datasets/vikhyatk/CountBenchQA",
         NOT_KNOWN, "491 questions", "test"),
        ("objaverse", "Objaverse, 8 views", "captions of objects seen from eight sides", "https://objaverse.allenai.org",
         "each object under its author's terms", NOT_KNOWN, "test"),
    )
)
# fmt: on
LANGUAGE: tuple[DataSet, ...] = (*_QUESTIONS, *_CAPTIONS, *_EXPRESSIONS, *_WRITTEN)
