"""Training of `paligemma-nano` on images of `tapetum_world`, with dense supervision by its ground truth. No paper has this."""
