"""Stage 3 (arXiv 2407.07726, 3.3 and appendix J): transfer to one task, with the papers' recipes, prompts and scores."""
