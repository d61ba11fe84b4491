"""Published data sets of images, sound and meshes: what encoders are trained on, and what they are transferred to."""

from collections.abc import Mapping
from typing import Any

from tapetum.bench.data_sets.types import NOT_KNOWN, DataSet, Part

_IMAGENET = "research and education without gain, after its terms of access"
_COCO = "annotations CC BY 4.0; images under their Flickr terms"
_NOT_PUBLISHED = "it was never published; put pairs or images of your own into shards: docs/systems/data.md"
_SHARDS = "DIR/*.tar with NAME.jpg and NAME.txt"
_PAIRS = "tapetum.bench.data_sets.readers:read_pairs"
_TRANSFER: Mapping[str, Any] = {
    "layout": "as the reader of the task draws them; DIR/SPLIT.jsonl of docs/guides/teach-a-task.md where it takes lines",
    "reader": "tapetum.bench.data_sets.readers:read_transfer",
}
_STUDY, _PALIGEMMA, _HIP = "FLOPs study", "PaliGemma", "HiP"

# fmt: off
IMAGES: tuple[DataSet, ...] = (
    DataSet(
        name="imagenet", title="ImageNet-1k (ILSVRC 2012)", what="images of 1,000 classes",
        address="https://image-net.org/download", licence=_IMAGENET, size="1,281,167 + 50,000 images, 144 GB",
        layout="DIR/train/n01440764/*.JPEG (or n01440764.tar), DIR/val/n01440764/*.JPEG (or *.JPEG and the devkit)",
        reader="tapetum.data.layout_folders:list_imagenet",
        parts=(Part(name="train", of="images", items=1_281_167), Part(name="val", of="images", items=50_000)),
        used_by=(_STUDY, "Odin", _HIP, "adapters"),
    ),
    DataSet(
        name="imagenet-21k", title="ImageNet-21k", what="images of 21,841 classes", address="https://image-net.org/download",
        licence=_IMAGENET, size="14,197,122 images", layout="DIR/train/n00004475/*.JPEG: a folder a class, no held-out part",
        reader="tapetum.data.layout_folders:list_imagenet", parts=(Part(name="train", of="images", items=14_197_122),),
        used_by=(_STUDY,),
    ),
    DataSet(
        name="jft-300m", title="JFT-300M", what="images with 18,291 classes", address="not published", licence="not published",
        size="about 302,000,000 images", no_reader=_NOT_PUBLISHED, used_by=(_STUDY,),
    ),
    DataSet(
        name="image-texts", title="images and their texts", what="pairs of your own, in place of a web-scale set",
        address="your own", licence="your own", size="as many as you have", layout=_SHARDS, reader=_PAIRS,
        parts=(Part(name="train", of="pairs"),), used_by=(_STUDY,),
    ),
    DataSet(
        name="align", title="ALIGN", what="images and their alt-texts", address="not published", licence="not published",
        size="about 1,800,000,000 pairs", layout=_SHARDS, reader=_PAIRS, parts=(Part(name="train", of="pairs"),),
        used_by=(_STUDY, "LongViViT"),
    ),
    DataSet(
        name="ltip", title="LTIP", what="images and long texts, of Flamingo", address="not published", licence="not published",
        size="about 312,000,000 pairs", layout=_SHARDS, reader=_PAIRS, parts=(Part(name="train", of="pairs"),),
        used_by=("LongViViT",),
    ),
    DataSet(
        name="webli", title="WebLI", what="images and alt-texts in 109 languages", address="not published",
        licence="not published", size="about 10,000,000,000 images", layout=_SHARDS, reader=_PAIRS,
        parts=(Part(name="train", of="pairs"),), used_by=(_PALIGEMMA,),
    ),
    DataSet(
        name="cc3m", title="Conceptual Captions 3M", what="addresses of images, and their alt-texts",
        address="https://ai.google.com/research/ConceptualCaptions",
        licence="free use of the texts; each image under its own terms", size="3,318,333 pairs", layout=_SHARDS, reader=_PAIRS,
        parts=(Part(name="train", of="pairs"),), used_by=(_PALIGEMMA,),
    ),
    DataSet(
        name="cc3m-35l", title="CC3M-35L", what="captions of Conceptual Captions in 35 languages", address=NOT_KNOWN,
        licence=NOT_KNOWN, layout=_SHARDS, reader=_PAIRS, parts=(Part(name="train", of="pairs"),), used_by=(_PALIGEMMA,),
    ),
    DataSet(
        name="vq2a-cc3m-35l", title="VQ2A-CC3M-35L", what="generated questions about images of Conceptual Captions",
        address=NOT_KNOWN, licence=NOT_KNOWN, no_reader="where it is published is not known here", used_by=(_PALIGEMMA,),
    ),
    DataSet(
        name="wit", title="WIT", what="images of Wikipedia and texts about them in 108 languages",
        address="https://github.com/google-research-datasets/wit", licence="CC BY-SA 3.0",
        size="37,600,000 pairs of 11,500,000 images", layout=_SHARDS, reader=_PAIRS, parts=(Part(name="train", of="pairs"),),
        used_by=(_PALIGEMMA,),
    ),
    DataSet(
        name="open-images", title="Open Images V7", what="photographs with labels, boxes, masks",
        address="https://storage.googleapis.com/openimages/web/index.html",
        licence="annotations CC BY 4.0; images CC BY 2.0 as their authors stated", size="about 9,000,000 images",
        no_reader="its csv files have no reader yet", used_by=(_PALIGEMMA, "PaliGemma's mask tokens"),
    ),
    DataSet(
        name="coco", title="COCO 2017", what="photographs with boxes and masks of 80 classes",
        address="https://cocodataset.org/#download", licence=_COCO, size="118,287 + 5,000 images, 19 GB",
        layout="DIR/annotations/instances_train2017.json, DIR/train2017/*.jpg; val2017",
        reader="tapetum.bench.data_sets.readers:read_coco_instances",
        parts=(Part(name="train2017", of="images", items=118_287), Part(name="val2017", of="images", items=5_000)),
        used_by=(_STUDY, "Odin", _PALIGEMMA),
    ),
    DataSet(
        name="ade20k", title="ADE20K (challenge of 2016)", what="scenes with a class for each pixel, of 150",
        address="https://groups.csail.mit.edu/vision/datasets/ADE20K/", licence="images for research; annotations BSD-3-Clause",
        size="20,210 + 2,000 images, 1 GB", layout="DIR/images/training/*.jpg, DIR/annotations/training/*.png; validation",
        reader="tapetum.data.segmentation.images:read_ade20k",
        parts=(Part(name="train", of="images", items=20_210), Part(name="val", of="images", items=2_000)), used_by=(_STUDY,),
    ),
    DataSet(
        name="cityscapes", title="Cityscapes", what="streets with a class for each pixel, of 19",
        address="https://www.cityscapes-dataset.com", licence="research without gain, after registration",
        size="2,975 + 500 images, 11 GB",
        layout="DIR/leftImg8bit/train/CITY/*_leftImg8bit.png, DIR/gtFine/train/CITY/*_labelIds.png",
        reader="tapetum.data.segmentation.images:read_cityscapes",
        parts=(Part(name="train", of="images", items=2_975), Part(name="val", of="images", items=500)), used_by=("Odin",),
    ),
    DataSet(
        name="pascal-voc", title="PASCAL VOC 2012", what="photographs with a class for each pixel, of 21",
        address="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/", licence="images under their Flickr terms",
        size="1,464 + 1,449 images, 2 GB",
        layout="DIR/JPEGImages, DIR/SegmentationClass, DIR/ImageSets/Segmentation/train.txt; val.txt",
        reader="tapetum.data.segmentation.voc:read_voc",
        parts=(Part(name="train", of="images", items=1_464), Part(name="val", of="images", items=1_449)),
        used_by=("Odin", _HIP),
    ),
    DataSet(
        name="pascal-voc-aug", title="PASCAL VOC 2012, trainaug", what="the same with the masks of Hariharan et al.",
        address="http://home.bharathh.info/pubs/codes/SBD/download.html", licence="images under their Flickr terms",
        size="10,582 images", layout="as pascal-voc, with DIR/SegmentationClassAug and ImageSets/Segmentation/trainaug.txt",
        reader="tapetum.data.segmentation.voc:read_voc", parts=(Part(name="trainaug", of="images", items=10_582),),
        used_by=("Odin",),
    ),
    DataSet(
        name="audioset", title="AudioSet", what="ten seconds of sound of YouTube videos, of 527 classes",
        address="https://research.google.com/audioset/download.html",
        licence="lists CC BY 4.0; videos under their YouTube terms", size="2,084,320 listed recordings",
        layout="DIR/balanced_train_segments.csv, eval_segments.csv, class_labels_indices.csv, recordings below DIR",
        reader="tapetum.data.layout_folders:list_audioset",
        parts=(Part(name="train", of="recordings"), Part(name="val", of="recordings", items=20_371)), used_by=(_HIP,),
    ),
    DataSet(
        name="modelnet40", title="ModelNet40", what="meshes of 40 classes", address="https://modelnet.cs.princeton.edu",
        licence="research; each mesh under its author's terms", size="9,843 + 2,468 meshes, 2 GB",
        layout="DIR/airplane/train/airplane_0001.off, DIR/airplane/test/...",
        reader="tapetum.data.layout_folders:list_modelnet40",
        parts=(Part(name="train", of="meshes", items=9_843), Part(name="val", of="meshes", items=2_468)), used_by=(_HIP,),
    ),
    DataSet(
        name="doclaynet", title="DocLayNet", what="pages of documents with boxes of 11 classes",
        address="https://github.com/DS4SD/DocLayNet", licence="CDLA-Permissive-1.0", size="69,375 + 6,489 + 4,999 pages, 28 GB",
        layout="DIR/COCO/train.json, DIR/PNG/*.png; val, test",
        reader="tapetum.bench.data_sets.readers:read_doclaynet",
        parts=(
            Part(name="train", of="pages", items=69_375), Part(name="val", of="pages", items=6_489),
            Part(name="test", of="pages", items=4_999),
        ),
        used_by=("PaliGemma 2",),
    ),
    *(
        DataSet(
            name=name, title=title, what=what, address=address, licence=licence, size=size,
            parts=(Part(name="train", of="examples"),), used_by=("PaliGemma 2",), arguments={"task": name}, **_TRANSFER,
        )
        for name, title, what, address, licence, size in (
            ("icdar15", "ICDAR 2015, task 4.4", "photographs with words", "https://rrc.cvc.uab.es/?ch=4", NOT_KNOWN,
             "1,000 + 500 images"),
            ("total-text", "Total-Text", "photographs with curved words", "https://github.com/cs-chan/Total-Text-Dataset",
             "BSD-3-Clause", "1,255 + 300 images"),
            ("fintabnet", "FinTabNet", "tables of annual reports", NOT_KNOWN, "CDLA-Permissive-1.0", NOT_KNOWN),
            ("pubtabnet", "PubTabNet", "tables of articles", "https://github.com/ibm-aur-nlp/PubTabNet",
             "CDLA-Permissive-1.0; images under their articles' terms", "516,000 tables"),
            ("molecules", "molecules of PubChem", "drawn molecules with SMILES", NOT_KNOWN, NOT_KNOWN, NOT_KNOWN),
            ("grandstaff", "GrandStaff", "lines of piano music", "https://sites.google.com/view/multiscore-project/datasets",
             NOT_KNOWN, "53,882 images"),
            ("mimic-cxr", "MIMIC-CXR", "chest X-rays with reports", "https://physionet.org/content/mimic-cxr/",
             "PhysioNet credentialed access", "377,110 images"),
        )
    ),
)
# fmt: on
