"""The server: one thread with an event loop of its own, beside the pipeline."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread

from aiohttp import web

from realtime.errors import OutputError
from realtime.records import PosedFrame
from realtime.serve.buttons import Buttons
from realtime.serve.figures import Figures
from realtime.serve.guard import Guard, Handler, add_headers
from realtime.serve.newest import Newest
from realtime.serve.viewers import Viewers

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
START_LIMIT = 10.0
END_LIMIT = 0.5
"""Seconds for viewers to hear that the run is over."""


class Server:
    """Serves from the moment it is made until close(). Raises OutputError when it cannot."""

    def __init__(
        self, listener: socket.socket, guard: Guard, figures: Figures, buttons: Buttons
    ) -> None:
        self._listener, self._guard = listener, guard
        self._figures, self._buttons = figures, buttons
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Newest]] = Future()
        self._thread = Thread(target=self._work, name="page server", daemon=True)
        self._thread.start()
        try:
            self._loop, self._over, self._newest = self._ready.result(START_LIMIT)
        except OSError as error:
            raise OutputError(f"--serve: cannot start: {error}") from error

    def show(self, item: PosedFrame) -> None:
        """Make this the newest picture. Raises OutputError when the server has ended by itself."""
        if not self._thread.is_alive():
            raise OutputError("--serve: the page's server has ended by itself")
        self._newest.put(item)

    def close(self) -> None:
        """Tell the viewers, then end; twice is fine."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(2 * END_LIMIT + 0.5)

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        newest = Newest(loop)
        viewers = Viewers(newest, self._figures, self._buttons)
        app = web.Application(middlewares=[self._guard.check], client_max_size=1024)
        app.on_response_prepare.append(add_headers)
        app.router.add_routes([web.get(path, _static(*file)) for path, file in FILES.items()])
        app.router.add_get("/live", viewers.live)
        app.router.add_get("/stream.mjpg", viewers.stream)
        app.router.add_get("/screenshot.png", viewers.screenshot)
        runner = web.AppRunner(
            app, handle_signals=False, access_log=None, handler_cancellation=True,
            shutdown_timeout=END_LIMIT,
        )  # fmt: skip
        await runner.setup()
        await web.SockSite(runner, self._listener).start()
        self._ready.set_result((loop, over, newest))
        await over.wait()
        with suppress(asyncio.TimeoutError):  # a viewer that does not listen
            await asyncio.wait_for(viewers.end(), END_LIMIT)
        await runner.cleanup()


def _static(name: str, kind: str) -> Handler:
    body = (STATIC / name).read_bytes()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer
