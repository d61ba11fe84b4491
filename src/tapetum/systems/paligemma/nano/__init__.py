"""Training of `paligemma-nano` on images of `tapetum.scenes`, whose truth supervises it densely. No paper has these parts."""
