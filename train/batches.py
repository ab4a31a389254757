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
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from realtime.errors import InputError, PosestreamError, StageError
from train.parallel import Team
from train.task import Batch, Sample, Task

AHEAD = 4
MOST_WORKERS = 16
START = "forkserver" if sys.platform == "linux" else "spawn"


def default_workers() -> int:
    """One process for each core but one, which the network needs."""
    return min(MOST_WORKERS, max(0, (os.cpu_count() or 1) - 1))


class Batches:
    """The batches of each epoch, in the same order in every run.

    batch: samples of a step over all processes of the team; the last, smaller batch of an epoch is
    left out unless it is the only one. workers: processes that make samples, 0 for none.
    """

    def __init__(self, task: Task, batch: int, team: Team, workers: int) -> None:
        if not len(task):
            raise InputError("--data: no samples to learn from; see python -m train check-data")
        self._task = task
        self._batch = min(batch, len(task))
        self._team = team
        self._plan = _Plan()
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
        """The batches of an epoch from position on, on the CPU; those before are not made."""
        todo = [[(epoch, i) for i in self.indices(p)] for p in range(position, self.count)]
        if self._loader is None:
            for wanted in todo:
                yield stack([self._task.sample(*one) for one in wanted])
            return
        self._plan.todo = todo
        with _tracking_children(self._children), _telling_of_losses():
            made: Iterator[Any] = iter(self._loader)
        while True:
            with _telling_of_losses():
                batch = next(made, None)
            if batch is None:
                return
            if isinstance(batch, PosestreamError):
                raise batch
            yield batch

    def close(self) -> None:
        """End the processes at once, also where they are at work."""
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.join()
        self._loader = None

    def _make_loader(self, workers: int) -> DataLoader[Batch]:
        if START == "forkserver":
            multiprocessing.set_forkserver_preload(["train.batches"])
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


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)


@contextmanager
def _tracking_children(found: set[Any]) -> Iterator[None]:
    """Adds the processes that are started inside to found.

    They do not get SIGINT: a Ctrl-C is for the process that saves. And their end is noticed where
    batches are waited for, not by an exception anywhere, which torch's handler of SIGCHLD raises.
    """
    before = set(multiprocessing.active_children())
    if os.name == "nt":
        yield
    else:
        handler = signal.getsignal(signal.SIGCHLD)
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
            signal.signal(signal.SIGCHLD, handler)
    found |= set(multiprocessing.active_children()) - before


@contextmanager
def _telling_of_losses() -> Iterator[None]:
    """Turns the death of a loader process into one line."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise StageError(
            "a process that makes samples was killed, perhaps for memory (also in /dev/shm); "
            "use fewer --workers",
            "train",
        ) from error
