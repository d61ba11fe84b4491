"""Names and shapes of PaliGemma's weights in the two public formats, to ours and back."""
