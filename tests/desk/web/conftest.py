"""A folder with a small video, and a client of its page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from support.web_page import first_item, folder_with, serving


@pytest.fixture
def folder(tmp_path: Path, clip: Path) -> Path:
    return folder_with(clip, tmp_path / "videos")


@pytest.fixture
def page(folder: Path) -> Iterator[TestClient]:
    with serving(folder) as client:
        yield client


@pytest.fixture
def item(page: TestClient) -> str:
    return first_item(page)
