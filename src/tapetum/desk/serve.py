"""`tapetum serve`: the local page for placing, tracking and correcting points, and asking models."""

import os
import secrets
import socket
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Device
from tapetum.app.track.track import MODEL
from tapetum.app.verb import File, Listener, verb
from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.desk.web.workers import KEEP_S
from tapetum.hub.registry import resolve


@dataclass(frozen=True)
class ServeOptions:
    """Serve a page for the videos and images of a folder: place points, track them, put them right, ask models.

    The address that is printed has a secret token; whoever has it may read and change what is in the folder. All is saved in
    .tapetum-web in the folder as it happens; Ctrl-C ends the server, and jobs that run go on. What the network saw of videos
    that are tracked is kept in the user's cache, 1 GiB at most, so that corrections are quick.
    """

    folder: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FOLDER")] = "."
    """Folder with videos and images, in it and below."""
    _: KW_ONLY
    port: int = 8765
    """Port to listen at; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in, over a connection that is not encrypted."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = MODEL
    """What tracks: name of weights (see: tapetum weights list), or a file of them."""
    words: Annotated[str | None, tyro.conf.arg(metavar="NAME|FOLDER")] = None
    """What compares frames with labels of your own: the name of an encoder of images and words (see: tapetum weights list), or
    a folder of one as it is published; by default the best that is on this machine."""
    device: Device = "auto"
    upload_mib: Annotated[int, tyro.conf.arg(metavar="MIB")] = 4096
    """The most MiB of a file that is sent to the server."""
    jobs: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """Jobs that run at a time; others wait."""
    keep_minutes: Annotated[float, tyro.conf.arg(metavar="MINUTES")] = KEEP_S / 60
    """How long models stay loaded after a job, for the next one; 0 loads them for each job."""

    def check(self) -> None:
        """Raise BadInput for options that cannot be served."""
        if not Path(self.folder).is_dir():
            raise BadInput(f"there is no folder {self.folder}; give one with videos or images")
        if self.words is not None and not Path(self.words).is_dir():
            resolve(self.words, "classify")
        if not 0 <= self.port <= 65535:
            raise BadInput(f"--port is {self.port}; give a number from 0 to 65535")
        if self.device not in (None, "auto", "cpu"):  # which are there, and need no seconds to import torch
            find_device(self.device)
        for name, least in (("upload_mib", 0), ("jobs", 1), ("keep_minutes", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"--{name.replace('_', '-')} is {getattr(self, name)}; give {least} or more")


@verb(ServeOptions)
def serve(options: ServeOptions, listener: Listener) -> None:
    """Serve the page until interrupted; the listener receives its address.

    Raises BadInput if the folder cannot be served or the port is taken.
    """
    options.check()
    from tapetum.desk.web.hidden import open_hidden
    from tapetum.desk.web.security import kept_token
    from tapetum.desk.web.server import make_app

    listening = listen_at(options.host, options.port)
    with listening:
        folder = Path(options.folder).resolve()
        token = kept_token(open_hidden(folder)) if os.access(folder, os.W_OK) else secrets.token_urlsafe(24)
        port = listening.getsockname()[1]
        app = make_app(
            options.folder,
            token,
            host=options.host,
            port=port,
            model=options.model,
            words=options.words,
            device=options.device,
            upload_bytes=options.upload_mib << 20,
            jobs_at_once=options.jobs,
            keep_s=60 * options.keep_minutes,
        )
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options.host, options.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        listener.line(f"http://{host}:{port}/?token={token}")
        run_server(app, listening)


def listen_at(host: str, port: int) -> socket.socket:
    """Open a socket that listens at an address of this machine. Raises BadInput if that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise BadInput(
            f"cannot listen at {host}, port {port} ({error.strerror or error}); give another --port, 0 for a free one"
        ) from error
    return opened


def run_server(app: Any, listening: socket.socket) -> None:
    """Serve an app until the process is interrupted, then answer requests that wait for frames or events."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.page.end_requests()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app, log_level="warning", server_header=False, ws="none", lifespan="on", timeout_graceful_shutdown=2
    )
    Server(config).run(sockets=[listening])
