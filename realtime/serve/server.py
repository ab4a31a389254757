"""The server: one thread with an event loop of its own, beside the pipeline."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress
from pathlib import Path
from threading import Thread

from realtime.errors import ModelError, OutputError
from realtime.serve.address import listen, parse_address
from realtime.serve.board import Board

try:
    from aiohttp import web

    from realtime.serve.callers import BACKLOG, MOST, PATIENCE, Caller, mark
    from realtime.serve.guard import Guard, Handler, add_headers, new_token
    from realtime.serve.viewers import Viewers
except ImportError as error:
    raise ModelError(
        f'--serve needs a library ({error}); run pip install "posestream[serve]"'
    ) from error

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
    """Serves what a board shows, from the moment it is made until close().

    address: where, as [HOST:]PORT or as it has got it; token: what viewers need, "" for nothing;
    alive: whether it has not ended. most: connections at once; patience: seconds each may go
    without a complete request. Raises OutputError when the address cannot be had.
    """

    def __init__(
        self, address: str, board: Board, most: int = MOST, patience: float = PATIENCE
    ) -> None:
        wanted = parse_address(address)
        self._most, self._patience = most, patience
        self._listener, self.address = listen(wanted)
        self.token = "" if wanted.loopback else new_token()
        self._guard, self._board = Guard(self.address, self.token), board
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = Thread(target=self._work, name="page server", daemon=True)
        self._thread.start()
        try:
            self._loop, self._over = self._ready.result(START_LIMIT)
        except TookTooLong:
            raise OutputError(f"--serve: did not start within {START_LIMIT:.0f} s") from None
        except Exception as error:
            raise OutputError(f"--serve: cannot start: {error}") from error

    @property
    def url(self) -> str:
        """What to open; with the token, if there is one."""
        return f"http://{self.address.reachable}/" + (f"?token={self.token}" if self.token else "")

    def tell(self) -> None:
        """Say on standard error where to look."""
        print(f"posestream: the page is at {self.url}", file=sys.stderr, flush=True)

    def check(self) -> None:
        """Raises OutputError when it has ended by itself."""
        if not self._thread.is_alive():
            raise OutputError("--serve: the page's server has ended by itself")

    def close(self) -> None:
        """Tell the viewers, then end; twice is fine."""
        if self._thread.is_alive():
            with suppress(RuntimeError):  # the thread is about to end: its loop is closed already
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(2 * END_LIMIT + 0.5)

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._board.begin(loop)
        viewers = Viewers(self._board)
        app = web.Application(middlewares=[mark, self._guard.check], client_max_size=1024)
        app.on_response_prepare.append(add_headers)
        app.router.add_routes([web.get(path, _static(*file)) for path, file in FILES.items()])
        app.router.add_get("/live", viewers.live, allow_head=False)
        app.router.add_get("/stream.mjpg", viewers.stream, allow_head=False)
        app.router.add_get("/screenshot.png", viewers.screenshot)
        runner = web.AppRunner(
            app, handle_signals=False, handler_cancellation=True, shutdown_timeout=END_LIMIT
        )
        await runner.setup()
        server = runner.server
        assert server is not None
        listening = await loop.create_server(
            lambda: Caller(server, self._most, self._patience),
            sock=self._listener,
            backlog=BACKLOG,
        )
        self._ready.set_result((loop, over))
        await over.wait()
        with suppress(asyncio.TimeoutError):  # a viewer that does not listen
            await asyncio.wait_for(viewers.end(), END_LIMIT)
        listening.close()
        await runner.cleanup()
        viewers.close()


def _static(name: str, kind: str) -> Handler:
    body = (STATIC / name).read_bytes()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer
