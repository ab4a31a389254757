"""Who may look: the name a request came to, the token, and pages of other sites."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from yarl import URL

from realtime.serve.address import Address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "posestream",
}


NO_TOKEN = "This page needs its token: open the address that the program has printed"
NOT_THE_TOKEN = "This is not the token of this run: open the address that the program has printed"
ASK = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>posestream</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"></head>
<body><h1>posestream</h1><form action="/"><p>{why}, or enter what stands behind <b>token=</b> in it.
</p><p><label>Token <input name="token" autocomplete="off" autofocus required></label>
<button>Open</button></p></form></body></html>
"""
"""What a browser without the token shows."""


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """HEADERS on every answer, refusals too."""
    response.headers.update(HEADERS)


def new_token() -> str:
    """128 random bits, to be put into an address."""
    return secrets.token_urlsafe(16)


class Guard:
    """Lets a request through, or answers it with 401, 403 or 421.

    Host: an IP address, localhost, or a name of this machine. A page of another site that lets
    its own name point here (DNS rebinding) comes with that name and is refused. Origin and
    Sec-Fetch-Site: a page of another site cannot open the pictures or press a button. token, when
    not empty: in the address once (?token=), then in a cookie that scripts cannot read.
    """

    def __init__(self, address: Address, token: str) -> None:
        here = socket.gethostname().lower()
        self._names = {"localhost", address.host.lower(), here, f"{here}.local"}
        self._token, self._cookie = token, f"posestream-{address.port}"

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._check_site(request)
        entered = self._enter(request) if self._token else None
        return entered or await handler(request)

    def _check_site(self, request: web.Request) -> None:
        host = _name(f"http://{request.host}")
        if not (host in self._names or _is_ip(host)):
            text = "This name is not one of this machine; use its IP address.\n"
            raise web.HTTPMisdirectedRequest(text=text)
        origin = request.headers.get("Origin")
        foreign = origin is not None and origin.partition("://")[2] != request.host
        linked = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
        site = request.headers.get("Sec-Fetch-Site", "none")
        if foreign or (site not in ("none", "same-origin") and not linked):
            raise web.HTTPForbidden(text="Pages of other sites may not use this one.\n")

    def _enter(self, request: web.Request) -> web.StreamResponse | None:
        """None lets the request on; a right token in the page's address moves into the cookie."""
        given = request.query.get("token")
        if self._fits(given) and request.path == "/":
            response = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="Lax", path="/")
            return response
        if self._fits(given) or self._fits(request.cookies.get(self._cookie)):
            return None
        why = NO_TOKEN if given is None else NOT_THE_TOKEN
        browser = request.path == "/" and "text/html" in request.headers.get("Accept", "")
        raise web.HTTPUnauthorized(
            text=ASK.format(why=why) if browser else f"{why}.\n",
            content_type="text/html" if browser else "text/plain",
            headers={"WWW-Authenticate": "Token"},
        )

    def _fits(self, given: str | None) -> bool:
        """Compared in constant time."""
        if given is None:
            return False
        # A cookie may hold any bytes, which come as surrogates.
        return hmac.compare_digest(given.encode("utf-8", "backslashreplace"), self._token.encode())


def _name(url: str) -> str:
    try:
        return (URL(url).host or "").lower()
    except ValueError:
        return ""


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
