"""Who does what next: tasks of files, their retries, and what becomes of the results.

Files are begun only when no segment of one that was begun waits, so that results appear early. A
file fails at once when the fault is its own; after a worker was lost, or failed for reasons of its
own, the task is done again, by another worker where there is one. A worker that fails twice in a
row for reasons of its own gets no more tasks.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

from realtime.batch.join import Look
from realtime.batch.manifest import Manifest
from realtime.batch.plan import WHOLE, Plan, Segment
from realtime.batch.progress import File, Progress
from realtime.batch.store import Store
from realtime.batch.team import Lost, Team
from realtime.batch.work import Failure, JoinTask, Part, PartTask, PlanTask, Task
from realtime.errors import ModelError, OutputError, PosestreamError, StageError

TICK = 0.5
"""Seconds after which a wait for the workers is interrupted to look after signals."""
PATIENCE = 60.0
"""Seconds that workers about to begin get, before a task is given to one that has failed at it."""
_RANKS: dict[type, int] = {JoinTask: 0, PartTask: 1, PlanTask: 2}


@dataclass(slots=True)
class Job:
    """A task on its way. tries: how often it has failed. shunned: workers that have failed at it.
    plan: number of the file's plan that it belongs to."""

    file: _Begun
    task: Task
    plan: int = 0
    segment: Segment = WHOLE
    tries: int = 0
    shunned: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Begun:
    """A file that is worked on. ready: the segments that are done. plan: counts its plans."""

    file: File
    rate: float | None = None
    segments: tuple[Segment, ...] = ()
    ready: set[Segment] = field(default_factory=set)
    plan: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done with every file. options: of realtime.run. weights: SHA-256 by task.
    seconds: of a segment. retries: how often a task is tried again."""

    options: dict[str, Any]
    weights: dict[str, str]
    look: Look
    seconds: float = 60.0
    retries: int = 2


class Schedule:
    """One batch. stopped: asked twice a second whether to leave. patience: see PATIENCE."""

    def __init__(
        self,
        team: Team,
        store: Store,
        manifest: Manifest,
        wanted: Wanted,
        progress: Progress,
        stopped: Callable[[], bool],
        patience: float = PATIENCE,
    ) -> None:
        self._team, self._store, self._manifest = team, store, manifest
        self._wanted, self._progress, self._stopped = wanted, progress, stopped
        self._queue: list[tuple[int, int, Job]] = []
        self._order = count()
        self._doing: dict[int, Job] = {}
        self._failures: Counter[int] = Counter()  # of each worker, in a row
        self._patience, self._busy = patience, monotonic()

    def run(self) -> None:
        """Until all files are done or have failed, or until stopped. Raises OutputError when
        results cannot be written, ModelError or OutputError when no worker can work."""
        for file in self._progress.files:
            if file.state == "waiting":
                self._add(Job(_Begun(file), PlanTask(file.item, self._wanted.seconds)))
        while (self._queue or self._doing) and not self._stopped():
            self._hand_out()
            for event in self._team.wait(TICK):
                self._take(event.worker, event.result)
            coming = self._team.coming()
            self._progress.update(len(self._team.workers()) - coming, coming)

    def _add(self, job: Job) -> None:
        insort(self._queue, (_RANKS[type(job.task)], next(self._order), job))

    def _hand_out(self) -> None:
        for worker in self._team.idle():
            if job := self._next(worker):
                self._give(worker, job)
        if self._doing:
            self._busy = monotonic()
        elif monotonic() - self._busy > self._patience and (idle := self._team.idle()):
            self._give(idle[0], self._queue.pop(0)[2])  # there may never be room for another worker

    def _give(self, worker: int, job: Job) -> None:
        job.file.file.state = "running"
        self._doing[worker] = job
        self._team.give(worker, job.task)

    def _next(self, worker: int) -> Job | None:
        """The best job for a worker, taken from the queue; one that it has failed at only when all
        workers there are have."""
        everybody = set(self._team.workers())
        for place, (_, _, job) in enumerate(self._queue):
            if worker not in job.shunned or job.shunned >= everybody:
                del self._queue[place]
                return job
        return None

    def _take(self, worker: int, result: Any) -> None:
        """Go on with what a worker has given."""
        job = self._doing.pop(worker, None)
        if job is None:
            text = f"does not begin: {result.why}" if isinstance(result, Lost) else str(result)
            self._progress.say(f"worker {worker}: {text}")
        elif isinstance(result, Lost):
            self._progress.say(f"worker {worker}: lost ({result.why}); another one begins")
            self._again(job, Failure(f"its worker was lost ({result.why})", StageError.exit_code))
        elif isinstance(result, Failure):
            self._failed(worker, job, result)
        else:
            if not isinstance(result, Plan):  # which takes neither networks nor room
                self._failures[worker] = 0
            if job.plan == job.file.plan and job.file.file.state == "running":
                self._succeeded(job, result)

    def _failed(self, worker: int, job: Job, failure: Failure) -> None:
        if failure.here:
            self._progress.say(f"worker {worker}: {failure.text}")
            self._failures[worker] += 1
            job.shunned.add(worker)
            if self._failures[worker] == 2:
                self._progress.say(f"worker {worker}: failed twice in a row, gets no more work")
                self._team.dismiss(worker)
                if not self._team.workers():
                    kind = OutputError if failure.code == OutputError.exit_code else ModelError
                    raise kind(f"no worker can work: {failure.text}")
        self._again(job, failure)

    def _again(self, job: Job, failure: Failure) -> None:
        """Try a job once more, or give its file up."""
        if job.plan != job.file.plan:
            return
        job.tries += 1
        if failure.lasting and isinstance(job.task, JoinTask):  # a segment that waited is damaged
            self._progress.say(f"{job.file.file.item.name}: a kept segment is damaged; all anew")
            self._uncut(job.file)
        elif failure.lasting or job.tries > self._wanted.retries:
            times = f" ({job.tries} times)" if job.tries > 1 else ""
            self._give_up(job.file, failure.text + times, failure.code)
        elif job.file.file.state == "running":
            self._add(job)

    def _give_up(self, begun: _Begun, text: str, code: int) -> None:
        file = begun.file
        if file.state != "failed":
            file.state, file.error, file.code, file.share = "failed", text, code, 1.0
            self._progress.say(f"error: {text}")
        self._drop(begun)

    def _drop(self, begun: _Begun) -> None:
        """Forget all jobs of a file; what is being done for it is not waited for."""
        begun.plan += 1
        self._queue = [entry for entry in self._queue if entry[2].file is not begun]

    def _succeeded(self, job: Job, result: Any) -> None:
        try:
            if isinstance(result, Plan):
                self._planned(job.file, result)
            elif isinstance(result, Part):
                self._worked(job, result)
            else:
                self._finish(job.file, *result)
        except _Refused as error:
            self._give_up(job.file, str(error), OutputError.exit_code)

    def _planned(self, begun: _Begun, plan: Plan) -> None:
        try:
            self._manifest.check_ours(begun.file.item)
        except OutputError as error:
            raise _Refused(str(error)) from error
        begun.rate, begun.segments = plan.rate, plan.segments
        begun.file.segments = len(plan.segments)
        for segment in plan.segments:
            if len(plan.segments) > 1 and self._store.has(self._part(begun, segment)):
                self._note(begun, segment)
            else:
                self._add_part(begun, segment)
        self._join(begun)

    def _add_part(self, begun: _Begun, segment: Segment) -> None:
        wanted, whole = self._wanted, len(begun.segments) == 1
        task = PartTask(
            begun.file.item, segment, begun.rate, wanted.options, wanted.weights,
            wanted.look if whole else None,
        )  # fmt: skip
        self._add(Job(begun, task, begun.plan, segment))

    def _worked(self, job: Job, part: Part) -> None:
        begun, file = job.file, job.file.file
        file.seconds += part.seconds
        file.worked += part.frames
        if not part.fits:
            self._uncut(begun)
            return
        file.damage = part.damage
        if part.files is not None:
            self._finish(begun, part.files, part.frames)
            return
        self._store.write(self._part(begun, job.segment), part.data)
        self._note(begun, job.segment)
        self._join(begun)

    def _note(self, begun: _Begun, segment: Segment) -> None:
        begun.ready.add(segment)
        begun.file.frames += segment.count or 0
        begun.file.share = begun.file.frames / sum(s.count or 0 for s in begun.segments)

    def _uncut(self, begun: _Begun) -> None:
        """A file whose segments are not what its packets promised is damaged: do it as a whole."""
        self._drop(begun)
        self._clear(begun)
        begun.segments, begun.ready = (WHOLE,), set()
        begun.file.segments, begun.file.frames, begun.file.share = 1, 0, 0.0
        self._add_part(begun, WHOLE)

    def _join(self, begun: _Begun) -> None:
        if len(begun.ready) < len(begun.segments):
            return
        parts = [self._store.read(self._part(begun, segment)) for segment in begun.segments]
        given = tuple(part for part in parts if part is not None)
        task = JoinTask(begun.file.item, given, begun.rate, self._wanted.look)
        self._add(Job(begun, task, begun.plan))

    def _finish(self, begun: _Begun, files: dict[str, bytes], frames: int) -> None:
        file = begun.file
        segments = len(begun.segments)
        told = {"frames": frames, "segments": segments, "damage": file.damage}
        self._manifest.finish(file.item, files, told)
        file.state, file.frames, file.share = "done", frames, 1.0
        self._clear(begun)
        if file.damage:
            self._progress.say(f"warning: {file.damage}")

    def _part(self, begun: _Begun, segment: Segment) -> str:
        return self._manifest.part_name(begun.file.item, segment)

    def _clear(self, begun: _Begun) -> None:
        """Remove what waits for a join."""
        if len(begun.segments) > 1:
            for segment in begun.segments:
                self._store.remove(self._part(begun, segment))


class _Refused(PosestreamError):
    """Results of somebody else are in the way."""
