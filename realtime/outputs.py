"""Each sink works in a thread of its own, behind an edge of its own."""

from __future__ import annotations

from threading import Thread
from time import perf_counter

from realtime.errors import OutputError, PosestreamError
from realtime.flow import Crew, Edge
from realtime.ledger import SinkCount
from realtime.records import PosedFrame
from realtime.sinks.base import Assembling, Sink
from realtime.stages import Meter


class SinkWorker:
    """Feeds one sink. A sink that cannot take more is given up and its frames are counted; the
    run goes on. Any other failure of a sink is kept in crash for the main thread.

    error: why the sink was given up, None while it works.
    """

    def __init__(self, sink: Sink, meter: Meter, capacity: int) -> None:
        self.sink = sink
        self.meter = meter
        self.count = SinkCount()
        self.edge: Edge[PosedFrame] = Edge(capacity)
        self.error: OutputError | None = None
        self.crash: PosestreamError | None = None
        self._clean = True
        self._ending = False
        self._thread: Thread | None = None
        if isinstance(sink, Assembling):
            sink.alive = meter.alive

    def start(self, crew: Crew) -> None:
        self._thread = crew.start(self.sink.name, self._work)

    def offer(self, item: PosedFrame, timeout: float) -> bool:
        """Hand a frame over; False when there was no room within timeout seconds."""
        return self.edge.put(item, timeout)

    def refuse(self) -> None:
        """Count a frame that this sink does not get because it is behind (live sources)."""
        self.count.dropped[f"{self.sink.name}.full"] += 1

    def withhold(self) -> None:
        """Count a frame that this sink does not get because it is switched off."""
        self.count.dropped[f"{self.sink.name}.off"] += 1

    def finish(self, clean: bool) -> None:
        """No more frames will come; clean says whether the run ended as it should."""
        self._clean = clean
        self._ending = True
        self.edge.end()

    def done(self, within: float = 0.0) -> bool:
        """Whether the sink is finalised; waits at most within seconds for it."""
        if self._thread is not None:
            self._thread.join(within)
        return self._thread is None or not self._thread.is_alive()

    def assembles(self, limit: float) -> bool:
        """Whether it puts together a file that would be lost as a whole if the process left now;
        not if nothing has got on for limit seconds."""
        since = self.meter.busy_since
        moves = since is None or perf_counter() - since < limit
        return self._ending and self.sink.keeps == "file" and moves and not self.done()

    def leave_behind(self) -> None:
        """Count a sink that does not end as one that failed, unless it keeps nothing; all frames of
        a file that would have been put together now are lost."""
        if self.sink.keeps == "nothing":
            return
        lost = self.count.frames if self.sink.keeps == "file" else 0
        self.crash = OutputError(f"{self.sink.name}: did not end in time and is not whole", lost)
        self._lose(self.crash, 0)

    def _work(self) -> None:
        try:
            self._consume()
        except PosestreamError as error:
            self.crash = error
            self._clean = False
        finally:
            try:
                with self.meter.on([]):
                    self.sink.close(clean=self._clean and self.error is None)
            except OutputError as error:
                self._lose(error, 0)
            except PosestreamError as error:
                self.crash = self.crash or error
            self.edge.abandon()

    def _consume(self) -> None:
        while items := self.edge.take():
            for item in items:
                if self.error:
                    self.count.dropped[f"{self.sink.name}.failed"] += 1
                else:
                    self._write(item)

    def _write(self, item: PosedFrame) -> None:
        try:
            with self.meter.on([item.frame.index]):
                self.sink.write(item)
            self.count.frames += 1
        except OutputError as error:
            self._lose(error, 1)
        except PosestreamError:
            self.count.dropped[f"{self.sink.name}.failed"] += 1
            raise

    def _lose(self, error: OutputError, more: int) -> None:
        """Give the sink up; frames it had taken may be lost with the error, and so many more."""
        self.error = self.error or error
        self.count.frames -= error.lost
        self.count.dropped[f"{self.sink.name}.failed"] += more + error.lost
