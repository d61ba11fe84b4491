"""Access control: only requests with the token of this server, under its served names, from its own page.

    Host      one of the served names: a page of a foreign name that is made to lead here (DNS rebinding) is refused
    Origin    if present, http:// and that same host: pages of other servers are refused, those of other ports too
    token     in a cookie that scripts cannot read and other sites do not send (HttpOnly, SameSite=Strict), or in the header
              X-Tapetum-Token; the address with ?token=... sets the cookie and leads to /

All other requests get 403. Headers on each response keep the page from loading anything else, and others from framing it.
"""

import hmac
import ipaddress
import os
import re
import secrets
import socket
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response

from tapetum.desk.web.answers import answer_error
from tapetum.desk.web.hidden import open_plain, read_plain

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response."""
_TOKEN, _SEAL = "token", "token.seal"
_EVERYWHERE = ("", "0.0.0.0", "::")
"""Hosts that stand for all addresses of this machine."""


def kept_token(place: Path) -> str:
    """Read the token of the last server from a hidden folder, so that open pages go on after a restart; else make a new one.

    A folder may come from someone else, who would know a token in it. So it counts only if this user alone can read it, and if
    it is the very file that a server wrote: its number and the time of its last change, which no program can choose, are in a
    second file. A copy of the folder gets a new token.
    """
    with suppress(OSError, ValueError):
        with os.fdopen(open_plain(place, _TOKEN), "rb") as file:
            about, token = os.fstat(file.fileno()), file.read(100).decode("ascii")
        private = about.st_uid == os.geteuid() and stat.S_IMODE(about.st_mode) == 0o600
        if private and re.fullmatch(r"[\w-]{32}", token) and read_plain(place, _SEAL, most=100) == _seal(about):
            return token
    token = secrets.token_urlsafe(24)
    with suppress(OSError):  # then it is of this server alone
        for name, content in ((_TOKEN, token.encode()), (_SEAL, b"")):
            (place / name).unlink(missing_ok=True)
            with os.fdopen(open_plain(place, name, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content or _seal((place / _TOKEN).stat()))
    return token


def _seal(about: os.stat_result) -> bytes:
    return f"{about.st_dev} {about.st_ino} {about.st_ctime_ns}".encode()


class Guard:
    """ASGI middleware that admits requests as described above."""

    def __init__(self, app: Any, token: str, host: str, port: int):
        self.app, self.token = app, token
        self.cookie = f"tapetum-{port}"  # browsers send a cookie to all ports
        self.hosts, self.addresses = served_hosts(host, port), host in _EVERYWHERE
        self.port = port

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Any) -> Response | None:
        """The response to a request that does not reach the app; None for one that does."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if not self._is_served(host):
            return answer_error(403, "this server is not known by that name; open the address that tapetum serve printed")
        if origin is not None and origin.lower() != f"http://{host}":
            return answer_error(403, "requests from other pages are refused; open the address that tapetum serve printed")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if scope["path"] == "/" and scope["method"] == "GET" and given and self._fits(given[0]):
            response = RedirectResponse("/", 303)
            response.set_cookie(self.cookie, self.token, max_age=30 * 86400, httponly=True, samesite="strict")
            return response
        known = headers.get("x-tapetum-token") or cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        if not self._fits(known):
            return answer_error(403, "the token is missing or wrong; open the address that tapetum serve printed")
        return None

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.token.encode())

    def _is_served(self, host: str) -> bool:
        return host in self.hosts or (self.addresses and _is_address(host, self.port))


def served_hosts(host: str, port: int) -> Collection[str]:
    """List the Host headers, in lower case, of requests to a server that listens at `host`.

    >>> sorted(served_hosts("127.0.0.1", 8765))
    ['127.0.0.1:8765', 'localhost:8765']
    """
    names = {host.lower()}
    if host in ("127.0.0.1", "::1", "localhost", *_EVERYWHERE):
        names |= {"localhost"} if host in ("127.0.0.1", "::1") else {"localhost", "127.0.0.1", "::1"}
    if host in _EVERYWHERE:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    named = {f"[{name}]" if ":" in name else name for name in names - {""}}
    return {f"{name}:{port}" for name in named} | (named if port == 80 else set())


def _is_address(host: str, port: int) -> bool:
    """Check whether a Host header is an IP address, which cannot be a foreign name."""
    name, _, given = host.rpartition(":")
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return given == str(port)
