"""Tiny image-text-to-text models of random weights, built by transformers and saved in its layout."""

from pathlib import Path
from typing import Any

import torch

WORDS = ["a photo of a dog and a cat on the grass", "what is this? yes no maybe"]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}:{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% elif c['type'] == "
    "'video' %}VIDEO{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% if not loop.last or add_generation_prompt %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
_SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
_TEXT = _SIZES | {"num_hidden_layers": 2, "num_key_value_heads": 2}


def _tokenizer(special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    named = ["<pad>", "<bos>", "<eos>", *special]
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=named, show_progress=False)
    tokenizer.train_from_iterator(WORDS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", additional_special_tokens=special
    )


def _template(image: str, video: str = "") -> str:
    return TEMPLATE.replace("IMAGE", image).replace("VIDEO", video)


def save_llava(folder: Path) -> Path:
    """Save a LLaVA of images of 28 pixels."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = _tokenizer(["<image>"])
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_SIZES, num_hidden_layers=2, image_size=28, patch_size=14),
        text_config=LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **_TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    ).save_pretrained(folder)
    return folder


def save_smolvlm(folder: Path) -> Path:
    """Save a SmolVLM of images of 32 pixels."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    special = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<row_1_col_1>"]
    tokenizer = _tokenizer(special)
    config = SmolVLMConfig(
        vision_config=_SIZES | {"num_hidden_layers": 2, "image_size": 32, "patch_size": 8},
        text_config=_TEXT | {"model_type": "llama", "vocab_size": len(tokenizer), "pad_token_id": 0},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    size: Any = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 32}}
    images = SmolVLMImageProcessor(**size, do_image_splitting=False)
    SmolVLMProcessor(
        images, tokenizer, SmolVLMVideoProcessor(**size), image_seq_len=4, chat_template=_template("<image>")
    ).save_pretrained(folder)
    return folder


def save_qwen(folder: Path) -> Path:
    """Save a Qwen3-VL of patches of 8 pixels."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    start, end, image, video = special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(special)
    start_id, end_id, image_id, video_id = map(tokenizer.convert_tokens_to_ids, special)
    rotary = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True, "rope_theta": 10000.0}
    patches = {"patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
    config = Qwen3VLConfig(
        text_config=_TEXT | {"vocab_size": len(tokenizer), "head_dim": 16, "rope_parameters": rotary},
        vision_config=_SIZES
        | patches
        | {"depth": 2, "num_heads": 2, "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        image_token_id=image_id,
        video_token_id=video_id,
        vision_start_token_id=start_id,
        vision_end_token_id=end_id,
    )
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    images = Qwen2VLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, min_pixels=256, max_pixels=4096)
    template = _template(start + image + end, start + video + end)
    Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(patch_size=8), chat_template=template).save_pretrained(folder)
    return folder


def save_molmo(folder: Path) -> Path:
    """Save a Molmo2 of crops of 56 pixels."""
    from transformers import (
        Molmo2Config,
        Molmo2ForConditionalGeneration,
        Molmo2ImageProcessor,
        Molmo2Processor,
        Molmo2VideoProcessor,
    )

    names = ["<im_start>", "<im_end>", "<im_patch>", "<low_res_im_start>", "<frame_start>", "<frame_end>"]
    special = [*names, "<im_col>", "<im_low>", "<|image|>", "<|video|>"]
    tokenizer = _tokenizer(special)
    keys = ["image_start_token_id", "image_end_token_id", "image_patch_id"]
    keys += ["low_res_image_start_token_id", "frame_start_token_id", "frame_end_token_id"]
    heads: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 16}
    config = Molmo2Config(
        text_config=_TEXT | heads | {"vocab_size": len(tokenizer), "additional_vocab_size": 8},
        vision_config=_TEXT | heads | {"image_size": [56, 56]},
        adapter_config=_SIZES | heads | {"text_hidden_size": 32, "vision_feature_layer": [1, 0]},
        **dict(zip(keys, map(tokenizer.convert_tokens_to_ids, names), strict=True)),
    )
    torch.manual_seed(0)
    Molmo2ForConditionalGeneration(config).save_pretrained(folder)
    size: Any = {"size": {"height": 56, "width": 56}}
    images = Molmo2ImageProcessor(**size, max_crops=2, overlap_margins=[1, 1])
    template = _template("<|image|>", "<|video|>")
    Molmo2Processor(images, Molmo2VideoProcessor(**size), tokenizer, chat_template=template).save_pretrained(folder)
    return folder


SAVERS = {"llava": save_llava, "smolvlm": save_smolvlm, "qwen3_vl": save_qwen, "molmo2": save_molmo}
