"""Named image-text-to-text models of transformers whose licences are free, small enough for a laptop. Imports no torch."""

from tapetum.hub.registry import Weights

LOADER = "tapetum.systems.image_text.model:load"
_SMOL, _FREE = "arXiv 2504.05299", "Apache-2.0"
_IMAGES, _VIDEOS = "questions about images in words", "questions about images and videos in words"
PUBLISHED = tuple(
    Weights(
        name=name,
        architecture="image-text",
        summary=summary,
        paper=paper,
        licence=licence,
        file=name,
        loader=LOADER,
        repository=repository,
        size=megabytes * 10**6,
        extra="vlm",
        verbs=("ask",),
        score=score,
        memory=memory,
    )
    for name, repository, paper, licence, megabytes, memory, score, summary in (
        ("smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct", _SMOL, _FREE, 513, 0.8, None, _IMAGES),
        ("smolvlm-500m", "HuggingFaceTB/SmolVLM-500M-Instruct", _SMOL, _FREE, 1015, 1.2, None, _IMAGES),
        ("smolvlm2-500m", "HuggingFaceTB/SmolVLM2-500M-Video-Instruct", _SMOL, _FREE, 2030, 1.8, "Video-MME 42.2", _VIDEOS),
        ("qwen3-vl-2b", "Qwen/Qwen3-VL-2B-Instruct", "arXiv 2511.21631", _FREE, 4260, 5.0, None, f"{_VIDEOS}, and boxes"),
        ("molmo2-4b", "allenai/Molmo2-4B", "arXiv 2601.10611", _FREE, 19_400, 10.0, None, f"{_VIDEOS}, and points"),
        ("florence2-base", "florence-community/Florence-2-base", "arXiv 2311.06242", "MIT", 470, 1.0, None,
         "captions and boxes by its own prompts"),
    )
)  # fmt: skip
"""`memory` is in bfloat16. The size of molmo2-4b is counted: 4.85 billion numbers in float32."""
FOLDERS = dict.fromkeys(
    (
        *("florence2", "gemma3", "gemma3n", "idefics2", "idefics3", "internvl", "lfm2_vl", "llava", "llava_next"),
        *("llava_onevision", "mistral3", "molmo2", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "smolvlm"),
    ),
    LOADER,
)
"""The model_type in the config.json of a folder, to its loader; `ask` takes others of transformers too."""
