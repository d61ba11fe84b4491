"""Access control: only requests with the token of this server, under its served names, from its own page.

    Host      one of the served names: a page of a foreign name that is made to lead here (DNS rebinding) is refused
    Origin    if present, http:// and that same host: pages of other servers are refused, those of other ports too
    token     in a cookie that scripts cannot read and other sites do not send (HttpOnly, SameSite=Strict), or in the header
              X-Tapetum-Token; the address with ?token=... sets the cookie and leads to /

All other requests get 403. Headers on each response keep the page from loading anything else, and others from framing it.
"""

import hmac
import ipaddress
import socket
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response

from tapetum.desk.web.answers import answer_error

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
_EVERYWHERE = ("", "0.0.0.0", "::")
"""Hosts that stand for all addresses of this machine."""


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
