"""Connections, before anybody has shown a token: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from realtime.serve.guard import HEADERS
from realtime.serve.viewers import MOST as VIEWERS

MOST = 4 * VIEWERS
"""Connections at once: what a process may open is limited, and the recording needs some of it."""
PATIENCE = 10.0
"""Seconds a connection may go without a complete request, also between two of them."""
BACKLOG = 32
"""Connections that wait to be taken; as many are taken at once, before any is turned away."""


class Caller(web.RequestHandler):
    """One connection: turned away where there are most already, and closed after patience seconds
    without a complete request."""

    def __init__(self, server: web.Server, most: int, patience: float) -> None:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"access_log": None, "keepalive_timeout": patience}
        super().__init__(server, loop=loop, **options)
        self.has_asked = False
        self._server, self._most, self._patience = server, most, patience

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._server.connections) >= self._most:
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(transport)
        # Before the first request some versions of aiohttp wait forever.
        asyncio.get_running_loop().call_later(self._patience, self._give_up)

    def _give_up(self) -> None:
        if not self.has_asked:
            self.force_close()

    def handle_error(self, *args: Any, **options: Any) -> web.StreamResponse:
        """The answer to what cannot be understood, which goes by no handler of ours."""
        response = super().handle_error(*args, **options)
        response.headers.update(HEADERS)
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """What somebody sends that is no HTTP is no mistake of this program."""
        if isinstance(options.get("exc_info"), HttpProcessingError):
            self.logger.debug(*args, **options)
        else:
            super().log_exception(*args, **options)


@web.middleware
async def mark(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Its connection has sent a complete request."""
    if isinstance(request.protocol, Caller):
        request.protocol.has_asked = True
    return await handler(request)
