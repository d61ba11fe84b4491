"""The study of "Where Should I Spend My FLOPs?" (arXiv 2209.15589) as a sweep for any machine. Imports no torch.

plan      what is compared: sizes of networks, methods, budgets, variants of the data, seeds (plans/*.toml)
data      the images that a plan names, in memory: read, or made on the spot; curated, long-tailed, noisy ...
point     one run with a full schedule of its own: pre-train, probe, fine-tune for pixels -> a row
sweep     all points of a plan, each done once, whatever is killed
fronts    Pareto fronts with bootstrap membership; where small and large networks cross
results   all of it so far: JSON and a table
"""
