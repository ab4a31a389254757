"""The main loop of a run: delivers frames to the sinks, looks after keys, signals and hangs, and
brings everything to its end."""

from __future__ import annotations

import faulthandler
import logging
from contextlib import closing
from time import perf_counter, sleep

from realtime.demo_score import DemoScore
from realtime.desk import Desk
from realtime.errors import SourceLost, StageError
from realtime.flow import Crew
from realtime.hud import Hud
from realtime.ledger import ALARM, Ledger
from realtime.outputs import SinkWorker
from realtime.pipeline import TICK, Pipeline
from realtime.progress import Progress
from realtime.records import PosedFrame
from realtime.screen import Display
from realtime.sinks.jsonl import PipeClosed
from realtime.sources.base import Seekable, Source
from realtime.stages import Meter, Watchdog
from realtime.stop import Stop

HANG_LIMIT = 10.0
"""Seconds in one call after which a stage counts as hung."""
STOP_LIMIT = 2.0
"""Seconds that all threads and sinks together get to end once the run is over; a file that is put
together then gets as long as it gets on."""
STALL_LOG = 4.5
"""Seconds without a frame after which a live source that has not complained itself is logged."""

logger = logging.getLogger(__name__)


class Run:
    """One run in the main thread.

    left_behind: names of threads that did not end in time; the process must then leave with
    os._exit, because one of them may hold a lock that the interpreter's own end waits for.
    """

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        workers: list[SinkWorker],
        screen: Display | None,
        desk: Desk,
        hud: Hud,
        ledger: Ledger,
        stop: Stop,
        progress: Progress,
        score: DemoScore | None = None,
        record_required: bool = False,
    ) -> None:
        self.left_behind: tuple[str, ...] = ()
        self.ended = False
        self._source, self._pipeline, self._workers = source, pipeline, workers
        self._screen, self._ledger, self._stop = screen, ledger, stop
        self._desk, self._hud = desk, hud
        self._progress, self._score, self._record_required = progress, score, record_required
        self._given_up: set[str] = set()
        self._crew = Crew()  # the sinks' threads
        self._part = Crew()  # the pipeline's, of one stretch between two jumps in the source
        self._watchdog = Watchdog(HANG_LIMIT)
        self._stalled = self._blind = False

    def __call__(self) -> None:
        """Run to the end of the source or to a stop. Raises PosestreamError; whatever happens,
        the sinks are finalised and the threads joined as far as they let themselves."""
        crew, clean = self._crew, False
        self._stop.rescue, self._stop.assembles = self.rescue, self.assembles
        self._stop.started = True
        try:
            for worker in self._workers:
                worker.start(crew)
            self.ended = self._play()
            self._drain()
            clean = self.complete
        except StageError as error:
            # A frame that fails before it is captured or in one of the sinks is counted there.
            self._ledger.failed += error.stage in self._pipeline.meters and error.stage != "grab"
            raise
        finally:
            self._progress.close()
            self._finish(clean)
        self._check_sinks()  # again: one may have failed when it was closed

    @property
    def complete(self) -> bool:
        """Whether a run without an error gave what was asked for, so that files it overwrites may
        go: it came to the end of its source; a live one, which has none, was ended by anything
        but Ctrl-C."""
        return self.ended or (self._ledger.live and not self._stop.exit_code)

    def _play(self) -> bool:
        """Deliver frames until the source has ended; False when the run is to stop before."""
        while True:
            with closing(self._pipeline.frames(self._part)) as finished:
                ended = all(self._pass_on(frames) for frames in finished)
            if not self._desk.jumping or self._stop.reason:
                return ended
            if not self._jump():
                return False

    def _jump(self) -> bool:
        """Go on elsewhere in the source, without what is under way; False when the run is to stop.

        The old threads must have ended: networks and tracker belong to one thread at a time.
        """
        while self._desk.jumping:
            self._desk.jump()
            while self._part.join(TICK):
                self._look_after()
                if self._stop.reason:
                    return False
        self._ledger.leave_out()
        self._part = Crew()
        return True

    def rescue(self) -> None:
        """Finalise the sinks from another thread because the main one is stuck."""
        for worker in self._workers:
            worker.finish(clean=False)
        self._await_sinks(perf_counter() + STOP_LIMIT)

    def assembles(self) -> bool:
        """Whether a sink puts its file together, which gets on; for any thread."""
        return any(worker.assembles(HANG_LIMIT) for worker in self._workers)

    def break_off(self) -> None:
        """End the run from within a call of the window, which must not be touched any more."""
        self._screen = None
        self._progress.close()
        self._finish(clean=False)

    def _pass_on(self, frames: list[PosedFrame]) -> bool:
        """Deliver finished frames, then look after things; False when the run is to stop."""
        return all(self._deliver(frame) for frame in frames) and not self._look_after()

    def _deliver(self, item: PosedFrame) -> bool:
        """Give a frame to every sink and the screen; False when the run is to stop."""
        if not self._held():
            return False
        item = self._hud.checked(item)
        for worker in self._workers:
            if worker.sink.name == "record" and not self._desk.records(item):
                worker.withhold()
                continue
            if self._ledger.live:
                if not worker.offer(item, 0):
                    worker.refuse()
                continue
            while not worker.offer(item, TICK):
                if self._look_after() and self._stop.reason:  # a jump waits: others have it already
                    return False
        self._ledger.deliver(len(item.poses), item.failed)
        self._check_joints()
        if self._score:
            self._score.add(item.frame.index, item.poses)
        self._progress.update(self._done(item), item.frame.part)
        return self._present(item)

    def _held(self) -> bool:
        """Wait while a file is paused, with the frame after the one on show; False to stop."""
        while self._desk.holds():
            if self._look_after():
                return False
            sleep(TICK)
        return True

    def _done(self, item: PosedFrame) -> int:
        """The place of this frame in the source, from 1."""
        if item.frame.part and isinstance(self._source, Seekable):
            return self._source.place(item.frame.index) + 1
        return self._ledger.delivered

    def _check_joints(self) -> None:
        """Say once when the pose network gives nothing but numbers that are none."""
        if self._ledger.blind and not self._blind:
            self._blind = True
            line = f"no finite joint in {ALARM} frames with people; is the pose network right?"
            self._source.status.note(line)
            logger.warning("%s: %s", self._source.info.name, line)

    def _present(self, item: PosedFrame) -> bool:
        """Show a frame when its time has come; False when the run is to stop meanwhile."""
        while (early := self._early(item)) > 0:
            if self._look_after():
                if self._screen:
                    self._screen.skip("skipped")
                return False
            sleep(min(early, TICK))
        item = self._hud.checked(item)  # a key may have asked for it while the frame waited
        wanted = self._desk.show(item)
        if self._screen and wanted:
            self._screen.show(item)
        elif self._screen:
            self._screen.skip("paused")
        return True

    def _early(self, item: PosedFrame) -> float:
        """Seconds until this frame is to be shown; a paused file waits."""
        if self._desk.holds():
            return TICK
        return self._screen.early(item) if self._screen else 0.0

    def _look_after(self) -> bool:
        """Keys, signals, hangs and failed sinks; True when the run is to stop or to jump."""
        if self._screen:
            self._screen.look_after(self._stop)
        self._desk.work()
        self._check_hangs(self._watched())
        self._log_stall()
        self._check_sinks()
        return bool(self._stop.reason) or self._desk.jumping

    def _check_hangs(self, meters: list[Meter]) -> None:
        stuck = self._watchdog.look(meters)
        if stuck and stuck.name == "grab":
            if self._source.status.idle_for < self._watchdog.limit:
                return  # on its way to a frame far inside of a file
            raise SourceLost(
                f"{self._source.info.name}: no data for {HANG_LIMIT:.0f} s; is its writer alive?"
            )
        if stuck:
            faulthandler.dump_traceback(file=2, all_threads=True)  # a notebook's sys.stderr is none
            text = f"stage {stuck.name!r} hangs: no result for {HANG_LIMIT:.0f} s"
            raise StageError(text, stuck.name)

    def _log_stall(self) -> None:
        """Say once when frames stop coming and nobody has said why (a driver blocked in a read),
        and when they come again."""
        status = self._source.status
        stalled = self._ledger.live and status.state == "stalled"
        if stalled and not self._stalled and status.silent_for > STALL_LOG and not status.detail:
            self._stalled = True
            logger.warning("%s: %s; waiting", self._source.info.name, status.describe())
        elif self._stalled and not stalled:
            self._stalled = False
            logger.warning("%s: frames again", self._source.info.name)

    def _watched(self) -> list[Meter]:
        """The meters whose silence means a hang; a live source has its own state for that."""
        stages = [m for m in self._pipeline.meters.values() if m.name != "grab"]
        grab = [] if self._ledger.live else [self._pipeline.meters["grab"]]
        return stages + grab + [worker.meter for worker in self._workers]

    def _check_sinks(self) -> None:
        """A crashed sink ends the run; one that cannot take more ends it when it was the last."""
        for worker in self._workers:
            if worker.crash:
                raise worker.crash
            if worker.error and worker.sink.name not in self._given_up:
                self._given_up.add(worker.sink.name)
                if self._record_required or isinstance(worker.error, PipeClosed):
                    raise worker.error
                if not self._screen and all(w.error for w in self._workers):
                    raise worker.error
                logger.error("%s; going on without it", worker.error)

    def _drain(self) -> None:
        """Let the sinks write what they have been given; a hung one is noticed."""
        for worker in self._workers:
            worker.finish(clean=self.complete)
        while not all(worker.done(TICK) for worker in self._workers):
            self._check_hangs([worker.meter for worker in self._workers])
            if self._stop.reason:
                break
        self._check_sinks()

    def _finish(self, clean: bool) -> None:
        """Close the source, end the sinks, join the threads; bounded by STOP_LIMIT, but for files
        that are put together."""
        self._source.close()
        for worker in self._workers:
            worker.finish(clean)
        deadline = perf_counter() + STOP_LIMIT
        late = self._part.join(max(0.0, deadline - perf_counter()))
        if self._screen:
            self._screen.close()
        self._await_sinks(deadline)
        self.left_behind = late + self._crew.join(0)
        for name in self.left_behind:
            logger.warning("%s did not stop within %.0f s; left behind", name, STOP_LIMIT)

    def _await_sinks(self, deadline: float) -> None:
        """Wait for the sinks until the deadline, and then for files that are put together."""
        told = False
        while not all(worker.done(TICK) for worker in self._workers):
            if perf_counter() < deadline:
                continue
            if not self.assembles():
                break
            if not told:
                told = True
                logger.warning("the data are put together; wait (Ctrl-C twice: without them)")
        for worker in self._workers:
            if not worker.done():
                worker.leave_behind()
