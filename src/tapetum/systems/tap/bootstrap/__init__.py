"""BootsTAP: learning from footage without labels, from any folder of videos to a tracker that is kept if it got better."""
