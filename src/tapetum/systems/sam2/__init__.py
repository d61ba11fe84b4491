"""SAM 2: masks of objects through a video, from clicks and boxes (extra [vlm])."""
