"""Training: steps, measurements and checkpoints of a task until it has had its epochs.

A run that ends in any way goes on where it was: on a CPU with the same number of threads its
weights are bit for bit those of a run that was never interrupted.
"""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from realtime import atomic
from realtime.errors import OutputError, PosestreamError, StageError, UsageError
from train import checkpoint
from train.arithmetic import NotFinite, reproducible
from train.batches import Batches, default_workers
from train.checkpoint import Checkpoint
from train.config import Config, flag
from train.curves import Curves, told_once
from train.learner import Learner
from train.memory import telling_of_want
from train.parallel import ProcessLost, Team, team
from train.products import Products
from train.progress import Progress, readable
from train.stopping import Stop, Stopped
from train.task import Task, Validation

log = logging.getLogger("train")


@dataclass(frozen=True, slots=True)
class Run:
    """How a run is carried out; nothing here changes what is learnt.

    device: auto, cpu or cuda. workers: processes that make samples; threads: of torch; None is
    chosen here. minutes: stop after so many; 0 is never. save_every: minutes between checkpoints.
    validate_every: epochs between measurements.
    """

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    minutes: float = 0.0
    save_every: float = 5.0
    validate_every: int = 1


@dataclass(slots=True)
class Place:
    """How far a run is. samples: in an epoch; epoch: epochs done; position: batches done of the
    next; seconds: of work so far; best: number, epoch and checkpoint."""

    samples: int
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_epoch: int = 0
    best_name: str = ""


def train(task: Task, config: Config, out: Path, run: Run | None = None) -> int:
    """Train until the last epoch, or until a signal or the time limit; the exit code.

    Goes on from the newest good checkpoint in out. Raises PosestreamError: UsageError for another
    run's folder and for what several processes cannot learn, OutputError when something cannot be
    written, StageError for numbers that are not finite and lost processes, OutOfMemory.
    """
    run = run or Run()
    if run.threads:
        torch.set_num_threads(run.threads)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        crew = stack.enter_context(team(run.device))
        check_team(config, crew)
        stack.enter_context(reproducible(crew.device))
        if crew.first:
            with atomic.writing(out):
                out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(checkpoint.lock(out))
            stack.enter_context(told_once())
        else:
            log.setLevel(logging.ERROR)
        try:
            with stop.waiting(), crew.telling_of_losses(), telling_of_want():
                trainer = Trainer(task, config, out, run, crew, stop)
        except Stopped:
            return stop.exit_code
        stack.callback(trainer.close)
        with telling_of_want():
            return trainer.work()


class Trainer:
    """One run: its network, its data and its place in time."""

    def __init__(
        self, task: Task, config: Config, out: Path, run: Run, crew: Team, stop: Stop
    ) -> None:
        self._task, self._config, self._out, self._run = task, config, out, run
        self._team, self._stop = crew, stop
        workers = default_workers() if run.workers is None else run.workers
        self._batches = Batches(task, config.batch, crew, workers)
        self._steps = config.epochs * self._batches.count
        point = crew.from_first(lambda: checkpoint.newest(out))
        self._learner = Learner(task, config, crew, self._steps, point.weights if point else None)
        self._at = self._resume(point)
        self._record = Record(task, config, out, self._at.epoch) if crew.first else None
        self._progress = Progress(
            self._steps, self._batches.count, self._batches.size, self._step, crew.first
        )
        self._clock = monotonic() - self._at.seconds
        self._end = monotonic() + 60 * run.minutes if run.minutes else float("inf")
        self._saved = monotonic()

    def work(self) -> int:
        """All that is left to do; the exit code."""
        self._announce()
        try:
            with self._team.telling_of_losses():
                return self._carry_out()
        except NotFinite as error:
            raise self._explain(error) from None
        except ProcessLost:
            if self._team.device.type == "cuda":  # reading from it would wait as well
                log.warning("this moment cannot be saved: the GPU waits for the lost process")
            else:
                self._rescue("another process is gone; ")
            if self._stop.reason:  # the others were asked as well, and have left already
                return self._stop.exit_code
            raise
        except OutputError:  # nothing more can be written
            raise
        except PosestreamError:  # a picture that cannot be read, for example
            self._rescue()
            raise

    def _rescue(self, why: str = "") -> None:
        """A checkpoint of this moment before an error ends the run, where that can be made."""
        self._progress.pause()
        self._learner.take_back()
        try:
            self._save()
        except (NotFinite, RuntimeError, PosestreamError) as error:
            log.warning("this moment cannot be saved: %s", str(error).splitlines()[0])
        else:
            if self._record:
                log.info("%ssaved %s; run it again to go on", why, self._moment)

    def close(self) -> None:
        """End the processes that make samples, and what writes curves."""
        self._batches.close()
        if self._record:
            self._record.curves.close()

    def _carry_out(self) -> int:
        try:
            while self._at.epoch < self._config.epochs:
                self._learn()
                self._end_epoch()
            self._write_model()
        except Stopped:
            return self._leave()
        log.info("%s: trained for %d epochs", self._out, self._config.epochs)
        return 0

    @property
    def _step(self) -> int:
        """Steps done."""
        return self._at.epoch * self._batches.count + self._at.position

    @property
    def _moment(self) -> str:
        """Where the run is, for people. After the last epoch model.onnx is still to be written."""
        epoch, epochs = self._at.epoch + 1, self._config.epochs
        return f"in epoch {epoch} of {epochs}" if epoch <= epochs else "after the last epoch"

    def _learn(self) -> None:
        """The rest of an epoch. Raises Stopped between two steps."""
        batches = self._batches.epoch(self._at.epoch, self._at.position)
        while self._at.position < self._batches.count:
            self._look_for_the_end()
            if self._team.first:
                with self._stop.waiting():
                    batch = next(batches)
            else:  # only the first may leave without the others: it is the one that saves
                batch = next(batches)
            self._learner.learn(self._step, batch)
            self._at.position += 1
            if self._progress.due():
                self._progress.show(self._step, self._means(), self._learner.rate(self._step))
            if monotonic() - self._saved > 60 * self._run.save_every:
                self._save()

    def _look_for_the_end(self) -> None:
        """Raises Stopped, in all processes of the team alike."""
        if monotonic() > self._end:
            self._stop.ask(f"{self._run.minutes:g} minutes are over")
        if self._team.any(bool(self._stop.reason)):
            self._stop.ask("another process stopped")
            raise Stopped(self._stop.reason)

    def _means(self) -> dict[str, float]:
        """The losses of the epoch so far."""
        return {n: float(s) / max(self._at.position, 1) for n, s in self._learner.sums.items()}

    def _end_epoch(self) -> None:
        """Measure, log and save. Raises NotFinite before anything is written."""
        self._learner.watch.drain()
        last = self._at.epoch + 1 == self._config.epochs
        due = last or (self._at.epoch + 1) % self._run.validate_every == 0
        measured = self._measure() if due and self._record and self._config.val else None
        means = self._means()
        self._at.epoch, self._at.position = self._at.epoch + 1, 0
        self._learner.sums.clear()
        if not self._record:
            return
        best = due and self._is_best(measured)
        self._note(means, measured, best)
        if best:
            self._write_best(self._record, measured)
        if due:
            self._save()
            self._record.curves.draw(measured.sheet if measured else None)
        if best and not last and self._record.products.seconds > 60 * self._run.save_every:
            self._write_model()
        self._progress.resume(self._step)

    def _measure(self) -> Validation:
        self._progress.pause()
        with self._stop.waiting(), self._same_luck(), torch.no_grad():
            return self._task.validate(self._learner.ema.net)

    def _same_luck(self) -> Any:
        """What is done inside leaves the random numbers of training as they were."""
        gpu = self._team.device.index
        return torch.random.fork_rng([] if gpu is None else [gpu])

    def _is_best(self, measured: Validation | None) -> bool:
        """Whether the network is the best so far, or as good; unmeasured, the latest is."""
        if measured is None:
            return not self._config.val
        number = measured.numbers[measured.best_by]
        better = number >= self._at.best or not self._at.best_epoch
        if better and math.isfinite(number):
            self._at.best = number
        return better

    def _note(self, means: dict[str, float], measured: Validation | None, best: bool) -> None:
        """A row of the log, and a line for people."""
        epoch, numbers = self._at.epoch, measured.numbers if measured else {}
        assert self._record
        self._record.curves.add({
            "epoch": epoch,
            "samples": self._step * self._batches.size,
            "seconds": round(monotonic() - self._clock, 1),
            "rate": self._learner.rate(self._step - 1),
            **means,
            **numbers,
        })  # fmt: skip
        if measured or self._progress.due():
            self._progress.pause()
            shown = "  ".join(f"{k} {v:.4g}" for k, v in {**means, **numbers}.items())
            took = readable(monotonic() - self._clock)
            note = "  (best so far)" if best and measured else ""
            log.info("epoch %d/%d  %s  %s%s", epoch, self._config.epochs, took, shown, note)

    def _save(self) -> None:
        """A checkpoint of this moment, by the first process. Raises OutputError, NotFinite."""
        self._saved = monotonic()
        if not self._record:
            return
        self._learner.watch.drain()
        self._record.curves.write()
        self._at.seconds = monotonic() - self._clock
        name = checkpoint.name_of(self._at.epoch, self._at.position)
        point = self._learner.snapshot(self._config, asdict(self._at))
        checkpoint.save(self._out, name, point, self._at.best_name)
        self._saved = monotonic()

    def _write_best(self, record: Record, measured: Validation | None) -> None:
        self._at.best_epoch = self._at.epoch
        self._at.best_name = checkpoint.name_of(self._at.epoch, 0)
        numbers = measured.numbers if measured else {}
        record.products.write_best(self._learner.ema.net, self._at.epoch, numbers)

    def _write_model(self) -> None:
        """model.onnx of the best weights, by the first process."""
        if self._record and self._at.best_epoch:
            self._progress.pause()
            with self._stop.waiting(), self._same_luck():
                self._record.products.write_model(self._learner.ema.net, self._at.best_epoch)

    def _leave(self) -> int:
        """Save and say so, after Stopped; the exit code."""
        self._progress.pause()
        self._save()
        log.info("stopped (%s) %s; run it again to go on", self._stop.reason, self._moment)
        return self._stop.exit_code

    def _explain(self, error: NotFinite) -> StageError:
        epoch, position = divmod(error.step, self._batches.count)
        samples = ", ".join(map(str, self._batches.indices(position)))
        kept = checkpoint.names(self._out)
        return StageError(
            f"the loss or its gradient is {error.value} at epoch {epoch + 1}, "
            f"step {error.step + 1} (samples {samples} of the epoch); "
            "lower --rate or set --amp off; "
            + (f"checkpoint {kept[-1]} is from before" if kept else "there is no checkpoint yet"),
            "train",
        )

    def _resume(self, point: Checkpoint | None) -> Place:
        """Go on from a checkpoint, if there is one. Raises UsageError."""
        if point is None:
            return Place(len(self._task))
        check_same(point.config, self._config, self._out)
        at = Place(**point.state["at"])
        if at.samples != len(self._task):
            raise UsageError(
                f"{self._out}: its data had {at.samples} samples, now {len(self._task)}; "
                "use the same data or a new --out"
            )
        self._learner.restore(point)
        return at

    def _announce(self) -> None:
        precision = str(self._learner.precision or "float32").removeprefix("torch.")
        log.info(
            "%s: %.1f M weights, %s on %s, %d samples, %d steps of %d an epoch%s",
            self._config.task, self._learner.weights / 1e6, precision, self._team.device,
            len(self._task), self._batches.count, self._batches.size,
            f"; {self._moment}, step {self._at.position}" if self._step else "",
        )  # fmt: skip
        if self._config.warmup > self._steps:
            told = "warning: --warmup %d: the run has %d steps, so that it never reaches its --rate"
            log.warning(told, self._config.warmup, self._steps)


class Record:
    """What the first process writes beside checkpoints."""

    def __init__(self, task: Task, config: Config, out: Path, epochs: int) -> None:
        self.curves = Curves(out)
        self.curves.go_on_from(epochs)
        self.products = Products(task, config, out)


def check_team(config: Config, crew: Team) -> None:
    """Raises UsageError for what several processes would not learn as one does: how many samples of
    a step are slim is another number in each, and hints are even over those of one process."""
    for name in ("narrow", "hint_weight"):
        if crew.size > 1 and getattr(config, name):
            raise UsageError(
                f"{flag(name)}: for one process alone; several would learn something else"
            )


def check_same(there: Config, asked: Config, out: Path) -> None:
    """Raises UsageError where the run in out has other options, naming them."""
    old, new = there.as_dict(), asked.as_dict()
    differ = [
        f"{flag(name)} {new[name]!r} (there {old[name]!r})"
        for name in new
        if new[name] != old[name]
    ]
    if differ:
        raise UsageError(
            f"{out} holds a run with other options: {', '.join(differ)}; "
            f"use another --out, or posestream-train resume {out}"
        )
