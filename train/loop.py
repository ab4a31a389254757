"""Training: steps, measurements and checkpoints of a task until it has had its epochs.

A run that ends in any way goes on where it was: on a CPU with the same number of threads its
weights are bit for bit those of a run that was never interrupted.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from realtime.errors import StageError, UsageError
from train import checkpoint, files
from train.arithmetic import NotFinite, Watch, autocast_type, reproducible
from train.batches import Batches, default_workers
from train.checkpoint import Checkpoint
from train.config import Config, flag
from train.curves import Curves
from train.parallel import Team, team
from train.progress import Progress, readable
from train.schedule import Ema, optimiser, rate_at
from train.stopping import Stop, Stopped
from train.task import Batch, Task, Validation

log = logging.getLogger("train")
BEST = "best.safetensors"
MODEL = "model.onnx"


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
class Progressed:
    """How far a run is. epoch: epochs done; position: batches done of the next; samples: in an
    epoch; sums: of the losses of its batches; best: number, epoch and checkpoint."""

    samples: int
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    best_epoch: int = 0
    best_name: str = ""
    sums: dict[str, float] = field(default_factory=dict)


def train(task: Task, config: Config, out: Path, run: Run | None = None) -> int:
    """Train until the last epoch, or until a signal or the time limit; the exit code.

    Goes on from the newest good checkpoint in out. Raises PosestreamError: UsageError for another
    run's folder, OutputError when something cannot be written, StageError for numbers that are not
    finite.
    """
    run = run or Run()
    if run.threads:
        torch.set_num_threads(run.threads)
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        crew = stack.enter_context(team(run.device))
        stack.enter_context(reproducible(crew.device))
        if crew.first:
            with files.writing(out):
                out.mkdir(parents=True, exist_ok=True)
            stack.callback(_close, checkpoint.lock(out))
        else:
            log.setLevel(logging.ERROR)
        try:
            with stop.waiting():
                trainer = Trainer(task, config, out, run, crew, stop)
        except Stopped:
            return stop.exit_code
        stack.callback(trainer.close)
        return trainer.work()


class Trainer:
    """One run: its network, optimiser, data and place in time."""

    def __init__(
        self, task: Task, config: Config, out: Path, run: Run, crew: Team, stop: Stop
    ) -> None:
        self._task, self._config, self._out, self._run = task, config, out, run
        self._team, self._stop = crew, stop
        workers = default_workers() if run.workers is None else run.workers
        self._batches = Batches(task, config.batch, crew, workers)
        self._steps = config.epochs * self._batches.count
        self._at = Progressed(len(task))
        torch.manual_seed(config.seed)
        start = task.network().to(crew.device)
        start = start.to(memory_format=torch.channels_last)
        self._ema = Ema(start, config.ema)
        self._net = crew.prepare(start).train()
        self._optimiser = optimiser(self._net, config)
        self._type = autocast_type(config.amp, crew.device)
        self._scaler = torch.amp.GradScaler(crew.device.type, enabled=self._type == torch.float16)
        self._resume()
        self._wrapped = crew.wrap(self._net)
        self._watch = Watch(crew.device)
        self._sums = {k: _double(v, crew.device) for k, v in self._at.sums.items()}
        self._curves = self._open_curves()
        self._progress = Progress(
            self._steps, self._batches.count, self._batches.size, self._step, crew.first
        )
        self._written = 0.0
        self._clock = monotonic() - self._at.seconds
        self._end = monotonic() + 60 * run.minutes if run.minutes else float("inf")
        self._saved = monotonic()

    # ---- the run ----

    def work(self) -> int:
        """All that is left to do; the exit code."""
        self._announce()
        try:
            return self._carry_out()
        except NotFinite as error:
            raise self._explain(error) from None
        except (RuntimeError, StageError):
            if self._team.size > 1 and self._stop.reason:  # the others have left already
                return self._stop.exit_code
            raise

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

    def close(self) -> None:
        """End the processes that make samples, and what writes curves."""
        self._batches.close()
        if self._curves:
            self._curves.close()

    @property
    def _step(self) -> int:
        """Steps done."""
        return self._at.epoch * self._batches.count + self._at.position

    def _learn(self) -> None:
        """The rest of an epoch. Raises Stopped between two steps."""
        batches = self._batches.epoch(self._at.epoch, self._at.position)
        while self._at.position < self._batches.count:
            self._look_for_the_end()
            if self._team.first:
                with self._stop.waiting():
                    batch = next(batches)
            else:
                batch = next(batches)
            self._learn_from(batch)
            self._at.position += 1
            if self._progress.due():
                rate = rate_at(self._step, self._steps, self._config)
                self._progress.show(self._step, self._means(), rate)
            if monotonic() - self._saved > 60 * self._run.save_every:
                self._save()

    def _look_for_the_end(self) -> None:
        """Raises Stopped in all processes of the team alike."""
        if monotonic() > self._end:
            self._stop.ask(f"{self._run.minutes:g} minutes are over")
        if self._team.any(bool(self._stop.reason)):
            self._stop.ask("another process stopped")
            raise Stopped(self._stop.reason)

    def _learn_from(self, batch: Batch) -> None:
        """One step of the optimiser. Raises NotFinite."""
        step, device = self._step, self._team.device
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(step, self._steps, self._config)
        placed = {name: part.to(device, non_blocking=True) for name, part in batch.items()}
        with torch.autocast(device.type, self._type, enabled=self._type is not None):
            loss, parts = self._task.loss(self._wrapped, placed)
        self._watch.add(step, loss)
        self._optimiser.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self._optimiser)
        limit = self._config.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self._net.parameters(), limit)
        if not self._scaler.is_enabled():  # which looks itself, and leaves such steps out
            self._watch.add(step, norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._ema.update(self._net, step)
        self._count({"loss": loss, **{f"loss {name}": part for name, part in parts.items()}})

    def _count(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().double()

    def _means(self) -> dict[str, float]:
        return {name: float(s) / max(self._at.position, 1) for name, s in self._sums.items()}

    # ---- the end of an epoch ----

    def _end_epoch(self) -> None:
        """Measure, log and save."""
        last = self._at.epoch + 1 == self._config.epochs
        due = last or (self._at.epoch + 1) % self._run.validate_every == 0
        measured = self._measure() if due and self._team.first and self._config.val else None
        means = self._means()
        self._at.epoch, self._at.position = self._at.epoch + 1, 0
        self._sums = {}
        if not self._team.first:
            return
        best = due and self._is_best(measured)
        self._note(means, measured, best)
        if best:
            self._write_best(measured)
        if due:
            self._save()
            self._curves_or_fail().draw(measured.sheet if measured else None)
        if best and not last and monotonic() - self._written > 60 * self._run.save_every:
            self._write_model()
        self._progress.resume(self._step)

    def _measure(self) -> Validation:
        self._watch.drain()
        self._progress.pause()
        with self._stop.waiting(), self._same_luck(), torch.no_grad():
            return self._task.validate(self._ema.net)

    def _is_best(self, measured: Validation | None) -> bool:
        """Whether the network is the best so far; the latest counts as that when not measured."""
        if measured is None:
            return not self._config.val
        number = measured.numbers[measured.best_by]
        better = number > self._at.best or not self._at.best_epoch
        if better and math.isfinite(number):
            self._at.best = number
        return better

    def _note(self, means: dict[str, float], measured: Validation | None, best: bool) -> None:
        """A row of the log, and a line for people."""
        epoch, numbers = self._at.epoch, measured.numbers if measured else {}
        self._curves_or_fail().add({
            "epoch": epoch,
            "samples": self._step * self._batches.size,
            "seconds": round(monotonic() - self._clock, 1),
            "rate": rate_at(self._step - 1, self._steps, self._config),
            **means,
            **numbers,
        })  # fmt: skip
        if measured or self._progress.due():
            self._progress.pause()
            shown = "  ".join(f"{k} {v:.4g}" for k, v in {**means, **numbers}.items())
            took = readable(monotonic() - self._clock)
            note = "  (best so far)" if best and measured else ""
            log.info("epoch %d/%d  %s  %s%s", epoch, self._config.epochs, took, shown, note)

    # ---- what is written ----

    def _save(self) -> None:
        """A checkpoint of this moment, by the first process. Raises OutputError, NotFinite."""
        if not self._team.first:
            self._saved = monotonic()
            return
        self._watch.drain()
        self._curves_or_fail().write()
        self._at.seconds = monotonic() - self._clock
        self._at.sums = {name: float(value) for name, value in self._sums.items()}
        name = checkpoint.name_of(self._at.epoch, self._at.position)
        checkpoint.save(self._out, name, self._point(), self._at.best_name)
        self._saved = monotonic()

    def _point(self) -> Checkpoint:
        at = {name: getattr(self._at, name) for name in Progressed.__slots__}
        state: dict[str, Any] = {
            "at": at,
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self._team.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state()
        return Checkpoint(self._config, self._net.state_dict(), self._ema.net.state_dict(), state)

    def _write_best(self, measured: Validation | None) -> None:
        """best.safetensors: the averaged weights after this epoch."""
        self._at.best_epoch = self._at.epoch
        self._at.best_name = checkpoint.name_of(self._at.epoch, 0)
        about = {
            "config": self._config.to_json(),
            "epoch": str(self._at.epoch),
            **{name: repr(value) for name, value in (measured.numbers if measured else {}).items()},
        }
        data = checkpoint.weights_bytes(self._ema.net.state_dict(), about)
        files.replace(self._out / BEST, data)

    def _write_model(self) -> None:
        """model.onnx of the best weights, by the first process."""
        if not self._team.first or not self._at.best_epoch:
            return
        if importlib.util.find_spec("onnx") is None:
            log.info("%s is left out: onnx is not installed", MODEL)
            return
        net = copy.deepcopy(self._ema.net).cpu().to(memory_format=torch.contiguous_format)
        net.load_state_dict(checkpoint.read_weights(self._out / BEST))
        epochs = f"epoch {self._at.best_epoch} of {self._config.epochs}"
        trained = f"{epochs} on {', '.join(self._config.data) or 'no named data'}"
        self._written = monotonic()
        try:
            with self._stop.waiting(), self._same_luck():
                files.replace_by(
                    self._out / MODEL, lambda to: self._task.write(net, str(to), trained)
                )
        except ValueError as error:  # a weight too large for fp16
            log.warning("warning: %s is left out: %s", MODEL, error)

    def _same_luck(self) -> Any:
        """What is done inside leaves the random numbers of training as they were."""
        gpu = self._team.device.index
        return torch.random.fork_rng([] if gpu is None else [gpu])

    def _leave(self) -> int:
        """Save and say so, after Stopped; the exit code."""
        self._progress.pause()
        self._save()
        log.info(
            "stopped (%s) after %d of %d epochs; run it again to go on",
            self._stop.reason, self._at.epoch, self._config.epochs,
        )  # fmt: skip
        if monotonic() > self._end:  # nobody waits
            self._write_model()
        return self._stop.exit_code

    def _explain(self, error: NotFinite) -> StageError:
        epoch, position = divmod(error.step, self._batches.count)
        samples = ", ".join(map(str, self._batches.indices(position)))
        kept = checkpoint.names(self._out)
        return StageError(
            f"the loss or its gradient is {error.value} at epoch {epoch + 1}, "
            f"step {error.step + 1} (samples {samples} of the epoch); "
            f"lower --rate or set --amp off, "
            + (f"checkpoint {kept[-1]} is from before" if kept else "there is no checkpoint yet"),
            "train",
        )

    # ---- the start ----

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one. Raises UsageError, InputError."""
        point = checkpoint.newest(self._out)
        if point is None:
            return
        check_same(point.config, self._config, self._out)
        at = Progressed(**point.state["at"])
        if at.samples != len(self._task):
            raise UsageError(
                f"{self._out}: its data had {at.samples} samples, now {len(self._task)}; "
                "use the same data or a new --out"
            )
        self._at = at
        self._net.load_state_dict(point.weights)
        self._ema.net.load_state_dict(point.ema)
        self._optimiser.load_state_dict(point.state["optimiser"])
        self._scaler.load_state_dict(point.state["scaler"])
        torch.set_rng_state(point.state["random"])
        if self._team.device.type == "cuda" and "random_cuda" in point.state:
            torch.cuda.set_rng_state(point.state["random_cuda"])

    def _open_curves(self) -> Curves | None:
        """The log of the first process."""
        if not self._team.first:
            return None
        curves = Curves(self._out)
        curves.go_on_from(self._at.epoch)
        return curves

    def _curves_or_fail(self) -> Curves:
        assert self._curves, "only the first process logs"
        return self._curves

    def _announce(self) -> None:
        weights = sum(p.numel() for p in self._net.parameters())
        precision = "float32" if self._type is None else str(self._type).removeprefix("torch.")
        log.info(
            "%s: %.1f M weights, %s on %s, %d samples, %d steps of %d an epoch%s",
            self._config.task, weights / 1e6, precision, self._team.device, len(self._task),
            self._batches.count, self._batches.size,
            f", from epoch {self._at.epoch + 1}, step {self._at.position}" if self._step else "",
        )  # fmt: skip


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
            f"use another --out, or python -m train resume {out}"
        )


def _double(value: float, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, device=device)


def _close(file: Any) -> None:
    if file is not None:
        file.close()
