"""Training of `paligemma-nano` on images of `tapetum.world`, whose truth supervises it densely. No paper has these parts."""
