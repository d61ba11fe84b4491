"""Images, episodes and films of the world as folders of files in the layouts of benchmarks."""
