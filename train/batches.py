"""Batches of a task's samples, made by other processes while the network learns.

Those are started afresh, not forked: a fork would copy locks and thread pools in whatever state
they are in. A task must be picklable for that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import wait
from threading import Thread
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from realtime.errors import InputError, PosestreamError, StageError
from realtime.home import at_home
from train import memory
from train.parallel import Team, beside
from train.task import Batch, Sample, Task

AHEAD = 4
MOST_WORKERS = 16
REAPED_S = 2.0
"""Longest wait for the end of a process whose connection broke."""
LOSSES = "DataLoader worker", "Pin memory thread exited"
"""How torch says that a loader process is gone; the second where the thread that reads from it
ended first."""
START = "forkserver" if sys.platform == "linux" else "spawn"


def default_workers() -> int:
    """One process for each core but one, which the network needs; of the cores that this process
    may use, shared with those that torchrun started beside it."""
    able = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if able else os.cpu_count() or 1
    return min(MOST_WORKERS, max(0, cores // beside() - 1))


class Batches:
    """The batches of each epoch, in the same order in every run.

    batch: samples of a step over all processes of the team; the last, smaller batch of an epoch is
    left out unless it is the only one. workers: processes that make samples, 0 for none.
    """

    def __init__(self, task: Task, batch: int, team: Team, workers: int) -> None:
        if not len(task):
            raise InputError("--data: no samples to learn from; see posestream-train check-data")
        self._task = task
        self._batch = min(batch, len(task))
        self._team = team
        self._plan = _Plan()
        task.keep_pictures(memory.share(max(workers, 1) * beside()))
        self._loader = self._make_loader(workers) if workers else None
        self._children: set[Any] = set()
        self.count = len(task) // self._batch
        self.size = len(team.share(range(self._batch))) * team.size
        """Samples of a step."""

    def indices(self, position: int) -> range:
        """This process's samples of batch position of an epoch."""
        start = position * self._batch
        return self._team.share(range(start, start + self._batch))

    def epoch(self, epoch: int, position: int) -> Iterator[Batch]:
        """The batches of an epoch from position on, on the CPU; those before are not made.

        Starts the processes, which is not to be interrupted; waiting for batches may be.
        """
        todo = [[(epoch, i) for i in self.indices(p)] for p in range(position, self.count)]
        if self._loader is None:
            return (stack([self._task.sample(*one) for one in batch]) for batch in todo)
        self._plan.todo = todo
        with _tracking_children(self._children), telling_of_losses(self._children):
            return _checked(iter(self._loader), self._children)

    def close(self) -> None:
        """End the processes at once, also where they are at work; first the thread that reads what
        they send, which an end in the middle would break or hang."""
        made: Any = getattr(self._loader, "_iterator", None)
        if thread := getattr(made, "_pin_memory_thread", None):
            made._pin_memory_thread_done_event.set()
            made._worker_result_queue.put((None, None))
            thread.join(REAPED_S)
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.join()
        self._loader = None

    def _make_loader(self, workers: int) -> DataLoader[Batch]:
        if START == "forkserver":
            _start_server()
        return DataLoader(
            _Samples(self._task),
            batch_sampler=self._plan,
            num_workers=workers,
            collate_fn=_collate,
            worker_init_fn=_start_worker,
            persistent_workers=True,
            prefetch_factor=AHEAD,
            pin_memory=self._team.device.type == "cuda",
            multiprocessing_context=START,
            generator=torch.Generator(),  # it would draw from the one that training uses
        )


def stack(samples: list[Sample]) -> Batch:
    """Samples (...) as one batch (B, ...)."""
    return {k: torch.from_numpy(np.stack([s[k] for s in samples])) for k in samples[0]}


class _Plan:
    """The samples of the batches to come, as a loader wants them."""

    def __init__(self) -> None:
        self.todo: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.todo)

    def __len__(self) -> int:
        return len(self.todo)


class _Samples(Dataset[Any]):
    """A task as loader processes see it. Errors travel as values, to arrive as they are."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, which: tuple[int, int]) -> Sample | PosestreamError:
        try:
            return self._task.sample(*which)
        except PosestreamError as error:
            return error


def _collate(samples: list[Any]) -> Batch | PosestreamError:
    for sample in samples:
        if isinstance(sample, PosestreamError):
            return sample
    return stack(samples)


def _checked(made: Iterator[Any], children: set[Any]) -> Iterator[Batch]:
    """Batches as they come; what came instead of one is raised."""
    while True:
        with telling_of_losses(children):
            batch = next(made, None)
        if batch is None:
            return
        if isinstance(batch, PosestreamError):
            raise batch
        yield batch


def _start_server() -> None:
    """The process that forks the others, with libraries loaded. A Ctrl-C is not for them: what
    starts while it is blocked keeps it blocked."""
    multiprocessing.set_forkserver_preload(["train.batches"])
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with at_home():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    if (parent := multiprocessing.parent_process()) is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when the training has, even where that was killed: torch looks only for
    the end of the server that forked this one, which lasts as long as those it forked."""
    wait([sentinel])
    os._exit(1)


@contextmanager
def _tracking_children(found: set[Any]) -> Iterator[None]:
    """Adds the processes that are started inside to found.

    Their end is noticed where batches are waited for, not by an exception anywhere in the main
    thread, as torch's handler of SIGCHLD would raise it.
    """
    before = set(multiprocessing.active_children())
    handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        found |= set(multiprocessing.active_children()) - before
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)


@contextmanager
def telling_of_losses(children: set[Any]) -> Iterator[None]:
    """Turns the death of a loader process into one line."""
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if not _is_loss(error, children):
            raise
        raise StageError(
            "a process that makes samples was killed, perhaps for memory (also in /dev/shm); "
            "use fewer --workers",
            "train",
        ) from error


def _is_loss(error: Exception, children: set[Any]) -> bool:
    """Whether a loader process is gone: torch says so or, where its batch was being fetched, the
    connection to it broke, which is seen a moment before its end."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in LOSSES)
    return bool(wait([child.sentinel for child in children], timeout=REAPED_S))
