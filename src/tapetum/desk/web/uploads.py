"""Upload of a video or an image into the served folder: streamed to disk, checked, and only then moved into place."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.hidden import make_folder
from tapetum.desk.web.items import Items, MediaItem
from tapetum.video import open_video
from tapetum.video.images import IMAGES, VIDEOS

UPLOAD_BYTES = 4 << 30
"""The most bytes of a file."""
_LONGEST_NAME = 120
_MOST_NAMES = 10_000


async def upload(request: Request, folder: Path, place: Path, items: Items, most: int) -> MediaItem:
    """Save the body of a request as a file of the folder, under its name or a similar one; never overwrites another file.

    Raises Refused: 400 for a name or content that is not a video or image, or a full disk; 413 for more than `most` bytes.
    """
    name = read_name(request.query_params.get("name", ""))
    if int(request.headers.get("content-length", "0") or 0) > most:
        raise Refused(
            413, f"{name} has more than {most:,} bytes, the most that is taken; start tapetum serve with a higher limit"
        )
    part, received = place / f"{secrets.token_hex(8)}{Path(name).suffix.lower()}", 0
    try:
        make_folder(place.parent, place.name)
        with open(part, "xb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                if received > most:
                    raise Refused(
                        413,
                        f"{name} has more than {most:,} bytes, the most that is taken; start tapetum serve with a higher limit",
                    )
                await run_in_threadpool(file.write, chunk)
            file.flush()
            os.fsync(file.fileno())
        return await run_in_threadpool(_put_in_place, part, folder, name, items)
    except OSError as error:
        raise Refused(400, str(cannot_write(name, error))) from error
    finally:
        with suppress(OSError):
            part.unlink()


def read_name(given: str) -> str:
    """Check the name of an uploaded file: no folders, not hidden, with the extension of a video or an image.

    Raises Refused with 400.

    >>> read_name("clip 1.mp4")
    'clip 1.mp4'
    """
    plain = given.isprintable() and "/" not in given and "\\" not in given and len(given.encode()) <= _LONGEST_NAME
    if not plain or not given or given.startswith(".") or given != given.strip():
        raise Refused(400, f"{given[:40]!r} is no name for a file; give one without folders, such as clip.mp4")
    if Path(given).suffix.lower() not in VIDEOS | IMAGES:
        raise Refused(400, f"{given} has the ending of neither a video nor an image; give one such as clip.mp4")
    return given


def _put_in_place(part: Path, folder: Path, name: str, items: Items) -> MediaItem:
    try:
        with open_video(part) as video:
            video[0]
    except (BadInput, IndexError) as error:
        text = str(error).replace(str(part), name).replace(part.name, name)
        raise Refused(400, text) from error
    for number in range(1, _MOST_NAMES):
        free = folder / (name if number == 1 else f"{Path(name).stem}-{number}{Path(name).suffix}")
        try:
            os.link(part, free)
        except FileExistsError:
            continue
        except OSError:  # a disk that knows no second names
            if os.path.lexists(free):
                continue
            os.rename(part, free)
        if (item := items.add(free)) is not None:
            return item
    raise Refused(409, f"there is no free name like {name} in the folder; give another")
