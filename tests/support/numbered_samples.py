"""Tasks whose samples are numbers, in a module that data workers can import."""

from typing import Any

from torch.utils.data import Dataset

from tapetum.train.task import Task


class Numbers(Task, Dataset):
    """Samples that are their numbers."""

    def dataset(self) -> "Numbers":
        return self

    def __getitem__(self, number: int) -> int:
        return number

    def collate(self, items: Any) -> list[int]:
        return [*items]


class Unsent(Numbers):
    """Batches that a worker cannot send, as where shared memory is full."""

    def collate(self, items: Any) -> Any:
        return (lambda: items) if items[0] else [*items]
