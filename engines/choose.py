"""Names on the command line to networks: a fetched one, or the strongest that is there."""

from __future__ import annotations

from pathlib import Path

from engines import bundled
from engines.base import ModelSpec, Task
from engines.cache import open_cached, present
from engines.identify import identify
from engines.load import find_default
from engines.published import PUBLISHED
from realtime.errors import ModelError
from realtime.hints import near

AUTO = "auto"


def named(task: Task, given: Path) -> ModelSpec | None:
    """The network that a name stands for; None when given is a file, or "auto" and nothing is
    stronger than the default. A published name comes before a file of that name.

    Raises ModelError when the weights of that name are not fetched, or changed since.
    """
    name = str(given)
    if name == AUTO:
        return strongest(task)
    if entry := PUBLISHED.get(name):
        if entry.task != task:
            raise ModelError(f"{name} is a {entry.task} network; give it with --{entry.task}")
        return open_cached(entry)
    meant = "" if given.suffix or given.exists() else near(name, PUBLISHED)
    if meant:
        raise ModelError(f"model {name}: no such file; did you mean {meant}?")
    return None


def either(given: Path) -> ModelSpec:
    """The network in a file, or that a name stands for, of whichever task it is. Raises
    ModelError."""
    published = PUBLISHED.get(str(given))
    return named(published.task if published else "pose", given) or identify(given)


def strongest(task: Task) -> ModelSpec | None:
    """The fetched network with the highest published accuracy; None where there is none that
    beats the bundled one."""
    found = present(task)
    return open_cached(found[0]) if found and found[0].accuracy > bundled_accuracy(task) else None


def bundled_accuracy(task: Task) -> float:
    """Of the bundled network, an AP of 0 to 1; 0 where none is bundled. Its file is not looked
    into: whoever runs it compares it with what was shipped."""
    path = find_default(task)
    shipped = bundled.BY_FILE.get(path.name) if path else None
    return shipped.accuracy if shipped else 0.0


def offer(task: Task) -> str:
    """A line about the strongest published network for somebody who runs the bundled one; empty
    when there is none stronger."""
    have = bundled_accuracy(task)
    if fetched := [entry for entry in present(task) if entry.accuracy > have]:
        return f"stronger weights are on this machine: --{task} {fetched[0].name}"
    better = [e for e in PUBLISHED.values() if e.task == task and e.accuracy > have]
    if not better:
        return ""
    best = max(better, key=lambda entry: entry.accuracy)
    return f"stronger public weights: posestream-engines pull {best.name}"
