"""What no paper has: the training of `paligemma-nano` on images of `tapetum.scenes`, whose truth supervises it densely."""
