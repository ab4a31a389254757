"""The sink behind --serve: shows finished frames in the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, sleep

from realtime.desk import Desk
from realtime.ledger import Ledger
from realtime.outputs import SinkWorker
from realtime.pipeline import TICK, Pipeline
from realtime.records import Frame, PosedFrame
from realtime.screen import Pace
from realtime.serve.board import OneBoard
from realtime.serve.buttons import Buttons
from realtime.serve.figures import Figures
from realtime.serve.server import Server
from realtime.sinks.base import Keeps
from realtime.sources.base import Source
from realtime.stop import Stop

LONGEST = 1.0
"""Seconds a frame of a file is waited for at most: slides and gaps go by faster."""


class Page:
    """See Sink. Never waits for a viewer. paced: not faster than the frames' own times, for a file
    that is only watched.

    Raises OutputError when the address cannot be had. Says on standard error where to look.
    """

    name, wants_picture = "page", True
    keeps: Keeps = "nothing"

    def __init__(self, address: str, stop: Stop, paced: bool, min_joint_score: float) -> None:
        self.notes: list[str] = []
        self._stop = stop
        self._pace = Pace(LONGEST) if paced else None
        self._checked: Callable[[PosedFrame], PosedFrame] = lambda item: item
        self._part: Callable[[], int] = lambda: 0  # of the newest frames
        self._rested: Callable[[float], None] = lambda seconds: None
        self._figures, self._buttons = Figures(min_joint_score), Buttons(stop)
        self._board = OneBoard(self._figures, self._buttons)
        self._server = Server(address, self._board)
        self.address, self.token, self.url = (
            self._server.address,
            self._server.token,
            self._server.url,
        )
        self._server.tell()

    def follow(
        self,
        pipeline: Pipeline,
        ledger: Ledger,
        source: Source,
        workers: Sequence[SinkWorker],
        desk: Desk,
    ) -> None:
        """Whose numbers to show, and what buttons do from now on."""
        others = [worker for worker in workers if worker.sink is not self]
        self._figures.follow(pipeline, ledger, source, others)
        self._buttons.follow(desk, ledger.live)
        self._checked, self._part = desk.checked, lambda: desk.part
        own = (worker.meter for worker in workers if worker.sink is self)
        self._rested = next(own).rested

    def write(self, item: PosedFrame) -> None:
        if not self._due(item.frame):
            return  # somebody has sought: this is from before
        private = self._buttons.private
        item = self._checked(item)  # faces may have to be hidden since it was drawn
        self._figures.saw(item)
        self._server.check()
        self._board.put(item, private)

    def close(self, clean: bool = True) -> None:
        self._server.close()

    def _due(self, frame: Frame) -> bool:
        """Wait until this frame is due or the run is to stop; False when it is out of date."""
        early = self._pace.early(frame) if self._pace and frame.part == self._part() else 0.0
        begin = perf_counter()
        until = begin + early
        while (early := until - perf_counter()) > 0 and not self._stop.reason:
            if frame.part != self._part():
                break
            sleep(min(early, TICK))
        self._rested(perf_counter() - begin)
        return frame.part == self._part()
