"""The app of the local page (ASGI, Starlette): its routes, and what runs for the server's lifetime."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from tapetum.core.errors import BadInput
from tapetum.desk.web.answers import ERRORS, endpoint
from tapetum.desk.web.items import UPLOAD_BYTES
from tapetum.desk.web.jobs import AT_ONCE
from tapetum.desk.web.page import Page
from tapetum.desk.web.security import Guard
from tapetum.desk.web.workers import KEEP_S


def routes(page: Page) -> list[Route]:
    """List the routes."""
    item = "/api/items/{item}"
    get = {
        "/api/state": page.state,
        "/api/items": page.list_items,
        item: page.item,
        item + "/frames/{number}.jpg": page.frame,
        item + "/project": page.project,
        item + "/tracks.bin": page.tracks,
        item + "/check": page.check,
        item + "/export": page.export,
        "/api/jobs/{job}": page.job,
        "/api/jobs/{job}/file": page.job_file,
        "/api/jobs/{job}/masks.zip": page.mask_files,
        "/api/jobs/{job}/masks/{number}.png": page.mask_image,
        "/api/models": page.models,
        "/api/trackers": page.list_trackers,
        "/api/weights": page.list_weights,
        "/api/search": page.search,
        "/": page.file,
        "/{name}": page.file,
    }
    post = {"/edits": page.edit, "/jobs": page.begin, "/look": page.look, "/masks": page.begin_masks}
    steps = {"/undo": page.undo, "/redo": page.redo}
    return [
        Route("/api/events", page.listen),
        Route("/api/trackers", endpoint(page.choose_tracker, reads=True), methods=["POST"]),
        Route("/api/weights", endpoint(page.fetch_weights, reads=True), methods=["POST"]),
        Route("/api/upload", page.upload, methods=["POST"]),
        Route("/api/jobs/{job}", endpoint(page.cancel), methods=["DELETE"]),
        *(Route(path, endpoint(work)) for path, work in get.items()),
        *(Route(item + path, endpoint(work, reads=True), methods=["POST"]) for path, work in post.items()),
        *(Route(item + path, endpoint(work), methods=["POST"]) for path, work in steps.items()),
    ]


def make_app(
    folder: str | Path,
    token: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    model: str = "tapir-nano",
    words: str | None = None,
    device: str | None = None,
    upload_bytes: int = UPLOAD_BYTES,
    jobs_at_once: int = AT_ONCE,
    keep_s: float = KEEP_S,
) -> Starlette:
    """Build the app that serves a folder to clients with the token, under the names of `host` and `port`.

    Raises BadInput if the folder cannot be written, is served already, or its database is damaged.
    """
    folder = Path(folder).resolve()
    try:
        page = Page(folder, model, device, upload_bytes, jobs_at_once, words, keep_s)
    except OSError as error:
        why = error.strerror or error
        raise BadInput(f"cannot write into {folder} ({why}); choose a folder that can be written") from error

    @asynccontextmanager
    async def alive(app: Starlette) -> AsyncIterator[None]:
        looking = [
            asyncio.create_task(_repeat(work, every)) for work, every in ((page.look_at_jobs, 0.2), (page.look_around, 2.0))
        ]
        try:
            yield
        finally:
            page.end_requests()
            for task in looking:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            page.close()

    guard = Middleware(Guard, token=token, host=host, port=port)
    app = Starlette(routes=routes(page), middleware=[guard], exception_handlers=ERRORS, lifespan=alive)
    app.state.page = page
    return app


async def _repeat(work: Callable[[], None], every_s: float) -> None:
    """Do something in a thread again and again, for at most a tenth of a processor's time."""

    def measured() -> float:
        begun = time.thread_time()
        work()
        return time.thread_time() - begun

    while True:
        took = 0.0
        try:
            took = await asyncio.to_thread(measured)
        except Exception as error:  # the next look may find it mended
            print(f"tapetum: cannot {work.__name__.replace('_', ' ')}: {type(error).__name__}: {error}", file=sys.stderr)
        await asyncio.sleep(max(every_s, 10 * took))
