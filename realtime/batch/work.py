"""What a worker does: look at a file, work on a segment, put segments together."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import cv2

from realtime import api
from realtime.batch.claims import bind_cores, own_folder
from realtime.batch.items import Item
from realtime.batch.join import Look, joined, written
from realtime.batch.plan import Plan, Segment, plan
from realtime.batch.store import FULL, is_url, url_to_fs
from realtime.errors import InputError, ModelError, OutputError, PosestreamError, StageError
from realtime.formats.registry import load
from realtime.masking import mask_credentials
from realtime.version import VERSION


class Bench:
    """A worker's temporary folder. threads: of the CPU for each network, None for all."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.folder, self.threads = folder, threads
        self._fetched: tuple[Item, Path] | None = None

    def path(self, item: Item) -> Path:
        """The file of an item on this machine; the one fetched last is kept for its next segment.
        Raises InputError, OutputError, ModelError."""
        if not is_url(item.where):
            return Path(item.where)
        if self._fetched is None or self._fetched[0] != item:
            self._forget()
            self._fetched = (item, self._fetch(item))
        return self._fetched[1]

    def _forget(self) -> None:
        if self._fetched:
            self._fetched[1].unlink(missing_ok=True)
            self._fetched = None

    def _fetch(self, item: Item) -> Path:
        fs, path = url_to_fs(item.where)
        local = self.folder / f"input{Path(item.name).suffix}"
        try:
            fs.get_file(path, str(local))
        except Exception as error:  # each kind of place has its own
            local.unlink(missing_ok=True)
            text = f"{mask_credentials(item.where)}: cannot be fetched: {error}"
            full = isinstance(error, OSError) and error.errno in FULL
            raise (OutputError if full else InputError)(text) from error
        return local


class Task(Protocol):
    """Something to do at a bench. Raises PosestreamError."""

    def __call__(self, bench: Bench) -> Any: ...


@dataclass(frozen=True, slots=True)
class PlanTask:
    """How to cut a file; gives a Plan. seconds: of a segment."""

    item: Item
    seconds: float

    def __call__(self, bench: Bench) -> Plan:
        return plan(bench.path(self.item), self.seconds)


@dataclass(frozen=True, slots=True)
class Part:
    """A segment that is done. fits: it holds each frame that it should. data: its poses as NPZ, or
    files: the results by format where it is the whole file. seconds: that it took."""

    frames: int
    fits: bool
    damage: str
    seconds: float
    data: bytes = b""
    files: dict[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class PartTask:
    """Poses of a segment; gives a Part. options: of realtime.run. weights: SHA-256 that the
    networks must have, by task. look: for the results of a whole file, else None."""

    item: Item
    segment: Segment
    rate: float | None
    options: dict[str, Any]
    weights: dict[str, str]
    look: Look | None

    def __call__(self, bench: Bench) -> Part:
        began, path = perf_counter(), bench.path(self.item)
        data = bench.folder / "part.npz"
        given = {**self.options, "start": self.segment.first or None, "threads": bench.threads}
        if self.segment.end is not None:
            given["end"] = f"{self.segment.end!r}s"
        try:
            told = api.run(path, data=f"npz:{data}", overwrite=True, **given)
            self._check(told)
            frames = load(data)
            count, first = self.segment.count, self.segment.first
            numbers = [frame.frame for frame in frames]
            fits = count is None or numbers == list(range(first, first + count))
            damage, files = str(told["damage"] or ""), None
            if self.look:
                name = Path(self.item.name).name
                files, _ = written(frames, name, self.rate, self.look, bench.folder)
            content = b"" if self.look else data.read_bytes()
        finally:
            data.unlink(missing_ok=True)
        fits = fits and not (damage and count is not None)
        return Part(len(frames), fits, damage, perf_counter() - began, content, files)

    def _check(self, told: dict[str, Any]) -> None:
        """What the pipeline says about its run."""
        for task, wanted in self.weights.items():
            if told["models"][task]["sha256"] != wanted:
                raise ModelError(f"{task}: other weights here than where the batch was started")
        if (lost := told["frames_captured"] - told["frames_written"]) > 0:
            raise StageError(f"{self.item.name}: {lost} frames were lost", "batch")


@dataclass(frozen=True, slots=True)
class JoinTask:
    """The results of a file from its parts (NPZ, in order); gives them by format, and how many
    frames are in them."""

    item: Item
    parts: tuple[bytes, ...]
    rate: float | None
    look: Look

    def __call__(self, bench: Bench) -> tuple[dict[str, bytes], int]:
        path, loaded = bench.folder / "join.npz", []
        for part in self.parts:
            path.write_bytes(part)
            loaded.append(load(path))
        path.unlink(missing_ok=True)
        name = Path(self.item.name).name
        return written(joined(loaded), name, self.rate, self.look, bench.folder)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed. lasting: it would fail again, anywhere. here: the fault is that of the
    worker (its disk, its networks), not of the file."""

    text: str
    code: int
    lasting: bool = False
    here: bool = False


def attempt(task: Callable[[Bench], Any], bench: Bench) -> Any:
    """What task gives, or a Failure."""
    try:
        return task(bench)
    except PosestreamError as error:
        here = isinstance(error, (OutputError, ModelError))
        return Failure(str(error), error.exit_code, error.exit_code in (2, 3), here)
    except OSError as error:  # of the temporary folder
        return Failure(
            f"{bench.folder}: {error.strerror or error}", OutputError.exit_code, here=True
        )
    except MemoryError:
        return Failure("out of memory", StageError.exit_code, here=True)


class Worker:
    """One process of the team. cores: how many it may use; their share of a GPU is Ray's. version:
    of the program that began the batch. folder: where it was begun. Raises ModelError where
    another one is installed."""

    def __init__(self, cores: int, gpu: bool, version: str, folder: str) -> None:
        if version != VERSION:
            where = socket.gethostname()
            raise ModelError(f"{where} has posestream {VERSION}, not {version} as here")
        with suppress(OSError):  # for URLs like zip://*.mp4::clips.zip; other machines may lack it
            os.chdir(folder)
        self._cores = bind_cores(cores)
        cv2.setNumThreads(cores)
        self._bench = Bench(own_folder(), None if gpu else cores)

    def about(self) -> str:
        """Where it is, for people."""
        cores = f", cores {','.join(map(str, self._cores))}" if self._cores else ""
        return f"{socket.gethostname()}, pid {os.getpid()}{cores}"

    def do(self, task: Task) -> Any:
        """What the task gives, or a Failure."""
        return attempt(task, self._bench)

    def close(self) -> None:
        """Clear the temporary folder away."""
        shutil.rmtree(self._bench.folder, ignore_errors=True)
