"""A network that learns: forward, backward, optimiser and average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from train.arithmetic import Watch, autocast_type
from train.checkpoint import Checkpoint
from train.config import Config
from train.parallel import Team
from train.schedule import Ema, optimiser, rate_at
from train.task import Batch, Task


class Learner:
    """The network of a task, wherever the team computes.

    steps: of the whole run, which the learning rate follows. there: see train.task.Task.network.
    ema: the averaged network; watch: has seen the losses of all steps; sums: of the losses since
    the start of the epoch, by name.
    """

    def __init__(
        self,
        task: Task,
        config: Config,
        crew: Team,
        steps: int,
        there: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._task, self._config, self._device, self._steps = task, config, crew.device, steps
        torch.manual_seed(config.seed)
        task.work_on(crew.device)
        start = task.network(there).to(crew.device)
        start = start.to(memory_format=torch.channels_last)
        self.ema = Ema(start, config.ema)
        self._net = crew.prepare(start).train()
        self._wrapped = crew.wrap(self._net)
        self._optimiser = optimiser(self._net, config)
        self.precision = autocast_type(config.amp, crew.device)
        scaled = self.precision == torch.float16
        self._scaler = torch.amp.GradScaler(crew.device.type, enabled=scaled)
        self.watch = Watch(crew.device)
        self.sums: dict[str, Tensor] = {}
        self._begun: tuple[Tensor, dict[str, Tensor]] | None = None

    @property
    def weights(self) -> int:
        """How many numbers are learnt."""
        return sum(p.numel() for p in self._net.parameters() if p.requires_grad)

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        return rate_at(step, self._steps, self._config)

    def learn(self, step: int, batch: Batch) -> None:
        """One step of the optimiser. Raises NotFinite, on a GPU some steps later."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate(step)
        self._begun = torch.get_rng_state(), dict(self.sums)
        loss = self._loss(batch)
        self.watch.add(step, loss)
        self._optimiser.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self._optimiser)
        limit = self._config.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self._net.parameters(), limit)
        if not self._scaler.is_enabled():  # which looks itself, and leaves such steps out
            self.watch.add(step, norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.ema.update(self._net, step)
        self._begun = None

    def take_back(self) -> None:
        """Be as before a step that was broken off while gradients were averaged, but for the
        statistics of batch normalisation and the random numbers of a GPU."""
        if self._begun:
            random, self.sums = self._begun
            torch.set_rng_state(random)
            self._begun = None

    def snapshot(self, config: Config, at: dict[str, Any]) -> Checkpoint:
        """All that restore() needs; the tensors are those that go on to be learnt."""
        state: dict[str, Any] = {
            "at": at,
            "sums": {name: float(value) for name, value in self.sums.items()},
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self._device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state()
        return Checkpoint(config, self._net.state_dict(), self.ema.net.state_dict(), state)

    def restore(self, point: Checkpoint) -> None:
        """Be as when the snapshot was taken."""
        self._net.load_state_dict(point.weights)
        self.ema.net.load_state_dict(point.ema)
        self._optimiser.load_state_dict(point.state["optimiser"])
        self._scaler.load_state_dict(point.state["scaler"])
        for name, value in point.state["sums"].items():
            self.sums[name] = torch.tensor(value, dtype=torch.float64, device=self._device)
        torch.set_rng_state(point.state["random"])
        if self._device.type == "cuda" and "random_cuda" in point.state:
            torch.cuda.set_rng_state(point.state["random_cuda"])

    def _loss(self, batch: Batch) -> Tensor:
        placed = {name: part.to(self._device, non_blocking=True) for name, part in batch.items()}
        with torch.autocast(self._device.type, self.precision, enabled=self.precision is not None):
            loss, parts = self._task.loss(self._wrapped, placed)
        named = {"loss": loss, **{f"loss {name}": part for name, part in parts.items()}}
        for name, value in named.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().double()
        return loss
