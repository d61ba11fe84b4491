"""No test may need another machine: what `conftest` does about that works."""

import socket
import urllib.request

import pytest

ELSEWHERE = "192.0.2.1"
"""An address that is kept for documentation (RFC 5737)."""
reaching_out = pytest.raises(RuntimeError, match="a test wanted to reach")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_no_socket_reaches_another_machine(kind: int) -> None:
    with socket.socket(type=kind) as out, reaching_out:
        out.settimeout(1)
        out.connect((ELSEWHERE, 80))
    with socket.socket(type=kind) as out, reaching_out:
        out.settimeout(1)
        out.sendto(b"", (ELSEWHERE, 80))


def test_no_name_is_looked_up() -> None:
    with reaching_out:
        socket.create_connection(("example.org", 80), timeout=1)
    with reaching_out:
        socket.gethostbyname("example.org")
    with reaching_out:
        urllib.request.urlopen("http://example.org/", timeout=1)


def test_this_machine_may_be_reached() -> None:
    for host in ("127.0.0.1", "localhost"):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            socket.create_connection((host, server.getsockname()[1]), timeout=5).close()
