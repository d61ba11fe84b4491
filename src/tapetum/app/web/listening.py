"""The socket that the server listens at, opened before anything is served, so that a port that is taken is said in one line."""

import socket

from tapetum.core.errors import BadInput

_WAITING = 128
"""Connections that may wait to be taken."""


def listen_at(host: str, port: int) -> socket.socket:
    """Open a socket that listens at an address of this machine. Raises BadInput where that cannot be."""
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
