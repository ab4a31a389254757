"""The board of several sources: all side by side, or one of them, with the numbers of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from realtime.errors import OutputError
from realtime.grid import BETWEEN, Look, Tile, side_by_side
from realtime.ledger import Ledger
from realtime.outputs import SinkWorker
from realtime.pipeline import Pipeline
from realtime.records import Image
from realtime.serve.board import Choice
from realtime.serve.buttons import Buttons
from realtime.serve.figures import Figures
from realtime.serve.newest import Shot
from realtime.serve.server import Server
from realtime.stop import Stop

logger = logging.getLogger(__name__)

TICK = 0.01
"""Seconds between two looks at what has changed, while a viewer waits for it."""
Part = tuple[Tile, Pipeline, Ledger, Sequence[SinkWorker]]
"""One run, and its outputs."""


class Wall:
    """See Board. Nothing is drawn while nobody looks, and no run waits for it."""

    def __init__(self, stop: Stop, min_joint_score: float) -> None:
        self._min_joint_score = min_joint_score
        self._buttons = Buttons(stop)
        self._parts: list[tuple[Tile, Figures]] = []
        self._views: list[_View] = []

    def follow(self, parts: Sequence[Part]) -> None:
        """What to show from now on; from the main thread, once."""
        figures = [Figures(self._min_joint_score) for _ in parts]
        for (tile, pipeline, ledger, workers), numbers in zip(parts, figures):
            numbers.follow(pipeline, ledger, tile.source, workers)
            self._buttons.follow(tile.desk, ledger.live)
            tile.saw = numbers.saw
        tiles = [tile for tile, *_ in parts]
        self._parts = list(zip(tiles, figures))
        self._views = [_View(tiles), *(_View([tile]) for tile in tiles)]

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing to do: everything happens when a viewer asks."""

    async def after(self, last: Shot | None, choice: Choice) -> Shot:
        while True:
            view = self._view(choice())
            shot = await view.shot() if view else last
            if shot is not None and shot is not last:
                return shot
            await asyncio.sleep(TICK)

    async def still(self, choice: Choice) -> Shot | None:
        view = self._view(choice())
        return await view.still() if view else None

    def told(self) -> dict[str, Any]:
        """The numbers of all together, and those of each under "sources"."""
        each = [_told(tile, figures) for tile, figures in self._parts]
        known = bool(each) and all("fps" in one for one in each)
        numbers = together(each) if known else {"state": "starting", "people": []}
        return {**numbers, "buttons": self._buttons.told(), "note": ""}

    def press(self, name: str) -> None:
        self._buttons.press(name)

    def _view(self, number: int) -> _View | None:
        """All for a number that no source has; None before follow()."""
        views = self._views
        return views[number if 0 < number < len(views) else 0] if views else None


class WallPage:
    """The page of several runs. Raises OutputError when the address cannot be had."""

    def __init__(self, address: str, stop: Stop, min_joint_score: float) -> None:
        self._wall = Wall(stop, min_joint_score)
        self.server = Server(address, self._wall)
        self._lost = False

    def follow(self, parts: Sequence[Part]) -> None:
        """Show these runs, and say on standard error where."""
        self._wall.follow(parts)
        self.server.tell()

    def look_after(self) -> None:
        """Say once when the server has ended by itself; the runs go on."""
        try:
            if not self._lost:
                self.server.check()
        except OutputError as error:
            self._lost = True
            logger.error("%s; going on without it", error)

    def close(self) -> None:
        """Tell the viewers that the runs have ended; twice is fine."""
        self.server.close()


class _View:
    """The picture of some tiles, for all who look at these; drawn anew when somebody asks and
    something has changed."""

    def __init__(self, tiles: Sequence[Tile]) -> None:
        self._tiles = tiles
        self._looks: list[Look] = []  # of the newest shot
        self._shot: Shot | None = None
        self._drawn = 0.0
        self._lock = asyncio.Lock()

    async def shot(self) -> Shot:
        """How it looks now, at most every BETWEEN seconds anew."""
        async with self._lock:
            looks, shot = [tile.look() for tile in self._tiles], self._shot
            same = [look.key for look in looks] == [look.key for look in self._looks]
            if shot and shot.fit() and (same or perf_counter() - self._drawn < BETWEEN):
                return shot
            self._drawn = perf_counter()
            shot = await self._draw(looks, notes=True)
            self._shot, self._looks = shot, looks
            return shot

    async def still(self) -> Shot | None:
        """How it looks now, without what is only said at it; None before the first picture."""
        looks = [tile.look() for tile in self._tiles]
        if not any(tile.item for tile in self._tiles):
            return None
        return await self._draw(looks, notes=False)

    async def _draw(self, looks: Sequence[Look], notes: bool) -> Shot:
        picture = await asyncio.to_thread(self._drawing, looks, notes)
        index = max((tile.item.frame.index for tile in self._tiles if tile.item), default=0)
        return Shot(picture, index, self._grabbed(looks), lambda: all(one.fit() for one in looks))

    def _drawing(self, looks: Sequence[Look], notes: bool) -> Image:
        """One tile in its own size, several in a grid with their names."""
        pictures = [look.draw(notes) for look in looks]
        if len(pictures) == 1:
            return pictures[0]
        return side_by_side([(tile.name, one) for tile, one in zip(self._tiles, pictures)])

    def _grabbed(self, looks: Sequence[Look]) -> float:
        """When the oldest of the live frames that are new here was read; 0 if none is."""
        before = {id(look.picture) for look in self._looks}
        items = [tile.item if tile.source.info.live else None for tile in self._tiles]
        new = [item for item, look in zip(items, looks) if item and item.picture is look.picture]
        times = [item.frame.grabbed for item in new if id(item.picture) not in before]
        return min(filter(None, times), default=0.0)


def _told(tile: Tile, figures: Figures) -> dict[str, Any]:
    told = {"name": tile.name.replace("  ", " ", 1), **figures.told()}
    return {**told, "state": "ended", "people": []} if tile.closed else told


def together(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of all sources as one: sums, the latency of the slowest, milliseconds of a frame
    of any. each: as Figures tells them, with their names; people come with theirs."""
    states = [one["state"] for one in each]
    counts = {"fps": 1, "frames": 0, "dropped": 0, "dropped_per_s": 1, "failed": 0, "reconnects": 0}
    sums = {name: round(sum(one[name] for one in each), n or None) for name, n in counts.items()}
    lengths = [one["of"] for one in each]
    stages = dict.fromkeys(name for one in each for name in one["stages"])
    return {
        **sums,
        "state": states[0] if len(set(states)) == 1 else _counted(states),
        "source": f"{len(each)} sources",
        "live": any(one["live"] for one in each),
        "latency_ms": _most(each, "latency_ms"),
        "latency_p95_ms": _most(each, "latency_p95_ms"),
        "of": sum(lengths) if all(lengths) else None,
        "at_s": None,
        "length_s": None,
        "stages": {name: _mean(each, name) for name in stages},
        "outputs": {
            f"{one['name']} {name}": output
            for one in each
            for name, output in one["outputs"].items()
        },
        "people": [{"source": one["name"], **person} for one in each for person in one["people"]],
        "sources": list(each),
    }


def _counted(states: Sequence[str]) -> str:
    """ "2 live, 1 stalled"."""
    kinds = [state.split()[0].rstrip(":") for state in states]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _most(each: Sequence[dict[str, Any]], name: str) -> float | None:
    return max((one[name] for one in each if one[name] is not None), default=None)


def _mean(each: Sequence[dict[str, Any]], stage: str) -> float | None:
    """Weighted by how many frames a second each source has."""
    known = [(one["fps"], one["stages"].get(stage)) for one in each]
    known = [(fps, ms) for fps, ms in known if ms is not None and fps > 0]
    frames = sum(fps for fps, _ in known)
    return round(sum(fps * ms for fps, ms in known) / frames, 2) if known else None
