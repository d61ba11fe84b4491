"""The server's socket, opened before anything is served, and the uvicorn server on it."""

import socket
from typing import Any

from tapetum.core.errors import BadInput

_WAITING = 128
"""Connections that may wait to be taken."""


def listen_at(host: str, port: int) -> socket.socket:
    """Open a socket that listens at an address of this machine. Raises BadInput if that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(_WAITING)
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
