"""The workers of a batch: processes of Ray, on this machine or on a cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from realtime.batch import cluster
from realtime.batch.work import Failure, Task, Worker
from realtime.errors import ModelError, StageError
from realtime.version import VERSION

MAX_STARTS = 3
"""Workers in a row that do not start, after which none is tried again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that ended before its task; a new one takes its place. begun: whether it had."""

    why: str
    begun: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. worker: its number. result: about() of a worker that has begun
    (str), what a task gave, Failure or Lost."""

    worker: int
    result: Any


class Team(Protocol):
    """Workers by their numbers, which are never used twice."""

    def idle(self) -> list[int]:
        """Those that wait for a task."""

    def workers(self) -> list[int]:
        """All there are, those that are about to begin included."""

    def coming(self) -> int:
        """How many of them have not begun, perhaps for want of room."""

    def give(self, worker: int, task: Task) -> None:
        """Have an idle one do a task."""

    def wait(self, seconds: float) -> list[Event]:
        """What has happened, as soon as something has. Raises ModelError when workers do not
        start."""

    def dismiss(self, worker: int) -> None:
        """End an idle one; nobody takes its place."""

    def close(self) -> None:
        """End all of them."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of each worker. cores: CPU cores. gpus: GPUs, a fraction where several use one."""

    cores: int
    gpus: float = 0.0


class RayTeam:
    """See Team. address: of a cluster, None to start Ray on this machine. count: how many workers,
    None for as many as there is room for. Raises ModelError."""

    def __init__(self, address: str | None, count: int | None, share: Share) -> None:
        self._ray, self._share = cluster.load(address is not None), share
        cores = max(os.cpu_count() or 1, (count or 1) * share.cores)
        cluster.join(self._ray, address, cores)
        self._actor: Any = self._ray.remote(Worker)
        self._workers: dict[int, Any] = {}
        self._idle: list[int] = []
        self._pending: dict[Any, int] = {}
        self._begun: set[int] = set()
        self._starts = self._next = 0
        for _ in range(count or self._room()):
            self._start()

    def idle(self) -> list[int]:
        return list(self._idle)

    def workers(self) -> list[int]:
        return list(self._workers)

    def coming(self) -> int:
        return len(self._workers.keys() - self._begun)

    def give(self, worker: int, task: Task) -> None:
        self._idle.remove(worker)
        self._pending[self._workers[worker].do.remote(task)] = worker

    def wait(self, seconds: float) -> list[Event]:
        if not self._pending:
            return []
        ready, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        return [self._event(ref) for ref in ready]

    def dismiss(self, worker: int) -> None:
        self._idle.remove(worker)
        actor = self._workers.pop(worker)
        actor.close.remote()
        actor.__ray_terminate__.remote()  # when that is done

    def close(self) -> None:
        """Idle ones clear their folders away; what is still at work is killed."""
        closing = [self._workers[worker].close.remote() for worker in self._idle]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=2)
        self._ray.shutdown()

    def _room(self) -> int:
        """How many workers the machines have room for. Raises ModelError."""
        count = cluster.room(self._ray.nodes(), self._share.cores, self._share.gpus)
        if not count:
            there = self._ray.cluster_resources()
            self._ray.shutdown()
            raise ModelError(
                f"no room for a worker of {self._share.cores} cores and {self._share.gpus:g} GPUs "
                f"on a machine among {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs"
            )
        return count

    def _start(self) -> None:
        self._next += 1
        options = {"num_cpus": self._share.cores, "num_gpus": self._share.gpus, "max_restarts": 0}
        given = (self._share.cores, self._share.gpus > 0, VERSION, str(Path.cwd()))
        actor = self._actor.options(**options).remote(*given)
        self._workers[self._next] = actor
        self._pending[actor.about.remote()] = self._next

    def _event(self, ref: Any) -> Event:
        worker = self._pending.pop(ref)
        result = self._result(ref, worker in self._begun)
        if isinstance(result, Lost):
            self._replace(worker, result)
        else:
            if worker not in self._begun:
                self._starts = 0
            self._begun.add(worker)
            self._idle.append(worker)
        return Event(worker, result)

    def _result(self, ref: Any, begun: bool) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            reason = _last_line(error.cause if error.cause is not None else error)
            return Failure(reason, StageError.exit_code) if begun else Lost(reason, False)
        except errors.RayError as error:
            # Why it could not begin stands in Ray's last line, why it ended nowhere.
            return Lost(type(error).__name__ if begun else _last_line(error), begun)

    def _replace(self, worker: int, lost: Lost) -> None:
        actor = self._workers.pop(worker)
        self._ray.kill(actor)  # where Ray has only lost sight of it
        if not lost.begun:
            self._starts += 1
            if self._starts >= MAX_STARTS:
                if self._workers:
                    return  # on machines where it may be otherwise
                raise ModelError(
                    f"workers do not begin: {lost.why.rstrip('.')}; is posestream installed on all "
                    "machines, and Ray's token the same?"
                )
        self._start()


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return cluster.one_line(lines[-1]) if lines else repr(error)
