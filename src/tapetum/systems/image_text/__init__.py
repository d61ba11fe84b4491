"""Image-text-to-text models of transformers (extra [vlm]): questions about images and videos, captions, boxes."""
