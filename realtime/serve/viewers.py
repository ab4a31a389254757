"""One coroutine a viewer. Each gets the newest picture when it is ready for it, so that a slow one
skips pictures and holds nobody up; what waits for it is at most IN_FLIGHT pictures."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, time
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from realtime.serve.board import Board, Choice
from realtime.serve.figures import EVERY
from realtime.serve.newest import Shot, to_png

IN_FLIGHT = 2
"""Pictures on the way to a viewer that it has not answered yet: one travels, one is shown."""
PATIENCE = 10.0
"""Seconds a viewer may take for one piece of data before it is cut off."""
MOST = 32
"""Viewers at once."""
BACKLOG = 1 << 18
"""Bytes the system may hold back for a viewer of the plain stream, about two pictures."""
HEAD = struct.Struct("<IId")
"""Before each picture: its serial number for this viewer, index of its frame, and when it was
read, as milliseconds UTC."""
PART = b"\r\n--frame\r\n"


class Viewers:
    """Serves pictures and numbers; encoding is done by one thread for all."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._hands = ThreadPoolExecutor(1, "page encoder")
        self._sockets: set[web.WebSocketResponse] = set()
        self._count = 0

    async def live(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket: pictures (HEAD, JPEG) and numbers (JSON) out; in come {"seen": serial} for
        each picture shown, {"do": name} for a button and {"source": number} to look at one of
        several."""
        self._check_room()
        ws = web.WebSocketResponse(heartbeat=2 * PATIENCE, compress=False, max_msg_size=1024)
        await ws.prepare(request)
        viewer = _Viewer(ws, request)
        self._count += 1
        self._sockets.add(ws)
        tasks = [
            asyncio.ensure_future(self._send_pictures(viewer)),
            asyncio.ensure_future(self._send_figures(viewer)),
        ]
        try:
            await self._receive(viewer)
        finally:
            self._count -= 1
            self._sockets.discard(ws)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return ws

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Motion JPEG, for browsers without scripts and for other programs."""
        self._check_room()
        response = web.StreamResponse(
            headers={"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
        )
        _limit_backlog(request)
        await response.prepare(request)
        self._count += 1
        shot, choice = None, _choice(request)
        try:
            await response.write(PART[2:])
            while True:
                shot, data = await self._next(shot, choice)
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                # The next part's boundary at once: browsers show a part when they have seen its end
                await _patiently(response.write(head + data + PART), request)
        except ConnectionError:
            return response  # the viewer has left
        finally:
            self._count -= 1

    async def screenshot(self, request: web.Request) -> web.StreamResponse:
        """The newest picture as a PNG file in its full size."""
        while True:
            shot = await self._board.still(_choice(request))
            if shot is None:
                raise web.HTTPServiceUnavailable(text="There is no picture yet.\n")
            data = await asyncio.to_thread(to_png, shot.picture)
            if shot.fit():
                break
        name = f'attachment; filename="posestream-{shot.index:06d}.png"'
        return web.Response(
            body=data, content_type="image/png", headers={"Content-Disposition": name}
        )

    async def end(self) -> None:
        """The run is over: tell everybody."""
        for ws in list(self._sockets):
            self._sockets.discard(ws)
            await ws.close(code=WSCloseCode.GOING_AWAY, message=b"the run has ended")

    def close(self) -> None:
        """When nobody is served any more."""
        self._hands.shutdown(wait=False)

    def _check_room(self) -> None:
        if self._count >= MOST:
            raise web.HTTPServiceUnavailable(text=f"There are {MOST} viewers already.\n")

    async def _next(self, last: Shot | None, choice: Choice) -> tuple[Shot, bytes]:
        """The newest shot after that one and its JPEG, if it may be shown even now."""
        while True:
            shot = await self._board.after(last, choice)
            data = await shot.jpeg(self._hands)
            if shot.fit():
                return shot, data

    async def _send_pictures(self, viewer: _Viewer) -> None:
        shot = None
        while True:
            await viewer.ready()
            shot, data = await self._next(shot, lambda: viewer.source)
            await viewer.send_picture(shot, data)

    async def _send_figures(self, viewer: _Viewer) -> None:
        while True:
            more = {"viewers": self._count, "screen_ms": viewer.screen_ms}
            await viewer.send({**self._board.told(), **more})
            await asyncio.sleep(EVERY)

    async def _receive(self, viewer: _Viewer) -> None:
        async for message in viewer.ws:
            told = _parsed(message.data) if message.type is WSMsgType.TEXT else None
            if told is None:
                await viewer.ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"not understood")
                return
            if "seen" in told:
                viewer.seen(told["seen"])
            if "source" in told:
                viewer.source = told["source"] if isinstance(told["source"], int) else 0
            if "do" in told:
                self._board.press(str(told["do"]))


class _Viewer:
    """screen_ms: how old the last picture was when the viewer said that it was shown. source:
    which one of several it looks at."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.screen_ms: float | None = None
        self.source = 0
        self._serial = 0
        self._request = request
        self._under_way: dict[int, float] = {}  # serial: when its frame was read
        self._free = asyncio.Event()
        self._free.set()

    async def ready(self) -> None:
        """Wait until there is room for one more picture."""
        while len(self._under_way) >= IN_FLIGHT:
            self._free.clear()
            await self._free.wait()

    def seen(self, serial: Any) -> None:
        """The viewer has shown this picture."""
        grabbed = self._under_way.pop(serial, None) if isinstance(serial, int) else None
        if grabbed:
            self.screen_ms = round(1e3 * (perf_counter() - grabbed), 1)
        self._free.set()

    async def send_picture(self, shot: Shot, data: bytes) -> None:
        self._serial += 1
        self._under_way[self._serial] = shot.grabbed
        read = 1e3 * (time() - (perf_counter() - shot.grabbed)) if shot.grabbed else 0.0
        head = HEAD.pack(self._serial & 0xFFFFFFFF, shot.index & 0xFFFFFFFF, read)
        await _patiently(self.ws.send_bytes(head + data), self._request)

    async def send(self, told: Mapping[str, Any]) -> None:
        await _patiently(self.ws.send_str(json.dumps(told, allow_nan=False)), self._request)


async def _patiently(sending: Awaitable[None], request: web.Request) -> None:
    """Wait for a viewer to take its data; raises ConnectionError when that takes too long."""
    try:
        await asyncio.wait_for(sending, PATIENCE)
    except asyncio.TimeoutError:
        if request.transport:
            request.transport.abort()
        raise ConnectionError("the viewer takes no data") from None


def _limit_backlog(request: web.Request) -> None:
    """Otherwise the system keeps seconds of pictures for a slow viewer, who then sees the past."""
    plug = request.transport.get_extra_info("socket") if request.transport else None
    if plug is not None:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG)


def _choice(request: web.Request) -> Choice:
    """The source that the address names (?source=2)."""
    text = request.query.get("source", "")
    number = int(text) if text.isdecimal() and len(text) < 5 else 0
    return lambda: number


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
