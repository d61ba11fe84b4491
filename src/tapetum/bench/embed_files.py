"""The files in folders that `tapetum embed` and `tapetum index` process."""

import os
from pathlib import Path

_BESIDE = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
"""What systems put into folders of images."""
NO_MEDIA = {
    *(".txt", ".md", ".rst", ".pdf", ".docx", ".html", ".xml", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".log", ".py"),
    *(".csv", ".tsv", ".xlsx", ".parquet", ".npy", ".npz", ".pkl", ".h5", ".mat", ".pt", ".pth", ".safetensors", ".onnx"),
    *(".zip", ".tar", ".gz", ".tgz", ".7z", ".srt", ".vtt", ".xmp", ".ipynb", ".sh", ".db", ".unfinished", ".state"),
}
"""Endings of what people keep beside images and videos, and which is neither."""


def files_below(folder: Path) -> list[Path]:
    """List all files in a folder and below, except hidden ones; links to folders are not followed."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = (name for name in names if not name.startswith(".") and name.lower() not in _BESIDE)
        files += [path for name in visible if (path := Path(place, name)).is_file()]
    return sorted(files)
