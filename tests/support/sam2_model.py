"""A tiny SAM 2 of random weights, built by transformers and saved in its layout."""

from pathlib import Path
from typing import Any

import torch

SIDE = 128
"""Pixels of the square that it sees."""


def save_sam2(folder: Path) -> Path:
    """Save the model with its processor."""
    from transformers import Sam2ImageProcessor, Sam2VideoConfig, Sam2VideoModel, Sam2VideoProcessor, Sam2VideoVideoProcessor

    square: Any = {"height": SIDE, "width": SIDE}
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 12,
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [12, 24, 48, 96],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 2],
        "query_stride": [2, 2],
        "num_query_pool_stages": 3,
        "global_attention_blocks": [3],
        "image_size": [SIDE, SIDE],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision: Any = {
        "backbone_config": backbone,
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[SIDE // k] * 2 for k in (4, 8, 16)],
        "fpn_hidden_size": 128,
    }
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 128, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
        image_size=SIDE,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[SIDE // 16] * 2,
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
        num_maskmem=4,
        max_object_pointers_in_encoder=5,
    )
    torch.manual_seed(0)
    model = Sam2VideoModel(config)
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(5.0)  # else it sees no object, and all masks are empty
    model.save_pretrained(folder)
    images = Sam2ImageProcessor(size=square, mask_size={"height": SIDE // 4, "width": SIDE // 4})
    Sam2VideoProcessor(images, Sam2VideoVideoProcessor(size=square), target_size=SIDE).save_pretrained(folder)
    return folder
