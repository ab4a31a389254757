"""The JSON report of a run, read back from a file that may be anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realtime.errors import InputError

BESIDE = ("{}.report.json", "{}_report.json", "report.json")
"""Names under which the report of a run is looked for beside its data."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage or sink: frames, milliseconds for each, its share of the time of the run."""

    name: str
    frames: int
    ms: float
    share: float | None


@dataclass(frozen=True, slots=True)
class RunFile:
    """What a report says, as far as it could be read; see realtime.run_report."""

    path: Path
    source: str = ""
    start: str = ""
    live: bool = False
    fps: float | None = None
    size_wh: tuple[int, int] | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    bottleneck: str = ""
    captured: int = 0
    written: int = 0
    failed: int = 0
    failed_people: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    sinks: dict[str, tuple[int, dict[str, int], str]] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(data: Path, frames: int) -> RunFile | None:
    """The report beside a file of poses, None without one. One called report.json, which may be of
    another run, counts when one of its sinks got as many frames."""
    for name in BESIDE:
        path = data.with_name(name.format(data.stem))
        if not path.is_file() or path == data:
            continue
        try:
            found = read(path)
        except InputError:
            continue  # some other file of that name
        if "{}" in name or frames in [sink[0] for sink in found.sinks.values()]:
            return found
    return None


def read(path: Path) -> RunFile:
    """Raises InputError for a file that cannot be read or is no report of a run."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON report of a run: {error}") from error
    if not isinstance(value, dict) or not {"stages", "frames_captured"} <= value.keys():
        raise InputError(f"{path}: not a report of a run; give the file that --report wrote")
    size = [_whole(side) for side in _list(value.get("size_wh"))]
    return RunFile(
        path,
        _text(value.get("source")),
        _text(value.get("start_utc")),
        value.get("live") is True,
        _number(value.get("fps")),
        (size[0], size[1]) if len(size) == 2 and min(size) > 0 else None,
        {key: n for key, v in _dict(value.get("latency_ms")).items() if (n := _number(v))},
        _stages(_dict(value["stages"])),
        _text(value.get("bottleneck")),
        _whole(value["frames_captured"]),
        _whole(value.get("frames_written")),
        _whole(value.get("failed")),
        _whole(value.get("failed_people")),
        _counts(value.get("dropped")),
        {name: _sink(_dict(sink)) for name, sink in _dict(value.get("sinks")).items()},
        [_network(task, _dict(model)) for task, model in _dict(value.get("models")).items()],
        _notes(value),
    )


def _stages(table: Mapping[str, Any]) -> list[Stage]:
    rows = {name: _dict(row) for name, row in table.items()}
    return [
        Stage(name, _whole(row.get("frames")), ms, _number(row.get("share")))
        for name, row in rows.items()
        if (ms := _number(row.get("ms_per_frame"))) is not None
    ]


def _sink(sink: Mapping[str, Any]) -> tuple[int, dict[str, int], str]:
    return _whole(sink.get("frames")), _counts(sink.get("dropped")), _text(sink.get("error"))


def _network(task: str, model: Mapping[str, Any]) -> str:
    name, *rest = (_text(model.get(key)) for key in ("name", "engine", "precision", "device"))
    return f"{task} {name} ({', '.join(filter(None, rest))})"


def _notes(value: Mapping[str, Any]) -> list[str]:
    """What went wrong or is unsure; what --screenshot shows is neither."""
    lines = [value.get("damage"), *_list(value.get("ledger_errors")), *_list(value.get("notes"))]
    picture = _list(_dict(_dict(value.get("sinks")).get("screenshot")).get("notes"))
    return [line for line in dict.fromkeys(map(_text, lines)) if line and line not in picture]


def _counts(value: Any) -> dict[str, int]:
    return {key: n for key, v in _dict(value).items() if (n := _whole(v))}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    """A number that can be drawn, 0 to 1e12; None for anything else."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if fits and 0 <= value < 1e12 else None  # false for nan as well


def _whole(value: Any) -> int:
    return int(_number(value) or 0)
