"""Folders of web servers, listed by their pages of links, within the limits of `tapetum.core.limits`."""

import io
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

from tapetum.core.errors import BadInput
from tapetum.core.limits import Limits, receiving

_LINK = re.compile(r"""\bhref\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')""", re.IGNORECASE)
_LONGEST = 8192
"""Characters of an address."""


def linked_files(system: Any, root: str, limits: Limits) -> Iterator[str]:
    """Yield the addresses of files that pages of links lead to from `root` on, all of them below it; without hidden ones.

    Args:
        system: fsspec's, of web servers.
        root: address of a folder.
        limits: on a page and on the whole listing.

    Raises:
        BadInput: links, pages, folders inside each other or seconds are more than `limits` allow.
        Exception: what the server is answered with, of the kinds that `tapetum.core.addresses.reaching` knows.
    """
    root = root.rstrip("/") + "/"
    until = time.monotonic() + limits.listing
    waiting, known, pages = [root], {root}, 0
    while waiting:
        page, pages = waiting.pop(), pages + 1
        for name in _links(system, page, until, limits):
            below = name.removeprefix(root)
            if name in known or below == name or "?" in name or "#" in name or not is_visible(below):
                continue
            known.add(name)
            for what, count, most in (
                ("files and folders", len(known), limits.links),
                ("pages of links", pages + len(waiting), limits.pages),
                ("folders inside each other", below.count("/"), limits.depth),
            ):
                if count > most:
                    raise BadInput(f"{root} leads to more than {most:,} {what}, and may never end; give a folder in it")
            if name.endswith("/"):
                waiting.append(name)
            else:
                yield name


def is_visible(path: str) -> bool:
    """Check that neither a file nor a folder of its path is hidden.

    >>> is_visible("a/b.png"), is_visible(".a/b.png")
    (True, False)
    """
    return not any(part.startswith(".") for part in path.split("/"))


def _links(system: Any, page: str, until: float, limits: Limits) -> Iterator[str]:
    """Addresses that a page has links to."""
    if (left := until - time.monotonic()) <= 0:
        raise BadInput(f"the listing takes longer than {limits.listing:g} seconds at {page}; give a folder in it")
    text = io.BytesIO()
    watch = receiving(page, limits.page, limits, until=until)
    system.get_file(page, text, callback=watch, timeout=left)
    for link in _LINK.finditer(text.getvalue().decode("utf-8", "ignore")):
        with suppress(ValueError):  # it is no address
            name = urljoin(page, link[1] or link[2] or "")
            if len(name) <= _LONGEST:
                yield name
